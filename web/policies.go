package web

import (
	"context"
	"slices"
	"time"
)

// applyPolicies sets the policy of the job queues before the queues are
// declared, if the management API answers soon, and goes on trying if not.
func (p *process) applyPolicies(ctx context.Context) {
	if p.manage == nil || !slices.Contains(p.roles, RoleRelay) && !slices.Contains(p.roles, RoleWorker) {
		return
	}
	try := func() bool {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		err := p.broker.ApplyPolicy(ctx, p.manage)
		if err != nil {
			p.log.Warn("policy", "error", err)
			p.health(ctx, "policy", err.Error())
			return false
		}
		p.health(ctx, "policy", "")
		return true
	}
	if try() {
		return
	}
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Minute):
			}
			if try() {
				return
			}
		}
	}()
}
