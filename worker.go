package warren

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/kinds"
	"github.com/warrenjobs/warren/jobs/tasks"
)

func (c *Client) newWorker() *engine.Worker {
	return &engine.Worker{Store: c.store, Consumer: c.broker, Registry: c.registry, OpenSession: c.session(RoleWorker),
		Deployment: c.broker.Deployment, Queues: c.cfg.Queues.names(), QueueConfigs: c.cfg.Queues.shares(),
		Concurrency: c.cfg.Concurrency, Prefetch: c.cfg.Prefetch, Events: c.events(),
		StopGrace: c.cfg.StopGrace, Announce: c.announcer.Announce, ReportHealth: c.reportHealth, Log: c.log}
}

// events makes the worker receive the events of the subscribers, if there are any.
func (c *Client) events() *engine.Events {
	if len(c.cfg.Subscribers) == 0 {
		return nil
	}
	receives := &engine.Events{Store: c.store, Broker: c.broker, Bound: c.bound}
	for _, s := range c.cfg.Subscribers {
		receives.Subscribers = append(receives.Subscribers, engine.Subscriber{Name: s.Name(),
			Exchange: s.Exchange(), Patterns: s.Patterns()})
	}
	return receives
}

func (c *Client) runWorker(ctx context.Context) error {
	var loops sync.WaitGroup
	loops.Go(func() { c.watchExternal(ctx) })
	loops.Go(func() { c.indexFirst(ctx) })
	defer loops.Wait()
	return c.worker.Load().Run(ctx)
}

// bound is called when the queue of a subscriber was bound.
func (c *Client) bound(subscriber string) {
	if subscriber != tasks.Search {
		return
	}
	select {
	case c.indexing <- struct{}{}:
	default:
	}
}

// indexFirst has the index of tasks built when its subscriber is bound, unless it was before: tasks
// may be older than the first worker.
func (c *Client) indexFirst(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-c.indexing:
	}
	ctx, done := context.WithCancel(ctx)
	defer done()
	c.repeat(ctx, time.Second, "have the index of tasks built", func(ctx context.Context) error {
		err := c.store.StartFirstIndex(ctx, kinds.NewReindex())
		if err == nil {
			done()
		}
		return err
	})
}

// externalLooks is how often a worker looks whether its queues are marked as external.
const externalLooks = time.Minute

// watchExternal says in the log, once each, which queues of this worker other programs work, too.
func (c *Client) watchExternal(ctx context.Context) {
	said := map[string]bool{}
	c.repeat(ctx, externalLooks, "look for external queues", func(ctx context.Context) error {
		external, err := c.store.ExternalQueues(ctx)
		for _, q := range c.cfg.Queues.names() {
			if now := slices.Contains(external, q); err == nil && now != said[q] {
				if said[q] = now; now {
					c.log.Warn("this worker consumes a queue that is marked as external: the broker gives each job to it or to a worker "+
						"of another program", "queue", q)
				}
			}
		}
		return err
	})
}

// cancelJob cancels a running job at once when an operator's cancellation is notified; without the
// notification the worker finds it within 2 s.
func (c *Client) cancelJob(ctx context.Context, id string) {
	w := c.worker.Load()
	if id, err := uuid.Parse(id); err == nil && w != nil {
		w.CancelJob(ctx, id)
	}
}
