package engine

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"

	"github.com/warrenjobs/warren/jobs"
)

// runTable holds the runs of this process by dispatch. Safe for concurrent use.
type runTable struct {
	mu       sync.Mutex
	running  map[DispatchKey]*activeRun
	handlers sync.WaitGroup
}

func (t *runTable) add(a *activeRun) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running == nil {
		t.running = map[DispatchKey]*activeRun{}
	}
	t.running[a.key] = a
}

func (t *runTable) remove(a *activeRun) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running[a.key] == a {
		delete(t.running, a.key)
	}
}

// of returns the run of the dispatch, or nil.
func (t *runTable) of(key DispatchKey) *activeRun {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.running[key]
}

func (t *runTable) all() []*activeRun {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Values(t.running))
}

func (t *runTable) empty() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.running) == 0
}

// ofJob reports whether the table has a run of the job.
func (t *runTable) ofJob(id uuid.UUID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key := range t.running {
		if key.JobID == id {
			return true
		}
	}
	return false
}

// has reports whether this process has the run of that very lease.
func (t *runTable) has(r Result) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, active := range t.running {
		if active.is(r) {
			return true
		}
	}
	return false
}

// cancel ends the contexts of the runs that pick selects.
func (t *runTable) cancel(cause error, pick func(*activeRun) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, active := range t.running {
		if pick(active) {
			active.cancel(cause)
		}
	}
}

func (t *runTable) cancelAll(cause error) {
	t.cancel(cause, func(*activeRun) bool { return true })
}

func (t *runTable) cancelExposed(cause error) { t.cancel(cause, (*activeRun).exposed) }

// activeRun is a handler that runs in this process.
type activeRun struct {
	run    *jobs.Run
	lease  int
	span   trace.Span // of the delivery
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when its result is written and its deliveries are acknowledged

	key   DispatchKey
	mu    sync.Mutex
	acks  []Delivery // each delivery of this dispatch: a second message, or the first again on a new subscription
	acked bool
}

// is reports whether r names this run.
func (a *activeRun) is(r Result) bool { return a.key.JobID == r.JobID && a.lease == r.Lease }

// exposed reports whether the broker may have redelivered the run to others.
func (a *activeRun) exposed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc(a.acks, func(in Delivery) bool { return in.channel != nil && in.channel.broke.Load() })
}

// join takes another delivery of the dispatch. It is acknowledged with the run, or at once if the
// run's message is acknowledged already.
func (a *activeRun) join(in Delivery) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.acks = append(a.acks, in)
	if a.acked {
		return in.Ack()
	}
	return nil
}

// ackEarly acknowledges all deliveries of the run, once. It does nothing on a subscription that has
// ended. The run keeps its place in the limit of its queue.
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

// ack acknowledges all deliveries of the run, unless ackEarly has, and frees their places in the limit.
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
