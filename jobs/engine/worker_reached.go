package engine

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// reachedEvery is how often a worker records how far it is with its queues.
const reachedEvery = 5 * time.Second

// highWater holds, by queue, the newest first delivery that was claimed. Safe for concurrent use.
type highWater struct {
	mu     sync.Mutex
	newest map[string]Delivery
}

// add records a delivery. A redelivery is ignored: it is no evidence about the messages behind it.
func (h *highWater) add(in Delivery) {
	if in.Redelivered {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.newest == nil {
		h.newest = map[string]Delivery{}
	}
	h.newest[in.Queue] = Delivery{JobID: in.JobID, Dispatch: in.Dispatch, Queue: in.Queue}
}

// take returns what was added since the last call.
func (h *highWater) take() []Delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	newest := h.newest
	h.newest = nil
	return slices.Collect(maps.Values(newest))
}

// saveReached writes the newest deliveries for the reconciler, so that the claims themselves need not.
func (w *Worker) saveReached(ctx context.Context) {
	every(ctx, reachedEvery, w.Log, "worker: note how far its queues are", func(ctx context.Context) error {
		if newest := w.reached.take(); len(newest) > 0 {
			return w.Store.SaveReached(ctx, newest)
		}
		return nil
	})
}
