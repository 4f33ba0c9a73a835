package store

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
)

// Operate carries out an operator's action on several jobs in one transaction, as Retry, RunNow,
// Cancel and Delete do on one, with an audit row for each. It skips the jobs that the action is not
// allowed on, and returns how many of them there were, and why.
func (s *Store) Operate(ctx context.Context, action jobs.Action, ids []uuid.UUID, by jobs.Actor) (result jobs.BulkResult, err error) {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	ids = slices.Compact(ids)
	err = s.inTxAgain(ctx, func(tx pgx.Tx) error {
		result, err = operateAll(ctx, tx, action, ids, by)
		return err
	})
	if err != nil {
		return jobs.BulkResult{}, fmt.Errorf("%s %d jobs: %w", action, len(ids), err)
	}
	return result, nil
}

func operateAll(ctx context.Context, tx pgx.Tx, action jobs.Action, ids []uuid.UUID, by jobs.Actor) (r jobs.BulkResult, err error) {
	states, err := lockJobs(ctx, tx, ids)
	if err != nil {
		return r, err
	}
	r.NotAllowed, r.Gone = map[jobs.State]int{}, len(ids)-len(states)
	var allowed []uuid.UUID
	for _, id := range ids {
		state, found := states[id]
		if ok, _ := action.Allowed(state); ok {
			allowed = append(allowed, id)
		} else if found {
			r.NotAllowed[state]++
		}
	}
	if action == jobs.ActionRetry {
		if allowed, err = withFreeKey(ctx, tx, allowed); err != nil {
			return r, err
		}
	}
	for _, id := range allowed {
		if action == jobs.ActionCancel && states[id] == jobs.Running {
			r.Stopping++
		}
	}
	r.Done, r.Skipped = len(allowed), len(states)-len(allowed)
	return r, carryOut(ctx, tx, action, allowed, states, by)
}

// lockJobs locks the jobs that exist, in the order of their ids, and returns their states.
func lockJobs(ctx context.Context, tx pgx.Tx, ids []uuid.UUID) (map[uuid.UUID]jobs.State, error) {
	rows, err := tx.Query(ctx, `SELECT id, state FROM warren.jobs WHERE id = ANY($1) ORDER BY id FOR UPDATE`, ids)
	if err != nil {
		return nil, err
	}
	states := map[uuid.UUID]jobs.State{}
	var id uuid.UUID
	var state jobs.State
	_, err = pgx.ForEachRow(rows, []any{&id, &state}, func() error {
		states[id] = state
		return nil
	})
	return states, err
}

// inTxAgain is inTx for changes that may take a unique key. If a key is taken at the same moment,
// or two keys deadlock, the transaction is rolled back and tried again: then it sees which job holds
// the key.
func (s *Store) inTxAgain(ctx context.Context, do func(tx pgx.Tx) error) (err error) {
	for range 5 {
		err = s.inTx(ctx, do)
		if !isCode(err, codeUniqueViolation) && !isCode(err, codeDeadlock) {
			break
		}
	}
	return err
}
