package web

import (
	"context"

	"github.com/warrenjobs/warren/jobs"
)

func (p *process) runRelay(ctx context.Context) error {
	relay := &jobs.Relay{Outbox: p.store, Publisher: p.broker.NewPublisher(), Wake: p.wake,
		Announce: p.announcer.Announce, Health: p.health, Log: p.log}
	return relay.Run(ctx)
}
