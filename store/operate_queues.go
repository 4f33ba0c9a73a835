package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store/internal/rules"
)

// relayable is the condition of every claim of outbox rows: jobs of a queue that is paused, or held
// for a purge, stay. The list of queues is read once per statement and is usually empty.
const relayable = `(job_id IS NULL OR routing_key <> ALL (ARRAY(
	SELECT name FROM warren.job_queues WHERE paused_at IS NOT NULL OR held_until > clock_timestamp())))`

// PauseQueue makes the relays leave the queue's jobs in the outbox until it is resumed. Jobs
// already in the broker are worked all the same. Error: *jobs.NotAllowedError if the queue is
// already paused, or no job and no worker has used it.
func (s *Store) PauseQueue(ctx context.Context, queue string, by jobs.Actor) error {
	known, err := s.KnowsQueue(ctx, queue, "")
	if err != nil {
		return fmt.Errorf("queue.pause of %s: %w", queue, err)
	}
	if !known {
		return &jobs.NotAllowedError{Why: fmt.Sprintf("There is no queue %q: no job was sent to it, and no worker works it.", queue)}
	}
	return s.switchQueue(ctx, queue, by, "queue.pause", `
		INSERT INTO warren.job_queues AS q (name, paused_at, paused_by) VALUES ($1, clock_timestamp(), $2)
		ON CONFLICT (name) DO UPDATE SET paused_at = excluded.paused_at, paused_by = excluded.paused_by WHERE q.paused_at IS NULL`,
		"The queue is paused already.")
}

// KnowsQueue reports whether a queue is in use: a worker has worked it, a job or a task names it, or
// the broker has it, under the name inBroker ("": it is not asked).
func (s *Store) KnowsQueue(ctx context.Context, queue, inBroker string) (known bool, err error) {
	err = s.pool.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM warren.job_queues WHERE name = $1)
		    OR EXISTS (SELECT FROM warren.sessions WHERE $1 = ANY(queues))
		    OR EXISTS (SELECT FROM warren.jobs WHERE queue = $1)
		    OR EXISTS (SELECT FROM warren.broker_queues WHERE name = $2)
		    OR EXISTS (SELECT FROM warren.tasks WHERE job_queue = $1)`, queue, inBroker).Scan(&known)
	if err != nil {
		return false, fmt.Errorf("look for the queue %s: %w", queue, err)
	}
	return known, nil
}

// ResumeQueue makes the relays send the queue's jobs again. Error: *jobs.NotAllowedError if it is
// not paused.
func (s *Store) ResumeQueue(ctx context.Context, queue string, by jobs.Actor) error {
	return s.switchQueue(ctx, queue, by, "queue.resume", `
		UPDATE warren.job_queues SET paused_at = NULL, paused_by = $2 WHERE name = $1 AND paused_at IS NOT NULL`,
		"The queue is not paused.")
}

func (s *Store) switchQueue(ctx context.Context, queue string, by jobs.Actor, action, change, otherwise string) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, change, queue, cleanText(by.Name))
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return &jobs.NotAllowedError{Why: otherwise}
		}
		if err := audit(ctx, tx, by, action, "queue:"+queue, nil); err != nil {
			return err
		}
		return wakeRelay(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("%s of %s: %w", action, queue, err)
	}
	return nil
}

// PausedQueues lists the paused queues, and how many outbox rows wait for each.
func (s *Store) PausedQueues(ctx context.Context) ([]engine.PausedQueue, error) {
	rows, err := s.pool.Query(ctx, `
		WITH paused AS MATERIALIZED (SELECT name, paused_at, paused_by FROM warren.job_queues WHERE paused_at IS NOT NULL ORDER BY name
			LIMIT 100),
			oldest AS (SELECT routing_key FROM warren.outbox WHERE job_id IS NOT NULL AND EXISTS (SELECT FROM paused) ORDER BY id LIMIT $1)
		SELECT name, paused_at, paused_by, (SELECT count(*) FROM oldest WHERE routing_key = name) FROM paused`, jobs.CountCap)
	if err != nil {
		return nil, fmt.Errorf("list the paused queues: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[engine.PausedQueue])
	if err != nil {
		return nil, fmt.Errorf("list the paused queues: %w", err)
	}
	return list, nil
}

// purgeCancels is how many jobs one transaction of a purge cancels.
const purgeCancels = 2000

// CancelQueued implements engine.PurgeStore. It works in small transactions, so that an interrupted
// call keeps what it has done. It skips a job that a worker is claiming.
func (s *Store) CancelQueued(ctx context.Context, purge *engine.Purge, by jobs.Actor) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if err := audit(ctx, tx, by, "queue.purge", "queue:"+purge.Queue, purge); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&purge.At)
	})
	for n := int64(purgeCancels); err == nil && n == purgeCancels; {
		n, err = s.cancelQueued(ctx, *purge)
		purge.Cancelled += int(n)
	}
	if err != nil {
		return fmt.Errorf("cancel the queued jobs, after %d: %w", purge.Cancelled, err)
	}
	return nil
}

func (s *Store) cancelQueued(ctx context.Context, purge engine.Purge) (int64, error) {
	tag, err := s.pool.Exec(ctx, `
		WITH picked AS MATERIALIZED (
			SELECT id FROM warren.jobs WHERE state `+rules.From(jobs.EnginePurge)+` AND queue = $1 AND queued_at <= $2 ORDER BY queued_at
				LIMIT $3 FOR UPDATE SKIP LOCKED
		), gone AS (
			DELETE FROM warren.outbox WHERE id IN (SELECT id FROM warren.outbox WHERE job_id IN (SELECT id
				FROM picked) FOR UPDATE SKIP LOCKED)
		)
		UPDATE warren.jobs j SET state = 'cancelled', operation = $4, cancel_requested_at = clock_timestamp(),
			finished_at = clock_timestamp(),
			last_error = 'its queue was purged'
		FROM picked WHERE j.id = picked.id`, purge.Queue, purge.At, purgeCancels, purge.Operation)
	return tag.RowsAffected(), err
}

// HoldQueue implements engine.PurgeStore. It waits for relays that are sending jobs of the queue,
// whose rows they keep locked.
func (s *Store) HoldQueue(ctx context.Context, queue string, d time.Duration) error {
	_, err := s.pool.Exec(ctx, `
		INSERT INTO warren.job_queues (name, held_until) VALUES ($1, clock_timestamp() + $2::interval)
		ON CONFLICT (name) DO UPDATE SET held_until = excluded.held_until`, queue, d)
	if err == nil {
		_, err = s.pool.Exec(ctx, `SELECT count(*) FROM (SELECT FROM warren.outbox WHERE job_id IS NOT NULL
			AND routing_key = $1 FOR UPDATE) x`, queue)
	}
	if err != nil {
		return fmt.Errorf("hold queue %s: %w", queue, err)
	}
	return nil
}

// DispatchPurged implements engine.PurgeStore.
func (s *Store) DispatchPurged(ctx context.Context, queue string, limit int) ([]uuid.UUID, error) {
	var now time.Time
	if err := s.pool.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&now); err != nil {
		return nil, fmt.Errorf("dispatch purged jobs: %w", err)
	}
	return s.DispatchLost(ctx, engine.Lost{Queue: queue, Before: now, Found: jobs.DriftPurged}, limit)
}

// EndPurge implements engine.PurgeStore.
func (s *Store) EndPurge(ctx context.Context, purge engine.Purge) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE warren.job_queues SET held_until = NULL WHERE name = $1`, purge.Queue)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			UPDATE warren.audit SET details = $3 WHERE target = $1 AND action = 'queue.purge' AND details->>'operation' = $2`,
			"queue:"+purge.Queue, purge.Operation.String(), purge)
		if err != nil {
			return err
		}
		return wakeRelay(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("end the purge of queue %s: %w", purge.Queue, err)
	}
	return nil
}

// LastPurge returns the newest purge of the queue, and how many of its jobs are still cancelled. It
// returns jobs.ErrNotFound if there are none.
func (s *Store) LastPurge(ctx context.Context, queue string) (p engine.Purge, left jobs.Count, err error) {
	err = s.pool.QueryRow(ctx, `SELECT details FROM warren.audit WHERE target = $1 AND action = 'queue.purge' ORDER BY id DESC
		LIMIT 1`, "queue:"+queue).Scan(&p)
	if err == nil {
		err = s.pool.QueryRow(ctx, `SELECT count(*) FROM (SELECT FROM warren.jobs WHERE operation = $1 AND state = 'cancelled' LIMIT $2) x`,
			p.Operation, jobs.CountCap+1).Scan(&left)
	}
	if errors.Is(err, pgx.ErrNoRows) || err == nil && left == 0 {
		err = jobs.ErrNotFound
	}
	if err != nil {
		return p, 0, fmt.Errorf("read the last purge of queue %s: %w", queue, err)
	}
	return p, left, nil
}

// UndoPurge retries the jobs that a purge cancelled and that are still cancelled, at most 10,000
// per call. It skips a job whose unique key is taken. It works in small transactions, so that an
// interrupted call keeps what it has done.
func (s *Store) UndoPurge(ctx context.Context, queue string, operation uuid.UUID, by jobs.Actor) (jobs.BulkResult, error) {
	total := jobs.BulkResult{Left: true}
	var after uuid.UUID
	for total.Left && total.Done+total.Skipped < bulkMost {
		ids, done, err := s.undoBatch(ctx, operation, after)
		if isCode(err, codeUniqueViolation) || isCode(err, codeDeadlock) {
			continue // the next try sees which job holds the key
		}
		if err != nil {
			return total, fmt.Errorf("undo the purge of queue %s, after %d jobs: %w", queue, total.Done, err)
		}
		total.Done += done
		total.Skipped += len(ids) - done
		if total.Left = len(ids) == bulkBatch; total.Left {
			after = ids[bulkBatch-1]
		}
	}
	details := map[string]any{"operation": operation, "done": total.Done, "skipped": total.Skipped}
	return total, s.WriteAudit(ctx, by, "queue.undo", "queue:"+queue, details)
}

func (s *Store) undoBatch(ctx context.Context, operation, after uuid.UUID) (ids []uuid.UUID, done int, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT id FROM warren.jobs WHERE operation = $1 AND state = 'cancelled' AND id > $2 ORDER BY id
				LIMIT $3 FOR UPDATE SKIP LOCKED`,
			operation, after, bulkBatch)
		if err != nil {
			return err
		}
		if ids, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID]); err != nil || len(ids) == 0 {
			return err
		}
		free, err := withFreeKey(ctx, tx, ids)
		if err != nil {
			return err
		}
		done = len(free)
		_, err = tx.Exec(ctx, `WITH moved AS (`+retriedAs(`NULL`)+`) `+rules.Dispatched, free)
		return err
	})
	return ids, done, err
}
