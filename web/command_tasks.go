package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/kinds"
	"github.com/warrenjobs/warren/jobs/tasks"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/views"
)

func newTasks(cfg *Config, own []*jobs.Kind) *cobra.Command {
	return noun("tasks", "List, add, finish or import tasks", func() *cobra.Command { return newTasksList(cfg) },
		newTasksAdd(cfg, own), newTasksDone(cfg), newTasksImport(cfg), newTasksReindex(cfg))
}

func newTasksList(cfg *Config) *cobra.Command {
	var f tasks.Filter
	cmd := lister[tasks.Task]{short: "List tasks, newest first",
		read: func(ctx context.Context, s *store.Store, place jobs.Cursor, limit int) (page jobs.Page[tasks.Task], err error) {
			if err := f.Check(); err != nil {
				return page, usageError{err}
			}
			return s.Tasks(ctx, f, place, limit)
		},
		head: []any{"ID", "PRIORITY", "DUE", "DONE", "DESCRIPTION"},
		row: func(t tasks.Task) []any {
			due := when(t.DueAt)
			if t.Overdue(time.Now()) {
				due += " overdue"
			}
			return []any{t.ID, t.Priority, due, yesNo(t.Done), t.Description}
		},
		foot: func(ctx context.Context, s *store.Store) (string, error) {
			if f.Text == "" {
				return "", nil
			}
			index, err := s.TaskIndex(ctx)
			return views.IndexWords(index), err
		},
	}.command(cfg)
	flags := cmd.Flags()
	flags.StringVar((*string)(&f.View), "view", string(tasks.ViewOpen), "open, overdue, done or all")
	flags.StringVar((*string)(&f.Priority), "priority", "", "only this priority")
	flags.StringVar(&f.Text, "q", "", "only with words that begin with these in the description, or this id")
	return cmd
}

func newTasksReindex(cfg *Config) *cobra.Command {
	var wait, asJSON bool
	cmd := &cobra.Command{
		Use:   "reindex",
		Short: "Build the search index again, as a job",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withClient(cmd, cfg, asJSON, func(ctx context.Context, c client) error {
				job := kinds.NewReindex()
				job.Origin = "cli"
				added, err := c.store.Enqueue(ctx, job)
				if err != nil {
					return err
				}
				if wait {
					return c.await(ctx, added)
				}
				return c.printAdded(ctx, added, jobs.Queued)
			})
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until it has ended; exit 1 if it is dead or cancelled")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's object")
	return cmd
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func newTasksAdd(cfg *Config, own []*jobs.Kind) *cobra.Command {
	var in tasks.Input
	var job tasks.Job
	var start, due, args string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "add DESCRIPTION",
		Short:   "Add a task, with an optional job",
		Example: `  warren tasks add "Weekly report" --kind dots --args '{"text":"..."}' --rule "0 9 * * 1" --zone Europe/Berlin`,
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, argv []string) error {
			in.Description = argv[0]
			for _, t := range []struct {
				flag, text string
				to         **time.Time
			}{{"--start", start, &in.StartAt}, {"--due", due, &in.DueAt}} {
				at, err := jobs.ParseTime(t.text, time.Now())
				if err != nil {
					return usageError{fmt.Errorf("%s: %w", t.flag, err)}
				}
				if !at.IsZero() {
					*t.to = &at
				}
			}
			if job.Kind != "" {
				in.Job = &job
				job.Args, job.Runs = json.RawMessage(args), runs(cmd, job)
			}
			registry, err := known(own)
			if err != nil {
				return err
			}
			if job.Kind == "" || registry.Lookup(job.Kind) != nil { // errors are reported without a database
				if err := tasks.Prepare(registry, &in); err != nil {
					return err
				}
			}
			return withClient(cmd, cfg, asJSON, func(ctx context.Context, c client) error {
				if err := c.learn(ctx, registry); err != nil {
					return err
				}
				if err := tasks.Prepare(registry, &in); err != nil {
					return err
				}
				task, err := c.store.CreateTask(ctx, in, "cli", by(""))
				if err != nil {
					return err
				}
				return c.print(task, func(w io.Writer) { row(w, task.ID, "added") })
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar((*string)(&in.Priority), "priority", "", "none, low, medium or high")
	flags.StringVar(&start, "start", "", "RFC 3339, or +10m from now")
	flags.StringVar(&due, "due", "", "RFC 3339, or +24h from now")
	flags.StringVar(&job.Kind, "kind", "", "kind of its job, which runs now, at --start, or by --rule")
	flags.StringVar(&args, "args", "{}", "args of the job, JSON")
	flags.StringVar(&job.Queue, "queue", "", "queue of the job (default)")
	flags.StringVar(&job.Rule, "rule", "", `schedule of the job: "every 10m", or cron such as "30 9 * * 1-5"`)
	flags.StringVar(&job.Zone, "zone", "", "time zone of the rule (UTC)")
	flags.BoolVar(&asJSON, "json", false, "print the API's object")
	return cmd
}

// runs returns when the job runs, by the flags that were given.
func runs(cmd *cobra.Command, job tasks.Job) tasks.Runs {
	switch {
	case job.Rule != "":
		return tasks.RunsSchedule
	case cmd.Flags().Changed("start"):
		return tasks.RunsAtStart
	}
	return tasks.RunsNow
}

func newTasksDone(cfg *Config) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "done ID",
		Short: "Mark a task done",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := uuid.Parse(args[0])
			if err != nil {
				return usageError{fmt.Errorf("%q is not a valid task id", args[0])}
			}
			return withClient(cmd, cfg, asJSON, func(ctx context.Context, c client) error {
				task, err := c.store.SetTaskDone(ctx, id, true, by(""))
				if errors.Is(err, jobs.ErrNotFound) {
					return errors.New("there is no such task")
				}
				if err != nil {
					return err
				}
				return c.print(task, func(w io.Writer) { row(w, task.ID, "done") })
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's object")
	return cmd
}

func newTasksImport(cfg *Config) *cobra.Command {
	var wait, asJSON bool
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Add a task for each line of a CSV file, as a job",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := os.Open(args[0])
			if err != nil {
				return fmt.Errorf("read the file: %w", err)
			}
			defer func() { _ = file.Close() }()
			return withClient(cmd, cfg, asJSON, func(ctx context.Context, c client) error { return c.importTasks(ctx, file, wait) })
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until it has ended; exit 1 if it is dead or cancelled")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's object")
	return cmd
}

func (c client) importTasks(ctx context.Context, file *os.File, wait bool) error {
	id, size, err := c.store.KeepFile(ctx, filepath.Base(file.Name()), "text/csv", file)
	if err != nil {
		return fmt.Errorf("upload %s: %w", file.Name(), err)
	}
	if size == 0 {
		return fmt.Errorf("%s is empty", file.Name())
	}
	job := jobs.New(kinds.TasksImport{File: id})
	job.Origin = "cli"
	added, err := c.store.Enqueue(ctx, job)
	if err != nil {
		return err
	}
	if wait {
		return c.await(ctx, added)
	}
	return c.printAdded(ctx, added, jobs.Queued)
}
