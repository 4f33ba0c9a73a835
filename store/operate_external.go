package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
)

// SetExternal says whether workers of other programs work a queue, and within what time they must
// report. It makes the queue known, so that jobs can be sent to it before any worker has come. A
// change counts from now on, also for the jobs that run. Idempotent.
func (s *Store) SetExternal(ctx context.Context, queue string, set engine.ExternalQueue, by jobs.Actor) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			INSERT INTO warren.job_queues (name, external, report_within_ms) VALUES ($1, $2, $3)
			ON CONFLICT (name) DO UPDATE SET external = excluded.external, report_within_ms = excluded.report_within_ms`,
			queue, set.External, time.Duration(set.ReportWithin).Milliseconds())
		if err != nil {
			return err
		}
		return audit(ctx, tx, by, "queue.external", "queue:"+queue, set)
	})
	if err != nil {
		return fmt.Errorf("set who works the queue %s: %w", queue, err)
	}
	return nil
}

// IsExternal reports whether workers of other programs work the queue.
func (s *Store) IsExternal(ctx context.Context, queue string) (bool, error) {
	external, err := isExternal(ctx, s.pool, queue)
	if err != nil {
		return false, fmt.Errorf("look who works the queue %s: %w", queue, err)
	}
	return external, nil
}

// rowReader is a pool or a transaction.
type rowReader interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// reader is a rowReader that reads several rows, too.
type reader interface {
	rowReader
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func isExternal(ctx context.Context, db rowReader, queue string) (external bool, err error) {
	err = db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM warren.job_queues WHERE name = $1 AND external)`, queue).Scan(&external)
	return external, err
}

// ExternalQueues lists the queues that workers of other programs work, by name.
func (s *Store) ExternalQueues(ctx context.Context) ([]string, error) {
	rows, err := s.pool.Query(ctx, `SELECT name FROM warren.job_queues WHERE external ORDER BY name LIMIT 1000`)
	if err != nil {
		return nil, fmt.Errorf("list the external queues: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list the external queues: %w", err)
	}
	return list, nil
}
