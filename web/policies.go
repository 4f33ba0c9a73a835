package web

import (
	"context"
	"slices"
	"time"

	"github.com/warrenjobs/warren/jobs"
)

// policyEvery is how often the policy is looked at: a note leaves so soon after
// an administrator ran the command.
const policyEvery = 20 * time.Second

// policyFirst sets the policy of the job queues before the queues are declared,
// if the management API answers soon.
func (p *process) policyFirst(ctx context.Context) {
	if !slices.Contains(p.roles, RoleRelay) && !slices.Contains(p.roles, RoleWorker) {
		return
	}
	if p.manage == nil {
		p.log.Info("without a management API Warren cannot set the policy of the job queues; have an administrator run it once", "command", p.broker.PolicyCommand())
		p.saveHealth(ctx, jobs.ComponentPolicy, "", jobs.PolicyNote{})
		return
	}
	p.policyOnce(ctx)
}

// watchPolicy looks every policyEvery until ctx ends and returns nil.
func (p *process) watchPolicy(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(policyEvery):
		}
		p.policyOnce(ctx)
	}
}

// policyOnce sets the policy if it can and writes down what keeps it from its
// effect, or else the queues from having members on several nodes. While the management API does not answer, what was known stays.
func (p *process) policyOnce(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	note, err := p.broker.ApplyPolicy(ctx, p.manage)
	if err == nil && note.Problem == "" {
		note, err = p.broker.CheckMembers(ctx, p.manage)
	}
	if err != nil {
		p.log.Debug("policy of the job queues", "error", err)
		return
	}
	if note.Problem != p.policySaid && note.Problem != "" {
		p.log.Warn("the job queues: "+note.Problem, "command", note.Command)
	}
	p.policySaid = note.Problem
	p.saveHealth(ctx, jobs.ComponentPolicy, note.Problem, note)
}
