package warren

import (
	"context"

	"github.com/warrenjobs/warren/jobs/engine"
)

func (c *Client) newRelay() *engine.Relay {
	return &engine.Relay{Outbox: c.store, Publisher: c.broker.NewPublisher(), Wake: c.wake,
		Announce: c.announcer.Announce, ReportHealth: c.reportHealth, Log: c.log}
}

func (c *Client) runRelay(ctx context.Context) error { return c.relay.Run(ctx) }
