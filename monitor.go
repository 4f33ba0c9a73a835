package warren

import (
	"context"
	"sync"

	"github.com/warrenjobs/warren/jobs/monitor"
)

// runMonitor samples the broker and the activity of the deployment, in one process of the
// deployment.
func (c *Client) runMonitor(ctx context.Context) error {
	return c.store.Lead(ctx, "monitor", c.monitor)
}

// monitor runs until ctx ends and returns nil.
func (c *Client) monitor(ctx context.Context) error {
	probe := c.broker.NewProbe()
	defer probe.Close()
	m := &monitor.Monitor{Store: c.store, Reach: probe.Check, Announce: c.announcer.Announce, Log: c.log,
		Prefix: c.broker.Names.QueuePrefix(), VHost: c.broker.VHost()}
	activity := &monitor.Activity{Store: c.store, Log: c.log}
	loops := []func(context.Context) error{m.Run, activity.Run}
	if c.manage != nil {
		m.Broker = c.manage
		loops = append(loops, c.watchPolicy, c.deleteLeaderless)
	}
	var running sync.WaitGroup
	for _, run := range loops {
		running.Go(func() { _ = run(ctx) })
	}
	running.Wait()
	return nil
}
