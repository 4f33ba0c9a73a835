package web

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/warrenjobs/warren/jobs"
	jobexplain "github.com/warrenjobs/warren/jobs/explain"
	"github.com/warrenjobs/warren/jobs/kinds"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/store/outbox"
)

// countMax bounds --count; enqueueBatch is how many go into one statement.
const (
	countMax     = 1_000_000
	enqueueBatch = 1000
)

func newEnqueue(cfg *Config, own []*jobs.Kind) *cobra.Command {
	var job jobs.NewJob
	var at string
	var count int
	var wait, asJSON bool
	cmd := &cobra.Command{
		Use:     "enqueue KIND [JSON]",
		Short:   "Submit a job",
		Example: `  warren enqueue dots '{"text":"Hello..."}' --wait`,
		Args:    usageArgs(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			job.Kind, job.Origin = args[0], "cli"
			if len(args) == 2 {
				job.Args = json.RawMessage(args[1])
			}
			var err error
			if job.RunAt, err = jobs.ParseTime(at, time.Now()); err != nil {
				return usageError{fmt.Errorf("--at: %w", err)}
			}
			if count < 1 || count > countMax {
				return usageError{fmt.Errorf("--count is %d: it must be between 1 and %d", count, countMax)}
			}
			if cmd.Flags().Changed("max-attempts") && job.MaxAttempts < 1 {
				return usageError{fmt.Errorf("--max-attempts is %d: it must be at least 1", job.MaxAttempts)}
			}
			registry, err := known(own)
			if err != nil {
				return err
			}
			if registry.Lookup(job.Kind) != nil { // invalid args are reported without a database
				if err := registry.Prepare(&job); err != nil {
					return err
				}
			}
			return withClient(cmd, cfg, asJSON, func(ctx context.Context, c client) error {
				if err := c.learn(ctx, registry); err != nil {
					return err
				}
				if err := c.prepareFor(ctx, registry, &job); err != nil {
					return err
				}
				return c.enqueue(ctx, job, count, wait)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&job.Queue, "queue", "", "queue of the job (default: that of its kind)")
	flags.StringVar(&at, "at", "", "when to run it: RFC 3339, or +10m from now")
	flags.IntVar(&job.MaxAttempts, "max-attempts", 0,
		fmt.Sprintf("attempts before the job is dead (default: those of its kind, or %d)", jobs.MaxAttemptsDefault))
	flags.StringVar(&job.UniqueKey, "unique-key", "", "at most one open job per key")
	flags.StringSliceVar(&job.Tags, "tag", nil, "labels to find the job by")
	flags.DurationVar(&job.Timeout, "timeout", 0, "end an attempt that takes longer, such as 30s")
	flags.IntVar(&count, "count", 1, "how many jobs")
	flags.BoolVar(&wait, "wait", false, "wait until it has ended; exit 1 if it is dead or cancelled")
	flags.BoolVar(&asJSON, "json", false, "print the API's object")
	return cmd
}

// learn adds the kinds of other processes to the registry.
func (c client) learn(ctx context.Context, registry *jobs.Registry) error {
	list, err := c.store.Kinds(ctx)
	if err != nil {
		return err
	}
	return registry.Learn(list)
}

// known returns the kinds of this program, to validate jobs and not to run them.
func known(own []*jobs.Kind) (*jobs.Registry, error) {
	return jobs.NewRegistry(append(kinds.BuiltIn(kinds.Config{}), own...)...)
}

func (c client) enqueue(ctx context.Context, job jobs.NewJob, count int, wait bool) error {
	var added []outbox.Enqueued
	for len(added) < count {
		batch := make([]jobs.NewJob, min(count-len(added), enqueueBatch))
		for i := range batch {
			batch[i] = job
			batch[i].ID = uuid.Nil
		}
		more, err := c.store.Enqueue(ctx, batch...)
		if err != nil {
			return err
		}
		added = append(added, more...)
	}
	if wait {
		return c.await(ctx, added)
	}
	state := jobs.Queued
	if job.RunAt.After(time.Now()) {
		state = jobs.Scheduled
	}
	return c.printAdded(ctx, added, state)
}

// printAdded prints the jobs, which have that state unless they were there before.
func (c client) printAdded(ctx context.Context, added []outbox.Enqueued, state jobs.State) error {
	for i, a := range added {
		if c.json {
			detail, err := c.store.Job(ctx, a.ID)
			if err != nil {
				return err
			}
			if err := json.NewEncoder(c.out).Encode(detail); err != nil {
				return err
			}
			continue
		}
		if len(added) > 20 && i == 20 {
			_, err := fmt.Fprintf(c.out, "… and %d more\n", len(added)-20)
			return err
		}
		word := string(state)
		if a.Duplicate {
			word = "already open"
		}
		if _, err := fmt.Fprintf(c.out, "%s  %s\n", a.ID, word); err != nil {
			return err
		}
	}
	return nil
}

// await waits until the jobs have ended and prints each. It polls, as the command must also work
// while the dashboard is down.
func (c client) await(ctx context.Context, added []outbox.Enqueued) error {
	failed := 0
	for _, a := range added {
		detail, err := c.untilEnded(ctx, a.ID)
		if err != nil {
			return err
		}
		if detail.State != jobs.Completed {
			failed++
		}
		err = c.print(detail, func(w io.Writer) {
			_, _ = fmt.Fprintf(w, "%s  %s  %s\n", detail.ID, detail.State, cell(summary(detail)))
		})
		if err != nil {
			return err
		}
	}
	if failed > 0 {
		return exitCode(exitRefused)
	}
	return nil
}

func (c client) untilEnded(ctx context.Context, id uuid.UUID) (jobs.Detail, error) {
	said := ""
	for {
		detail, err := c.store.Job(ctx, id)
		if err == nil && detail.State.Ended() {
			return detail, nil
		}
		if why := whyWaiting(detail, time.Now()); why != "" && why != said {
			said = why
			_, _ = fmt.Fprintf(c.notes, "%s  %s\n", id, cell(why))
		}
		if err != nil && !store.IsAway(err) && !store.IsTimeout(err) {
			return detail, err
		}
		select {
		case <-ctx.Done():
			return detail, fmt.Errorf("stopped waiting; the job continues: %s", id)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// untaken is how long a queued job may wait before the reason is printed.
const untaken = 5 * time.Second

// whyWaiting returns what a job that has not ended waits for; "" if it runs, or is about to.
func whyWaiting(d jobs.Detail, now time.Time) string {
	switch d.State {
	case jobs.Scheduled, jobs.Retrying:
	case jobs.Queued:
		if !d.QueuePaused && d.OutboxError == "" && d.QueuedAt != nil && now.Sub(*d.QueuedAt) <= untaken {
			return ""
		}
	default:
		return ""
	}
	return jobexplain.Of(d).String()
}

func firstLine(text *string) string {
	if text == nil {
		return ""
	}
	return strings.SplitN(*text, "\n", 2)[0]
}

func summary(d jobs.Detail) string {
	switch {
	case d.LastError != nil:
		return firstLine(d.LastError)
	case d.StartedAt != nil && d.FinishedAt != nil:
		took := "in " + d.FinishedAt.Sub(*d.StartedAt).Round(time.Millisecond).String()
		if d.Progress != nil && d.Progress.Done == 1 && d.Progress.Note != "" {
			return d.Progress.Note + ", " + took
		}
		return took
	}
	return ""
}
