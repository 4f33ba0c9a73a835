package warren

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store"
)

// Run runs the roles; call it once. It blocks until ctx ends, or an operator stops this process,
// and every role has stopped, which takes at most StopGrace plus 3 s. It waits for a database or
// broker that is away, which the dashboard shows; an error means that the database cannot be used:
// store.ErrTooNew or store.ErrPooler.
func (c *Client) Run(ctx context.Context) error {
	var loops sync.WaitGroup
	defer loops.Wait()
	// Pages stay live and cancellations are received until the roles have stopped.
	background, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	loops.Go(func() { c.listen(background) })
	loops.Go(func() { c.onceServed(background, c.app.WatchDatabase) })
	loops.Go(func() { c.onceServed(background, c.app.WatchStatus) })
	ctx, c.stop = context.WithCancel(ctx)
	defer c.stop()
	if err := c.migrate(ctx); err != nil {
		return err
	}
	if ctx.Err() == nil {
		c.log.Info("warren is running", "version", c.cfg.Version, "roles", c.cfg.Roles)
		c.runRoles(ctx)
		c.log.Info("warren has stopped")
	}
	return nil
}

// onceServed waits until the dashboard or the health handler is served, and then runs the loop.
func (c *Client) onceServed(ctx context.Context, run func(context.Context)) {
	select {
	case <-c.served:
		run(ctx)
	case <-ctx.Done():
	}
}

// runRoles runs the roles and blocks until ctx ends and every role has stopped.
func (c *Client) runRoles(ctx context.Context) {
	start := map[Role]func(context.Context) error{
		RoleRelay: c.runRelay, RoleWorker: c.runWorker, RoleScheduler: c.runScheduler, RoleMonitor: c.runMonitor,
	}
	c.policyFirst(ctx)
	if slices.Contains(c.cfg.Roles, RoleWorker) {
		c.worker.Store(c.newWorker())
	}
	if slices.Contains(c.cfg.Roles, RoleRelay) {
		c.relay = c.newRelay()
	}
	var presence sync.WaitGroup
	defer presence.Wait()
	presence.Go(func() { c.shareKinds(ctx) })
	presence.Go(func() { c.onceServed(ctx, c.learnKinds) })
	present, leave := context.WithCancel(context.WithoutCancel(ctx))
	defer leave()
	presence.Go(func() { c.runHeartbeat(ctx, present) })
	var running sync.WaitGroup
	for _, role := range c.cfg.Roles {
		if run := start[role]; run != nil {
			running.Go(func() { _ = run(ctx) })
		}
	}
	<-ctx.Done() // the role web has no loop
	c.log.Info("warren is stopping: running handlers have time to finish", "at_most", cmp.Or(c.cfg.StopGrace, engine.StopGrace))
	running.Wait()
}

// migrate migrates the database. It retries while the database is away or lacks a right, and
// returns an error if the database must not be migrated or cannot be used.
func (c *Client) migrate(ctx context.Context) error {
	logged := ""
	for {
		err := c.prepare(ctx)
		if err == nil {
			c.waiting.Store("")
			return nil
		}
		if errors.Is(err, store.ErrTooNew) || errors.Is(err, store.ErrPooler) {
			return err
		}
		why := c.store.Explain(err)
		c.waiting.Store(why)
		if reason := cmp.Or(why, "away"); reason != logged {
			c.log.Warn("waiting for the database", "error", cmp.Or(why, err.Error()))
			logged = reason
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

func (c *Client) prepare(ctx context.Context) error {
	if err := c.store.Migrate(ctx); err != nil {
		return err
	}
	id, err := c.store.DeploymentID(ctx)
	c.broker.Deployment = id
	return err
}

// listen receives the notifications of other processes until ctx ends.
func (c *Client) listen(ctx context.Context) {
	_ = c.store.Listen(ctx, c.log, store.Listeners{Wake: c.wakeRelay, Cancel: func(id string) { c.cancelJob(ctx, id) }, Process: c.ask,
		Change: c.live.Change, Reconnected: c.live.Lost})
}

func (c *Client) wakeRelay() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// reportHealth is an engine.ReportHealth.
func (c *Client) reportHealth(ctx context.Context, component, problem string) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c.saveHealth(ctx, component, problem, nil)
}

// saveHealth is reportHealth with details for the pages.
func (c *Client) saveHealth(ctx context.Context, component, problem string, details any) {
	changed, err := c.store.SaveHealth(ctx, component, problem == "", problem, details)
	if err != nil {
		c.log.Debug("write health", "component", component, "error", err)
	}
	if changed {
		c.announcer.Announce(engine.TopicHealth)
	}
}

// session returns a function that opens the session of this process for the role.
func (c *Client) session(role Role) func(ctx context.Context) (engine.Session, error) {
	info := store.SessionInfo{Process: c.self.ID, Name: c.cfg.Name, Roles: []string{string(role)}, Version: c.cfg.Version}
	if role == RoleWorker {
		info.Queues, info.Concurrency, info.Prefetch = c.cfg.Queues.names(), c.cfg.Concurrency, c.cfg.Prefetch
	}
	return func(ctx context.Context) (engine.Session, error) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return c.store.OpenSession(ctx, info)
	}
}
