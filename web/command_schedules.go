package web

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/schedule"
	"github.com/warrenjobs/warren/store"
)

func newSchedules(cfg *Config, own []*jobs.Kind) *cobra.Command {
	return noun("schedules", "List, add, pause, resume, run or delete schedules", func() *cobra.Command { return newSchedulesList(cfg) },
		newSchedulesAdd(cfg, own),
		newSchedulesSwitch(cfg, "pause", "Keep a schedule from firing until it is resumed", (*store.Store).PauseSchedule),
		newSchedulesSwitch(cfg, "resume", "Let a paused schedule fire again from its next time on", (*store.Store).ResumeSchedule),
		newSchedulesRun(cfg), newSchedulesDelete(cfg))
}

func newSchedulesList(cfg *Config) *cobra.Command {
	var f schedule.Filter
	cmd := lister[schedule.Schedule]{short: "List schedules, those in trouble first",
		read: func(ctx context.Context, s *store.Store, place jobs.Cursor, limit int) (page jobs.Page[schedule.Schedule], err error) {
			if err := f.Check(); err != nil {
				return page, usageError{err}
			}
			return s.Schedules(ctx, f, place, limit)
		},
		head: []any{"NAME", "RULE", "DOES", "NEXT", "LAST", "STATE"},
		row: func(s schedule.Schedule) []any {
			return []any{nameOf(s), schedule.Words(s.Rule, s.Zone), doesWords(s), when(s.NextAt), lastWords(s.Last), stateWords(s)}
		},
	}.command(cfg)
	cmd.Flags().StringVar(&f.Text, "q", "", "only with this text in the name, the kind or the routing key")
	return cmd
}

func nameOf(s schedule.Schedule) string {
	if s.Task != nil {
		return "task " + s.Task.ID.String()
	}
	return s.Name
}

func doesWords(s schedule.Schedule) string {
	if s.Event != nil {
		return "event " + s.Event.Key + " to " + s.Event.Exchange
	}
	return "job " + s.Job.Kind + " in " + s.Job.Queue
}

func lastWords(f *schedule.Firing) string {
	if f == nil {
		return "–"
	}
	return when(&f.FiredAt) + " " + cmp.Or(string(f.JobState), string(f.Outcome))
}

func stateWords(s schedule.Schedule) string {
	switch {
	case s.Problem != "":
		return "cannot fire: " + s.Problem
	case s.PausedAt != nil && s.PausedReason != "":
		return "paused by " + s.PausedBy + ": " + s.PausedReason
	case s.PausedAt != nil:
		return "paused by " + s.PausedBy
	}
	return "–"
}

// scheduleFlags are the flags of a new schedule.
type scheduleFlags struct {
	in                schedule.Input
	job               schedule.Job
	event             schedule.Event
	args, body        string
	timeout           time.Duration
	starts, ends      string
	overlap, catchAll bool
}

func newSchedulesAdd(cfg *Config, own []*jobs.Kind) *cobra.Command {
	var f scheduleFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "add NAME --rule RULE (--kind KIND | --event KEY)",
		Short: "Add a schedule that enqueues a job or publishes an event",
		Example: `  warren schedules add nightly --rule "0 2 * * *" --zone Europe/Berlin --kind dots --args '{"text":"..."}'
  warren schedules add ticker --rule "every 1s" --event ping --exchange amq.topic --body 7 --catch-up-all`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			if err := f.check(); err != nil {
				return usageError{err}
			}
			in, err := f.input(argv[0])
			if err != nil {
				return err
			}
			registry, err := known(own)
			if err != nil {
				return err
			}
			return withClient(cmd, cfg, asJSON, func(ctx context.Context, c client) error {
				if err := c.learn(ctx, registry); err != nil {
					return err
				}
				if err := schedule.Prepare(registry, &in); err != nil {
					return err
				}
				made, err := c.store.CreateSchedule(ctx, in, "cli", by(""))
				if err != nil {
					return err
				}
				return c.print(made, func(w io.Writer) {
					if made.NextAt == nil {
						row(w, made.ID, "added, but no date matches its rule: it never fires")
						return
					}
					row(w, made.ID, "added", "next", when(made.NextAt))
				})
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.in.Rule, "rule", "", `"every 10m", or cron such as "30 9 * * 1-5"`)
	flags.StringVar(&f.in.Zone, "zone", "", "time zone of the rule (UTC)")
	flags.StringVar(&f.job.Kind, "kind", "", "kind of the job that it enqueues")
	flags.StringVar(&f.args, "args", "{}", "args of the job, JSON")
	flags.StringVar(&f.job.Queue, "queue", "", "queue of the job (default: that of its kind)")
	flags.IntVar(&f.job.MaxAttempts, "max-attempts", 0, "attempts of the job (default: those of its kind)")
	flags.DurationVar(&f.timeout, "timeout", 0, "end an attempt that takes longer, such as 30s")
	flags.StringSliceVar(&f.job.Tags, "tag", nil, "labels to find the jobs by")
	flags.StringVar(&f.event.Key, "event", "", "routing key of the event that it publishes")
	flags.StringVar(&f.event.Exchange, "exchange", "", "topic exchange of the event")
	flags.StringVar(&f.event.ContentType, "content-type", "", "content type of the event (application/json)")
	flags.StringVar(&f.body, "body", "null", "body of the event, JSON")
	flags.BoolVar(&f.overlap, "allow-overlap", false, "add a job also while the last one is open")
	flags.BoolVar(&f.catchAll, "catch-up-all", false, "fire for each time that was missed, not once for all")
	flags.StringVar(&f.starts, "starts", "", "do not fire before: RFC 3339, or +10m from now")
	flags.StringVar(&f.ends, "ends", "", "do not fire after: RFC 3339, or +24h from now")
	flags.BoolVar(&asJSON, "json", false, "print the API's object")
	return cmd
}

func (f *scheduleFlags) check() error {
	switch {
	case f.in.Rule == "":
		return errors.New(`--rule is required, such as "every 10m"`)
	case (f.job.Kind == "") == (f.event.Key == ""):
		return errors.New("give --kind KIND for a job, or --event KEY for an event")
	case f.catchAll && f.job.Kind != "" && !f.overlap:
		return errors.New("--catch-up-all needs --allow-overlap: otherwise only the first of the missed jobs would be added")
	}
	return nil
}

func (f *scheduleFlags) input(name string) (schedule.Input, error) {
	in := f.in
	in.Name = name
	if f.job.Kind != "" {
		f.job.Args, f.job.Timeout = json.RawMessage(f.args), jobs.Duration(f.timeout)
		in.Job = &f.job
	}
	if f.event.Key != "" {
		f.event.Body = json.RawMessage(f.body)
		in.Event = &f.event
	}
	if f.overlap {
		in.Overlap = schedule.OverlapAllow
	}
	if f.catchAll {
		in.CatchUp = schedule.CatchUpAll
	}
	for _, t := range []struct {
		flag, text string
		to         **time.Time
	}{{"--starts", f.starts, &in.StartsAt}, {"--ends", f.ends, &in.EndsAt}} {
		at, err := jobs.ParseTime(t.text, time.Now())
		if err != nil {
			return in, usageError{fmt.Errorf("%s: %w", t.flag, err)}
		}
		if !at.IsZero() {
			*t.to = &at
		}
	}
	return in, nil
}

// onSchedule returns a command on the schedule of a name; do gets its id.
func onSchedule(
	cfg *Config, verb, short string, do func(ctx context.Context, c client, s schedule.Schedule, by jobs.Actor) error,
) *cobra.Command {
	var reason string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   verb + " NAME",
		Short: short,
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withClient(cmd, cfg, asJSON, func(ctx context.Context, c client) error {
				s, err := c.store.ScheduleNamed(ctx, args[0])
				if err == nil {
					err = do(ctx, c, s, by(reason))
				}
				var refused *jobs.NotAllowedError
				switch {
				case errors.Is(err, jobs.ErrNotFound) && uuid.Validate(args[0]) == nil:
					return fmt.Errorf("there is no schedule named %q. To change the schedule of a task, edit the task on its page", args[0])
				case errors.Is(err, jobs.ErrNotFound):
					return fmt.Errorf("there is no schedule %q", args[0])
				case errors.As(err, &refused):
					return refused
				}
				return err
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's object")
	return cmd
}

func newSchedulesSwitch(
	cfg *Config, verb, short string, act func(*store.Store, context.Context, uuid.UUID, jobs.Actor) (schedule.Schedule, error),
) *cobra.Command {
	return onSchedule(cfg, verb, short, func(ctx context.Context, c client, s schedule.Schedule, by jobs.Actor) error {
		now, err := act(c.store, ctx, s.ID, by)
		if err != nil {
			return err
		}
		return c.print(now, func(w io.Writer) { row(w, now.Name, verb+"d", "next", when(now.NextAt)) })
	})
}

func newSchedulesRun(cfg *Config) *cobra.Command {
	return onSchedule(cfg, "run", "Fire a schedule now, in addition to its planned times",
		func(ctx context.Context, c client, s schedule.Schedule, by jobs.Actor) error {
			firing, err := c.store.RunSchedule(ctx, s.ID, by)
			if err != nil {
				return err
			}
			return c.print(firing, func(w io.Writer) {
				if firing.JobID != nil {
					row(w, *firing.JobID, firing.Outcome)
				} else {
					row(w, *firing.EventID, "in the outbox, to be published")
				}
			})
		})
}

func newSchedulesDelete(cfg *Config) *cobra.Command {
	return onSchedule(cfg, "delete", "Delete a schedule with its history; its jobs stay",
		func(ctx context.Context, c client, s schedule.Schedule, by jobs.Actor) error {
			if err := c.store.DeleteSchedule(ctx, s.ID, by); err != nil {
				return err
			}
			return c.print(s, func(w io.Writer) { row(w, s.Name, "deleted") })
		})
}
