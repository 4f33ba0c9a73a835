package store

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store/internal/rules"
)

// snoozedMax bounds the attempts that are kept of a job that is put off again and again.
const snoozedMax = 50

// snoozeSQL schedules runs again whose handlers put them off, fenced on (id,
// state, lease). The attempt is not counted: only the lease tells it from the next.
var snoozeSQL = `
WITH d AS (
	SELECT * FROM unnest($1::uuid[], $2::int[], $3::float8[], $4::text[], $5::text[], $6::text[]) AS d(id, lease, wait, output, progress, why)
), free AS (
	SELECT id FROM warren.jobs WHERE id = ANY($1) AND state ` + rules.From(jobs.EngineSnooze) + ` ORDER BY id FOR UPDATE SKIP LOCKED
), moved AS (
	UPDATE warren.jobs j SET state = CASE WHEN cancel_requested_at IS NULL THEN 'scheduled' ELSE 'cancelled' END,
		finished_at = CASE WHEN cancel_requested_at IS NOT NULL THEN clock_timestamp() END,
		run_at = clock_timestamp() + d.wait * interval '1 second', attempt = attempt - 1,
		output = coalesce(d.output::json, j.output), progress = coalesce(d.progress::json, j.progress)
	FROM d JOIN free USING (id)
	WHERE j.id = d.id AND j.state ` + rules.From(jobs.EngineSnooze) + ` AND j.lease = d.lease
	RETURNING j.id, j.lease, j.attempt + 1 AS number, j.dispatch, j.worker, j.started_at, d.why
), silent AS (
	DELETE FROM warren.attempt_logs l USING moved WHERE l.job_id = moved.id AND l.lease <= moved.lease - $7
), dropped AS (
	DELETE FROM warren.attempts a USING moved WHERE a.job_id = moved.id AND a.lease <= moved.lease - $7 AND a.outcome = 'snoozed'
), noted AS (
	INSERT INTO warren.attempts (job_id, lease, number, dispatch, worker, started_at, finished_at, outcome, error)
	SELECT id, lease, number, dispatch, coalesce(worker, ''), started_at, clock_timestamp(), 'snoozed', why FROM moved
)
SELECT id, lease FROM moved`

// Snooze schedules the jobs of runs to come back after Wait. A job that was
// asked to stop is cancelled instead; a run that is no longer ours is left alone.
// It says what became of each, and does not wait for rows that others hold.
func (s *Store) Snooze(ctx context.Context, runs []engine.Result) ([]engine.RunOutcome, error) {
	return s.endRuns(ctx, runs, s.snooze)
}

func (s *Store) snooze(ctx context.Context, runs []engine.Result) (map[lease]bool, error) {
	ctx, cancel := brief(ctx)
	defer cancel()
	n := len(runs)
	ids, leases, waits := make([]uuid.UUID, n), make([]int, n), make([]float64, n)
	outputs, progress, whys := make([]*string, n), make([]*string, n), make([]string, n)
	for i, r := range runs {
		ids[i], leases[i], waits[i] = r.JobID, r.Lease, r.Wait.Seconds()
		outputs[i], progress[i], whys[i] = textOrNil(string(r.Output)), progressText(r.Progress), cleanText(r.Failure.Error)
	}
	done := make(map[lease]bool, n)
	rows, err := s.pool.Query(ctx, snoozeSQL, ids, leases, waits, outputs, progress, whys, snoozedMax)
	if err == nil {
		err = readLeases(done)(rows)
	}
	if err != nil {
		return nil, fmt.Errorf("snooze %d jobs: %w", n, err)
	}
	return done, nil
}
