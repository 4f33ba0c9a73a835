package web

import (
	"context"

	"github.com/warrenjobs/warren/jobs"
)

// deleteLeaderless deletes job queues that never got a leader, until ctx ends.
func (p *process) deleteLeaderless(ctx context.Context) error {
	s := &jobs.Stillborn{
		Leaderless:  func(ctx context.Context) ([]string, error) { return p.broker.Leaderless(ctx, p.manage) },
		Unconfirmed: p.store.UnconfirmedQueues,
		Delete: func(ctx context.Context, queue string) error {
			if err := p.broker.DeleteJobQueues(ctx, queue); err != nil {
				return err
			}
			return p.store.WriteAudit(ctx, jobs.By{Actor: "warren", Reason: "it had no leader and confirmed nothing"}, "queue.redeclare", "queue:"+queue, nil)
		},
		Log: p.log,
	}
	return s.Run(ctx)
}
