package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/views"
	"github.com/warrenjobs/warren/views/ui"
)

func newFailures(cfg *Config) *cobra.Command {
	return noun("failures", "List failures, mark one as known or fixed, or reopen it",
		func() *cobra.Command { return newFailuresList(cfg) },
		newFailuresMark(cfg, "known", "Mark a failure as known: its jobs are no problem until it is reopened", jobs.FailureKnown),
		newFailuresMark(cfg, "fixed", "Mark a failure as fixed: it is open again if another job dies like this", jobs.FailureFixed),
		newFailuresMark(cfg, "reopen", "Take the mark of a known or fixed failure away", jobs.FailureOpen))
}

func newFailuresList(cfg *Config) *cobra.Command {
	var f jobs.FailureFilter
	var status string
	cmd := lister[jobs.FailureGroup]{short: "List groups of dead jobs, the one that failed last first",
		read: func(ctx context.Context, s *store.Store, place jobs.Cursor, limit int) (page jobs.Page[jobs.FailureGroup], err error) {
			if f.Status, err = jobs.ParseFailureStatus(status); err != nil {
				return page, usageError{fmt.Errorf("--status: %w", err)}
			}
			page, _, err = s.Failures(ctx, f, place, limit)
			return page, err
		},
		head: []any{"KEY", "STATUS", "JOBS", "LAST SEEN", "KIND", "ERROR", "MARK"},
		row: func(g jobs.FailureGroup) []any {
			return []any{g.Key, g.Status, ui.Capped(int64(g.Count), jobs.FailureCountCap), when(&g.LastSeen), g.Kind, g.Error, markCell(g)}
		},
	}.command(cfg)
	flags := cmd.Flags()
	flags.StringVar(&status, "status", "", "only with this status: open, known, fixed (all)")
	flags.StringVar(&f.Kind, "kind", "", "only of this kind")
	flags.StringVar(&f.Queue, "queue", "", "only with jobs of this queue")
	flags.StringVar(&f.Text, "q", "", "only with this text in the newest error")
	flags.BoolVar(&f.ByCount, "by-count", false, "the failure with most jobs first")
	return cmd
}

// markCell says who marked a failure, when and why.
func markCell(g jobs.FailureGroup) string {
	if g.Mark == nil {
		return ui.Unknown
	}
	return views.MarkText(g, jobs.FailureCountCap).In(time.Now())
}

func newFailuresMark(cfg *Config, verb, short string, status jobs.FailureStatus) *cobra.Command {
	var note string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   verb + " KEY",
		Short: short,
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := uuid.Parse(args[0])
			if err != nil {
				return usageError{fmt.Errorf("%q is not the key of a failure: warren failures list shows them", args[0])}
			}
			return withClient(cmd, cfg, asJSON, func(ctx context.Context, c client) error {
				g, err := c.store.MarkFailure(ctx, key, status, note, by(""))
				var refused *jobs.NotAllowedError
				switch {
				case errors.Is(err, jobs.ErrNotFound):
					return fmt.Errorf("there is no failure %s with dead jobs: \"warren failures list\" shows them", key)
				case errors.As(err, &refused):
					return refused
				case err != nil:
					return err
				}
				return c.print(g, func(w io.Writer) { row(w, g.Key, g.Status, g.Kind, g.Error) })
			})
		},
	}
	cmd.Flags().StringVar(&note, "note", "", "why, for those who look at the failure, and for the audit log")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's object")
	return cmd
}
