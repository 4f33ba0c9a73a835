package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/warrenjobs/warren/jobs"
)

// activeRun is a handler that runs in this process.
type activeRun struct {
	run    *jobs.Run
	lease  int
	span   trace.Span // of the delivery
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when its result is written and its deliveries are acknowledged

	key   DispatchKey
	mu    sync.Mutex
	acks  []Delivery // each delivery of this dispatch: a second message, or the first again on a new session
	acked bool
}

// finished is a run whose result waits to be written.
type finished struct {
	active *activeRun
	result Result
	took   time.Duration
	// written: its handler completed it in its own transaction
	written bool
	again   bool // its row was held when it was to be written before
}

var (
	errStopping  = errors.New("the worker is stopping")
	errCancelled = errors.New("the job was cancelled")
	errExited    = errors.New("the handler ended its goroutine (runtime.Goexit) instead of returning")
	errUnwritten = errors.New("the handler returned without an error, but the transaction of its CompleteTx was not committed")
	errTimeout   = fmt.Errorf("the attempt took longer than its timeout: %w", context.DeadlineExceeded)
)

// exposed says that the broker may have redelivered it to others.
func (a *activeRun) exposed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc(a.acks, func(in Delivery) bool { return in.channel != nil && in.channel.broke.Load() })
}

// ackEarly acknowledges all deliveries of the run, once. On a session that has
// ended that does nothing. The run keeps its place in the limit of its queue.
func (a *activeRun) ackEarly() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.acked {
		return nil
	}
	a.acked = true
	var errs []error
	for _, in := range a.acks {
		errs = append(errs, in.ackEarly())
	}
	return errors.Join(errs...)
}

// ack acknowledges all deliveries of the run, if they are not, and gives up their places.
func (a *activeRun) ack() error {
	err := a.ackEarly()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, in := range a.acks {
		if in.release != nil {
			in.release()
		}
	}
	return err
}

// start runs the handler in a goroutine of its own. The slot is given back when the result is written.
func (w *Worker) start(back context.Context, in Delivery, c Claim) {
	CrashAt(CrashJobClaimed)
	run := &jobs.Run{ID: in.JobID, Kind: c.Kind, Queue: in.Queue, Args: c.Args, Attempt: c.Attempt, Lease: c.Lease}
	ctx, span := traceDelivery(back, in, c)
	ctx, cancel := context.WithCancelCause(ctx)
	active := &activeRun{run: run, lease: c.Lease, span: span, cancel: cancel, done: make(chan struct{}), key: in.Key(), acks: []Delivery{in}}
	w.mu.Lock()
	w.running[active.key] = active
	w.mu.Unlock()
	if active.exposed() {
		w.giveUpExposed()
	}
	w.Log.Info("job started", "job", run.ID, "kind", run.Kind, "queue", run.Queue, "attempt", run.Attempt, "redelivered", in.Redelivered)
	w.runs.Go(func() {
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
	err := handle(handling, kind, run)
	if err != nil && errors.Is(context.Cause(ctx), errTimeout) && !errors.Is(err, errTimeout) {
		err = fmt.Errorf("%w (the handler said: %w)", errTimeout, err)
	}
	endHandle(span, err)
	return err
}

// Numbers of jobs whose kind a worker does not know.
const (
	leftFirst = 2 * time.Second // until the job comes back, doubled each time
	leftMax   = time.Minute
	// UnknownKindFor is for how long it counts that a worker did not know a kind.
	UnknownKindFor = 3 * leftMax
)

// leaveToOthers leaves a job to another worker: during a rolling deployment there may be
// one that has the handler, or it comes later. It costs no attempt.
func (w *Worker) leaveToOthers(ctx context.Context, run *jobs.Run) error {
	if err := w.Store.SaveUnknownKind(ctx, run.Kind, run.Queue, w.holder().Holder().Name); err != nil {
		w.Log.Debug("worker: note that a kind is unknown", "kind", run.Kind, "error", err)
	}
	wait := leftMax
	if before := max(run.Lease-run.Attempt, 0); before < 5 { // the runs that did not count
		wait = leftFirst << before
	}
	return fmt.Errorf("this worker has no handler for the kind %q and leaves the job to others: %w", run.Kind, jobs.Snooze(wait))
}

// result turns what the handler returned into the next state of the job. If the
// handler completes it by itself, it is the state in case that was not committed.
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
		r.State, r.Wait = jobs.Retrying, Backoff(c.Attempt, rand.Float64()*2-1)
		if c.Attempt >= c.MaxAttempts || jobs.IsPermanent(err) {
			r.State = jobs.Dead
		}
	}
	return r
}

func (w *Worker) logEnd(f finished) {
	run, r := f.active.run, f.result
	w.Log.Info("job ended", "job", run.ID, "kind", run.Kind, "attempt", run.Attempt, "outcome", r.Outcome,
		"state", r.State, "took", f.took.Round(time.Millisecond), "error", r.Failure.Error)
}

// complete writes results, all that are there at once, and acknowledges after the commit.
func (w *Worker) complete(back context.Context) {
	pace := w.newPace()
	for {
		select {
		case <-back.Done():
			return
		case first := <-w.results:
			pace.wait(back)
			w.write(back, w.drain([]finished{first}))
		}
	}
}

func (w *Worker) drain(batch []finished) []finished {
	for len(batch) < w.Concurrency {
		select {
		case f := <-w.results:
			batch = append(batch, f)
		default:
			return batch
		}
	}
	return batch
}

// write holds results until the database has them: a lost completion would run the job twice.
func (w *Worker) write(back context.Context, batch []finished) {
	runs := make([]*jobs.Run, len(batch))
	for i, f := range batch {
		runs[i] = f.active.run
	}
	w.saveLogs(back, runs, len(runs)) // before the end that people wait for
	w.findCompleted(back, batch)
	var ends, held, releases, snoozes []finished
	for _, f := range batch {
		switch {
		case f.result.Outcome == jobs.AttemptSnoozed:
			snoozes = append(snoozes, f)
		case f.result.Outcome == jobs.AttemptReleased:
			releases = append(releases, f)
		case !f.written:
			ends = append(ends, f)
		}
	}
	held = append(held, w.end(back, "write results", ends, w.Store.Complete)...)
	held = append(held, w.end(back, "release jobs", releases, w.Store.Release)...)
	held = append(held, w.end(back, "snooze jobs", snoozes, w.Store.Snooze)...)
	w.saveLogs(back, runs, len(runs)) // what failed before, as with a database that was away
	w.finish(without(batch, held))
	for _, f := range held {
		w.writeLater(back, f)
	}
}

// end writes the ends of runs until the database has them, and says whose rows somebody holds.
func (w *Worker) end(
	back context.Context, what string, batch []finished, write func(context.Context, []Result) ([]RunOutcome, error),
) (held []finished) {
	if len(batch) == 0 {
		return nil
	}
	w.until(back, what, func() error {
		held = nil
		endings, err := write(back, resultsOf(batch))
		for i, ending := range endings {
			switch r := batch[i].result; ending {
			case OutcomeLate:
				w.Log.Warn("job ended too late: its lease is no longer held, the result is dropped", "job", r.JobID, "lease", r.Lease)
			case OutcomeHeld:
				held = append(held, batch[i])
			}
		}
		return err
	})
	return held
}

// without lists those of batch that are not held.
func without(batch, held []finished) []finished {
	return slices.DeleteFunc(batch, func(f finished) bool {
		return slices.ContainsFunc(held, func(h finished) bool { return h.active == f.active })
	})
}

// writeLater tries again to write a result whose row somebody holds, as a
// handler does that returned with its transaction open: others do not wait for it.
func (w *Worker) writeLater(back context.Context, f finished) {
	f.again = true
	time.AfterFunc(storeRetry, func() {
		select {
		case w.results <- f:
		case <-back.Done():
		}
	})
}

// rescan finds the runs whose handlers have completed them: whatever such a
// handler returned then, the database has what it did.
func (w *Worker) findCompleted(back context.Context, batch []finished) {
	var own []int
	var runs []Result
	for i, f := range batch {
		if f.active.run.Record().CompletedTx() {
			own, runs = append(own, i), append(runs, f.result)
		}
	}
	if len(own) == 0 {
		return
	}
	w.until(back, "look for results", func() error {
		written, err := w.Store.CompletedTx(back, runs)
		for n, yes := range written {
			f := &batch[own[n]]
			if yes {
				f.written, f.result.State, f.result.Outcome = true, jobs.Completed, jobs.AttemptCompleted
				if f.result.Failure.Error == errUnwritten.Error() {
					f.result.Failure = Failure{}
				}
			}
			if !f.again {
				w.logEnd(*f)
			}
		}
		return err
	})
}

func resultsOf(batch []finished) []Result {
	out := make([]Result, len(batch))
	for i, f := range batch {
		out[i] = f.result
	}
	return out
}

// until tries until it works or the worker has stopped.
func (w *Worker) until(ctx context.Context, what string, try func() error) {
	for {
		err := try()
		if err == nil {
			return
		}
		w.Log.Warn("worker: "+what, "error", err)
		if !sleep(ctx, storeRetry) {
			return
		}
	}
}

// leave acknowledges, forgets the runs and frees their slots.
func (w *Worker) finish(batch []finished) {
	CrashAt(CrashJobWritten)
	ids := make([]string, len(batch))
	for i, f := range batch {
		ids[i] = f.result.JobID.String()
		w.logAck(f.active.ack())
		endDelivery(f.active.span, f.result)
		w.mu.Lock()
		if w.running[f.active.key] == f.active {
			delete(w.running, f.active.key)
		}
		w.mu.Unlock()
		close(f.active.done)
	}
	w.Announce(TopicJobs, ids...)
	for range batch {
		w.slots <- struct{}{}
	}
}
