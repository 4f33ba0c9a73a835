package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/warrenjobs/warren/jobs"
)

var (
	errStopping  = errors.New("the worker is stopping")
	errCancelled = errors.New("the job was cancelled")
	errExited    = errors.New("the handler ended its goroutine (runtime.Goexit) instead of returning")
	errUnwritten = errors.New("the handler returned without an error, but the transaction of its CompleteTx was not committed")
	errTimeout   = fmt.Errorf("the attempt took longer than its timeout: %w", context.DeadlineExceeded)
)

// start runs the handler in a goroutine of its own. The slot is given back when the result is written.
func (w *Worker) start(back context.Context, in Delivery, c Claim) {
	CrashAt(CrashJobClaimed)
	run := &jobs.Run{ID: in.JobID, Kind: c.Kind, Queue: in.Queue, Args: c.Args, Attempt: c.Attempt, Lease: c.Lease}
	ctx, span := traceDelivery(back, in, c)
	ctx, cancel := context.WithCancelCause(ctx)
	active := &activeRun{run: run, lease: c.Lease, span: span, cancel: cancel, done: make(chan struct{}), key: in.Key(),
		acks: []Delivery{in}}
	w.runs.add(active)
	if active.exposed() {
		w.giveUpExposed()
	}
	w.Log.Debug("job started", "job", run.ID, "kind", run.Kind, "queue", run.Queue, "attempt", run.Attempt, "redelivered", in.Redelivered)
	w.runs.handlers.Go(func() {
		defer cancel(nil)
		early := time.AfterFunc(w.EarlyAck, func() { w.logAck(active.ackEarly()) })
		defer early.Stop()
		began, err := time.Now(), errExited
		defer func() { // deferred, as a handler may end its goroutine
			f := finished{active: active, result: result(ctx, run, c, err), took: time.Since(began)}
			if !run.Record().CompletedTx() {
				w.logEnd(f)
			}
			w.results <- f
		}()
		err = w.handle(ctx, run, c)
	})
}

func (w *Worker) handle(ctx context.Context, run *jobs.Run, c Claim) error {
	kind := w.Registry.Lookup(c.Kind)
	if kind == nil || !kind.Handled() {
		return w.leaveToOthers(ctx, run)
	}
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.Timeout, errTimeout)
		defer cancel()
	}
	handling, span := traceHandle(ctx, run)
	err := handle(handling, kind, run, c.Checked)
	if err != nil && errors.Is(context.Cause(ctx), errTimeout) && !errors.Is(err, errTimeout) {
		err = fmt.Errorf("%w (the handler said: %w)", errTimeout, err)
	}
	endHandle(span, err)
	return err
}

// Timing of jobs whose kind a worker does not know.
const (
	leftFirst = 2 * time.Second // until the job comes back, doubled each time
	leftMax   = time.Minute
	// UnknownKindFor is how long it counts that a worker did not know a kind.
	UnknownKindFor = 3 * leftMax
)

// leaveToOthers leaves a job to another worker: during a rolling deployment some worker may have
// the handler, or one that does may start later. It costs no attempt.
func (w *Worker) leaveToOthers(ctx context.Context, run *jobs.Run) error {
	if err := w.Store.SaveUnknownKind(ctx, run.Kind, run.Queue, w.lease.current().Holder().Name); err != nil {
		w.Log.Debug("worker: note that a kind is unknown", "kind", run.Kind, "error", err)
	}
	wait := leftMax
	if before := max(run.Lease-run.Attempt, 0); before < 5 { // the runs that did not count as attempts
		wait = leftFirst << before
	}
	return fmt.Errorf("this worker has no handler for the kind %q and leaves the job to others: %w", run.Kind, jobs.Snooze(wait))
}

// result turns the handler's error into the next state of the job. For a handler that called
// CompleteTx, it is the state that applies if that was not committed.
func result(ctx context.Context, run *jobs.Run, c Claim, err error) Result {
	if err == nil && run.Record().CompletedTx() {
		err = errUnwritten
	}
	r := Result{JobID: run.ID, Lease: c.Lease, Progress: run.Record().Progress()}
	cause := context.Cause(ctx)
	wait, snoozed := jobs.SnoozedFor(err)
	switch {
	case err == nil:
		r.State, r.Outcome, r.Output = jobs.Completed, jobs.AttemptCompleted, run.Record().Output()
	case jobs.IsCancel(err):
		r.State, r.Outcome, r.Failure, r.Output = jobs.Cancelled, jobs.AttemptCancelled, newFailure(err), run.Record().Output()
	case snoozed:
		r.State, r.Outcome, r.Wait, r.Output = jobs.Scheduled, jobs.AttemptSnoozed, wait, run.Record().Output()
		r.Failure.Error = errorText(err)
	case errors.Is(cause, errStopping), errors.Is(cause, jobs.ErrLost):
		r.Outcome = jobs.AttemptReleased
	case errors.Is(cause, errCancelled):
		r.State, r.Outcome, r.Failure = jobs.Cancelled, jobs.AttemptCancelled, Failure{Error: errCancelled.Error(), Class: "cancelled"}
	default:
		r.Failure, r.Outcome, r.Output = newFailure(err), jobs.AttemptFailed, run.Record().Output()
		r.State, r.Wait = jobs.Retrying, max(Backoff(c.Attempt, rand.Float64()*2-1), jobs.RetryAfterOf(err))
		if c.Attempt >= c.MaxAttempts || jobs.IsPermanent(err) {
			r.State = jobs.Dead
		}
	}
	return r
}
