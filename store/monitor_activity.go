package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs/monitor"
)

// SampleActivity implements monitor.ActivityStore. It counts each row once, by an index range of
// the time since the last sample, and only up to 2 s ago, so that rows that commit late are still
// counted. Ages leave out paused queues, where jobs wait because somebody wants them to.
func (s *Store) SampleActivity(ctx context.Context, keep time.Duration) error {
	queues, err := s.oldestQueued(ctx)
	if err != nil {
		return fmt.Errorf("count what was done: %w", err)
	}
	from, err := s.outboxFrom(ctx, 0)
	if err != nil {
		return fmt.Errorf("count what was done: %w", err)
	}
	_, err = s.pool.Exec(ctx, `
		WITH span AS (
			SELECT greatest((SELECT max(at) FROM warren.activity), clock_timestamp() - interval '1 minute') AS since,
				clock_timestamp() - interval '2 seconds' AS until
		), old AS (
			DELETE FROM warren.activity WHERE at < now() - $2::interval
		)
		INSERT INTO warren.activity (at, seconds, completed, failed, redelivered, outbox_waiting, outbox_age, oldest_queued)
		SELECT until, extract(epoch FROM until - since),
			(SELECT count(*) FROM warren.jobs WHERE state IN ('completed', 'dead', 'cancelled') AND state = 'completed'
				AND finished_at > since AND finished_at <= until),
			(SELECT count(*) FROM warren.attempts WHERE finished_at > since AND finished_at <= until AND outcome IN ('failed', 'crashed')),
			(SELECT count(*) FROM warren.deliveries WHERE redelivered AND at > since AND at <= until),
			waits.n, waits.age,
			coalesce((SELECT extract(epoch FROM clock_timestamp() - min(since)) FROM unnest($3::text[], $4::timestamptz[]) w (queue, since)
				WHERE queue NOT IN (SELECT name FROM warren.job_queues WHERE paused_at IS NOT NULL)), 0)
		FROM span, (
			SELECT count(*) AS n, greatest(coalesce(`+outboxAge+`, 0), 0) AS age FROM (`+outboxWaiting+`) oldest
		) waits
		WHERE until > since
		ON CONFLICT DO NOTHING`, from, keep, column(queues, func(q queueWait) string { return q.queue }),
		column(queues, func(q queueWait) *time.Time { return q.since }))
	if err != nil {
		return fmt.Errorf("count what was done: %w", err)
	}
	return nil
}

// OldestWaiting returns, by queue, when the job that has waited longest there was queued.
func (s *Store) OldestWaiting(ctx context.Context) (map[string]time.Time, error) {
	queues, err := s.oldestQueued(ctx)
	if err != nil {
		return nil, err
	}
	oldest := map[string]time.Time{}
	for _, q := range queues {
		if q.since != nil {
			oldest[q.queue] = *q.since
		}
	}
	return oldest, nil
}

// Activity reads the moments between a minute before from and to, oldest first. Those of a step of a
// series of that time are one, with the last ages.
func (s *Store) Activity(ctx context.Context, from, to time.Time) ([]monitor.Moment, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.pool.Query(ctx, `
		SELECT max(at), sum(seconds), sum(completed)::bigint, sum(failed)::bigint, sum(redelivered)::bigint,
			(array_agg(outbox_waiting ORDER BY at DESC))[1], (array_agg(outbox_age ORDER BY at DESC))[1],
			(array_agg(oldest_queued ORDER BY at DESC))[1]
		FROM warren.activity WHERE at > $1::timestamptz - interval '1 minute' AND at <= $2
		GROUP BY date_bin($3::interval, at, '0001-01-01Z') ORDER BY 1 LIMIT 1000`, from, to, monitor.Step(from, to))
	if err != nil {
		return nil, fmt.Errorf("read what was done: %w", err)
	}
	moments, err := pgx.CollectRows(rows, pgx.RowToStructByPos[monitor.Moment])
	if err != nil {
		return nil, fmt.Errorf("read what was done: %w", err)
	}
	return moments, nil
}
