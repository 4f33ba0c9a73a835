package warren

import (
	"context"

	"github.com/warrenjobs/warren/jobs"
)

func (c *Client) newRelay() *jobs.Relay {
	return &jobs.Relay{Outbox: c.store, Publisher: c.broker.NewPublisher(), Wake: c.wake,
		Announce: c.announcer.Announce, Health: c.reportHealth, Log: c.log}
}

func (c *Client) runRelay(ctx context.Context) error { return c.relay.Run(ctx) }
