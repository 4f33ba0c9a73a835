package engine

import (
	"context"
	"time"
)

// reachedEvery is how often a worker writes down how far its queues are.
const reachedEvery = 5 * time.Second

// reached remembers the newest first delivery of its queue that was claimed. A
// redelivered one says nothing of those behind it.
func (w *Worker) reached(in Delivery) {
	if in.Redelivered {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.furthest == nil {
		w.furthest = map[string]Delivery{}
	}
	w.furthest[in.Queue] = Delivery{JobID: in.JobID, Dispatch: in.Dispatch, Queue: in.Queue}
}

// saveReached writes it down, for the reconciler: the claims themselves pay nothing for it.
func (w *Worker) saveReached(ctx context.Context) {
	every(ctx, reachedEvery, w.Log, "worker: note how far its queues are", func(ctx context.Context) error {
		w.mu.Lock()
		furthest := w.furthest
		w.furthest = nil
		w.mu.Unlock()
		if len(furthest) == 0 {
			return nil
		}
		list := make([]Delivery, 0, len(furthest))
		for _, in := range furthest {
			list = append(list, in)
		}
		return w.Store.SaveReached(ctx, list)
	})
}
