//go:build unix

package main

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// ledger checks what must be true in the end, from the database alone.
type ledger struct{ db *sql.DB }

// newLedger creates the tables of the orders. Effects that are written with CompleteTx have no
// unique key, so that a double effect shows.
func newLedger(ctx context.Context, url string) (ledger, error) {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return ledger{}, fmt.Errorf("open the ledger: %w", err)
	}
	_, err = db.ExecContext(ctx, `
		CREATE TABLE orders (id uuid PRIMARY KEY);
		CREATE TABLE effects (run_id uuid NOT NULL, order_id uuid NOT NULL, job_id uuid NOT NULL, lease int NOT NULL, worker text NOT NULL,
			plain boolean NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
		CREATE INDEX ON effects (order_id);
		CREATE INDEX ON effects (run_id);
		CREATE UNIQUE INDEX ON effects (run_id) WHERE plain;
		CREATE TABLE runs (id uuid PRIMARY KEY, job_id uuid NOT NULL, lease int NOT NULL, worker text NOT NULL,
			started_at timestamptz NOT NULL, ended_at timestamptz, finished boolean NOT NULL DEFAULT false);
		CREATE INDEX ON runs (job_id)`)
	if err != nil {
		return ledger{}, fmt.Errorf("make the ledger: %w", err)
	}
	return ledger{db}, nil
}

// number queries one number, and retries while the database is away.
func (l ledger) number(ctx context.Context, query string, args ...any) (n int, err error) {
	for range 150 {
		one, cancel := context.WithTimeout(ctx, 5*time.Second)
		err = l.db.QueryRowContext(one, query, args...).Scan(&n)
		cancel()
		if err == nil || !sleep(ctx, 200*time.Millisecond) {
			break
		}
	}
	if err != nil {
		return 0, fmt.Errorf("ask the ledger: %w", err)
	}
	return n, nil
}

const unfinished = `state IN ('scheduled', 'queued', 'running', 'retrying')`

// await polls until the query returns 0, and returns the number that is left when d is over.
func (l ledger) await(ctx context.Context, d time.Duration, query string, args ...any) (left int, err error) {
	for deadline := time.Now().Add(d); ; {
		left, err = l.number(ctx, query, args...)
		if err != nil || left == 0 || time.Now().After(deadline) {
			return left, err
		}
		sleep(ctx, 50*time.Millisecond)
	}
}

const (
	// lost are orders without an effect, acknowledged orders that do not exist, and runs that ended
	// well without their effect.
	lost = `SELECT (SELECT count(*) FROM orders o WHERE NOT EXISTS (SELECT FROM effects WHERE order_id = o.id))
		+ (SELECT count(*) FROM unnest($1::text[]::uuid[]) AS kept(id) WHERE NOT EXISTS (SELECT FROM orders o WHERE o.id = kept.id))
		+ (SELECT count(*) FROM runs r WHERE finished AND NOT EXISTS (SELECT FROM effects WHERE run_id = r.id))`
	// ghost are effects of orders that do not exist, and orders that were rolled back and exist.
	ghost = `SELECT (SELECT count(*) FROM effects e WHERE NOT EXISTS (SELECT FROM orders WHERE id = e.order_id))
		+ (SELECT count(*) FROM unnest($1::text[]::uuid[]) AS never(id) WHERE EXISTS (SELECT FROM orders o WHERE o.id = never.id))`
	// duplicated are the effects beyond the first of each order. A plain order may have
	// one for each run that Warren has on record: its last lease and its earlier attempts.
	duplicated = `SELECT (SELECT count(*) - count(DISTINCT order_id) FROM effects WHERE NOT plain)
		+ (SELECT count(*) - count(DISTINCT (job_id, lease)) FROM effects WHERE plain)
		+ (SELECT count(*) FROM effects e WHERE plain AND NOT EXISTS (SELECT FROM warren.jobs WHERE id = e.job_id AND lease = e.lease)
			AND NOT EXISTS (SELECT FROM warren.attempts WHERE job_id = e.job_id AND lease = e.lease))`
)

// overlapping are pairs of runs of one job in which the second started before the first had ended.
// A run ends when its handler returns or its context ends; when its process is killed or stops; and
// when its process is frozen by a signal. The rest of such a run, after a frozen process has
// resumed, does not count, even if the process had only claimed the job: other workers may take the
// job over. A worker whose network is away has no such excuse: it must give its runs up before
// others get them.
const overlapping = `
	WITH downtimes AS (
		SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) d(worker, since, until)
	), counted AS (
		SELECT r.*, coalesce(least(r.ended_at, (
			SELECT min(since) FROM downtimes d WHERE d.worker = r.worker AND d.until > coalesce(a.started_at, j.started_at, r.started_at)
		)), 'infinity') AS over_at
		FROM runs r LEFT JOIN warren.attempts a ON a.job_id = r.job_id AND a.lease = r.lease LEFT JOIN warren.jobs j ON j.id = r.job_id
			AND j.lease = r.lease
	)
	SELECT format('job %s: lease %s in %s from %s to %s (its handler ended at %s), and lease %s in %s from %s to %s', first.job_id,
		first.lease, first.worker, first.started_at, first.over_at, coalesce(first.ended_at::text, 'no known time'),
		second.lease, second.worker, second.started_at, second.over_at)
	FROM counted first JOIN counted second ON second.job_id = first.job_id
	WHERE (second.started_at, second.id) > (first.started_at, first.id)
		AND second.started_at < first.over_at AND second.started_at < second.over_at
	ORDER BY first.started_at`

// overlaps describes each such pair.
func (l ledger) overlaps(ctx context.Context, away []downtime) ([]string, error) {
	rows, err := l.db.QueryContext(ctx, overlapping, columns(away)...)
	if err != nil {
		return nil, fmt.Errorf("look for runs that overlap: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var pairs []string
	for rows.Next() {
		var pair string
		if err := rows.Scan(&pair); err != nil {
			return nil, fmt.Errorf("look for runs that overlap: %w", err)
		}
		pairs = append(pairs, pair)
	}
	return pairs, rows.Err()
}

// balance compares the orders with their effects, and with what the database promised the
// producers.
func (l ledger) balance(ctx context.Context, diary string, away []downtime) (b balance, err error) {
	attempted, kept, never, err := promises(diary)
	if err != nil {
		return b, err
	}
	b.attempted, b.acknowledged = attempted, len(kept)
	counts := []struct {
		into  *int
		query string
		args  []any
	}{
		{&b.lost, lost, []any{kept}},
		{&b.ghost, ghost, []any{never}},
		{&b.duplicated, duplicated, nil},
		{&b.stuck, `SELECT count(*) FROM warren.jobs WHERE ` + unfinished, nil},
		{&b.dead, `SELECT count(*) FROM warren.jobs WHERE state = 'dead'`, nil},
	}
	for _, c := range counts {
		if *c.into, err = l.number(ctx, c.query, c.args...); err != nil {
			return b, err
		}
	}
	b.overlaps, err = l.overlaps(ctx, away)
	return b, err
}

// columns returns the downtimes as the arguments of a query.
func columns(list []downtime) []any {
	workers, since, until := make([]string, len(list)), make([]time.Time, len(list)), make([]time.Time, len(list))
	for i, d := range list {
		workers[i], since[i], until[i] = d.process, d.from, d.until
	}
	return []any{workers, since, until}
}

// absence is the time in which a worker was killed or frozen. Jobs that are taken over after it do
// not count: a frozen worker resumes, and may be away again.
type absence struct {
	worker      string
	from, until time.Time
	frozen      bool
}

// replaced returns, for each job that the worker had been running, the seconds until it was started
// again.
func (l ledger) replaced(ctx context.Context, a absence) ([]float64, error) {
	rows, err := l.db.QueryContext(ctx, `
		SELECT extract(epoch FROM coalesce(CASE WHEN j.lease = a.lease + 1 THEN j.started_at END, next.started_at) - $2)::float8
		FROM warren.attempts a JOIN warren.jobs j ON j.id = a.job_id LEFT JOIN warren.attempts next ON next.job_id = a.job_id
			AND next.lease = a.lease + 1
		WHERE a.worker = $1 AND a.outcome = 'crashed' AND a.finished_at >= $2 AND a.finished_at < $3`, a.worker, a.from, a.until)
	if err != nil {
		return nil, fmt.Errorf("look what became of the jobs of %s: %w", a.worker, err)
	}
	defer func() { _ = rows.Close() }()
	var all []float64
	for rows.Next() {
		var s sql.NullFloat64
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		if s.Valid {
			all = append(all, s.Float64)
		}
	}
	return all, rows.Err()
}
