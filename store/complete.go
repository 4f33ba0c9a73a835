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

// completeSQL writes the ends of many runs, each fenced on (id, state, lease),
// and the attempt rows of those that did not complete. A job that was asked to
// stop is not retried.
var completeSQL = `
WITH d AS (
	SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::float8[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[])
		AS d(id, lease, state, outcome, wait, output, error, class, stack, progress)
), free AS (
	SELECT id FROM warren.jobs WHERE id = ANY($1) AND state || '' ` + rules.From(jobs.EngineComplete) + ` ORDER BY id FOR UPDATE SKIP LOCKED
), done AS (
	UPDATE warren.jobs j SET
		state = CASE WHEN d.state = 'retrying' AND j.cancel_requested_at IS NOT NULL THEN 'cancelled' ELSE d.state END,
		finished_at = CASE WHEN d.state = 'retrying' AND j.cancel_requested_at IS NULL THEN NULL ELSE clock_timestamp() END,
		run_at = CASE WHEN d.state = 'retrying' THEN clock_timestamp() + d.wait * interval '1 second' ELSE j.run_at END,
		output = coalesce(d.output::json, j.output),
		progress = coalesce(d.progress::json, j.progress),
		last_error = CASE WHEN d.outcome = 'completed' THEN NULL ELSE coalesce(d.error, j.last_error) END
	FROM d JOIN free USING (id)
	WHERE j.id = d.id AND j.state || '' ` + rules.From(jobs.EngineComplete) + ` AND j.lease = d.lease
	RETURNING j.id, j.lease, j.attempt, j.dispatch, j.worker, j.started_at
), tried AS (
	INSERT INTO warren.attempts (job_id, lease, number, dispatch, worker, started_at, finished_at, outcome, error, error_class, stack)
	SELECT done.id, done.lease, done.attempt, done.dispatch, coalesce(done.worker, ''), done.started_at, clock_timestamp(),
		d.outcome, coalesce(d.error, ''), coalesce(d.class, ''), coalesce(d.stack, '')
	FROM done JOIN d USING (id, lease) WHERE d.outcome <> 'completed'
)
SELECT id, lease FROM done`

// Complete writes the results of runs and says, in the same order, what became
// of each. It does not wait for rows that others hold.
func (s *Store) Complete(ctx context.Context, results []engine.Result) ([]engine.RunOutcome, error) {
	return s.endRuns(ctx, results, s.complete)
}

// endRuns writes the ends of runs by write, which says which it has written and
// passes over rows that others hold, and says what became of each.
func (s *Store) endRuns(ctx context.Context, runs []engine.Result, write writeEnds) ([]engine.RunOutcome, error) {
	done, err := write(ctx, runs)
	if err != nil {
		return nil, err
	}
	endings := make([]engine.RunOutcome, len(runs))
	for i, r := range runs {
		if done[leaseOf(r)] {
			continue // it counts
		}
		if endings[i], err = s.endOne(ctx, r, write); err != nil {
			return nil, err
		}
	}
	return endings, nil
}

type writeEnds func(ctx context.Context, runs []engine.Result) (map[lease]bool, error)

// lease names one run: a batch may hold two of one job.
type lease struct {
	job    uuid.UUID
	number int
}

func leaseOf(r engine.Result) lease { return lease{r.JobID, r.Lease} }

func (s *Store) complete(ctx context.Context, results []engine.Result) (map[lease]bool, error) {
	ctx, cancel := brief(ctx)
	defer cancel()
	n := len(results)
	ids, leases, states, outcomes, waits := make(uuids, n), make([]int, n), make([]string, n), make([]string, n), make([]float64, n)
	outputs, errs, classes, stacks, progress := make([]*string, n), make([]*string, n), make([]*string, n), make([]*string, n), make([]*string, n)
	for i, r := range results {
		ids[i], leases[i], states[i], outcomes[i], waits[i] = r.JobID, r.Lease, string(r.State), r.Outcome, r.Wait.Seconds()
		outputs[i], progress[i] = textOrNil(string(r.Output)), progressText(r.Progress)
		errs[i], classes[i], stacks[i] = textOrNil(r.Failure.Error), textOrNil(r.Failure.Class), textOrNil(r.Failure.Stack)
	}
	done := make(map[lease]bool, n)
	err := s.byIndex(ctx, readLeases(done), completeSQL, ids, leases, states, outcomes, waits, outputs, errs, classes, stacks, progress)
	if err != nil {
		return nil, fmt.Errorf("complete %d jobs: %w", n, err)
	}
	return done, nil
}

// readLeases notes the runs that a statement returns.
func readLeases(done map[lease]bool) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		var l lease
		_, err := pgx.ForEachRow(rows, []any{&l.job, &l.number}, func() error { done[l] = true; return nil })
		return err
	}
}

// endOne tells a skipped (locked) row from one that is no longer ours, and
// from one that an ambiguous commit had already written.
func (s *Store) endOne(ctx context.Context, r engine.Result, write writeEnds) (engine.RunOutcome, error) {
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
		return engine.OutcomeHeld, nil // our lease may still count
	case err != nil:
		return engine.OutcomeHeld, fmt.Errorf("end the run of job %s: %w", r.JobID, err)
	case row.Lease != r.Lease:
		return engine.OutcomeLate, nil
	case row.State == r.State, row.State != jobs.Running && r.State == "": // a release says no state
		return engine.OutcomeWritten, nil
	case row.State == jobs.Cancelled && (r.State == jobs.Retrying || r.State == jobs.Scheduled): // it was asked to stop
		return engine.OutcomeWritten, nil
	case row.State != jobs.Running:
		return engine.OutcomeLate, nil
	}
	if done, err := write(ctx, []engine.Result{r}); err != nil || !done[leaseOf(r)] {
		return engine.OutcomeHeld, err
	}
	return engine.OutcomeWritten, nil
}

// SaveProgress writes progress of runs that still hold their lease. It passes
// over rows that are locked, as by a handler that is about to complete its job.
func (s *Store) SaveProgress(ctx context.Context, updates []engine.ProgressUpdate) error {
	ctx, cancel := brief(ctx)
	defer cancel()
	ids, leases, values := make([]uuid.UUID, len(updates)), make([]int, len(updates)), make([]string, len(updates))
	for i, u := range updates {
		ids[i], leases[i], values[i] = u.JobID, u.Lease, *progressText(&u.Progress)
	}
	_, err := s.pool.Exec(ctx, `
		WITH free AS (
			SELECT id FROM warren.jobs WHERE id = ANY($1) AND state = 'running' ORDER BY id FOR UPDATE SKIP LOCKED
		)
		UPDATE warren.jobs j SET progress = d.value::json
		FROM unnest($1::uuid[], $2::int[], $3::text[]) AS d(id, lease, value) JOIN free USING (id)
		WHERE j.id = d.id AND j.state = 'running' AND j.lease = d.lease`, ids, leases, values)
	if err != nil {
		return fmt.Errorf("save the progress of %d jobs: %w", len(updates), err)
	}
	return nil
}

// Release gives back runs that a stopping worker could not finish: queued with
// the next dispatch, the attempt not counted. A run that is no longer ours is
// left alone. It says what became of each, and does not wait for rows that others hold.
func (s *Store) Release(ctx context.Context, runs []engine.Result) ([]engine.RunOutcome, error) {
	return s.endRuns(ctx, runs, s.release)
}

func (s *Store) release(ctx context.Context, runs []engine.Result) (map[lease]bool, error) {
	ctx, cancel := brief(ctx)
	defer cancel()
	ids, leases := make([]uuid.UUID, len(runs)), make([]int, len(runs))
	for i, r := range runs {
		ids[i], leases[i] = r.JobID, r.Lease
	}
	rows, err := s.pool.Query(ctx, `
		WITH d AS (SELECT * FROM unnest($1::uuid[], $2::int[]) AS d(id, lease)),
		free AS (SELECT id FROM warren.jobs WHERE id = ANY($1) AND state `+rules.From(jobs.EngineRelease)+` ORDER BY id FOR UPDATE SKIP LOCKED),
		moved AS (
			UPDATE warren.jobs j SET state = CASE WHEN cancel_requested_at IS NULL THEN 'queued' ELSE 'cancelled' END,
				dispatch = dispatch + CASE WHEN cancel_requested_at IS NULL THEN 1 ELSE 0 END,
				queued_at = clock_timestamp(), max_attempts = max_attempts + 1, progress = NULL,
				finished_at = CASE WHEN cancel_requested_at IS NOT NULL THEN clock_timestamp() END
			FROM d JOIN free USING (id) WHERE j.id = d.id AND j.state `+rules.From(jobs.EngineRelease)+` AND j.lease = d.lease
			RETURNING j.id, j.dispatch, j.queue, j.kind, j.args, j.state, j.trace, j.lease, j.attempt, j.worker, j.started_at
		), sent AS (`+rules.Dispatched+`), noted AS (
			INSERT INTO warren.attempts (job_id, lease, number, dispatch, worker, started_at, finished_at, outcome, error)
			SELECT id, lease, attempt, dispatch - CASE WHEN state = 'queued' THEN 1 ELSE 0 END, coalesce(worker, ''), started_at, clock_timestamp(),
				'released', 'the worker stopped before the job had finished'
			FROM moved
		)
		SELECT id, lease FROM moved`, ids, leases)
	done := make(map[lease]bool, len(runs))
	if err == nil {
		err = readLeases(done)(rows)
	}
	if err != nil {
		return nil, fmt.Errorf("release %d jobs: %w", len(runs), err)
	}
	return done, nil
}

func textOrNil(s string) *string {
	if s == "" {
		return nil
	}
	s = cleanText(s)
	return &s
}

// CompletedTx says of each run whether its job is completed by that very lease.
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
	var l lease
	if _, err := pgx.ForEachRow(rows, []any{&l.job, &l.number}, func() error { done[l] = true; return nil }); err != nil {
		return nil, fmt.Errorf("look which of %d jobs are completed: %w", len(runs), err)
	}
	written := make([]bool, len(runs))
	for i, r := range runs {
		written[i] = done[leaseOf(r)]
	}
	return written, nil
}
