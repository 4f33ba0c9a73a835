package web

import (
	"context"
	"sync"

	"github.com/warrenjobs/warren/jobs"
)

// runScheduler runs the scheduler, and with it the reconciler and the janitor.
func (p *process) runScheduler(ctx context.Context) error {
	scheduler := &jobs.Scheduler{Store: p.store, DeadLetters: p.broker, OpenSession: p.session(RoleScheduler), Announce: p.announcer.Announce, Log: p.log}
	reconciler := &jobs.Reconciler{Store: p.store, Inspect: p.broker.Inspect, VHost: p.broker.VHost(), QueuePrefix: p.broker.Names.QueuePrefix(),
		Announce: p.announcer.Announce, Log: p.log}
	janitor := &jobs.Janitor{Store: p.store, Retention: p.cfg.retention(), Log: p.log}
	var loops sync.WaitGroup
	loops.Go(func() { _ = reconciler.Run(ctx) })
	loops.Go(func() { _ = janitor.Run(ctx) })
	defer loops.Wait()
	return scheduler.Run(ctx)
}
