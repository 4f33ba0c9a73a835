package store

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store/internal/rules"
)

// runEnd is one way in which runs end, with the statement for many of them. Each run is fenced on
// (id, state, lease); locked rows are skipped.
type runEnd struct {
	what  string // for errors
	takes func(outcome string) bool
	sql   string
}

// runEnds lists all ways: a result belongs to the first whose takes accepts its outcome.
var runEnds = []runEnd{
	{"release", func(outcome string) bool { return outcome == jobs.AttemptReleased }, endSQL(jobs.EngineRelease, releaseSet, releaseNotes)},
	{"snooze", func(outcome string) bool { return outcome == jobs.AttemptSnoozed }, endSQL(jobs.EngineSnooze, snoozeSet, snoozeNotes)},
	completeEnd,
}

var completeEnd = runEnd{"complete", func(string) bool { return true }, endSQL(jobs.EngineComplete, completeSet, completeNotes)}

// endSQL returns the statement of an action: set changes the row, and notes are the CTEs that
// record what happened to the rows of "moved".
func endSQL(action jobs.Action, set, notes string) string {
	return `
WITH d AS (
	SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::float8[], $6::text[], $7::text[], $8::text[], $9::text[],
		$10::text[])
		AS d(id, lease, state, outcome, wait, output, error, class, stack, progress)
), free AS (
	SELECT id FROM warren.jobs WHERE id = ANY($1) AND state || '' ` + rules.From(action) + ` ORDER BY id FOR UPDATE SKIP LOCKED
), moved AS (
	UPDATE warren.jobs j SET ` + set + `
	FROM d JOIN free USING (id)
	WHERE j.id = d.id AND j.state || '' ` + rules.From(action) + ` AND j.lease = d.lease
	RETURNING j.id, j.lease, j.attempt, j.dispatch, j.worker, j.started_at, j.state, j.queue, j.kind, j.args, j.trace
), ` + notes + `
SELECT id, lease FROM moved`
}

// A completed run leaves no attempt row: the job's own row holds everything. A job whose
// cancellation was requested is not retried.
const (
	completeSet = `
		state = CASE WHEN d.state = 'retrying' AND j.cancel_requested_at IS NOT NULL THEN 'cancelled' ELSE d.state END,
		finished_at = CASE WHEN d.state = 'retrying' AND j.cancel_requested_at IS NULL THEN NULL ELSE clock_timestamp() END,
		run_at = CASE WHEN d.state = 'retrying' THEN clock_timestamp() + d.wait * interval '1 second' ELSE j.run_at END,
		output = coalesce(d.output::json, j.output),
		progress = coalesce(d.progress::json, j.progress),
		last_error = CASE WHEN d.outcome = 'completed' THEN NULL ELSE coalesce(d.error, j.last_error) END`
	completeNotes = `tried AS (
	INSERT INTO warren.attempts (job_id, lease, number, dispatch, worker, started_at, finished_at, outcome, error, error_class, stack)
	SELECT id, lease, attempt, dispatch, coalesce(worker, ''), started_at, clock_timestamp(),
		d.outcome, coalesce(d.error, ''), coalesce(d.class, ''), coalesce(d.stack, '')
	FROM moved JOIN d USING (id, lease) WHERE d.outcome <> 'completed'
)`
)

// A released job is queued with its next dispatch, and the attempt is not counted. A job whose
// cancellation was requested is cancelled instead.
const (
	releaseSet = `
		state = CASE WHEN cancel_requested_at IS NULL THEN 'queued' ELSE 'cancelled' END,
		dispatch = dispatch + CASE WHEN cancel_requested_at IS NULL THEN 1 ELSE 0 END,
		queued_at = clock_timestamp(), max_attempts = max_attempts + 1, progress = NULL,
		finished_at = CASE WHEN cancel_requested_at IS NOT NULL THEN clock_timestamp() END`
	releaseNotes = `sent AS (` + rules.Dispatched + `), tried AS (
	INSERT INTO warren.attempts (job_id, lease, number, dispatch, worker, started_at, finished_at, outcome, error)
	SELECT id, lease, attempt, dispatch - CASE WHEN state = 'queued' THEN 1 ELSE 0 END, coalesce(worker, ''), started_at, clock_timestamp(),
		'released', 'the worker stopped before the job had finished'
	FROM moved
)`
)

// snoozedMax bounds the attempts that are kept of a job that snoozes again and again.
const snoozedMax = "50"

// A snoozed job is scheduled again after its wait, and the attempt is not counted: only the lease
// distinguishes it from the next. A job whose cancellation was requested is cancelled instead.
const (
	snoozeSet = `
		state = CASE WHEN cancel_requested_at IS NULL THEN 'scheduled' ELSE 'cancelled' END,
		finished_at = CASE WHEN cancel_requested_at IS NOT NULL THEN clock_timestamp() END,
		run_at = clock_timestamp() + d.wait * interval '1 second', attempt = attempt - 1,
		output = coalesce(d.output::json, j.output), progress = coalesce(d.progress::json, j.progress)`
	snoozeNotes = `silent AS (
	DELETE FROM warren.attempt_logs l USING moved WHERE l.job_id = moved.id AND l.lease <= moved.lease - ` + snoozedMax + `
), dropped AS (
	DELETE FROM warren.attempts a USING moved WHERE a.job_id = moved.id AND a.lease <= moved.lease - ` + snoozedMax + `
		AND a.outcome = 'snoozed'
), tried AS (
	INSERT INTO warren.attempts (job_id, lease, number, dispatch, worker, started_at, finished_at, outcome, error)
	SELECT id, lease, attempt + 1, dispatch, coalesce(worker, ''), started_at, clock_timestamp(), 'snoozed', coalesce(d.error, '')
	FROM moved JOIN d USING (id, lease)
)`
)

// EndRuns writes the results of runs and returns the outcome of each, in the same order. It waits
// at most 100 ms for a locked row. After an error some results may be written: writing the same
// results again reports them as written and changes nothing.
func (s *Store) EndRuns(ctx context.Context, results []engine.Result) ([]engine.RunOutcome, error) {
	outcomes := make([]engine.RunOutcome, len(results))
	left := make([]int, len(results))
	for i := range left {
		left[i] = i
	}
	for _, end := range runEnds {
		var batch []engine.Result
		var places, others []int
		for _, i := range left {
			if end.takes(results[i].Outcome) {
				batch, places = append(batch, results[i]), append(places, i)
			} else {
				others = append(others, i)
			}
		}
		left = others
		if len(batch) == 0 {
			continue
		}
		ended, err := s.endRuns(ctx, end, batch)
		if err != nil {
			return nil, err
		}
		for n, i := range places {
			outcomes[i] = ended[n]
		}
	}
	return outcomes, nil
}

func (s *Store) endRuns(ctx context.Context, end runEnd, batch []engine.Result) ([]engine.RunOutcome, error) {
	done, err := s.writeEnds(ctx, end, batch)
	if err != nil {
		return nil, err
	}
	outcomes := make([]engine.RunOutcome, len(batch))
	for i, r := range batch {
		if done[leaseOf(r)] {
			continue // written
		}
		if outcomes[i], err = s.endOne(ctx, end, r); err != nil {
			return nil, err
		}
	}
	return outcomes, nil
}

// lease identifies one run: a batch may hold two runs of one job.
type lease struct {
	job    uuid.UUID
	number int
}

func leaseOf(r engine.Result) lease { return lease{r.JobID, r.Lease} }

// writeEnds ends the runs of a batch and returns which of them it has ended.
func (s *Store) writeEnds(ctx context.Context, end runEnd, batch []engine.Result) (map[lease]bool, error) {
	ctx, cancel := brief(ctx)
	defer cancel()
	done := make(map[lease]bool, len(batch))
	if err := s.byIndex(ctx, readLeases(done), end.sql, endArgs(batch)...); err != nil {
		return nil, fmt.Errorf("%s %d jobs: %w", end.what, len(batch), err)
	}
	return done, nil
}

// endArgs returns the parameters of endSQL.
func endArgs(batch []engine.Result) []any {
	n := len(batch)
	ids, leases, states, outcomes, waits := make(uuids, n), make([]int, n), make([]string, n), make([]string, n), make([]float64, n)
	outputs, errs, classes, stacks, progress := make([]*string, n), make([]*string, n), make([]*string, n), make([]*string, n),
		make([]*string, n)
	for i, r := range batch {
		ids[i], leases[i], states[i], outcomes[i], waits[i] = r.JobID, r.Lease, string(r.State), r.Outcome, r.Wait.Seconds()
		outputs[i], progress[i] = textOrNil(string(r.Output)), progressText(r.Progress)
		errs[i], classes[i], stacks[i] = textOrNil(r.Failure.Error), textOrNil(r.Failure.Class), textOrNil(r.Failure.Stack)
	}
	return []any{ids, leases, states, outcomes, waits, outputs, errs, classes, stacks, progress}
}

// readLeases records in done the runs that a statement returns.
func readLeases(done map[lease]bool) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		var l lease
		_, err := pgx.ForEachRow(rows, []any{&l.job, &l.number}, func() error { done[l] = true; return nil })
		return err
	}
}

// endOne handles a run that its batch did not end: its row was locked, the lease is no longer ours,
// or an ambiguous commit had already written the result.
func (s *Store) endOne(ctx context.Context, end runEnd, r engine.Result) (engine.RunOutcome, error) {
	ctx, cancel := brief(ctx)
	defer cancel()
	var row heldJob
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockBriefly); err != nil {
			return err
		}
		var err error
		row, _, err = lockJob(ctx, tx, r.JobID)
		return err
	})
	switch {
	case isCode(err, codeLockNotAvailable):
		return engine.OutcomeHeld, nil // our lease may still be the current one
	case err != nil:
		return engine.OutcomeHeld, fmt.Errorf("end the run of job %s: %w", r.JobID, err)
	case row.Lease != r.Lease:
		return engine.OutcomeLate, nil
	case row.State == r.State, row.State != jobs.Running && r.Outcome == jobs.AttemptReleased: // a release has no state
		return engine.OutcomeWritten, nil
	case row.State == jobs.Cancelled && (r.State == jobs.Retrying || r.State == jobs.Scheduled): // its cancellation was requested
		return engine.OutcomeWritten, nil
	case row.State != jobs.Running:
		return engine.OutcomeLate, nil
	}
	if done, err := s.writeEnds(ctx, end, []engine.Result{r}); err != nil || !done[leaseOf(r)] {
		return engine.OutcomeHeld, err
	}
	return engine.OutcomeWritten, nil
}

// CompletedTx reports for each run whether its job was completed by that very lease.
func (s *Store) CompletedTx(ctx context.Context, runs []engine.Result) ([]bool, error) {
	ctx, cancel := brief(ctx)
	defer cancel()
	ids := make([]uuid.UUID, len(runs))
	for i, r := range runs {
		ids[i] = r.JobID
	}
	rows, err := s.pool.Query(ctx, `SELECT id, lease FROM warren.jobs WHERE id = ANY($1) AND state = 'completed'`, ids)
	if err != nil {
		return nil, fmt.Errorf("look which of %d jobs are completed: %w", len(runs), err)
	}
	done := make(map[lease]bool, len(runs))
	if err := readLeases(done)(rows); err != nil {
		return nil, fmt.Errorf("look which of %d jobs are completed: %w", len(runs), err)
	}
	written := make([]bool, len(runs))
	for i, r := range runs {
		written[i] = done[leaseOf(r)]
	}
	return written, nil
}
