package web

import (
	"context"

	"github.com/warrenjobs/warren/jobs"
)

func (p *process) newRelay() *jobs.Relay {
	return &jobs.Relay{Outbox: p.store, Publisher: p.broker.NewPublisher(), Wake: p.wake,
		Announce: p.announcer.Announce, Health: p.health, Log: p.log}
}

func (p *process) runRelay(ctx context.Context) error { return p.relay.Run(ctx) }
