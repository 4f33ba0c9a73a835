package web

import (
	"context"

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
	if p.manage == nil {
		p.health(ctx, monitor.Component, "there is no management API (RABBITMQ_MANAGEMENT_URL): jobs run, but queue figures cannot be shown")
		<-ctx.Done()
		return nil
	}
	m := &monitor.Monitor{Broker: p.manage, Store: p.store, Announce: p.announcer.Announce, Log: p.log, Prefix: p.broker.Names.QueuePrefix()}
	return m.Run(ctx)
}
