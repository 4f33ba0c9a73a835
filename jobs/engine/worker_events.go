package engine

import (
	"context"
	"errors"
	"sync"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
)

// Subscriber is a name under which a worker receives events: its queue, of the same name, is bound
// to the exchange by the patterns.
type Subscriber struct {
	Name     string
	Exchange string
	Patterns []string
}

// Binding binds the queue of a subscriber to an exchange.
type Binding struct {
	Subscriber, Exchange, Pattern string
}

// EventStore is what a worker with subscribers needs from the database.
type EventStore interface {
	// SaveBindings records the bindings of the subscriber, and returns those that were recorded
	// before and are not wanted any more, until ForgetBindings is called with them.
	SaveBindings(ctx context.Context, s Subscriber) (dropped []Binding, err error)
	ForgetBindings(ctx context.Context, dropped []Binding) error
	// AdoptEvents makes a job of each event, in one transaction, and returns the ids of the new ones.
	// prepare fills in and checks a job.
	AdoptEvents(ctx context.Context, in []Delivery, prepare func(*jobs.NewJob) error) ([]uuid.UUID, error)
}

// EventBroker binds the queues of subscribers.
type EventBroker interface {
	// Bind declares queue and exchange, binds the queue, and removes the dropped bindings. Idempotent.
	Bind(ctx context.Context, s Subscriber, dropped []Binding) error
}

// Events makes a worker receive events.
type Events struct {
	Store       EventStore
	Broker      EventBroker
	Subscribers []Subscriber
	// Bound is called with the name of a subscriber after each time its queue was bound; nil: not.
	Bound func(subscriber string)
}

// bindSubscribers binds the queues of the subscribers, before each subscription: a queue may have
// been deleted, or the broker may have lost its definitions. A subscriber that cannot be bound, as
// its exchange is of another type, does not keep the worker from its other queues.
func (c *consuming) bindSubscribers(ctx context.Context) error {
	if c.Events == nil {
		return nil
	}
	for _, s := range c.Events.Subscribers {
		err := c.Events.bind(ctx, s)
		switch {
		case errors.Is(err, jobs.ErrUnavailable):
			return err
		case err != nil:
			c.Log.Warn("worker: cannot bind the queue of a subscriber", "subscriber", s.Name, "exchange", s.Exchange, "error", err)
		}
	}
	return nil
}

func (e *Events) bind(ctx context.Context, s Subscriber) error {
	dropped, err := e.Store.SaveBindings(ctx, s)
	if err != nil {
		return err
	}
	if err := e.Broker.Bind(ctx, s, dropped); err != nil {
		return err
	}
	if e.Bound != nil {
		e.Bound(s.Name)
	}
	return e.Store.ForgetBindings(ctx, dropped)
}

// eventBatch bounds the events of one transaction.
const eventBatch = 100

// receiving stands between a subscription and the slots: it receives the events, which need no slot,
// and passes the other deliveries on.
type receiving struct {
	Subscription
	worker *Worker
	out    chan Delivery
	later  sync.WaitGroup // events that are tried again
}

// receiving returns sub without its events. prefetch is how many deliveries it may hold. Its events
// go back to the broker once ctx has ended.
func (w *Worker) receiving(ctx context.Context, sub Subscription, prefetch int) Subscription {
	if w.Events == nil {
		return sub
	}
	r := &receiving{Subscription: sub, worker: w, out: make(chan Delivery, prefetch)}
	go r.run(ctx)
	return r
}

// C implements Subscription.
func (r *receiving) C() <-chan Delivery { return r.out }

func (r *receiving) run(ctx context.Context) {
	defer close(r.out)
	defer r.later.Wait()
	pace := r.worker.newPace()
	for in := range r.Subscription.C() {
		if !in.Event {
			r.out <- in
			continue
		}
		pace.wait(ctx)
		batch := append([]Delivery{in}, r.more()...)
		if r.worker.adoptEvents(ctx, batch) == nil {
			continue
		}
		for _, in := range batch { // one by one: one event cannot hold up the others
			r.later.Go(func() { r.worker.receiveEvent(ctx, in) })
		}
	}
}

// more returns the events that are there already.
func (r *receiving) more() (batch []Delivery) {
	for len(batch) < eventBatch-1 {
		select {
		case in, ok := <-r.Subscription.C():
			switch {
			case !ok:
				return batch
			case in.Event:
				batch = append(batch, in)
			default:
				r.out <- in
			}
		default:
			return batch
		}
	}
	return batch
}

// receiveEvent makes a job of an event. If that fails, it is tried again a little later.
func (w *Worker) receiveEvent(ctx context.Context, in Delivery) {
	if err := w.adoptEvents(ctx, []Delivery{in}); err != nil {
		if ctx.Err() == nil {
			w.Log.Warn("worker: receive an event", "queue", in.Queue, "key", in.RoutingKey, "error", err)
		}
		w.lookAgain(ctx, in, storeRetry)
	}
}

// adoptEvents makes jobs of events, all or none, and then acknowledges them.
func (w *Worker) adoptEvents(ctx context.Context, batch []Delivery) error {
	ids, err := w.Events.Store.AdoptEvents(ctx, batch, w.Registry.Prepare)
	if err != nil {
		return err
	}
	announceJobs(w.Log, w.Announce, ids, "worker: received events")
	for _, in := range batch {
		w.logAck(in.Ack())
	}
	return nil
}
