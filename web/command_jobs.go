package web

import (
	"context"
	"fmt"
	"io"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/warrenjobs/warren/jobs"
	jobexplain "github.com/warrenjobs/warren/jobs/explain"
	"github.com/warrenjobs/warren/store"
)

func newJobs(cfg *Config) *cobra.Command {
	return noun("jobs", "List, show, retry, cancel, run or delete jobs", func() *cobra.Command { return newJobsList(cfg) },
		newJobsShow(cfg),
		newJobsAct(cfg, jobs.ActionRetry, "Dispatch ended jobs again", (*store.Store).Retry),
		newJobsAct(cfg, jobs.ActionCancel, "Cancel jobs; running ones are asked to stop", (*store.Store).Cancel),
		newJobsAct(cfg, jobs.ActionRun, "Run scheduled or retrying jobs now", (*store.Store).RunNow),
		newJobsAct(cfg, jobs.ActionDelete, "Remove jobs and their history", (*store.Store).Delete))
}

func newJobsList(cfg *Config) *cobra.Command {
	var f jobs.Filter
	cmd := lister[jobs.Job]{short: "List jobs, newest first; those of one state by when they are due, started or ended",
		read: func(ctx context.Context, s *store.Store, place jobs.Cursor, limit int) (page jobs.Page[jobs.Job], err error) {
			if err := checkState(f.State); err != nil {
				return page, err
			}
			return s.Jobs(ctx, f, place, limit)
		},
		head: []any{"ID", "KIND", "QUEUE", "STATE", "ATTEMPT", "CREATED"},
		row: func(j jobs.Job) []any {
			return []any{j.ID, j.Kind, j.Queue, j.State, jobexplain.TriesIn(j).Fraction(), when(&j.CreatedAt)}
		},
	}.command(cfg)
	filterFlags(cmd, &f)
	return cmd
}

// filterFlags adds the flags that select jobs.
func filterFlags(cmd *cobra.Command, f *jobs.Filter) {
	flags := cmd.Flags()
	flags.StringVar((*string)(&f.State), "state", "", "only this state")
	flags.StringVar(&f.Kind, "kind", "", "only this kind")
	flags.StringVar(&f.Queue, "queue", "", "only this queue")
	flags.StringVar(&f.Text, "q", "", "only with this text in id, args, error, tags or key")
}

func checkState(state jobs.State) error {
	if state == "" {
		return nil
	}
	if _, err := jobs.ParseState(string(state)); err != nil {
		return usageError{err}
	}
	return nil
}

func newJobsShow(cfg *Config) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show a job with its attempts and deliveries",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := uuid.Parse(args[0])
			if err != nil {
				return usageError{fmt.Errorf("%q is not a valid job id", args[0])}
			}
			return withClient(cmd, cfg, asJSON, func(ctx context.Context, c client) error { return c.show(ctx, id) })
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's object")
	return cmd
}

func (c client) show(ctx context.Context, id uuid.UUID) error {
	d, err := c.store.Job(ctx, id)
	if err != nil {
		return err
	}
	d.Explanation = jobexplain.Of(d).String()
	return c.print(d, func(w io.Writer) {
		row(w, "id", d.ID)
		row(w, "kind", d.Kind)
		row(w, "queue", d.Queue)
		row(w, "state", d.State)
		row(w, "explanation", d.Explanation)
		row(w, "attempts", jobexplain.TriesOf(d).Count())
		row(w, "args", string(d.Args))
		row(w, "created", when(&d.CreatedAt))
		row(w, "started", when(d.StartedAt))
		row(w, "finished", when(d.FinishedAt))
		if d.LastError != nil {
			row(w, "error", *d.LastError)
		}
		if d.Output != nil {
			row(w, "output", string(d.Output))
		}
		for _, a := range d.Attempts {
			row(w, fmt.Sprintf("attempt %d", a.Number), a.Worker, orRunning(a.Outcome), a.Error)
		}
		for _, v := range d.Deliveries {
			word := "delivery"
			if v.Redelivered {
				word = "redelivery"
			}
			row(w, word, v.Worker, v.Outcome, when(&v.At))
		}
	})
}

func orRunning(outcome string) string {
	if outcome == "" {
		return "running"
	}
	return outcome
}
