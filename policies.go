package warren

import (
	"context"
	"slices"
	"time"

	"github.com/warrenjobs/warren/jobs/engine"
)

// policyEvery is the interval between checks of the policy: a note disappears within it after an
// administrator has run the command.
const policyEvery = 20 * time.Second

// policyFirst sets the policy of the job queues before the queues are declared, if the management
// API answers in time.
func (c *Client) policyFirst(ctx context.Context) {
	if !slices.Contains(c.cfg.Roles, RoleRelay) && !slices.Contains(c.cfg.Roles, RoleWorker) {
		return
	}
	if c.manage == nil {
		c.log.Info("without a management API Warren cannot set the policy of the job queues; have an administrator run it once",
			"command", c.broker.PolicyCommand())
		c.saveHealth(ctx, engine.ComponentPolicy, "", engine.PolicyNote{})
		return
	}
	c.policyOnce(ctx)
}

// watchPolicy checks the policy every policyEvery until ctx ends, and returns nil.
func (c *Client) watchPolicy(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(policyEvery):
		}
		c.policyOnce(ctx)
	}
}

// policyOnce sets the policy if it can, and records what keeps the policy from taking effect or,
// failing that, what keeps the queues from having members on several nodes. While the management
// API does not answer, the recorded state stays.
func (c *Client) policyOnce(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	note, err := c.broker.ApplyPolicy(ctx, c.manage)
	if err == nil && note.Problem == "" {
		note, err = c.broker.CheckMembers(ctx, c.manage)
	}
	if err != nil {
		c.log.Debug("policy of the job queues", "error", err)
		return
	}
	if note.Problem != c.loggedPolicy && note.Problem != "" {
		c.log.Warn("the job queues: "+note.Problem, "command", note.Command)
	}
	c.loggedPolicy = note.Problem
	c.saveHealth(ctx, engine.ComponentPolicy, note.Problem, note)
}
