package warren

import (
	"context"
	"sync"

	"github.com/warrenjobs/warren/jobs/engine"
)

// runScheduler runs the scheduler, and with it the reconciler, the reports and the janitor.
func (c *Client) runScheduler(ctx context.Context) error {
	scheduler := &engine.Scheduler{Store: c.store, DeadLetters: c.broker, OpenSession: c.session(RoleScheduler),
		Announce: c.announcer.Announce, Log: c.log}
	reconciler := &engine.Reconciler{Store: c.store, Inspect: c.broker.Inspect, ReportsWait: c.broker.ReportsWait, VHost: c.broker.VHost(),
		QueuePrefix: c.broker.Names.QueuePrefix(), Announce: c.announcer.Announce, Log: c.log}
	reports := &engine.Reports{Store: c.store, Results: c.broker, Announce: c.announcer.Announce, Log: c.log}
	janitor := &engine.Janitor{Store: c.store, Retention: *c.cfg.Retention, Log: c.log}
	var loops sync.WaitGroup
	loops.Go(func() { _ = reconciler.Run(ctx) })
	loops.Go(func() { _ = reports.Run(ctx) })
	loops.Go(func() { _ = janitor.Run(ctx) })
	defer loops.Wait()
	return scheduler.Run(ctx)
}
