package web

import (
	"context"
	"sync"

	"github.com/warrenjobs/warren/jobs/monitor"
)

// runMonitor watches the broker, and counts what the deployment does, in one process of the deployment.
func (p *process) runMonitor(ctx context.Context) error {
	return p.store.Lead(ctx, "monitor", p.monitor)
}

// monitor runs until ctx ends and returns nil.
func (p *process) monitor(ctx context.Context) error {
	probe := p.broker.NewProbe()
	defer probe.Close()
	m := &monitor.Monitor{Store: p.store, Reach: probe.Check, Announce: p.announcer.Announce, Log: p.log,
		Prefix: p.broker.Names.QueuePrefix(), VHost: p.broker.VHost()}
	activity := &monitor.Activity{Store: p.store, Log: p.log}
	loops := []func(context.Context) error{m.Run, activity.Run}
	if p.manage != nil {
		m.Broker = p.manage
		loops = append(loops, p.watchPolicy, p.deleteLeaderless)
	}
	var running sync.WaitGroup
	for _, run := range loops {
		running.Go(func() { _ = run(ctx) })
	}
	running.Wait()
	return nil
}
