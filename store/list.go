package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/warrenjobs/warren/jobs"
)

// Jobs reads one page of the list, newest first, at most limit jobs.
func (s *Store) Jobs(ctx context.Context, f jobs.Filter, c jobs.Cursor, limit int) (jobs.Page, error) {
	q := s.filtered(ctx, f).Select(listColumns).Limit(limit + 1)
	switch {
	case c.ID == uuid.Nil:
		q = q.Order("id DESC")
	case c.Newer:
		q = q.Where("id > ?", c.ID).Order("id")
	default:
		q = q.Where("id < ?", c.ID).Order("id DESC")
	}
	rows, err := q.Rows()
	if err != nil {
		return jobs.Page{}, fmt.Errorf("list jobs: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var list []jobs.Job
	for rows.Next() {
		job, err := scanJobRow(rows)
		if err != nil {
			return jobs.Page{}, fmt.Errorf("list jobs: %w", err)
		}
		list = append(list, job)
	}
	if err := rows.Err(); err != nil {
		return jobs.Page{}, fmt.Errorf("list jobs: %w", err)
	}
	list, older, newer := cut(list, c, limit, func(j jobs.Job) uuid.UUID { return j.ID })
	return jobs.Page{Jobs: list, Older: older, Newer: newer}, nil
}

// cut takes away the one row too many, which only says that there are more, and
// makes the cursors of the neighbouring pages.
func cut[T any](list []T, c jobs.Cursor, limit int, id func(T) uuid.UUID) (page []T, older, newer jobs.Cursor) {
	more := len(list) > limit
	if more {
		list = list[:limit]
	}
	if c.Newer {
		slices.Reverse(list)
	}
	switch {
	case len(list) > 0:
	case c.ID == uuid.Nil:
		return list, older, newer
	case c.Newer: // all that was there has been deleted: the way back includes the row that the cursor names
		return list, jobs.Cursor{ID: beside(c.ID, +1)}, newer
	default:
		return list, older, jobs.Cursor{ID: beside(c.ID, -1), Newer: true}
	}
	if more || c.Newer {
		older = jobs.Cursor{ID: id(list[len(list)-1])}
	}
	if c.ID != uuid.Nil && (!c.Newer || more) {
		newer = jobs.Cursor{ID: id(list[0]), Newer: true}
	}
	return list, older, newer
}

// beside is the id next to id, above or below it.
func beside(id uuid.UUID, step int8) uuid.UUID {
	carry := byte(0)
	if step < 0 {
		carry = 0xff
	}
	for i := len(id) - 1; i >= 0; i-- {
		if id[i] += byte(step); id[i] != carry {
			break
		}
	}
	return id
}

// Counts counts the jobs of each state that fit the filter's other fields, each up to jobs.CountCap + 1.
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

// filtered starts a query on jobs. Each call gives a fresh one: gorm adds conditions up.
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
	if f.Text == "" {
		return q
	}
	if id, err := uuid.Parse(f.Text); err == nil && s.exists(ctx, id) { // it may also be the caller's own, in args
		return q.Where("id = ?", id)
	}
	like := "%" + likeEscaper.Replace(cleanText(f.Text)) + "%"
	return q.Where("id >= coalesce((SELECT id FROM warren.jobs ORDER BY id DESC OFFSET ? LIMIT 1), '00000000-0000-0000-0000-000000000000')", jobs.SearchWindow).
		Where("(args::text ILIKE ? OR kind ILIKE ? OR last_error ILIKE ? OR unique_key ILIKE ? OR id::text ILIKE ? OR array_to_string(tags, ' ') ILIKE ?)",
			like, like, like, like, like, like)
}

func (s *Store) exists(ctx context.Context, id uuid.UUID) (there bool) {
	err := s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM warren.jobs WHERE id = $1)`, id).Scan(&there)
	return err == nil && there // the query that asked fails likewise
}

var likeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// JobQueues lists the queues that jobs were ever sent to, by a loose index scan.
func (s *Store) JobQueues(ctx context.Context) ([]string, error) { return s.distinct(ctx, "queue") }

// JobKinds lists the kinds that jobs ever had, likewise.
func (s *Store) JobKinds(ctx context.Context) ([]string, error) { return s.distinct(ctx, "kind") }

func (s *Store) distinct(ctx context.Context, column string) ([]string, error) {
	return s.distinctIn(ctx, "jobs", column)
}

// distinctIn jumps from value to value in the index on (column, id): its cost is the number of values, not of rows.
func (s *Store) distinctIn(ctx context.Context, table, column string) ([]string, error) {
	var values []string
	err := s.orm.WithContext(ctx).Raw(`
		WITH RECURSIVE v AS (
			(SELECT ` + column + ` AS value FROM warren.` + table + ` ORDER BY ` + column + ` LIMIT 1)
			UNION ALL
			SELECT (SELECT ` + column + ` FROM warren.` + table + ` WHERE ` + column + ` > v.value ORDER BY ` + column + ` LIMIT 1) FROM v WHERE v.value IS NOT NULL
		) SELECT value FROM v WHERE value IS NOT NULL LIMIT 200`).Scan(&values).Error
	if err != nil {
		return nil, fmt.Errorf("list the %ss of %s: %w", column, table, err)
	}
	return values, nil
}

// DeadJobs counts dead jobs up to jobs.CountCap + 1.
func (s *Store) DeadJobs(ctx context.Context) (jobs.Count, error) {
	var n jobs.Count
	err := s.pool.QueryRow(ctx, `SELECT count(*) FROM (SELECT FROM warren.jobs WHERE state = 'dead' LIMIT $1) x`, jobs.CountCap+1).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count dead jobs: %w", err)
	}
	return n, nil
}
