package engine

import (
	"context"

	"github.com/warrenjobs/warren/jobs"
)

// Try runs the handler of the kind once, as a worker does that allows maxAttempts, and
// says what would become of the job. It writes nothing. What the handler put out is
// in the result and in run.Record().LogLines. For tests; package warrentest makes it handy.
func Try(ctx context.Context, k *jobs.Kind, run *jobs.Run, maxAttempts int) Result {
	err := handle(ctx, k, run)
	if err == nil && run.Record().CompletedTx() { // there is a database that knows; here it is taken for committed
		return Result{JobID: run.ID, Lease: run.Lease, State: jobs.Completed, Outcome: jobs.AttemptCompleted,
			Output: run.Record().Output(), Progress: run.Record().Progress()}
	}
	return result(ctx, run, Claim{Attempt: run.Attempt, MaxAttempts: maxAttempts}, err)
}
