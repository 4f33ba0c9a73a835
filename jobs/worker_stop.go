package jobs

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"
)

// renew keeps the session alive, stops jobs that were cancelled, and gives up
// all runs before the session expires.
func (w *Worker) renew(back context.Context) {
	renewed := time.Now()
	for sleep(back, SessionRenew) {
		session := w.holder()
		ctx, cancel := context.WithTimeout(back, SessionRenew)
		err := session.Renew(ctx)
		if err == nil {
			renewed = time.Now()
			if ids, cerr := session.CancelRequested(ctx); cerr == nil {
				for _, id := range ids {
					w.CancelJob(id)
				}
			}
		}
		cancel()
		if err == nil || back.Err() != nil {
			continue
		}
		w.Log.Warn("worker: renew its session", "error", err)
		if errors.Is(err, ErrLost) || time.Since(renewed) > sessionLost {
			w.cancelAll(ErrLost)
			if w.openSession(back, back) == nil {
				renewed = time.Now()
			}
			_ = closeSession(back, session)
		}
	}
}

// CancelJob asks the handler of the job to stop, if this worker runs it.
func (w *Worker) CancelJob(id uuid.UUID) {
	w.mu.Lock()
	active := w.running[id]
	w.mu.Unlock()
	if active != nil {
		active.cancel(errCancelled)
	}
}

func (w *Worker) cancelAll(cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, active := range w.running {
		active.cancel(cause)
	}
}

// stop takes no more, gives back what never started, lets handlers finish for
// the grace time, ends and gives back the rest, and closes the session. A broker
// that does not answer holds up none of it.
func (w *Worker) stop(back context.Context, session Deliveries) {
	var giving sync.WaitGroup
	if session != nil {
		giving.Go(func() { w.giveBack(session) })
	}
	w.settling.Wait() // after it nothing starts any more
	done := make(chan struct{})
	go func() { w.runs.Wait(); close(done) }()
	if !within(done, w.StopGrace) {
		w.cancelAll(errStopping)
		if !within(done, cancelGrace) {
			w.Log.Warn("worker: handlers ignore the end of their context; their jobs are given back", "jobs", w.abandon(back))
		}
	}
	w.flush()
	if session != nil {
		_ = session.Close()
	}
	giving.Wait()
}

// flush waits until every result that was handed in is written: then all slots of ended runs are free.
func (w *Worker) flush() {
	deadline := time.After(5 * time.Second)
	for {
		w.mu.Lock()
		n := len(w.running)
		w.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-deadline:
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// abandon gives back the jobs of handlers that do not return. Their late results will not count.
func (w *Worker) abandon(ctx context.Context) int {
	w.mu.Lock()
	var left []finished
	for id, active := range w.running {
		left = append(left, finished{active: active, result: Result{JobID: id, Lease: active.lease}})
	}
	w.mu.Unlock()
	if err := w.Store.Release(ctx, resultsOf(left)); err != nil {
		w.Log.Warn("worker: release jobs", "error", err)
		return len(left)
	}
	for _, f := range left {
		w.note(f.active.ack())
		w.mu.Lock()
		delete(w.running, f.result.JobID)
		w.mu.Unlock()
	}
	return len(left)
}
