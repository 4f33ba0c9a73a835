package web

import (
	"context"
	"sync"

	"github.com/warrenjobs/warren/jobs/monitor"
)

// runMonitor watches the broker, and counts what the deployment does.
func (p *process) runMonitor(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		activity := &monitor.Activity{Store: p.store, Log: p.log}
		_ = activity.Run(ctx)
	}()
	defer func() { <-done }()
	probe := p.broker.NewProbe()
	defer probe.Close()
	m := &monitor.Monitor{Store: p.store, Reach: probe.Check, Announce: p.announcer.Announce, Log: p.log,
		Prefix: p.broker.Names.QueuePrefix(), VHost: p.broker.VHost()}
	if p.manage == nil {
		return m.Run(ctx)
	}
	m.Broker = p.manage
	var queues sync.WaitGroup
	queues.Go(func() { _ = p.watchPolicy(ctx) })
	queues.Go(func() { _ = p.mendStillborn(ctx) })
	defer queues.Wait()
	return m.Run(ctx)
}
