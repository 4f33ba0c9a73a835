package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
)

// RedeliveriesSince counts the redeliveries that workers saw on a job queue since then, up to jobs.CountCap + 1.
func (s *Store) RedeliveriesSince(ctx context.Context, queue string, since time.Time) (n jobs.Count, err error) {
	err = s.pool.QueryRow(ctx, `
		SELECT count(*) FROM (
			SELECT at FROM warren.deliveries WHERE queue = $1 AND redelivered ORDER BY id DESC LIMIT $3
		) newest WHERE at >= $2`, cleanText(queue), since, jobs.CountCap+1).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count the redeliveries of %q: %w", queue, err)
	}
	return n, nil
}

// Redeliveries reads a page of the redeliveries that workers saw on a job queue, newest first, with
// the outcome of each.
func (s *Store) Redeliveries(ctx context.Context, queue string, c jobs.Cursor, limit int) (page jobs.Page[jobs.Redelivery], err error) {
	id, first, err := keyOf[int64](c)
	if err != nil {
		return page, err
	}
	comparison, direction := seek(c, true)
	rows, err := s.pool.Query(ctx, `
		SELECT d.id, d.job_id, coalesce(j.kind, ''), d.dispatch, d.at, nullif(d.from_worker, ''), d.worker, d.delivery_count,
			CASE WHEN d.lease IS NULL OR d.outcome = 'same run' THEN d.outcome
				WHEN a.outcome IS NOT NULL THEN a.outcome
				WHEN j.lease = d.lease THEN j.state
				ELSE d.outcome END
		FROM warren.deliveries d
			LEFT JOIN warren.attempts a ON a.job_id = d.job_id AND a.lease = d.lease
			LEFT JOIN warren.jobs j ON j.id = d.job_id
		WHERE d.queue = $1 AND d.redelivered AND ($2 OR d.id `+comparison+` $3)
		ORDER BY d.id `+direction+` LIMIT $4`, cleanText(queue), first, id, limit+1)
	if err != nil {
		return page, fmt.Errorf("read redeliveries of %q: %w", queue, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[jobs.Redelivery])
	if err != nil {
		return page, fmt.Errorf("read redeliveries of %q: %w", queue, err)
	}
	return pageOf(list, c, limit, func(r jobs.Redelivery) any { return r.ID }), nil
}
