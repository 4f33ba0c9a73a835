package store

import (
	"context"
	"fmt"
	"time"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
)

// sweepFor bounds one Sweep: the next one removes the rest.
const sweepFor = 40 * time.Second

// sweepBatch is how many rows one statement removes: it holds its locks for some 100 ms at most.
const sweepBatch = 2000

// sweepJobs removes ended jobs with all their dependent rows, and keeps the ids of cancelled ones,
// whose messages may still be in the broker. now(), unlike clock_timestamp(), can bound an index
// scan. $3 is where the previous batch ended: index entries of removed rows before it are not read
// again.
const sweepJobs = `
	WITH old AS (
		SELECT id, state, finished_at FROM warren.jobs
		WHERE state IN ('completed', 'dead', 'cancelled') AND state = $4 AND finished_at < now() - $1::interval AND finished_at >= $3
		ORDER BY finished_at LIMIT $2 FOR UPDATE SKIP LOCKED
	), a AS (DELETE FROM warren.attempts WHERE job_id = ANY(ARRAY(SELECT id FROM old))), d AS (DELETE FROM warren.deliveries
		WHERE job_id = ANY(ARRAY(SELECT id FROM old))),
		l AS (DELETE FROM warren.attempt_logs WHERE job_id = ANY(ARRAY(SELECT id FROM old))),
		r AS (DELETE FROM warren.raw_messages WHERE job_id = ANY(ARRAY(SELECT id FROM old))),
		e AS (DELETE FROM warren.event_replays WHERE job_id = ANY(ARRAY(SELECT id FROM old))), f AS (DELETE FROM warren.drift
			WHERE job_id = ANY(ARRAY(SELECT id FROM old))),
		trace AS (INSERT INTO warren.deleted_jobs (id) SELECT id FROM old WHERE state = 'cancelled' ON CONFLICT DO NOTHING),
		gone AS (DELETE FROM warren.jobs WHERE id = ANY(ARRAY(SELECT id FROM old)) RETURNING finished_at)
	SELECT count(*), coalesce(max(finished_at), $3) FROM gone`

// sweepRows is a table whose rows are removed by age alone: $1 is the age, $2 the maximum number of
// rows.
type sweepRows struct {
	sql  string
	age  time.Duration
	most int
}

func sweeps(keep engine.Retention) []sweepRows {
	return []sweepRows{
		{`DELETE FROM warren.inbox WHERE ctid = ANY(ARRAY(SELECT ctid FROM warren.inbox WHERE handled_at < now() - $1::interval
			LIMIT $2 FOR UPDATE SKIP LOCKED))`, keep.Inbox, sweepBatch},
		// An event that still waits in the outbox is kept.
		{`DELETE FROM warren.events WHERE id IN (
			SELECT id FROM warren.events e WHERE created_at < now() - $1::interval AND NOT EXISTS (SELECT FROM warren.outbox o
				WHERE o.message_id = e.id AND o.job_id IS NULL)
			ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)`, keep.Events, sweepBatch},
		{`DELETE FROM warren.files WHERE id IN (SELECT id FROM warren.files WHERE created_at < now() - $1::interval ORDER BY created_at
			LIMIT $2 FOR UPDATE SKIP LOCKED)`, keep.Files, 20},
		{`DELETE FROM warren.files WHERE id IN (SELECT id FROM warren.files WHERE NOT complete AND created_at < now() - $1::interval
			ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)`, keep.Unfinished, 20},
		{`DELETE FROM warren.deleted_jobs WHERE id IN (SELECT id FROM warren.deleted_jobs WHERE at < now() - $1::interval ORDER BY at
			LIMIT $2 FOR UPDATE SKIP LOCKED)`, keep.Deleted, sweepBatch},
		// Of each schedule the newest firings are kept, whatever their age.
		{`DELETE FROM warren.schedule_firings WHERE ctid = ANY(ARRAY(
			SELECT f.ctid FROM warren.schedules s CROSS JOIN LATERAL (SELECT planned_at FROM warren.schedule_firings
				WHERE schedule_id = s.id ORDER BY planned_at DESC OFFSET 1000 LIMIT 1) edge
			JOIN warren.schedule_firings f ON f.schedule_id = s.id AND f.planned_at <= edge.planned_at
			WHERE f.fired_at < now() - $1::interval LIMIT $2))`, time.Minute, sweepBatch},
		// Those of open jobs stay, however long their reports take.
		{`DELETE FROM warren.awaited_reports WHERE job_id IN (
			SELECT job_id FROM warren.awaited_reports a WHERE heard_at < now() - $1::interval AND NOT EXISTS (SELECT FROM warren.jobs j
				WHERE j.id = a.job_id AND j.dispatch = a.dispatch AND (j.state = 'queued' OR j.state = 'running' AND j.worker_id IS NULL))
			LIMIT $2 FOR UPDATE SKIP LOCKED)`, keep.Unfinished, sweepBatch},
		// While a group has dead jobs its mark is seen once a day.
		{`WITH seen AS (UPDATE warren.failure_marks SET seen_at = now() WHERE key IN (
				SELECT key FROM warren.failure_marks m WHERE seen_at < now() - interval '1 day' AND ` + markHasJobs + `
				LIMIT $2 FOR UPDATE SKIP LOCKED))
			DELETE FROM warren.failure_marks WHERE key IN (
				SELECT key FROM warren.failure_marks m WHERE seen_at < now() - $1::interval AND NOT ` + markHasJobs + `
				LIMIT $2 FOR UPDATE SKIP LOCKED)`, keep.Marks, sweepBatch},
		// Ids rise with time: the oldest rows have the lowest, and no index on the time is needed.
		{`DELETE FROM warren.audit WHERE id IN (
			SELECT id FROM (SELECT id, at FROM warren.audit ORDER BY id LIMIT $2) oldest WHERE at < now() - $1::interval)`, keep.Audit,
			sweepBatch},
	}
}

// Sweep deletes rows older than their retention, until none is left or its time is over, and
// returns how many it deleted. Each statement is bounded and commits by itself: no lock lasts long,
// and what an interrupted Sweep has deleted stays deleted. Any number of processes may sweep at
// once.
func (s *Store) Sweep(ctx context.Context, keep engine.Retention) (total int64, err error) {
	end := time.Now().Add(sweepFor)
	for _, d := range []struct {
		state jobs.State
		age   time.Duration
	}{{jobs.Completed, keep.Finished}, {jobs.Cancelled, keep.Finished}, {jobs.Dead, keep.Dead}} {
		n, err := s.sweepJobs(ctx, d.state, d.age, end)
		total += n
		if err != nil {
			return total, err
		}
	}
	for _, d := range sweeps(keep) {
		n, err := s.sweepRows(ctx, d, end)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

func (s *Store) sweepJobs(ctx context.Context, state jobs.State, age time.Duration, end time.Time) (total int64, err error) {
	if age == 0 {
		return 0, nil
	}
	var from time.Time
	for n := int64(sweepBatch); n == sweepBatch && time.Now().Before(end); total += n {
		if err := s.pool.QueryRow(ctx, sweepJobs, age, sweepBatch, from, state).Scan(&n, &from); err != nil {
			return total, fmt.Errorf("sweep old jobs: %w", err)
		}
	}
	return total, nil
}

// sweepRows deletes at least one batch, so that no table starves behind the jobs.
func (s *Store) sweepRows(ctx context.Context, d sweepRows, end time.Time) (total int64, err error) {
	for d.age != 0 {
		tag, err := s.pool.Exec(ctx, d.sql, d.age, d.most)
		if err != nil {
			return total, fmt.Errorf("sweep old rows: %w", err)
		}
		total += tag.RowsAffected()
		if tag.RowsAffected() < int64(d.most) || time.Now().After(end) {
			break
		}
	}
	return total, nil
}
