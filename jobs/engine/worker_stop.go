package engine

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
)

// CancelJob stops the handler of the job at once if this worker has the run that was asked to stop.
// It asks the database which run that is, and waits at most SessionRenew: the notification of a
// cancel may come late, when the job was retried and runs anew. Safe for concurrent use, also
// before Run.
func (w *Worker) CancelJob(ctx context.Context, id uuid.UUID) {
	ctx, cancel := context.WithTimeout(ctx, SessionRenew)
	defer cancel()
	if session := w.lease.current(); session != nil && w.runs.ofJob(id) {
		w.cancelRequested(ctx, session)
	}
}

// cancelRequested ends the contexts of the runs that were asked to stop. If the
// database does not answer, the next renewal asks again.
func (w *Worker) cancelRequested(ctx context.Context, session Session) {
	runs, err := session.CancelRequested(ctx)
	if err != nil {
		return
	}
	w.runs.cancel(errCancelled, func(active *activeRun) bool { return slices.ContainsFunc(runs, active.is) })
}

// stop takes no more deliveries, gives back those that never started, lets handlers finish for the
// grace time, cancels and gives back the rest, and closes the subscription. A broker that does not
// answer holds up none of it.
func (w *Worker) stop(back context.Context, sub Subscription) {
	var giving sync.WaitGroup
	if sub != nil {
		giving.Go(func() { w.giveBack(sub) })
	}
	w.deciding.Wait() // nothing starts any more after this
	done := make(chan struct{})
	go func() { w.runs.handlers.Wait(); close(done) }()
	if !within(done, w.StopGrace) {
		w.runs.cancelAll(errStopping)
		if !within(done, cancelGrace) {
			w.Log.Warn("worker: handlers ignore the end of their context; their jobs are given back", "jobs", w.abandon(back))
		}
	}
	w.flush()
	if sub != nil {
		_ = sub.Close()
	}
	giving.Wait()
}

// flush waits until every pending result is written, for at most 5 s: then all slots of ended runs
// are free.
func (w *Worker) flush() {
	deadline := time.After(5 * time.Second)
	for !w.runs.empty() {
		select {
		case <-deadline:
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// abandon gives back the jobs of handlers that do not return. Their late results will not count.
func (w *Worker) abandon(ctx context.Context) int {
	left := w.runs.all()
	results := make([]Result, len(left))
	for i, active := range left {
		results[i] = Result{JobID: active.key.JobID, Lease: active.lease, Outcome: jobs.AttemptReleased}
	}
	outcomes, err := w.Store.EndRuns(ctx, results)
	if err != nil {
		w.Log.Warn("worker: release jobs", "error", err)
		return len(left)
	}
	for i, active := range left {
		if outcomes[i] == OutcomeHeld {
			continue // it is recovered once the lease of this process has expired
		}
		w.logAck(active.ack())
		w.runs.remove(active)
	}
	return len(left)
}

func within(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}
