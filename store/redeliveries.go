package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
)

// Redeliveries reads the newest redeliveries that workers saw on a job queue,
// with what became of each; before is the id to go on from, 0 for the newest.
// next is 0 on the last page.
func (s *Store) Redeliveries(ctx context.Context, queue string, before int64, limit int) (list []jobs.Redelivery, next int64, err error) {
	rows, err := s.pool.Query(ctx, `
		SELECT d.id, d.job_id, d.dispatch, d.at, coalesce(d.from_worker, ''), d.worker, d.delivery_count,
			CASE WHEN d.lease IS NULL OR d.outcome = 'same run' THEN d.outcome
				WHEN a.outcome IS NOT NULL THEN a.outcome
				WHEN j.lease = d.lease THEN j.state
				ELSE d.outcome END
		FROM warren.deliveries d
			LEFT JOIN warren.attempts a ON a.job_id = d.job_id AND a.lease = d.lease
			LEFT JOIN warren.jobs j ON j.id = d.job_id
		WHERE d.queue = $1 AND d.redelivered AND ($2 = 0 OR d.id < $2)
		ORDER BY d.id DESC LIMIT $3`, queue, before, limit+1)
	if err != nil {
		return nil, 0, fmt.Errorf("read redeliveries of %q: %w", queue, err)
	}
	var id, last int64
	var r jobs.Redelivery
	_, err = pgx.ForEachRow(rows, []any{&id, &r.JobID, &r.Dispatch, &r.At, &r.FromWorker, &r.ToWorker, &r.DeliveryCount, &r.Outcome}, func() error {
		if len(list) == limit {
			next = last
			return nil
		}
		list, last = append(list, r), id
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read redeliveries of %q: %w", queue, err)
	}
	return list, next, nil
}
