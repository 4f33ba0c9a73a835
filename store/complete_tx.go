package store

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
)

// completeTxSQL ends a run as completeSQL does. It waits for nobody but whoever writes the same row.
// It locks the row until the caller commits: a caller that freezes before must
// not keep the job from others, so its transaction ends with its lease.
const completeTxSQL = `
UPDATE jobs SET state = 'completed', finished_at = clock_timestamp(), last_error = NULL,
	output = coalesce($3::text::json, output), progress = coalesce($4::text::json, progress)
WHERE id = $1 AND state = 'running' AND lease = $2
RETURNING id::text || left(set_config('idle_in_transaction_session_timeout', '` + idleInTransaction + `', true), 0)`

// CompleteTx completes the job of run inside the caller's transaction, in one
// statement: what the handler wrote there and the completion are committed
// together, or neither is, so that the effect happens exactly once. tx is a
// *gorm.DB, a *sql.Tx or a pgx.Tx. What run.Output kept before is the output.
//
// The handler calls it once, as the last statement, commits, and returns nil.
// The error is jobs.ErrStale when the run has been replaced or its job has
// ended: then, as after any error, the caller must roll back. A handler that
// returns nil without having committed has failed its attempt; an error
// returned after the commit changes nothing: the job is completed.
// PostgreSQL's 40P01 and 40001 mean that the transaction should run again.
func CompleteTx(ctx context.Context, tx any, run *jobs.Run) error {
	q, err := querierOf(tx)
	if err != nil {
		return fmt.Errorf("complete job %s: %w", run.ID, err)
	}
	r := run.Completion()
	done, err := q.strings(ctx, completeTxSQL, r.JobID, r.Lease, textOrNil(string(r.Output)), progressText(r.Progress))
	if err != nil {
		return fmt.Errorf("complete job %s: %w", run.ID, err)
	}
	if len(done) == 0 {
		return fmt.Errorf("complete job %s: %w", run.ID, jobs.ErrStale)
	}
	return nil
}

// CompletedTx says of each run whether its job is completed by that very lease.
func (s *Store) CompletedTx(ctx context.Context, runs []jobs.Result) ([]bool, error) {
	ctx, cancel := brief(ctx)
	defer cancel()
	ids := make([]uuid.UUID, len(runs))
	for i, r := range runs {
		ids[i] = r.JobID
	}
	rows, err := s.pool.Query(ctx, `SELECT id, lease FROM jobs WHERE id = ANY($1) AND state = 'completed'`, ids)
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
