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
)

func newWorkers(cfg *Config) *cobra.Command {
	return group("workers", "List the warren processes, make one quiet or stop it",
		newWorkersList(cfg),
		newWorkersAsk(cfg, engine.CommandQuiet, "Take no new jobs; what runs is finished"),
		newWorkersAsk(cfg, engine.CommandResume, "Take jobs again"),
		newWorkersAsk(cfg, engine.CommandStop, "Stop a process in good order, as SIGTERM does"))
}

func newWorkersList(cfg *Config) *cobra.Command {
	var role, cursor string
	var limit int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List processes, the latest started first",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			before := uuid.Nil
			if cursor != "" {
				id, err := uuid.Parse(cursor)
				if err != nil {
					return usageError{fmt.Errorf("--cursor is %q: take it from the \"next\" of the page before", cursor)}
				}
				before = id
			}
			if limit < 1 || limit > 200 {
				return usageError{fmt.Errorf("--limit is %d: it must be between 1 and 200", limit)}
			}
			return withClient(cmd, cfg, asJSON, func(ctx context.Context, c client) error { return c.workers(ctx, role, before, limit) })
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&role, "role", "", "only processes with this role")
	flags.StringVar(&cursor, "cursor", "", "go on from the \"next\" of the page before")
	flags.IntVar(&limit, "limit", 50, "how many")
	flags.BoolVar(&asJSON, "json", false, "print the API's object")
	return cmd
}

func (c client) workers(ctx context.Context, role string, before uuid.UUID, limit int) error {
	list, next, err := c.store.Processes(ctx, role, before, limit)
	if err != nil {
		return err
	}
	answer := struct {
		Items []engine.Process `json:"items"`
		Next  *uuid.UUID       `json:"next"`
	}{Items: list}
	if answer.Items == nil {
		answer.Items = []engine.Process{}
	}
	if next != uuid.Nil {
		answer.Next = &next
	}
	return c.print(answer, func(w io.Writer) {
		row(w, "ID", "NAME", "ROLES", "STATE", "BUSY", "VERSION", "STARTED")
		for _, p := range list {
			row(w, p.ID, p.Name, strings.Join(p.Roles, ","), p.State, busy(p), p.Version, when(&p.StartedAt))
		}
	})
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
				return usageError{fmt.Errorf("%q is no process id: warren workers list shows them", args[0])}
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
