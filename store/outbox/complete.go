package outbox

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/store/internal/rules"
)

// completeTxSQL ends a run as Store.EndRuns does. It waits only for transactions that write the
// same row. It locks the row until the caller commits: a caller that freezes before must not keep
// the job from others, so its transaction ends with its lease.
var completeTxSQL = `
UPDATE warren.jobs SET state = 'completed', finished_at = clock_timestamp(), last_error = NULL,
	output = coalesce($3::text::json, output), progress = coalesce($4::text::json, progress)
WHERE id = $1 AND state ` + rules.From(jobs.EngineComplete) + ` AND lease = $2
RETURNING id::text || left(set_config('idle_in_transaction_session_timeout', '` + rules.IdleInTransaction + `', true), 0)`

// CompleteTx completes the job of run inside the caller's transaction, in one
// statement: what the handler wrote there and the completion are committed
// together, or neither is, so that the effect happens exactly once. What
// run.Output kept before is the output.
//
// The handler calls it once, as the last statement, commits, and returns nil.
// The error is jobs.ErrStale when the run has been replaced or its job has
// ended: then, as after any error, the caller must roll back. A handler that
// returns nil without having committed has failed its attempt; an error
// returned after the commit changes nothing: the job is completed.
// PostgreSQL's 40P01 and 40001 mean that the transaction should run again.
func CompleteTx(ctx context.Context, tx Tx, run *jobs.Run) error {
	record := run.Record()
	record.SetCompletedTx()
	var output, progress *string // nil leaves the column as it is
	if text := string(record.Output()); text != "" {
		output = &text
	}
	if p := record.Progress(); p != nil {
		raw, err := json.Marshal(p)
		if err != nil {
			return fmt.Errorf("complete job %s: write its progress: %w", run.ID, err)
		}
		text := string(raw)
		progress = &text
	}
	done, err := tx.texts(ctx, completeTxSQL, run.ID, run.Lease, output, progress)
	if err != nil {
		return fmt.Errorf("complete job %s: %w", run.ID, err)
	}
	if len(done) == 0 {
		return fmt.Errorf("complete job %s: %w", run.ID, jobs.ErrStale)
	}
	return nil
}
