package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	sentences "github.com/warrenjobs/warren/jobs/explain"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/views"
	"github.com/warrenjobs/warren/views/ui"
)

func newWorkers(cfg *Config) *cobra.Command {
	return noun("workers", "List the warren processes, make one quiet or stop it", func() *cobra.Command { return newWorkersList(cfg) },
		newWorkersAsk(cfg, engine.CommandQuiet, "Take no new jobs; what runs is finished"),
		newWorkersAsk(cfg, engine.CommandResume, "Take jobs again"),
		newWorkersAsk(cfg, engine.CommandStop, "Stop a process in good order, as SIGTERM does"))
}

// newWorkersList returns a command whose table says what the Workers page says: the processes that are
// alive, and in a line which are gone. As JSON it lists all, as the API does.
func newWorkersList(cfg *Config) *cobra.Command {
	var role string
	var cmd *cobra.Command
	cmd = lister[engine.Process]{short: "List processes by name",
		read: func(ctx context.Context, s *store.Store, place jobs.Cursor, limit int) (page jobs.Page[engine.Process], err error) {
			if _, err := engine.ParseProcessRole(role); err != nil {
				return page, usageError{fmt.Errorf("--%w", err)}
			}
			asJSON, _ := cmd.Flags().GetBool("json")
			return s.Processes(ctx, engine.ProcessFilter{Role: role, Alive: !asJSON}, place, limit)
		},
		head: []any{"ID", "NAME", "ROLES", "STATE", "QUEUES", "SLOTS", "BUSY", "JOBS/MIN", "JOBS RUN", "UP", "VERSION"},
		row:  processCells,
		foot: func(ctx context.Context, s *store.Store) (string, error) {
			gone, err := s.GoneProcesses(ctx, role)
			return sentences.GoneProcesses(gone, time.Now()).Text, err
		},
	}.command(cfg)
	cmd.Flags().StringVar(&role, "role", "", "only processes with this role: "+strings.Join(engine.ProcessRoles, ", "))
	return cmd
}

func processCells(p engine.Process) []any {
	state, now := string(p.State), time.Now()
	if seen := views.SeenText(p, now); seen != "" {
		state += ", " + seen
	}
	return []any{p.ID, p.Name, views.RolesText(p), state, cmp.Or(strings.Join(p.Details.Queues, ","), ui.Unknown),
		cmp.Or(views.SlotsText(p), ui.Unknown), cmp.Or(views.BusyText(p), ui.Unknown), cmp.Or(views.EndedRate(p), ui.Unknown),
		cmp.Or(views.RanText(p, now), ui.Unknown), ui.Relative(p.StartedAt, now, ui.For), p.Version}
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
