package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
)

// DemoOrigin marks the jobs of `warren demo`. It is also the app_id of the messages that the demo
// publishes as a foreign program.
const DemoOrigin = "demo"

// DemoWorkers counts the live processes that take jobs of these queues. A killed process does not
// count, because its lock is free.
func (s *Store) DemoWorkers(ctx context.Context, queues []string) (n int, err error) {
	err = s.pool.QueryRow(ctx, `
		SELECT count(*) FROM warren.sessions WHERE queues && $1 AND expires_at > clock_timestamp() AND EXISTS (
			SELECT FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
				AND classid = $2::int::oid AND objid = lock_key::oid)`, queues, sessionLockSpace).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count the workers of the demo: %w", err)
	}
	return n, nil
}

// RemoveDemo deletes the demo's jobs in these queues with their history, in small transactions, and
// the demo's tasks and schedules, and returns the number of deleted jobs. Jobs of other origins stay.
func (s *Store) RemoveDemo(ctx context.Context, queues []string, by jobs.Actor) (total int64, err error) {
	tasks, err := s.DemoTasks(ctx)
	if err != nil {
		return total, err
	}
	for _, id := range tasks {
		if err := s.DeleteTask(ctx, id, by); err != nil && !errors.Is(err, jobs.ErrNotFound) {
			return total, err
		}
	}
	if err := s.removeDemoSchedules(ctx, by); err != nil {
		return total, err
	}
	for {
		n, err := s.removeDemo(ctx, queues)
		if err != nil {
			return total, fmt.Errorf("remove the demo's jobs, after %d: %w", total, err)
		}
		if total += n; n == 0 {
			break
		}
	}
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		return audit(ctx, tx, by, "demo.remove", "demo", map[string]any{"jobs": total, "tasks": len(tasks)})
	})
	return total, err
}

// DemoSchedules lists the schedules of the demo, at most 1,000.
func (s *Store) DemoSchedules(ctx context.Context) ([]uuid.UUID, error) {
	rows, err := s.pool.Query(ctx, `SELECT id FROM warren.schedules WHERE origin = 'demo' ORDER BY id LIMIT 1000`)
	if err != nil {
		return nil, fmt.Errorf("list the schedules of the demo: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("list the schedules of the demo: %w", err)
	}
	return ids, nil
}

func (s *Store) removeDemoSchedules(ctx context.Context, by jobs.Actor) error {
	ids, err := s.DemoSchedules(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := s.DeleteSchedule(ctx, id, by); err != nil && !errors.Is(err, jobs.ErrNotFound) {
			return err
		}
	}
	return nil
}

// DemoTasks lists the tasks of the demo, oldest first, at most 10,000.
func (s *Store) DemoTasks(ctx context.Context) ([]uuid.UUID, error) {
	rows, err := s.pool.Query(ctx, `SELECT id FROM warren.tasks WHERE origin = 'demo' ORDER BY id LIMIT 10000`)
	if err != nil {
		return nil, fmt.Errorf("list the tasks of the demo: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("list the tasks of the demo: %w", err)
	}
	return ids, nil
}

func (s *Store) removeDemo(ctx context.Context, queues []string) (n int64, err error) {
	rows, err := s.pool.Query(ctx, `
		SELECT j.id FROM warren.jobs j WHERE queue = ANY($1) AND (origin = $2 OR kind LIKE 'demo.%' OR origin = 'broker' AND EXISTS (
			SELECT FROM warren.raw_messages r WHERE r.job_id = j.id AND r.properties->>'app_id' = $2))
		LIMIT 1000`, queues, DemoOrigin)
	if err != nil {
		return 0, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	tag, err := s.pool.Exec(ctx, deleted, ids)
	return tag.RowsAffected(), err
}
