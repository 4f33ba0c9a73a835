package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/warrenjobs/warren/jobs"
)

// Jobs reads one page of the jobs that match the filter, in the order of its SortedBy, at most
// limit jobs.
func (s *Store) Jobs(ctx context.Context, f jobs.Filter, c jobs.Cursor, limit int) (page jobs.Page[jobs.Job], err error) {
	q, err := s.jobsFrom(ctx, f, c, limit)
	if err != nil {
		return page, err
	}
	list, err := collect(q, scanJobRow)
	if err != nil {
		return page, fmt.Errorf("list jobs: %w", err)
	}
	by := f.SortedBy()
	return pageOf(list, c, limit, func(j jobs.Job) any {
		if by == "id" {
			return j.ID
		}
		return timeKey{timeOf(j, by), j.ID}
	}), nil
}

func (s *Store) jobsFrom(ctx context.Context, f jobs.Filter, c jobs.Cursor, limit int) (*gorm.DB, error) {
	q := s.filtered(ctx, f).Select(listColumns)
	by := f.SortedBy()
	if by == "id" {
		return seekID[uuid.UUID](q, "id", c, limit)
	}
	// A partial index is used only for a constant; SortedBy returns a time for known states only.
	return seekTime(q.Where("state = '"+string(f.State)+"'"), by, by == "finished_at", c, limit)
}

// timeOf returns the time in the column that a list is sorted by.
func timeOf(j jobs.Job, column string) (at time.Time) {
	switch {
	case column == "run_at":
		return j.RunAt
	case column == "started_at" && j.StartedAt != nil:
		return *j.StartedAt
	case column == "finished_at" && j.FinishedAt != nil:
		return *j.FinishedAt
	}
	return at
}

// seekTime limits the query to one page of a list that is ordered by a time.
func seekTime(q *gorm.DB, column string, descending bool, c jobs.Cursor, limit int) (*gorm.DB, error) {
	key, first, err := keyOf[timeKey](c)
	if err != nil {
		return nil, err
	}
	comparison, direction := seek(c, descending)
	if !first {
		q = q.Where("("+column+", id) "+comparison+" (?, ?)", key.At, key.ID)
	}
	return q.Order(column + " " + direction + ", id " + direction).Limit(limit + 1), nil
}

// seekID limits the query to one page of a list that is ordered by an id, newest first.
func seekID[K any](q *gorm.DB, id string, c jobs.Cursor, limit int) (*gorm.DB, error) {
	key, first, err := keyOf[K](c)
	if err != nil {
		return nil, err
	}
	comparison, direction := seek(c, true)
	if !first {
		q = q.Where(id+" "+comparison+" ?", key)
	}
	return q.Order(id + " " + direction).Limit(limit + 1), nil
}

// scanner is a row of gorm or pgx.
type scanner interface{ Scan(dest ...any) error }

// collect reads the rows of a query.
func collect[T any](q *gorm.DB, scan func(scanner) (T, error)) (list []T, err error) {
	rows, err := q.Rows()
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		row, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, row)
	}
	return list, rows.Err()
}

// Counts counts the jobs of each state that match the filter's other fields, each up to
// jobs.CountCap + 1.
func (s *Store) Counts(ctx context.Context, f jobs.Filter) (map[jobs.State]jobs.Count, error) {
	counts := make(map[jobs.State]jobs.Count, len(jobs.States))
	parts, args := make([]string, len(jobs.States)), make([]any, 0, len(jobs.States))
	for i, state := range jobs.States {
		f.State = state
		parts[i] = "SELECT ? AS state, (SELECT count(*) FROM (?) x) AS n"
		args = append(args, string(state), s.filtered(ctx, f).Select("1").Limit(jobs.CountCap+1))
	}
	var rows []struct {
		State jobs.State
		N     jobs.Count
	}
	if err := s.orm.WithContext(ctx).Raw(strings.Join(parts, " UNION ALL "), args...).Scan(&rows).Error; err != nil {
		return nil, fmt.Errorf("count jobs: %w", err)
	}
	for _, r := range rows {
		counts[r.State] = r.N
	}
	return counts, nil
}

// filtered returns a new query on jobs. Each call returns a new one because gorm accumulates
// conditions.
func (s *Store) filtered(ctx context.Context, f jobs.Filter) *gorm.DB {
	q := s.orm.WithContext(ctx).Table("warren.jobs")
	if f.State != "" {
		q = q.Where("state = ?", cleanText(string(f.State)))
	}
	if f.Kind != "" {
		q = q.Where("kind = ?", cleanText(f.Kind))
	}
	if f.Queue != "" {
		q = q.Where("queue = ?", cleanText(f.Queue))
	}
	if f.Operation != uuid.Nil {
		q = q.Where("operation = ?", f.Operation)
	}
	if f.Text == "" {
		return q
	}
	if id, err := uuid.Parse(f.Text); err == nil && s.exists(ctx, id) { // otherwise it may be an id of the application's, in args
		return q.Where("id = ?", id)
	}
	text := cleanText(f.Text)
	like := "%" + likeEscaper.Replace(text) + "%"
	return q.Where("id >= coalesce((SELECT id FROM warren.jobs ORDER BY id DESC OFFSET ? LIMIT 1), '00000000-0000-0000-0000-000000000000')",
		jobs.SearchWindow).
		Where("(args::text ~* ? OR kind ILIKE ? OR last_error ILIKE ? OR unique_key ILIKE ? OR id::text ILIKE ? OR "+
			"array_to_string(tags, ' ') ILIKE ?)",
			jsonPattern(text), like, like, like, like, like)
}

func (s *Store) exists(ctx context.Context, id uuid.UUID) (there bool) {
	err := s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM warren.jobs WHERE id = $1)`, id).Scan(&there)
	return err == nil && there // the caller's own query then fails too
}

var likeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// JobQueues lists the queues of all jobs, by a loose index scan.
func (s *Store) JobQueues(ctx context.Context) ([]string, error) { return s.distinct(ctx, "queue") }

// JobKinds lists the kinds of all jobs, by a loose index scan.
func (s *Store) JobKinds(ctx context.Context) ([]string, error) { return s.distinct(ctx, "kind") }

func (s *Store) distinct(ctx context.Context, column string) ([]string, error) {
	return s.distinctIn(ctx, "jobs", column)
}

// distinctIn jumps from value to value in the index on (column, id): its cost grows with the number
// of values, not of rows.
func (s *Store) distinctIn(ctx context.Context, table, column string) ([]string, error) {
	var values []string
	err := s.orm.WithContext(ctx).Raw(`
		WITH RECURSIVE v AS (
			(SELECT ` + column + ` AS value FROM warren.` + table + ` ORDER BY ` + column + ` LIMIT 1)
			UNION ALL
			SELECT (SELECT ` + column + ` FROM warren.` + table + ` WHERE ` + column + ` > v.value ORDER BY ` + column + ` LIMIT 1) FROM v
				WHERE v.value IS NOT NULL
		) SELECT value FROM v WHERE value IS NOT NULL LIMIT 200`).Scan(&values).Error
	if err != nil {
		return nil, fmt.Errorf("list the %ss of %s: %w", column, table, err)
	}
	return values, nil
}

// CountState counts the jobs in a state, up to jobs.CountCap + 1.
func (s *Store) CountState(ctx context.Context, state jobs.State) (n jobs.Count, err error) {
	const count = `SELECT count(*) FROM (SELECT FROM warren.jobs WHERE state = $1 LIMIT $2) x`
	err = s.pool.QueryRow(ctx, count, state, jobs.CountCap+1).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count %s jobs: %w", state, err)
	}
	return n, nil
}
