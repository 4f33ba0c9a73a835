package engine

import (
	"context"
	"maps"
	"slices"
)

// Quiet asks the worker to take no new jobs: what was delivered and has not
// started goes back to the broker at once, what runs goes on. It does not wait.
// Idempotent, and safe for concurrent use, also before Run.
func (w *Worker) Quiet() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.resumed != nil {
		return
	}
	w.resumed = make(chan struct{})
	if w.pause != nil {
		w.pause()
	}
}

// Resume undoes Quiet. It does not wait. Idempotent.
func (w *Worker) Resume() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.resumed != nil {
		close(w.resumed)
		w.resumed = nil
	}
}

// taking waits while the worker is quiet. The context that it returns then ends
// with ctx, or when the worker becomes quiet again.
func (w *Worker) taking(ctx context.Context) (context.Context, context.CancelFunc) {
	for {
		w.mu.Lock()
		resumed := w.resumed
		if resumed == nil || ctx.Err() != nil {
			taking, end := context.WithCancel(ctx)
			w.pause = end
			w.mu.Unlock()
			return taking, end
		}
		w.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-resumed:
		}
	}
}

// retire gives back what has not started, and keeps the session open beside its
// successors until what runs is acknowledged.
func (w *Worker) retire(back context.Context, session Subscription) {
	w.giveBack(session)
	w.mu.Lock()
	left := slices.Collect(maps.Values(w.running))
	w.mu.Unlock()
	w.retired.Go(func() {
		defer func() { _ = session.Close() }()
		for _, active := range left {
			select {
			case <-active.done:
			case <-back.Done():
				return
			}
		}
	})
}

// giveBack returns to the broker what was delivered and has not started: others
// get it at once. It ends when the session has, at the latest.
func (w *Worker) giveBack(session Subscription) {
	w.logAck(session.Cancel())
	w.deciding.Wait() // each gives back its own
	for in := range session.C() {
		w.logAck(in.Return())
	}
	for {
		select {
		case in := <-w.again:
			w.logAck(in.Return())
		default:
			return
		}
	}
}
