package engine

import (
	"context"

	"github.com/warrenjobs/warren/jobs"
)

// Try runs the handler of the kind once, as a worker would that allows maxAttempts, and returns
// what would become of the job. It writes nothing: output is in the result, log lines are in
// run.Record().LogLines. It is for tests; package warrentest makes it convenient.
func Try(ctx context.Context, k *jobs.Kind, run *jobs.Run, maxAttempts int) Result {
	err := handle(ctx, k, run, 0)
	if err == nil && run.Record().CompletedTx() { // a worker asks the database; here the completion is taken for committed
		return Result{JobID: run.ID, Lease: run.Lease, State: jobs.Completed, Outcome: jobs.AttemptCompleted,
			Output: run.Record().Output(), Progress: run.Record().Progress()}
	}
	return result(ctx, run, Claim{Attempt: run.Attempt, MaxAttempts: maxAttempts}, err)
}
