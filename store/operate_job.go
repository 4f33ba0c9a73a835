package store

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/store/internal/rules"
)

// Retry dispatches an ended job again: same job, next dispatch, one more attempt if it had used
// them all. Errors: jobs.ErrNotFound, *jobs.NotAllowedError, *jobs.KeyTakenError.
func (s *Store) Retry(ctx context.Context, id uuid.UUID, by jobs.Actor) error {
	return s.operate(ctx, id, jobs.ActionRetry, by)
}

// RunNow dispatches a scheduled or retrying job at once. Errors as for Retry.
func (s *Store) RunNow(ctx context.Context, id uuid.UUID, by jobs.Actor) error {
	return s.operate(ctx, id, jobs.ActionRun, by)
}

// Cancel ends a job that has not started, and asks the handler of a running one to stop; the job is
// cancelled when it does. Errors as for Retry.
func (s *Store) Cancel(ctx context.Context, id uuid.UUID, by jobs.Actor) error {
	return s.operate(ctx, id, jobs.ActionCancel, by)
}

// Delete removes a job and its history. Errors as for Retry.
func (s *Store) Delete(ctx context.Context, id uuid.UUID, by jobs.Actor) error {
	return s.operate(ctx, id, jobs.ActionDelete, by)
}

// changes are the statements of the actions on the jobs $1, which are locked and in a state that
// allows the action.
var changes = map[jobs.Action]string{
	jobs.ActionRetry:  `WITH kept AS (` + keepRun + `), moved AS (` + retriedAs(`NULL`) + `) ` + rules.Dispatched,
	jobs.ActionRun:    `WITH moved AS (` + runAs(`operation`) + `) ` + rules.Dispatched,
	jobs.ActionCancel: cancelledAs(`operation`),
	jobs.ActionDelete: deleted,
}

// together are the changes on many jobs that an operation is the name of: $2.
var together = map[jobs.Action]string{
	jobs.ActionRetry:  `WITH kept AS (` + keepRun + `), moved AS (` + retriedAs(`$2`) + `) ` + rules.Dispatched,
	jobs.ActionRun:    `WITH moved AS (` + runAs(`$2`) + `) ` + rules.Dispatched,
	jobs.ActionCancel: cancelledAs(`$2`),
	jobs.ActionDelete: deleted,
}

// stoppable is a running job whose worker can be asked to stop: one of another program cannot, so that
// its job is cancelled at once, and its report will not count. unheard forgets that one is awaited.
const (
	stoppable = `state = 'running' AND worker_id IS NOT NULL`
	unheard   = `DELETE FROM warren.awaited_reports WHERE job_id = ANY($1)`
)

// keepRun goes with retriedAs: a run that completed its job is recorded only on the job's row, which the
// next run overwrites.
const keepRun = `
	INSERT INTO warren.attempts (job_id, lease, number, dispatch, worker, started_at, finished_at, outcome)
	SELECT id, lease, attempt, dispatch, coalesce(worker, ''), started_at, finished_at, 'completed'
	FROM warren.jobs WHERE id = ANY($1) AND state = 'completed' AND started_at IS NOT NULL
	ON CONFLICT DO NOTHING`

func retriedAs(operation string) string {
	return `
		UPDATE warren.jobs SET state = 'queued', dispatch = dispatch + 1, queued_at = clock_timestamp(), run_at = clock_timestamp(),
			max_attempts = greatest(max_attempts, attempt + 1), crashes = 0, finished_at = NULL, cancel_requested_at = NULL,
			progress = NULL, output = NULL, last_error = NULL, operation = ` + operation + `
		WHERE id = ANY($1) RETURNING id, dispatch, queue, kind, args, state, trace`
}

func runAs(operation string) string {
	return `
		UPDATE warren.jobs SET state = 'queued', dispatch = dispatch + 1, queued_at = clock_timestamp(), run_at = clock_timestamp(),
			operation = ` + operation + `
		WHERE id = ANY($1) RETURNING id, dispatch, queue, kind, args, state, trace`
}

func cancelledAs(operation string) string {
	return `
		WITH gone AS (
			DELETE FROM warren.outbox WHERE id IN (SELECT id FROM warren.outbox WHERE job_id = ANY($1) FOR UPDATE SKIP LOCKED)
		), unheard AS (` + unheard + `), stopped AS (
			INSERT INTO warren.attempts (job_id, lease, number, dispatch, worker, started_at, finished_at, outcome, error, error_class)
			SELECT id, lease, attempt, dispatch, coalesce(worker, ''), coalesce(started_at, clock_timestamp()), clock_timestamp(),
				'cancelled', 'cancelled while a worker of another program had it', 'cancelled'
			FROM warren.jobs WHERE id = ANY($1) AND state = 'running' AND worker_id IS NULL
		)
		UPDATE warren.jobs SET cancel_requested_at = clock_timestamp(), operation = ` + operation + `,
			state = CASE WHEN ` + stoppable + ` THEN state ELSE 'cancelled' END,
			finished_at = CASE WHEN ` + stoppable + ` THEN finished_at ELSE clock_timestamp() END
		WHERE id = ANY($1)`
}

const deleted = `
	WITH a AS (DELETE FROM warren.attempts WHERE job_id = ANY($1)), d AS (DELETE FROM warren.deliveries WHERE job_id = ANY($1)),
		r AS (DELETE FROM warren.raw_messages WHERE job_id = ANY($1)), o AS (DELETE FROM warren.outbox WHERE job_id = ANY($1)),
		l AS (DELETE FROM warren.attempt_logs WHERE job_id = ANY($1)), w AS (` + unheard + `),
		e AS (DELETE FROM warren.event_replays WHERE job_id = ANY($1)),
		f AS (DELETE FROM warren.drift WHERE job_id = ANY($1)), trace AS (INSERT INTO warren.deleted_jobs (id) SELECT unnest($1::uuid[])
			ON CONFLICT DO NOTHING)
	DELETE FROM warren.jobs WHERE id = ANY($1)`

// operate performs one action in one transaction: it locks the row, checks the state, makes the
// change and writes the audit row.
func (s *Store) operate(ctx context.Context, id uuid.UUID, action jobs.Action, by jobs.Actor) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		row, found, err := lockJob(ctx, tx, id)
		if err != nil {
			return err
		}
		if !found {
			return jobs.ErrNotFound
		}
		if ok, _ := action.Allowed(row.State); !ok {
			return jobs.NewNotAllowed(action, row.State)
		}
		return carryOut(ctx, tx, action, []uuid.UUID{id}, map[uuid.UUID]jobs.State{id: row.State}, by)
	})
	if isCode(err, codeUniqueViolation) {
		return s.keyTaken(ctx, id)
	}
	if err != nil {
		return fmt.Errorf("%s job %s: %w", action, id, err)
	}
	return nil
}

// carryOut makes the change of an action on locked jobs, notifies the workers that run them, and writes an
// audit row for each; states are from before.
func carryOut(ctx context.Context, tx pgx.Tx, action jobs.Action, ids []uuid.UUID, states map[uuid.UUID]jobs.State, by jobs.Actor) error {
	kinds, err := kindsOf(ctx, tx, ids)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, changes[action], ids); err != nil {
		return err
	}
	for _, id := range ids {
		if action == jobs.ActionCancel {
			if _, err := tx.Exec(ctx, `SELECT pg_notify($1, $2)`, cancelChannel, id.String()); err != nil {
				return err
			}
		}
		err := audit(ctx, tx, by, "job."+string(action), "job:"+id.String(), map[string]any{"state": states[id], "kind": kinds[id]})
		if err != nil {
			return err
		}
	}
	return nil
}

func kindsOf(ctx context.Context, tx pgx.Tx, ids []uuid.UUID) (map[uuid.UUID]string, error) {
	rows, err := tx.Query(ctx, `SELECT id, kind FROM warren.jobs WHERE id = ANY($1)`, ids)
	if err != nil {
		return nil, err
	}
	kinds, id, kind := map[uuid.UUID]string{}, uuid.Nil, ""
	_, err = pgx.ForEachRow(rows, []any{&id, &kind}, func() error {
		kinds[id] = kind
		return nil
	})
	return kinds, err
}

func (s *Store) keyTaken(ctx context.Context, id uuid.UUID) error {
	var key string
	if err := s.pool.QueryRow(ctx, `SELECT coalesce(unique_key, '') FROM warren.jobs WHERE id = $1`, id).Scan(&key); err != nil {
		return fmt.Errorf("read the unique key of job %s: %w", id, err)
	}
	return &jobs.KeyTakenError{Key: key}
}
