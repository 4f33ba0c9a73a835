package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/store/internal/rules"
)

// failureKey is the expression of the index jobs_failure, word for word.
const failureKey = `md5(kind || ' ' || warren.failure(last_error))::uuid`

// failureKeys are the CTEs that find the keys of the groups, the first $1 + 1. They jump from key to key in
// jobs_failure, as distinctIn does, so that the cost grows with the number of groups, not of jobs.
const failureKeys = `
WITH RECURSIVE keys AS (
	(SELECT ` + failureKey + ` AS key FROM warren.jobs WHERE state = 'dead' ORDER BY 1 LIMIT 1)
	UNION ALL
	SELECT (SELECT ` + failureKey + ` FROM warren.jobs WHERE state = 'dead' AND ` + failureKey + ` > keys.key ORDER BY 1 LIMIT 1) FROM keys
		WHERE keys.key IS NOT NULL
), found AS (
	SELECT key FROM keys WHERE key IS NOT NULL LIMIT $1::int + 1
)`

// failureStatus is the status of a group whose newest job died at finished_at and whose mark, if it has one, is m.
const failureStatus = `CASE WHEN m.status = 'fixed' AND finished_at > m.at THEN 'open' ELSE coalesce(m.status, 'open') END`

// failuresSQL reads a page of groups. Counting the jobs of each group, up to the cap, is part of the search if
// they are ranked by it. The counts of groups stand in each row, and in one of their own if the page is empty.
func failuresSQL(byCount bool, comparison, direction string) string {
	rank := `0`
	if byCount {
		rank = failureCount("found", "")
	}
	order := `rank ` + direction + `, finished_at ` + direction + `, key ` + direction
	return failureKeys + `, matching AS (
	SELECT key, rank, id, finished_at, ` + failureStatus + ` AS status, m.status AS mark, m.note, m.actor, m.at
	FROM found CROSS JOIN LATERAL (SELECT ` + rank + ` AS rank) ranked
	CROSS JOIN LATERAL (
		SELECT id, kind, queue, last_error, finished_at FROM warren.jobs WHERE state = 'dead' AND ` + failureKey + ` = found.key
		ORDER BY ` + failureKey + ` DESC, finished_at DESC, id DESC LIMIT 1
	) newest LEFT JOIN warren.failure_marks m USING (key)
	WHERE ($7 = '' OR kind = $7) AND ($3 = '' OR last_error ILIKE $3 OR kind ILIKE $3)
		AND ($2 = '' OR EXISTS (
			SELECT FROM (SELECT queue FROM warren.jobs WHERE state = 'dead' AND ` + failureKey + ` = found.key ORDER BY finished_at DESC
				LIMIT $9) j WHERE j.queue = $2))
), counts AS (
	SELECT (SELECT count(*) FROM found) AS groups, count(*) FILTER (WHERE status = 'open') AS open,
		count(*) FILTER (WHERE status = 'known') AS known, count(*) FILTER (WHERE status = 'fixed') AS fixed FROM matching
), page AS (
	SELECT * FROM matching WHERE ($11 = '' OR status = $11)
		AND ($4 OR (rank, finished_at, key) ` + comparison + ` ($10::bigint, $5::timestamptz, $6::uuid))
	ORDER BY ` + order + ` LIMIT $8
), listed AS (
	SELECT page.*, j.kind, j.queue, j.last_error, ` + failureCount("page", "") + ` AS count, (SELECT finished_at FROM warren.jobs
		WHERE state = 'dead' AND ` + failureKey + ` = page.key ORDER BY finished_at LIMIT 1) AS first_seen,
		` + failureCount("page", "page.at") + ` AS since
	FROM page JOIN warren.jobs j USING (id)
)
SELECT groups, open, known, fixed, key, kind, warren.failure(last_error), count, first_seen, listed.finished_at, id,
	coalesce(last_error, ''), queue, status, coalesce(mark, ''), coalesce(note, ''), coalesce(actor, ''), at, since
FROM counts LEFT JOIN listed ON true ORDER BY ` + order
}

// failureCount counts the jobs of the group of a row, or those that died after a time. Its ORDER BY keeps the
// planner on the index: otherwise it reads a whole group to count a part of it.
func failureCount(row, after string) string {
	if after != "" {
		after = ` AND finished_at > ` + after
	}
	return `(SELECT count(*) FROM (SELECT FROM warren.jobs WHERE state = 'dead' AND ` + failureKey + ` = ` + row + `.key` + after + `
		ORDER BY finished_at DESC LIMIT $9 + 1) x)`
}

// markRow takes the columns of a mark; they are empty where the group has none.
type markRow struct {
	jobs.FailureMark
	at *time.Time
}

func (m *markRow) columns() []any { return []any{&m.Status, &m.Note, &m.By, &m.at, &m.DiedSince} }

func (m *markRow) orNil() *jobs.FailureMark {
	if m.at == nil {
		return nil
	}
	m.At = *m.at
	return &m.FailureMark
}

// rankKey is the key of the list of groups.
type rankKey struct {
	Rank int // the count, where the list is sorted by it
	At   time.Time
	ID   uuid.UUID
}

// Failures reads one page of groups of dead jobs, among the first jobs.FailuresMax by key; the group
// that failed last comes first, or that with most jobs.
func (s *Store) Failures(
	ctx context.Context, f jobs.FailureFilter, c jobs.Cursor, limit int,
) (page jobs.Page[jobs.FailureGroup], counts jobs.FailureCounts, err error) {
	key, first, err := keyOf[rankKey](c)
	if err != nil {
		return page, counts, err
	}
	like := ""
	if f.Text != "" {
		like = "%" + likeEscaper.Replace(cleanText(f.Text)) + "%"
	}
	comparison, direction := seek(c, true)
	rows, err := s.pool.Query(ctx, failuresSQL(f.ByCount, comparison, direction), jobs.FailuresMax, cleanText(f.Queue), like, first,
		key.At, key.ID, cleanText(f.Kind), limit+1, jobs.FailureCountCap, key.Rank, f.Status)
	if err != nil {
		return page, counts, fmt.Errorf("list failures: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (jobs.FailureGroup, error) { return scanFailure(row, &counts) })
	if err != nil {
		return page, counts, fmt.Errorf("list failures: %w", err)
	}
	if len(list) == 1 && list[0].Key == uuid.Nil { // the row of the counts alone
		list = nil
	}
	return pageOf(list, c, limit, func(g jobs.FailureGroup) any {
		if f.ByCount {
			return rankKey{int(g.Count), g.LastSeen, g.Key}
		}
		return rankKey{0, g.LastSeen, g.Key}
	}), counts, nil
}

// scanFailure scans a row of failuresSQL. The group is zero in a row that has only the counts.
func scanFailure(row pgx.CollectableRow, counts *jobs.FailureCounts) (g jobs.FailureGroup, err error) {
	var mark markRow
	count := []any{&counts.Groups, &counts.Open, &counts.Known, &counts.Fixed}
	group := append([]any{&g.Key, &g.Kind, &g.Error, &g.Count, &g.FirstSeen, &g.LastSeen, &g.Newest, &g.NewestError, &g.Queue, &g.Status},
		mark.columns()...)
	if row.RawValues()[len(count)] == nil {
		group = make([]any, len(group)) // skipped
	}
	err = row.Scan(append(count, group...)...)
	g.Mark = mark.orNil()
	return g, err
}

// FailureTrends counts, for each of the groups, how many of its dead jobs failed in each of the last
// jobs.FailureTrendHours hours, oldest first. It reads at most jobs.FailureCountCap jobs of a group, the
// newest: the hours before them are nil, not known.
func (s *Store) FailureTrends(ctx context.Context, groups []jobs.FailureGroup, now time.Time) ([][]*int64, error) {
	keys := make([]uuid.UUID, len(groups))
	trends := make([][]*int64, len(groups))
	for i, g := range groups {
		keys[i], trends[i] = g.Key, make([]*int64, jobs.FailureTrendHours)
		for hour := range trends[i] {
			trends[i][hour] = new(int64(0))
		}
	}
	rows, err := s.pool.Query(ctx, `
		SELECT n, floor(extract(epoch FROM $2 - finished_at) / 3600)::int AS hours, count(*), max(of)
		FROM unnest($1::uuid[]) WITH ORDINALITY g (key, n) CROSS JOIN LATERAL (
			SELECT finished_at, count(*) OVER () AS of FROM (
				SELECT finished_at FROM warren.jobs WHERE state = 'dead' AND `+failureKey+` = g.key
					AND finished_at > $2::timestamptz - $3 * interval '1 hour' AND finished_at <= $2
				ORDER BY `+failureKey+` DESC, finished_at DESC LIMIT $4) newest
		) read
		GROUP BY 1, 2 ORDER BY 1, 2`, keys, now, jobs.FailureTrendHours, jobs.FailureCountCap)
	if err != nil {
		return nil, fmt.Errorf("count the failures by the hour: %w", err)
	}
	var n, hours int
	var count, of int64
	_, err = pgx.ForEachRow(rows, []any{&n, &hours, &count, &of}, func() error {
		at := jobs.FailureTrendHours - 1 - hours
		trends[n-1][at] = new(count)
		if of >= jobs.FailureCountCap {
			clear(trends[n-1][:at])
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("count the failures by the hour: %w", err)
	}
	return trends, nil
}

const failureSQL = `
SELECT kind, warren.failure(last_error), finished_at, id, coalesce(last_error, ''), queue,
	(SELECT count(*) FROM (SELECT FROM warren.jobs WHERE state = 'dead' AND ` + failureKey + ` = $1 ORDER BY finished_at DESC LIMIT $2) x),
	(SELECT finished_at FROM warren.jobs WHERE state = 'dead' AND ` + failureKey + ` = $1 ORDER BY finished_at LIMIT 1),
	ARRAY(SELECT DISTINCT queue FROM (SELECT queue FROM warren.jobs WHERE state = 'dead' AND ` + failureKey + ` = $1
		ORDER BY finished_at DESC LIMIT $3) x ORDER BY 1),
	` + failureStatus + `, coalesce(m.status, ''), coalesce(m.note, ''), coalesce(m.actor, ''), m.at,
	(SELECT count(*) FROM (SELECT FROM warren.jobs WHERE state = 'dead' AND ` + failureKey + ` = $1 AND finished_at > m.at
		ORDER BY finished_at DESC LIMIT $2) x)
FROM warren.jobs LEFT JOIN warren.failure_marks m ON m.key = $1
WHERE state = 'dead' AND ` + failureKey + ` = $1 ORDER BY jobs.finished_at DESC, id DESC LIMIT 1`

// FailureAction reads the newest action on all jobs of a group. It returns jobs.ErrNotFound if there
// was none.
func (s *Store) FailureAction(ctx context.Context, group uuid.UUID) (a jobs.FailureAction, err error) {
	err = s.pool.QueryRow(ctx, `
		SELECT at, actor, reason, action = $2, details->>'kind', details->>'error', (details->>'done')::int,
			coalesce((details->>'operation')::uuid, '00000000-0000-0000-0000-000000000000')
		FROM warren.audit WHERE target = $1 AND details->>'done' <> '0' ORDER BY id DESC LIMIT 1`, failureTarget(group), failuresRetry).
		Scan(&a.At, &a.Actor, &a.Reason, &a.Retried, &a.Kind, &a.Error, &a.Done, &a.Operation)
	if errors.Is(err, pgx.ErrNoRows) {
		err = jobs.ErrNotFound
	}
	if err != nil {
		return a, fmt.Errorf("read the last action on failure %s: %w", group, err)
	}
	return a, nil
}

func failureTarget(group uuid.UUID) string { return "failure:" + group.String() }

// Failure reads one group, or returns jobs.ErrNotFound if no dead job is in it.
func (s *Store) Failure(ctx context.Context, key uuid.UUID) (jobs.FailureGroup, error) {
	g := jobs.FailureGroup{Key: key}
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if err := onIndex(ctx, tx); err != nil {
			return err
		}
		var mark markRow
		err := tx.QueryRow(ctx, failureSQL, key, jobs.CountCap+1, jobs.FailureCountCap).
			Scan(append([]any{&g.Kind, &g.Error, &g.LastSeen, &g.Newest, &g.NewestError, &g.Queue, &g.Count, &g.FirstSeen, &g.Queues,
				&g.Status}, mark.columns()...)...)
		g.Mark = mark.orNil()
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return g, fmt.Errorf("failure %s: %w", key, jobs.ErrNotFound)
	}
	if err != nil {
		return g, fmt.Errorf("read failure %s: %w", key, err)
	}
	return g, nil
}

// onIndex keeps the statements of a transaction from reading and sorting all of a large group to count a part of it: 190 ms
// instead of 12.
func onIndex(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `SET LOCAL enable_bitmapscan = off`)
	return err
}

// FailureOf returns the key of a dead job's group, and the number of jobs in the group, up to
// jobs.FailureCountCap + 1. It returns jobs.ErrNotFound if the job is not dead.
func (s *Store) FailureOf(ctx context.Context, id uuid.UUID) (key uuid.UUID, n jobs.Count, err error) {
	err = s.pool.QueryRow(ctx, `
		WITH own AS (SELECT `+failureKey+` AS key FROM warren.jobs WHERE id = $1 AND state = 'dead')
		SELECT key, (SELECT count(*) FROM (SELECT FROM warren.jobs WHERE state = 'dead' AND `+failureKey+` = own.key
			ORDER BY finished_at DESC LIMIT $2) x)
		FROM own`, id, jobs.FailureCountCap+1).Scan(&key, &n)
	if errors.Is(err, pgx.ErrNoRows) {
		return key, 0, fmt.Errorf("failure of job %s: %w", id, jobs.ErrNotFound)
	}
	if err != nil {
		return key, 0, fmt.Errorf("read the failure of job %s: %w", id, err)
	}
	return key, n, nil
}

// FailedJobs reads one page of the jobs of a group, the job that failed last first.
func (s *Store) FailedJobs(ctx context.Context, group uuid.UUID, c jobs.Cursor, limit int) (page jobs.Page[jobs.Job], err error) {
	key, first, err := keyOf[timeKey](c)
	if err != nil {
		return page, err
	}
	comparison, direction := seek(c, true)
	rows, err := s.pool.Query(ctx, `
		SELECT `+listColumns+` FROM warren.jobs
		WHERE state = 'dead' AND `+failureKey+` = $1 AND ($2 OR (finished_at, id) `+comparison+` ($3::timestamptz, $4::uuid))
		ORDER BY finished_at `+direction+`, id `+direction+` LIMIT $5`, group, first, key.At, key.ID, limit+1)
	if err != nil {
		return page, fmt.Errorf("list the jobs of failure %s: %w", group, err)
	}
	list, err := pgx.CollectRows(rows, scanJob)
	if err != nil {
		return page, fmt.Errorf("list the jobs of failure %s: %w", group, err)
	}
	return pageOf(list, c, limit, func(j jobs.Job) any { return timeKey{*j.FinishedAt, j.ID} }), nil
}

const failuresRetry = "failures.retry" // in the audit log

// RetryFailure retries the jobs of a group that had failed by until (by the last of them, if it is zero),
// oldest first, within the limits of OperateAll.
func (s *Store) RetryFailure(ctx context.Context, key uuid.UUID, until time.Time, by jobs.Actor) (jobs.BulkResult, error) {
	return s.onFailure(ctx, key, until, by, jobs.ActionRetry)
}

// DeleteFailure removes the jobs of a group and their history, within the same limits.
func (s *Store) DeleteFailure(ctx context.Context, key uuid.UUID, until time.Time, by jobs.Actor) (jobs.BulkResult, error) {
	return s.onFailure(ctx, key, until, by, jobs.ActionDelete)
}

func (s *Store) onFailure(
	ctx context.Context, key uuid.UUID, until time.Time, by jobs.Actor, action jobs.Action,
) (jobs.BulkResult, error) {
	group, err := s.Failure(ctx, key)
	if err != nil {
		return jobs.BulkResult{}, err
	}
	if until.IsZero() {
		until = group.LastSeen
	}
	run := bulkRun{action: action, by: by, operation: uuid.New(), name: "failures." + string(action), target: failureTarget(key),
		about: map[string]any{"kind": group.Kind, "error": group.Error}}
	return s.operateOn(ctx, run, []selection{{byTime: true, args: []any{key, until},
		where: `SELECT id, finished_at FROM warren.jobs WHERE state = 'dead' AND ` + failureKey + ` = $1 AND finished_at <= $2`}})
}

// withFreeKey leaves out the jobs whose unique key an open job holds, and all but one of the jobs
// that share a key.
func withFreeKey(ctx context.Context, tx pgx.Tx, ids []uuid.UUID) ([]uuid.UUID, error) {
	rows, err := tx.Query(ctx, `
		SELECT id FROM (
			SELECT id, unique_key, row_number() OVER (PARTITION BY unique_key ORDER BY id DESC) AS nth FROM warren.jobs WHERE id = ANY($1)
		) j WHERE unique_key IS NULL OR nth = 1 AND NOT EXISTS (SELECT FROM warren.jobs o WHERE o.unique_key = j.unique_key
			AND `+rules.Open+`)`, ids)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}
