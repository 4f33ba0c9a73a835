package engine

import (
	"context"
	"errors"

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

// receiveEvents makes jobs of events. A batch that fails is tried one by one, so that one event
// cannot hold up the others.
func (w *Worker) receiveEvents(ctx context.Context, batch []Delivery) {
	ids, err := w.Events.Store.AdoptEvents(ctx, batch, w.Registry.Prepare)
	if err != nil && len(batch) > 1 && ctx.Err() == nil {
		for _, in := range batch {
			w.receiveEvents(ctx, []Delivery{in})
		}
		return
	}
	if err != nil {
		w.Log.Warn("worker: receive an event", "queue", batch[0].Queue, "key", batch[0].RoutingKey, "error", err)
		w.lookAgain(ctx, batch[0], storeRetry)
		return
	}
	announceJobs(w.Log, w.Announce, ids, "worker: received events")
	for _, in := range batch {
		w.logAck(in.Ack())
	}
}
