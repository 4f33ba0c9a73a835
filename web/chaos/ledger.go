//go:build unix

package main

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// ledger is what must be true in the end, told by the database alone.
type ledger struct{ db *sql.DB }

// newLedger makes the tables of the orders. effects has no unique key, so that a double shows.
func newLedger(ctx context.Context, url string) (ledger, error) {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return ledger{}, fmt.Errorf("open the ledger: %w", err)
	}
	_, err = db.ExecContext(ctx, `
		CREATE TABLE orders (id uuid PRIMARY KEY);
		CREATE TABLE effects (order_id uuid NOT NULL, job_id uuid NOT NULL, lease int NOT NULL, worker text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
		CREATE INDEX ON effects (order_id)`)
	if err != nil {
		return ledger{}, fmt.Errorf("make the ledger: %w", err)
	}
	return ledger{db}, nil
}

// number asks for one number, again and again while the database is away.
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

// await polls until the query gives 0, and returns what is left when d is over.
func (l ledger) await(ctx context.Context, d time.Duration, query string, args ...any) (left int, err error) {
	for deadline := time.Now().Add(d); ; {
		left, err = l.number(ctx, query, args...)
		if err != nil || left == 0 || time.Now().After(deadline) {
			return left, err
		}
		sleep(ctx, 50*time.Millisecond)
	}
}

// balance compares the orders with their effects, and with what the producers were promised.
func (l ledger) balance(ctx context.Context, diary string) (b balance, err error) {
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
		{&b.lost, `SELECT (SELECT count(*) FROM orders o WHERE NOT EXISTS (SELECT FROM effects WHERE order_id = o.id))
			+ (SELECT count(*) FROM unnest($1::text[]::uuid[]) AS kept(id) WHERE NOT EXISTS (SELECT FROM orders o WHERE o.id = kept.id))`, []any{kept}},
		{&b.ghost, `SELECT (SELECT count(*) FROM effects e WHERE NOT EXISTS (SELECT FROM orders WHERE id = e.order_id))
			+ (SELECT count(*) FROM unnest($1::text[]::uuid[]) AS never(id) WHERE EXISTS (SELECT FROM orders o WHERE o.id = never.id))`, []any{never}},
		{&b.duplicated, `SELECT count(*) - count(DISTINCT order_id) FROM effects`, nil},
		{&b.stuck, `SELECT count(*) FROM jobs WHERE ` + unfinished, nil},
		{&b.dead, `SELECT count(*) FROM jobs WHERE state = 'dead'`, nil},
	}
	for _, c := range counts {
		if *c.into, err = l.number(ctx, c.query, c.args...); err != nil {
			return b, err
		}
	}
	return b, nil
}

// absence is a worker that was killed or frozen.
type absence struct {
	worker string
	from   time.Time
	frozen bool
}

// until is when the same worker was away again: what was taken from it then is no matter of this absence.
func (a absence) until(all []absence) time.Time {
	for _, b := range all {
		if b.worker == a.worker && b.from.After(a.from) {
			return b.from
		}
	}
	return a.from.Add(time.Hour)
}

// replaced says after how many seconds each job that the worker had been running
// was started again.
func (l ledger) replaced(ctx context.Context, a absence, until time.Time) ([]float64, error) {
	rows, err := l.db.QueryContext(ctx, `
		SELECT extract(epoch FROM coalesce(CASE WHEN j.lease = a.lease + 1 THEN j.started_at END, next.started_at) - $2)::float8
		FROM attempts a JOIN jobs j ON j.id = a.job_id LEFT JOIN attempts next ON next.job_id = a.job_id AND next.lease = a.lease + 1
		WHERE a.worker = $1 AND a.outcome = 'crashed' AND a.finished_at >= $2 AND a.finished_at < $3`, a.worker, a.from, until)
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
