package store

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/store/internal/rules"
)

// EnqueueDue moves up to limit scheduled and retrying jobs that are due into the outbox and returns
// their ids. Any number of processes may call it at once.
func (s *Store) EnqueueDue(ctx context.Context, limit int) ([]uuid.UUID, error) {
	return s.dispatch(ctx, "enqueue due jobs", dueSQL, limit)
}

// dueSQL reads only rows that are due: now(), unlike clock_timestamp(), can bound an index scan.
var dueSQL = `
		SELECT id FROM warren.jobs WHERE state ` + rules.From(jobs.EngineDispatch) + ` AND run_at <= now()
		ORDER BY run_at LIMIT $1 FOR UPDATE SKIP LOCKED`

// dispatch queues the jobs that the query picks, each with its next dispatch and an outbox row.
func (s *Store) dispatch(ctx context.Context, what, pick string, args ...any) ([]uuid.UUID, error) {
	rows, err := s.pool.Query(ctx, `
		WITH picked AS MATERIALIZED (`+pick+`), moved AS (
			UPDATE warren.jobs j SET state = 'queued', dispatch = dispatch + 1, queued_at = clock_timestamp()
			FROM picked WHERE j.id = picked.id
			RETURNING j.id, j.dispatch, j.queue, j.kind, j.args, j.state, j.trace
		) `+rules.Dispatched, args...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return ids, nil
}

// DispatchDead handles a dead letter of a job that was never started: it dispatches the job again
// if it is still queued with that dispatch, and reports whether it did. It does not wait for a
// locked row but returns jobs.ErrHeld.
func (s *Store) DispatchDead(ctx context.Context, id uuid.UUID, dispatch int) (bool, error) {
	const what = "dispatch a dead-lettered job"
	queued := ` FROM warren.jobs WHERE id = $1 AND dispatch = $2 AND state ` + rules.From(jobs.EngineRedispatch)
	ids, err := s.dispatch(ctx, what, `SELECT id`+queued+` FOR UPDATE SKIP LOCKED`, id, dispatch)
	if err != nil || len(ids) > 0 {
		return len(ids) > 0, err
	}
	var held bool
	err = s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT`+queued+`)`, id, dispatch).Scan(&held)
	if err == nil && held {
		err = jobs.ErrHeld
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", what, err)
	}
	return false, nil
}

// Known reports whether the job exists with at least that dispatch, or existed and was deleted.
func (s *Store) Known(ctx context.Context, id uuid.UUID, dispatch int) (bool, error) {
	var known bool
	err := s.pool.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM warren.jobs WHERE id = $1 AND dispatch >= $2)
			OR EXISTS (SELECT FROM warren.deleted_jobs WHERE id = $1)`, id, dispatch).Scan(&known)
	if err != nil {
		return false, fmt.Errorf("look for job %s: %w", id, err)
	}
	return known, nil
}
