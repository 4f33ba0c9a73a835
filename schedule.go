package warren

import (
	"context"
	"fmt"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/schedule"
)

// Schedule declares schedules by their names, in one transaction: those that are missing are added, those that differ are
// changed, others are left alone. One that an operator has paused stays paused. Call it when the program starts, after
// Migrate; the process that runs the role scheduler fires them. Idempotent; any number of processes may call it at once.
// Errors: jobs.FieldErrors for invalid input, with nothing written.
func (c *Client) Schedule(ctx context.Context, list ...schedule.Input) error {
	prepared := make([]schedule.Input, len(list))
	for i, in := range list {
		if err := c.prepareSchedule(&in); err != nil {
			return fmt.Errorf("schedule %s: %w", in.Name, err)
		}
		prepared[i] = in
	}
	return c.store.DeclareSchedules(ctx, prepared, jobs.Actor{Name: c.cfg.Name, From: "app"})
}

// prepareSchedule checks the args where this client knows the kind, as EnqueueTx does.
func (c *Client) prepareSchedule(in *schedule.Input) error {
	if in.Job == nil {
		return in.Prepare()
	}
	job := *in.Job // the caller's
	in.Job = &job
	if c.registry.Lookup(job.Kind) == nil {
		return in.Prepare()
	}
	return schedule.Prepare(c.registry, in)
}
