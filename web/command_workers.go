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
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store"
)

func newWorkers(cfg *Config) *cobra.Command {
	return noun("workers", "List the warren processes, make one quiet or stop it", func() *cobra.Command { return newWorkersList(cfg) },
		newWorkersAsk(cfg, engine.CommandQuiet, "Take no new jobs; what runs is finished"),
		newWorkersAsk(cfg, engine.CommandResume, "Take jobs again"),
		newWorkersAsk(cfg, engine.CommandStop, "Stop a process in good order, as SIGTERM does"))
}

func newWorkersList(cfg *Config) *cobra.Command {
	var role string
	cmd := lister[engine.Process]{short: "List processes, the latest started first",
		read: func(ctx context.Context, s *store.Store, place jobs.Cursor, limit int) (jobs.Page[engine.Process], error) {
			return s.Processes(ctx, role, place, limit)
		},
		head: []any{"ID", "NAME", "ROLES", "STATE", "BUSY", "VERSION", "STARTED"},
		row: func(p engine.Process) []any {
			return []any{p.ID, p.Name, strings.Join(p.Roles, ","), p.State, busy(p), p.Version, when(&p.StartedAt)}
		},
	}.command(cfg)
	cmd.Flags().StringVar(&role, "role", "", "only processes with this role")
	return cmd
}

func busy(p engine.Process) string {
	if p.Worker == nil {
		return "–"
	}
	return fmt.Sprintf("%d/%d", p.Worker.Busy, p.Worker.Concurrency)
}

func newWorkersAsk(cfg *Config, wish engine.ProcessCommand, short string) *cobra.Command {
	var reason string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   string(wish) + " ID",
		Short: short,
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := uuid.Parse(args[0])
			if err != nil {
				return usageError{fmt.Errorf("%q is not a valid process id: warren workers list shows them", args[0])}
			}
			return withClient(cmd, cfg, asJSON, func(ctx context.Context, c client) error {
				p, err := c.store.AskProcess(ctx, id, wish, by(reason))
				var refused *jobs.NotAllowedError
				switch {
				case errors.Is(err, jobs.ErrNotFound):
					return errors.New("there is no such process")
				case errors.As(err, &refused):
					return refused
				case err != nil:
					return err
				}
				return c.print(p, func(w io.Writer) { row(w, p.ID, p.Name, "asked: "+string(wish)) })
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's object")
	return cmd
}
