package warren

import (
	"context"
	"os"
	"slices"
	"time"

	"github.com/warrenjobs/warren/jobs/engine"
)

// describe fills in the fields of this process's row that do not change.
func (c *Client) describe() {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	c.self.Name, c.self.Host, c.self.PID, c.self.Version = c.cfg.Name, host, os.Getpid(), c.cfg.Version
	for _, role := range c.cfg.Roles {
		c.self.Roles = append(c.self.Roles, string(role))
	}
	c.self.Details.Listen = c.cfg.DashboardAddr
	if slices.Contains(c.cfg.Roles, RoleWorker) {
		c.self.Details.Queues = c.cfg.Queues.names()
	}
	for _, d := range c.registry.Own() {
		if d.Handled {
			c.self.Details.Kinds = append(c.self.Details.Kinds, d.Name)
		}
	}
}

// runHeartbeat keeps the row of this process up to date and carries out the commands of operators.
// After ctx has ended it goes on in the state "stopping" until leave ends, and then in "stopped".
func (c *Client) runHeartbeat(ctx, leave context.Context) {
	row, done, warned := c.self, engine.ProcessCommand(""), false
	stopping := ctx.Done()
	for leave.Err() == nil {
		if ctx.Err() != nil {
			row.State, stopping = engine.ProcessStopping, nil
		}
		wanted, err := c.heartbeat(leave, &row, done)
		if err != nil && !warned && leave.Err() == nil {
			c.log.Warn("cannot tell the others that this process is here", "error", err)
		}
		warned = err != nil
		if err == nil {
			done = wanted.what
		}
		if wanted.what != "" {
			c.apply(wanted, &row)
			continue // and report it at once: an operator waits for it
		}
		select {
		case <-leave.Done():
		case <-stopping:
		case <-c.asked:
		case <-time.After(engine.ProcessHeartbeat):
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(leave), 5*time.Second)
	defer cancel()
	if err := c.store.EndProcess(ctx, c.self.ID); err != nil {
		c.log.Debug("record that this process has stopped", "error", err)
	}
	c.announcer.Announce(engine.TopicWorkers)
}

// commandBy is a command for this process, with the operator who gave it.
type commandBy struct {
	what engine.ProcessCommand
	by   string
}

// heartbeat writes the row, announces a new state, and returns the pending command, if any.
func (c *Client) heartbeat(ctx context.Context, row *engine.Process, done engine.ProcessCommand) (commandBy, error) {
	ctx, cancel := context.WithTimeout(ctx, engine.ProcessHeartbeat)
	defer cancel()
	if c.relay != nil {
		stats := c.relay.Stats()
		row.Details.Relay = &stats
	}
	if w := c.worker.Load(); w != nil {
		ended := w.Ended()
		row.Details.Ended = &ended
	}
	if c.cfg.OwnsServers != nil {
		row.Details.Private = c.cfg.OwnsServers()
	}
	what, by, err := c.store.Heartbeat(ctx, *row, done)
	if err == nil && row.State != c.shown {
		c.shown = row.State
		c.announcer.Announce(engine.TopicWorkers)
	}
	return commandBy{what, by}, err
}

// apply carries out a command of an operator.
func (c *Client) apply(w commandBy, row *engine.Process) {
	worker := c.worker.Load()
	switch {
	case w.what == engine.CommandStop:
		c.log.Info("stopping, as somebody asked", "by", w.by)
		c.stop()
	case worker == nil:
	case w.what == engine.CommandQuiet:
		c.log.Info("the worker becomes quiet, as somebody asked", "by", w.by)
		worker.Quiet()
		row.State = engine.ProcessQuiet
	case w.what == engine.CommandResume:
		c.log.Info("the worker takes jobs again, as somebody asked", "by", w.by)
		worker.Resume()
		row.State = engine.ProcessRunning
	}
}

// ask wakes the heartbeat if the command is for this process; without the notification the
// heartbeat reads the command within 2 s.
func (c *Client) ask(id string) {
	if id != c.self.ID.String() {
		return
	}
	select {
	case c.asked <- struct{}{}:
	default:
	}
}
