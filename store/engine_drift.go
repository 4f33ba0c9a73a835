package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store/internal/rules"
)

// waitingSQL reads what the monitor and the workers know of queues where jobs have waited for a
// while.
const waitingSQL = `
WITH seen AS ( -- the dead-letter queue is always there: a poll that sees nothing of ours may not look
	SELECT EXISTS (SELECT FROM warren.broker_queues WHERE vhost = $1 AND sampled_at > clock_timestamp() - interval '15 seconds') AS watched
)
SELECT old.queue, clock_timestamp(), watched, watched AND q.id IS NULL, q.empty_since, q.sampled_at, r.dispatched_at, coalesce(s.external,
	false),
	NOT EXISTS (SELECT FROM warren.sessions w WHERE old.queue = ANY(w.queues)
		AND (SELECT count(*) FROM warren.jobs j WHERE j.worker_id = w.id AND j.state = 'running') >= w.concurrency)
FROM (SELECT queue FROM unnest($3::text[], $4::timestamptz[]) waits (queue, since) WHERE since < clock_timestamp() - $5::interval
	LIMIT 1000) old CROSS JOIN seen
	LEFT JOIN warren.broker_queues q ON q.vhost = $1 AND q.name = $2 || old.queue
	LEFT JOIN warren.queue_reached r ON r.queue = old.queue
	LEFT JOIN warren.job_queues s ON s.name = old.queue
ORDER BY old.queue`

// WaitingQueues implements engine.ReconcilerStore.
func (s *Store) WaitingQueues(ctx context.Context, vhost, prefix string, age time.Duration) ([]engine.WaitingQueue, error) {
	queues, err := s.oldestQueued(ctx)
	if err != nil {
		return nil, err
	}
	names, since := column(queues, func(q queueWait) string { return q.queue }),
		column(queues, func(q queueWait) *time.Time { return q.since })
	rows, err := s.pool.Query(ctx, waitingSQL, vhost, prefix, names, since, age)
	if err != nil {
		return nil, fmt.Errorf("look for queues where jobs wait: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[engine.WaitingQueue])
	if err != nil {
		return nil, fmt.Errorf("look for queues where jobs wait: %w", err)
	}
	return list, nil
}

// Limits of the reconciler's dispatches.
const (
	lostPerMinute = 30_000 // in the whole deployment
	lostWindow    = 10_000 // oldest jobs of a queue that one statement reads; those in the outbox are among them only while no relay works
	lostAgain     = 10 * time.Minute
)

// lostOnes selects the jobs j of a queue that were dispatched before a time and are not in the outbox,
// among its oldest $1.
func lostOnes(queue, before, more string) string {
	return `
	FROM (
		SELECT id FROM warren.jobs
		WHERE state ` + rules.From(jobs.EngineRedispatch) + ` AND queue = ` + queue + ` AND queued_at < ` + before + `
			ORDER BY queued_at LIMIT $1
	) oldest JOIN warren.jobs j USING (id) ` + more + `
	WHERE j.state ` + rules.From(jobs.EngineRedispatch) + ` AND j.queued_at < ` + before + ` AND NOT EXISTS (SELECT FROM warren.outbox o
		WHERE o.job_id = j.id AND o.dispatch = j.dispatch)`
}

// repairs are the number and the time of a job's repairs since it last started.
const repairs = `CROSS JOIN LATERAL (
		SELECT count(*) AS times, max(at) AS last FROM warren.drift d WHERE d.job_id = j.id AND d.found <> 'holder'
			AND d.at > coalesce(j.started_at, '-infinity')
	) d`

// DispatchLost dispatches again up to limit of the jobs that lost describes, oldest first, records
// each and returns their ids. After a repair a job waits 10 minutes for the next one, then 20, 40,
// up to some 10 hours, until it starts. A wrong guess is harmless: the older message becomes stale.
func (s *Store) DispatchLost(ctx context.Context, lost engine.Lost, limit int) ([]uuid.UUID, error) {
	rows, err := s.pool.Query(ctx, `
		WITH picked AS MATERIALIZED (
			SELECT j.id `+lostOnes("$2", "$3", repairs)+`
			AND (d.times = 0 OR d.last < now() - $5::interval * power(2, least(d.times, 7) - 1))
			ORDER BY j.queued_at
			LIMIT least($4, greatest($6 - (SELECT count(*) FROM warren.drift WHERE at > now() - interval '1 minute'), 0)) FOR UPDATE OF j
				SKIP LOCKED
		), moved AS (
			UPDATE warren.jobs j SET dispatch = dispatch + 1, queued_at = clock_timestamp()
			FROM picked WHERE j.id = picked.id
			RETURNING j.id, j.dispatch, j.queue, j.kind, j.args, j.state, j.trace
		), noted AS (
			INSERT INTO warren.drift (job_id, queue, dispatch, found) SELECT id, queue, dispatch, $7 FROM moved
		) `+rules.Dispatched, lostWindow, lost.Queue, lost.Before, limit, lostAgain, lostPerMinute, lost.Found)
	if err != nil {
		return nil, fmt.Errorf("dispatch lost jobs: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("dispatch lost jobs: %w", err)
	}
	return ids, nil
}

// SaveReached records how far workers have come in their queues: in holds the newest first delivery
// that they have claimed of each queue. Idempotent.
func (s *Store) SaveReached(ctx context.Context, in []engine.Delivery) error {
	ids, dispatches := column(in, func(d engine.Delivery) uuid.UUID { return d.JobID }),
		column(in, func(d engine.Delivery) int { return d.Dispatch })
	if _, err := s.pool.Exec(ctx, reachedSQL, ids, dispatches); err != nil {
		return fmt.Errorf("note how far the queues are: %w", err)
	}
	return nil
}

// reachedSQL records how far the queues of the dispatches ($1, $2) are.
const reachedSQL = `
		INSERT INTO warren.queue_reached AS r (queue, dispatched_at)
		SELECT queue, max(queued_at) FROM unnest($1::uuid[], $2::int[]) d (id, dispatch) JOIN warren.jobs j ON j.id = d.id
			AND j.dispatch = d.dispatch
		WHERE queued_at IS NOT NULL AND NOT EXISTS ( -- of many workers most have nothing to write
			SELECT FROM warren.queue_reached o WHERE o.queue = j.queue AND o.dispatched_at > j.queued_at - interval '1 second')
		GROUP BY queue ORDER BY queue
		ON CONFLICT (queue) DO UPDATE SET dispatched_at = greatest(r.dispatched_at, excluded.dispatched_at)`

// Drift counts the repairs of the last hour and the jobs that look lost, by what the monitor and
// the workers saw last; for one queue, or for all if queue is "".
func (s *Store) Drift(ctx context.Context, vhost, prefix, queue string) (d engine.DriftStats, err error) {
	err = s.pool.QueryRow(ctx, `
		SELECT count(*) FROM (SELECT FROM warren.drift WHERE at > now() - interval '1 hour' AND ($1 = '' OR queue = $1) LIMIT $2) x`,
		queue, jobs.CountCap+1).Scan(&d.Repaired)
	if err != nil {
		return d, fmt.Errorf("count the repaired jobs: %w", err)
	}
	list, err := s.WaitingQueues(ctx, vhost, prefix, engine.ReconcileMargin)
	if err != nil {
		return d, err
	}
	var queues []string
	var before []time.Time
	for _, q := range list {
		if t := q.SuspectBefore(); !t.IsZero() && (queue == "" || q.Queue == queue) {
			queues, before = append(queues, q.Queue), append(before, t)
		}
	}
	if len(queues) == 0 {
		return d, nil
	}
	err = s.pool.QueryRow(ctx, `
		SELECT count(*) FROM (SELECT FROM unnest($3::text[], $4::timestamptz[]) q (queue, before) CROSS JOIN LATERAL (
			SELECT `+lostOnes("q.queue", "q.before", "")+`) lost LIMIT $2) x`,
		lostWindow, engine.SuspectsMax+1, queues, before).Scan(&d.Suspects)
	if err != nil {
		return d, fmt.Errorf("count the jobs that look lost: %w", err)
	}
	return d, nil
}
