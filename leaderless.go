package warren

import (
	"context"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
)

// deleteLeaderless deletes job queues that never got a leader, until ctx ends.
func (c *Client) deleteLeaderless(ctx context.Context) error {
	s := &engine.LeaderlessQueues{
		Leaderless:  func(ctx context.Context) ([]string, error) { return c.broker.Leaderless(ctx, c.manage) },
		Unconfirmed: c.store.UnconfirmedQueues,
		Delete: func(ctx context.Context, queue string) error {
			if err := c.broker.DeleteJobQueues(ctx, queue); err != nil {
				return err
			}
			by := jobs.Actor{Name: "warren", Reason: "it had no leader and confirmed nothing"}
			return c.store.WriteAudit(ctx, by, "queue.redeclare", "queue:"+queue, nil)
		},
		Log: c.log,
	}
	return s.Run(ctx)
}
