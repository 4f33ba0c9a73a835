package web

import (
	"context"
	"sync"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/rabbit"
	"github.com/warrenjobs/warren/store"
)

func newPurger(s *store.Store, b *rabbit.Broker, announce jobs.Announce) *jobs.Purger {
	return &jobs.Purger{Store: s, Empty: b.PurgeJobQueue, Announce: announce}
}

// Purge empties a job queue of the deployment of cfg, which has the URLs of servers that run.
func Purge(ctx context.Context, cfg Config, s *store.Store, queue string, by jobs.By) (jobs.Purge, error) {
	speak, quiet := context.WithCancel(context.WithoutCancel(ctx))
	announcer := s.NewAnnouncer()
	var told sync.WaitGroup
	told.Go(func() { _ = announcer.Run(speak) })
	defer told.Wait()
	defer quiet()
	return newPurger(s, clientBroker(cfg, "client"), announcer.Announce).Purge(ctx, queue, by)
}

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
