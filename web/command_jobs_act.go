package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/store"
)

// jobsAct is the command of an operator's action on one job, or on all that match a filter.
type jobsAct struct {
	action jobs.Action
	one    func(*store.Store, context.Context, uuid.UUID, jobs.Actor) error
	filter jobs.Filter
	all    bool
	reason string
}

func newJobsAct(
	cfg *Config, action jobs.Action, short string, one func(*store.Store, context.Context, uuid.UUID, jobs.Actor) error,
) *cobra.Command {
	a := jobsAct{action: action, one: one}
	var asJSON bool
	cmd := &cobra.Command{
		Use:   string(action) + " ID | --state STATE … | --all",
		Short: short,
		Long: short + ".\n\nGive the ID of one job, or select many by the flags that \"warren jobs list\" has: list them first. " +
			"Jobs that come while the command runs are left alone." + a.apart(),
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := a.check(args)
			if err != nil {
				return err
			}
			return withClient(cmd, cfg, asJSON, func(ctx context.Context, c client) error {
				if id == uuid.Nil {
					return a.many(ctx, c)
				}
				return a.single(ctx, c, id)
			})
		},
	}
	filterFlags(cmd, &a.filter)
	flags := cmd.Flags()
	flags.BoolVar(&a.all, "all", false, "all jobs")
	flags.StringVar(&a.reason, "reason", "", "why, for the audit log")
	flags.BoolVar(&asJSON, "json", false, "print the API's object")
	return cmd
}

// apart says which jobs an action on many leaves alone unless they are asked for.
func (a *jobsAct) apart() string {
	if a.action == jobs.ActionRetry {
		return " Completed jobs are retried only with --state completed."
	}
	return ""
}

// check returns the id of the one job that the command is for, or the zero id for all that match.
func (a *jobsAct) check(args []string) (id uuid.UUID, err error) {
	many := a.all || a.filter != (jobs.Filter{})
	switch {
	case len(args) == 0 && !many:
		return id, usageError{errors.New("give the id of a job, or --state, --kind, --queue or --q to select many, or --all")}
	case len(args) == 0 && a.all && a.filter != (jobs.Filter{}):
		return id, usageError{errors.New("give --all, or the flags that select jobs, not both")}
	case len(args) == 0:
		return id, checkState(a.filter.State)
	case many:
		return id, usageError{errors.New("give the id of a job, or the flags that select many, not both")}
	}
	if id, err = uuid.Parse(args[0]); err != nil || id == uuid.Nil {
		return id, usageError{fmt.Errorf("%q is not a valid job id", args[0])}
	}
	return id, nil
}

func (a *jobsAct) single(ctx context.Context, c client, id uuid.UUID) error {
	if err := a.one(c.store, ctx, id, by(a.reason)); err != nil {
		return err
	}
	if a.action == jobs.ActionDelete {
		return c.print(map[string]any{"id": id, "deleted": true}, func(w io.Writer) { row(w, id, "deleted") })
	}
	return c.show(ctx, id)
}

// many repeats the action until no job is left that had come when the command began; each call has an
// operation of its own.
func (a *jobsAct) many(ctx context.Context, c client) error {
	until, err := c.store.Now(ctx)
	if err != nil {
		return err
	}
	var total jobs.BulkResult
	var operations []string
	for {
		r, err := c.store.OperateAll(ctx, a.action, a.filter, until, by(a.reason))
		if err != nil {
			return err
		}
		if r.Operation != nil && r.Done > 0 {
			operations = append(operations, r.Operation.String())
		}
		total.Done, total.Stopping = total.Done+r.Done, total.Stopping+r.Stopping
		total.Skipped = r.Skipped // a job that was skipped is met again
		total.Operation, total.Left = r.Operation, r.Left
		if !r.Left || r.Done == 0 {
			break
		}
	}
	return c.print(total, func(w io.Writer) {
		row(w, "ACTION", "JOBS", "DONE", "SKIPPED", "MORE LEFT", "OPERATION")
		row(w, a.action, a.filter.Words(), total.Done, total.Skipped, yesNo(total.Left), strings.Join(operations, " "))
	})
}
