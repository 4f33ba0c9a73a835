package warren

import (
	"context"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs/engine"
)

func (c *Client) newWorker() *engine.Worker {
	return &engine.Worker{Store: c.store, Consumer: c.broker, Registry: c.registry, OpenSession: c.session(RoleWorker),
		Deployment: c.broker.Deployment, Queues: c.cfg.Queues.names(), QueueConfigs: c.cfg.Queues.shares(),
		Concurrency: c.cfg.Concurrency, Prefetch: c.cfg.Prefetch,
		StopGrace: c.cfg.StopGrace, Announce: c.announcer.Announce, ReportHealth: c.reportHealth, Log: c.log}
}

func (c *Client) runWorker(ctx context.Context) error { return c.worker.Load().Run(ctx) }

// cancelJob cancels a running job at once when an operator's cancellation is notified; without the
// notification the worker finds it within 2 s.
func (c *Client) cancelJob(ctx context.Context, id string) {
	w := c.worker.Load()
	if id, err := uuid.Parse(id); err == nil && w != nil {
		w.CancelJob(ctx, id)
	}
}
