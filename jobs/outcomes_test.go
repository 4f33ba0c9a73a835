package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
)

func TestAHandlerCancelsItsJobForAReasonThatIsKept(t *testing.T) {
	b := setup(t)
	b.work = func(_ context.Context, run *jobs.Run) error {
		return errors.Join(run.Output("so far"), fmt.Errorf("charge: %w", jobs.Cancel(errors.New("the order was withdrawn"))))
	}
	b.relay()
	b.worker("w")
	job := b.ended(b.step(), jobs.Cancelled)
	require.Len(t, job.Attempts, 1, "it is not tried again")
	require.Equal(t, jobs.AttemptCancelled, job.Attempts[0].Outcome)
	require.Contains(t, job.Attempts[0].Error, "the order was withdrawn")
	require.Contains(t, *job.LastError, "the order was withdrawn")
	require.Equal(t, `"so far"`, string(job.Output))
	require.Nil(t, job.CancelRequestedAt)
	require.ErrorContains(t, jobs.Cancel(nil), "cancelled")
}

func TestASnoozedJobComesBackAndTheAttemptIsNotCounted(t *testing.T) {
	b := setup(t)
	b.work = func(_ context.Context, run *jobs.Run) error {
		if run.Lease < 4 {
			run.Progress(0.5, "half")
			return fmt.Errorf("the bank is closed: %w", jobs.Snooze(0))
		}
		return errors.New("no")
	}
	b.relay()
	b.worker("w")
	b.scheduler()
	job := b.ended(b.step(jobs.MaxAttempts(1)), jobs.Dead)
	require.Equal(t, 1, job.Attempt, "three times snoozed, once failed")
	require.Len(t, job.Attempts, 4)
	for i, a := range job.Attempts {
		require.Equal(t, 1, a.Number)
		require.Equal(t, i+1, a.Lease)
	}
	require.Equal(t, jobs.AttemptSnoozed, job.Attempts[0].Outcome)
	require.Equal(t, "the bank is closed: snoozed for 0s", job.Attempts[0].Error)
	require.Equal(t, jobs.AttemptFailed, job.Attempts[3].Outcome)
}

func TestASnoozedJobWaitsAsLongAsItsHandlerSaid(t *testing.T) {
	b := setup(t)
	b.work = func(context.Context, *jobs.Run) error { return jobs.Snooze(time.Hour) }
	b.relay()
	b.worker("w")
	job := b.eventually(b.step(), "snoozed", in(jobs.Scheduled))
	require.WithinDuration(t, job.Attempts[0].FinishedAt.Add(time.Hour), job.RunAt, time.Second)
	require.Nil(t, job.FinishedAt)
}

func TestAJobThatWasAskedToStopIsNotSnoozed(t *testing.T) {
	b := setup(t)
	started := make(chan struct{})
	b.work = func(ctx context.Context, _ *jobs.Run) error { close(started); <-ctx.Done(); return jobs.Snooze(0) }
	b.relay()
	b.worker("w")
	id := b.step()
	await(b, "the run", started)
	require.NoError(t, b.store.Cancel(b.ctx, id, jobs.By{}))
	b.ended(id, jobs.Cancelled)
}

func TestAJobThatIsSnoozedAgainAndAgainKeepsItsNewestAttempts(t *testing.T) {
	b := setup(t)
	d := b.steps(1)[0]
	session, err := b.opener("w", "worker")(b.ctx)
	require.NoError(t, err)
	for lease := 1; lease <= 60; lease++ {
		b.exec(`UPDATE warren.jobs SET state = 'queued' WHERE id = $1`, d)
		require.NoError(t, session.Renew(b.ctx))
		in := jobs.Incoming{JobID: d, Dispatch: 1, Queue: "default"}
		claims, err := b.store.Claim(b.ctx, session.Holder(), []jobs.Incoming{in})
		require.NoError(t, err)
		require.Equal(t, 1, claims[in.Key()].Attempt)
		snoozed := jobs.Result{JobID: d, Lease: claims[in.Key()].Lease}
		for range 2 { // once more, as when the answer never came
			_, err = b.store.Snooze(b.ctx, []jobs.Result{snoozed})
			require.NoError(t, err)
		}
	}
	job := b.job(d)
	require.Len(t, job.Attempts, 50)
	require.Equal(t, 60, job.Attempts[49].Lease)
	require.NoError(t, session.Close(b.ctx))
}

func TestAHandlerThatEndsItsGoroutineHasFailedAndKeepsNoSlot(t *testing.T) {
	b := setup(t)
	b.work = func(_ context.Context, run *jobs.Run) error {
		if run.Attempt == 1 {
			runtime.Goexit()
		}
		return nil
	}
	b.relay()
	b.worker("w", small)
	ids := b.steps(3)
	for _, id := range ids {
		job := b.eventually(id, "failed", in(jobs.Retrying))
		require.Contains(t, job.Attempts[0].Error, "Goexit")
	}
	require.NoError(t, b.store.RunNow(b.ctx, ids[0], jobs.By{}))
	b.ended(ids[0], jobs.Completed)
}
