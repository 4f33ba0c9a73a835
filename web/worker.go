package web

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
)

func (p *process) newWorker() *jobs.Worker {
	queues, shares, _ := p.cfg.shares() // checked at start
	w := &jobs.Worker{Store: p.store, Consumer: p.broker, Registry: p.registry, OpenSession: p.session(RoleWorker),
		Deployment: p.broker.Deployment, Queues: queues, Shares: shares, Concurrency: p.cfg.Concurrency, Prefetch: p.cfg.Prefetch,
		Announce: p.announcer.Announce, Health: p.health, Log: p.log}
	if p.cfg.Demo {
		w.StopGrace = 2 * time.Second // nothing is lost: what runs is given back
	}
	return w
}

func (p *process) runWorker(ctx context.Context) error { return p.worker.Load().Run(ctx) }

// cancelJob hears that an operator cancelled a running job; the worker also looks by itself every 2 s.
func (p *process) cancelJob(ctx context.Context, id string) {
	w := p.worker.Load()
	if id, err := uuid.Parse(id); err == nil && w != nil {
		w.CancelJob(ctx, id)
	}
}
