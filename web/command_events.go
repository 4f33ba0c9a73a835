package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/events"
	"github.com/warrenjobs/warren/store"
)

func newEvents(cfg *Config) *cobra.Command {
	return noun("events", "List published events and their subscribers, or replay events to one",
		func() *cobra.Command { return newEventsList(cfg) },
		newEventsSubscribers(cfg), newEventsReplay(cfg))
}

func newEventsSubscribers(cfg *Config) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "subscribers",
		Short: "List the subscribers with what they receive and what waits for them",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withClient(cmd, cfg, asJSON, func(ctx context.Context, c client) error {
				list, err := c.store.Subscribers(ctx)
				if err != nil {
					return err
				}
				return c.print(jobs.Page[engine.EventSubscriber]{Items: list}, func(w io.Writer) {
					row(w, "NAME", "EXCHANGE", "PATTERNS", "WORKED", "WAITING", "DEAD", "LAST RECEIVED")
					for _, s := range list {
						row(w, s.Name, s.Exchange, strings.Join(s.Patterns, " "), yesNo(s.Worked), s.Waiting, s.Dead, when(s.ReceivedAt))
					}
				})
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's object")
	return cmd
}

func newEventsList(cfg *Config) *cobra.Command {
	var f engine.EventFilter
	var outcome string
	cmd := lister[engine.Event]{short: "List published events with who received them, newest first",
		read: func(ctx context.Context, s *store.Store, place jobs.Cursor, limit int) (page jobs.Page[engine.Event], err error) {
			if f.Outcome, err = engine.ParseEventOutcome(outcome); err != nil {
				return page, usageError{fmt.Errorf("--%w", err)}
			}
			if f.Key, err = events.ParsePattern(f.Key); err != nil {
				return page, usageError{fmt.Errorf("--key %w", err)}
			}
			if f.Within < 0 {
				return page, usageError{errors.New("--within must be more than 0: how old the events may be, such as 90m")}
			}
			return s.Events(ctx, f, place, limit)
		},
		head: []any{"ID", "EXCHANGE", "KEY", "PUBLISHED", "RECEIVED BY"},
		row: func(e engine.Event) []any {
			return []any{e.ID, e.Exchange, e.Key, when(&e.CreatedAt), receivedBy(e)}
		},
	}.command(cfg)
	flags := cmd.Flags()
	flags.StringVar(&f.Exchange, "exchange", "", "only events of this exchange")
	flags.StringVar(&f.Key, "key", "", "only events whose routing key matches this topic pattern")
	flags.StringVar(&f.Subscriber, "subscriber", "", "only events that this subscriber has received")
	flags.DurationVar(&f.Within, "within", 0, "only events that were published at most so long ago, such as 90m")
	flags.StringVar(&outcome, "outcome", "", "only these events: waiting, unheard or dead")
	return cmd
}

// receivedBy says where an event is: at which subscribers and in which state.
func receivedBy(e engine.Event) string {
	var list []string
	for _, r := range e.Receipts {
		list = append(list, fmt.Sprintf("%s (%s)", r.Subscriber, r.State))
	}
	switch {
	case e.Waiting:
		list = append(list, "waits in the outbox")
	case len(list) == 0 && e.UnheardAt != nil:
		return "not routed"
	}
	return cmp.Or(strings.Join(list, ", "), "not received")
}

func newEventsReplay(cfg *Config) *cobra.Command {
	var reason string
	var since, until time.Duration
	cmd := &cobra.Command{
		Use:   "replay SUBSCRIBER",
		Short: "Give a subscriber the stored events that match its patterns again, as new jobs",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case since <= 0:
				return usageError{errors.New("--since must be more than 0: how long ago the first event was published, such as 90m")}
			case until < 0 || until >= since:
				return usageError{errors.New("--until must be less than --since: how long ago the last event was published, such as 30m")}
			}
			return withClient(cmd, cfg, false, func(ctx context.Context, c client) error {
				now := time.Now()
				replay := events.ReplayArgs{Subscriber: args[0], Since: now.Add(-since), Until: now.Add(-until)}
				n, _, err := c.store.Replayable(ctx, replay.Subscriber, replay.Since, replay.Until, 0)
				if errors.Is(err, jobs.ErrNotFound) {
					return fmt.Errorf("there is no subscriber %q: \"warren events subscribers\" lists them", args[0])
				}
				if err != nil {
					return err
				}
				id, err := c.store.StartReplay(ctx, replay, by(reason))
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(c.out, "Replaying %d events to %s: job %s\n", n, args[0], id)
				return err
			})
		},
	}
	cmd.Flags().DurationVar(&since, "since", 0, "how long ago the first event was published, such as 90m")
	cmd.Flags().DurationVar(&until, "until", 0, "how long ago the last event was published, such as 30m; 0 is now")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	return cmd
}
