package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
)

// EnqueueDue moves up to limit scheduled and retrying jobs whose time has come
// into the outbox. Any number of processes may call it at once.
func (s *Store) EnqueueDue(ctx context.Context, limit int) ([]uuid.UUID, error) {
	return s.dispatch(ctx, "enqueue due jobs", `
		SELECT id FROM jobs WHERE state IN ('scheduled', 'retrying') AND run_at <= clock_timestamp()
		ORDER BY run_at LIMIT $1 FOR UPDATE SKIP LOCKED`, limit)
}

// NextDue says in how long the next scheduled or retrying job is due; ok is false when there is none.
func (s *Store) NextDue(ctx context.Context) (in time.Duration, ok bool, err error) {
	var seconds *float64
	err = s.pool.QueryRow(ctx, `
		SELECT extract(epoch FROM min(run_at) - clock_timestamp())::float8 FROM jobs WHERE state IN ('scheduled', 'retrying')`).Scan(&seconds)
	if err != nil || seconds == nil {
		return 0, false, err
	}
	return time.Duration(max(*seconds, 0) * float64(time.Second)), true, nil
}

// DispatchLost dispatches again up to limit queued jobs without outbox row whose
// queue holds nothing and held nothing in two samples, both taken more than 15 s
// after the dispatch: the broker no longer has their message. A wrong guess is
// harmless: the older message becomes stale.
func (s *Store) DispatchLost(ctx context.Context, vhost, prefix string, limit int) ([]uuid.UUID, error) {
	return s.dispatch(ctx, "dispatch lost jobs", `
		SELECT j.id FROM jobs j LEFT JOIN broker_queues q ON q.vhost = $2 AND q.name = $3 || j.queue
		WHERE j.state = 'queued'
			AND CASE WHEN q.id IS NOT NULL
				THEN q.empty_since IS NOT NULL AND greatest(j.queued_at + interval '15 seconds', q.empty_since) < q.sampled_at - interval '6 seconds'
				ELSE j.queued_at < clock_timestamp() - interval '1 minute' -- the queue itself is gone
					AND EXISTS (SELECT FROM health WHERE component = 'broker' AND ok_at > clock_timestamp() - interval '15 seconds') END
			AND NOT EXISTS (SELECT FROM outbox o WHERE o.job_id = j.id)
		ORDER BY j.queued_at LIMIT $1 FOR UPDATE OF j SKIP LOCKED`, limit, vhost, prefix)
}

// dispatch sets queued what the query picks, with the next dispatch and an outbox row.
func (s *Store) dispatch(ctx context.Context, what, pick string, args ...any) ([]uuid.UUID, error) {
	rows, err := s.pool.Query(ctx, `
		WITH picked AS MATERIALIZED (`+pick+`), moved AS (
			UPDATE jobs j SET state = 'queued', dispatch = dispatch + 1, queued_at = clock_timestamp()
			FROM picked WHERE j.id = picked.id
			RETURNING j.id, j.dispatch, j.queue, j.kind, j.args, j.state, j.trace
		) `+dispatched, args...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return ids, nil
}

// DispatchDead answers a dead letter of a job that was never started: the next
// dispatch, if it is still queued with that one. It says whether it did so.
func (s *Store) DispatchDead(ctx context.Context, id uuid.UUID, dispatch int) (bool, error) {
	ids, err := s.dispatch(ctx, "dispatch a dead-lettered job", `
		SELECT id FROM jobs WHERE id = $1 AND dispatch = $2 AND state = 'queued' FOR UPDATE`, id, dispatch)
	return len(ids) > 0, err
}

// Known says whether the job exists, or existed and was deleted, with at least that dispatch.
func (s *Store) Known(ctx context.Context, id uuid.UUID, dispatch int) (bool, error) {
	var known bool
	err := s.pool.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM jobs WHERE id = $1 AND dispatch >= $2)
			OR EXISTS (SELECT FROM audit WHERE target = $3 AND action = 'job.delete')`, id, dispatch, "job:"+id.String()).Scan(&known)
	if err != nil {
		return false, fmt.Errorf("look for job %s: %w", id, err)
	}
	return known, nil
}

// Sweep deletes what is older than its retention, a bounded number in one
// transaction, and says how many rows went. What is done stays done if it is interrupted.
func (s *Store) Sweep(ctx context.Context, keep jobs.Retention) (int64, error) {
	deletes := []struct {
		sql  string
		age  time.Duration
		most int64 // rows at a time
	}{
		{`WITH old AS (SELECT id FROM jobs WHERE state IN ('completed', 'cancelled') AND finished_at < clock_timestamp() - $1::interval ORDER BY finished_at LIMIT $2),
			a AS (DELETE FROM attempts USING old WHERE job_id = old.id), d AS (DELETE FROM deliveries USING old WHERE job_id = old.id),
			l AS (DELETE FROM attempt_logs USING old WHERE job_id = old.id)
			DELETE FROM jobs USING old WHERE jobs.id = old.id`, keep.Finished, 2000},
		{`WITH old AS (SELECT id FROM jobs WHERE state = 'dead' AND finished_at < clock_timestamp() - $1::interval ORDER BY finished_at LIMIT $2),
			a AS (DELETE FROM attempts USING old WHERE job_id = old.id), d AS (DELETE FROM deliveries USING old WHERE job_id = old.id),
			l AS (DELETE FROM attempt_logs USING old WHERE job_id = old.id),
			r AS (DELETE FROM raw_messages USING old WHERE job_id = old.id)
			DELETE FROM jobs USING old WHERE jobs.id = old.id`, keep.Dead, 2000},
		{`DELETE FROM inbox WHERE ctid = ANY(ARRAY(SELECT ctid FROM inbox WHERE handled_at < clock_timestamp() - $1::interval LIMIT $2))`, keep.Inbox, 2000},
		{`DELETE FROM events WHERE id IN (SELECT id FROM events WHERE created_at < clock_timestamp() - $1::interval ORDER BY created_at LIMIT $2)`, keep.Events, 2000},
		{`DELETE FROM files WHERE id IN (SELECT id FROM files WHERE created_at < clock_timestamp() - $1::interval ORDER BY created_at LIMIT $2)`, keep.Files, 20},
		{`DELETE FROM files WHERE id IN (SELECT id FROM files WHERE NOT complete AND created_at < clock_timestamp() - $1::interval ORDER BY created_at LIMIT $2)`, keep.Unfinished, 20},
	}
	var total int64
	for _, d := range deletes {
		for n := d.most; n == d.most; {
			tag, err := s.pool.Exec(ctx, d.sql, d.age, d.most)
			if err != nil {
				return total, fmt.Errorf("sweep old rows: %w", err)
			}
			n = tag.RowsAffected()
			total += n
		}
	}
	return total, nil
}
