package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/kinds"
)

func TestWorker_AHandlerCancelsItsJobForAReasonThatIsKept(t *testing.T) {
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

func TestWorker_ASnoozedJobComesBackAndTheAttemptIsNotCounted(t *testing.T) {
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

func TestWorker_ASnoozedJobWaitsAsLongAsItsHandlerSaid(t *testing.T) {
	b := setup(t)
	b.work = func(context.Context, *jobs.Run) error { return jobs.Snooze(time.Hour) }
	b.relay()
	b.worker("w")
	job := b.eventually(b.step(), "snoozed", in(jobs.Scheduled))
	require.WithinDuration(t, job.Attempts[0].FinishedAt.Add(time.Hour), job.RunAt, time.Second)
	require.Nil(t, job.FinishedAt)
}

func TestWorker_AJobThatWasAskedToStopIsNotSnoozed(t *testing.T) {
	b := setup(t)
	started := make(chan struct{})
	b.work = func(ctx context.Context, _ *jobs.Run) error { close(started); <-ctx.Done(); return jobs.Snooze(0) }
	b.relay()
	b.worker("w")
	id := b.step()
	await(b, "the run", started)
	require.NoError(t, b.store.Cancel(b.ctx, id, jobs.Actor{}))
	b.ended(id, jobs.Cancelled)
}

func TestWorker_AJobThatIsSnoozedAgainAndAgainKeepsItsNewestAttempts(t *testing.T) {
	b := setup(t)
	d := b.steps(1)[0]
	session, err := b.opener("w", "worker")(b.ctx)
	require.NoError(t, err)
	for lease := 1; lease <= 60; lease++ {
		b.exec(`UPDATE warren.jobs SET state = 'queued' WHERE id = $1`, d)
		require.NoError(t, session.Renew(b.ctx))
		in := engine.Delivery{JobID: d, Dispatch: 1, Queue: "default"}
		claims, err := b.store.Claim(b.ctx, session.Holder(), []engine.Delivery{in})
		require.NoError(t, err)
		require.Equal(t, 1, claims[in.Key()].Attempt)
		snoozed := engine.Result{JobID: d, Lease: claims[in.Key()].Lease, Outcome: jobs.AttemptSnoozed}
		for range 2 { // once more, as when the answer was lost
			_, err = b.store.EndRuns(b.ctx, []engine.Result{snoozed})
			require.NoError(t, err)
		}
	}
	job := b.job(d)
	require.Len(t, job.Attempts, 50)
	require.Equal(t, 60, job.Attempts[49].Lease)
	require.NoError(t, session.Close(b.ctx))
}

func TestWorker_AHandlerThatEndsItsGoroutineHasFailedAndKeepsNoSlot(t *testing.T) {
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
	require.NoError(t, b.store.RunNow(b.ctx, ids[0], jobs.Actor{}))
	b.ended(ids[0], jobs.Completed)
}

func TestWorker_ARetryComesNoEarlierThanItsErrorAsksFor(t *testing.T) {
	b := setup(t)
	b.work = func(context.Context, *jobs.Run) error {
		return fmt.Errorf("charge: %w", jobs.RetryAfter(errors.New("busy"), time.Hour))
	}
	b.relay()
	b.worker("w")
	began := time.Now()
	job := b.eventually(b.step(), "waits for its retry", in(jobs.Retrying))
	require.Greater(t, job.RunAt.Sub(began), 50*time.Minute)
	require.Equal(t, "charge: busy", job.Attempts[0].Error)
	require.Equal(t, "*errors.errorString", job.Attempts[0].ErrorClass, "the class is that of the error, not of the mark")
}

func TestWorker_APermanentFailureEndsTheJobAtOnce(t *testing.T) {
	b := setup(t)
	b.work = func(context.Context, *jobs.Run) error {
		return fmt.Errorf("charge: %w", jobs.Permanent(&stolen{"4711"}))
	}
	b.relay()
	b.worker("w")
	job := b.ended(b.step(jobs.MaxAttempts(5)), jobs.Dead)
	require.Len(t, job.Attempts, 1)
	require.Equal(t, "charge: card 4711 is stolen", job.Attempts[0].Error)
	require.Equal(t, "*engine_test.stolen", job.Attempts[0].ErrorClass, "the class is that of the error, not of the mark")
	require.NoError(t, jobs.Permanent(nil))
}

type stolen struct{ card string }

func (e *stolen) Error() string { return "card " + e.card + " is stolen" }

func TestWorker_WhatAFailedAttemptPutOutStaysWithTheJob(t *testing.T) {
	b := setup(t)
	b.work = func(_ context.Context, run *jobs.Run) error {
		return errors.Join(run.Output(map[string]int{"attempt": run.Attempt}), errors.New("no"))
	}
	b.relay()
	b.worker("w")
	job := b.ended(b.step(jobs.MaxAttempts(1)), jobs.Dead)
	require.JSONEq(t, `{"attempt":1}`, string(job.Output))
}

// even is a kind with a rule that no schema can express.
type even struct {
	N int `json:"n"`
}

func (even) Kind() string { return "even" }

func (e even) Validate() error {
	switch {
	case e.N < 0:
		return errors.New("counts down")
	case e.N%2 == 1:
		return jobs.FieldErrors{{Field: "n", Message: "must be even"}}
	}
	return nil
}

func TestWorker_AKindsOwnCheckIsAskedAtSubmissionAndBeforeTheRun(t *testing.T) {
	b := setup(t)
	b.kinds(kinds.Config{}, jobs.Handle(func(context.Context, *jobs.Run, even) error { return nil }))
	check := func(args string) error { return b.reg.Check("even", json.RawMessage(args)) }
	require.NoError(t, check(`{"n":2}`))
	require.Equal(t, jobs.FieldErrors{{Field: "args.n", Message: "must be even"}}, check(`{"n":1}`))
	require.Equal(t, jobs.FieldErrors{{Field: "args", Message: "counts down"}}, check(`{"n":-1}`))
	require.Error(t, check(`{"n":1e30}`), "what no Go value takes")

	b.relay()
	b.worker("w")
	job := b.ended(b.enqueue(jobs.New(even{N: 1}))[0], jobs.Dead) // Enqueue does not check the args of a kind
	require.Contains(t, job.Attempts[0].Error, "args.n: must be even")
}

func TestWorker_AnHTTPJobIsTriedAgainUntilItIsDeadAndKeepsTheLastAnswer(t *testing.T) {
	b := setup(t)
	allow, err := kinds.ParseHTTPAllow([]string{"127.0.0.1"})
	require.NoError(t, err)
	b.kinds(kinds.Config{HTTPAllow: allow})
	var calls atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = fmt.Fprintf(w, "call %d", calls.Add(1))
	}))
	t.Cleanup(s.Close)
	b.relay()
	b.worker("w")
	b.scheduler()
	id := b.enqueue(jobs.New(kinds.HTTP{URL: s.URL}, jobs.MaxAttempts(2)))[0]
	b.eventually(id, "retrying", in(jobs.Retrying))
	b.exec(`UPDATE warren.jobs SET run_at = now() WHERE id = $1`, id)
	job := b.ended(id, jobs.Dead)
	require.Len(t, job.Attempts, 2)
	require.Contains(t, *job.LastError, "status 500 Internal Server Error: call 2")
	var got struct {
		Status int
		Body   string
	}
	require.NoError(t, json.Unmarshal(job.Output, &got))
	require.Equal(t, 500, got.Status)
	require.Equal(t, "call 2", got.Body)

	refused := b.ended(b.enqueue(jobs.New(kinds.HTTP{URL: "http://169.254.169.254/latest/meta-data"}))[0], jobs.Dead)
	require.Len(t, refused.Attempts, 1)
	require.Contains(t, *refused.LastError, "not allowed (link-local)")
	require.Equal(t, "*kinds.refusedError", refused.Attempts[0].ErrorClass)
}

func TestWorker_AnExportThatIsTooLargeIsNotTriedAgain(t *testing.T) {
	b := setup(t)
	b.kinds(kinds.Config{Tasks: b.store, Announce: silent})
	b.exec(`INSERT INTO warren.tasks (id, description) SELECT gen_random_uuid(), repeat('x', 2000) FROM generate_series(1, 34000)`)
	b.relay()
	b.worker("w")
	job := b.ended(b.enqueue(jobs.NewJob{Kind: "tasks.export", Args: json.RawMessage(`{}`)})[0], jobs.Dead)
	require.Len(t, job.Attempts, 1)
	require.Contains(t, job.Attempts[0].Error, "larger than 64 MiB: export fewer tasks at once")
}

func TestWorker_AJobWhoseArgsDoNotFitItsKindIsDeadBeforeItRunsAlsoWhenItIsRetried(t *testing.T) {
	b := setup(t)
	var runs atomic.Int32
	b.work = func(context.Context, *jobs.Run) error { runs.Add(1); return nil }
	b.relay()
	b.worker("w")
	id := b.enqueue(jobs.NewJob{Kind: "step", Args: json.RawMessage(`{"text":5}`)})[0]
	dead := func(attempts int) func(jobs.Detail) bool {
		return func(j jobs.Detail) bool { return j.State == jobs.Dead && len(j.Attempts) == attempts }
	}
	job := b.eventually(id, "dead at once", dead(1))
	require.Contains(t, *job.LastError, "args.text")
	require.NoError(t, b.store.Retry(b.ctx, id, jobs.Actor{}))
	b.eventually(id, "dead again", dead(2))
	require.Zero(t, runs.Load())
	b.exec(`UPDATE warren.jobs SET args = '{"text":"now it fits"}' WHERE id = $1`, id)
	require.NoError(t, b.store.Retry(b.ctx, id, jobs.Actor{}))
	b.ended(id, jobs.Completed)
	require.EqualValues(t, 1, runs.Load())
}
