package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/monitor"
	"github.com/warrenjobs/warren/store"
)

func newQueuesList(cfg *Config) *cobra.Command {
	return lister[monitor.Queue]{short: "List the broker's queues as the monitor last saw them, problems first",
		read: func(ctx context.Context, s *store.Store, place jobs.Cursor, limit int) (jobs.Page[monitor.Queue], error) {
			page, _, err := s.Queues(ctx, store.QueueFilter{Own: ownQueues(*cfg), Sort: "trouble"}, place, limit)
			return page, err
		},
		head: []any{"VHOST", "QUEUE", "READY", "TREND", "OLDEST", "UNACKED", "REDELIVERED/MIN", "CONSUMERS", "IN/S", "OUT/S",
			"TROUBLE", "SEEN"},
		row: func(q monitor.Queue) []any {
			return []any{q.VHost, q.Name, orDash(q.Ready), cmp.Or(string(q.Trend), "–"), when(q.OldestAt), orDash(q.Unacked),
				perTime(q.Rates.Redeliver, time.Minute), orDash(q.Consumers), perTime(q.Rates.Publish, time.Second),
				perTime(q.Rates.Deliver, time.Second),
				troubles(q), when(&q.SampledAt)}
		},
	}.command(cfg)
}

// ownQueues says which queues of the broker are those of the deployment of cfg.
func ownQueues(cfg Config) store.OwnQueues {
	b := clientBroker(cfg, "client")
	return store.OwnQueues{VHost: b.VHost(), Prefix: b.Names.QueuePrefix(), Dead: b.Names.Dead()}
}

// perTime writes a rate per second as one per that time.
func perTime(perSecond *float64, per time.Duration) string {
	if perSecond == nil {
		return "–"
	}
	return fmt.Sprintf("%.2f", *perSecond*per.Seconds())
}

// troubles names what is wrong with a queue, as its page does.
func troubles(q monitor.Queue) string {
	var words []string
	for _, t := range q.Signs() {
		words = append(words, q.Word(t))
	}
	return cmp.Or(strings.Join(words, ", "), "–")
}

// newQueuesSwitch returns a command that pauses or resumes a job queue by Warren's name of it.
func newQueuesSwitch(cfg *Config, verb, short string, act func(*store.Store, context.Context, string, jobs.Actor) error) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   verb + " QUEUE",
		Short: short,
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkQueue(args[0]); err != nil {
				return err
			}
			return withClient(cmd, cfg, false, func(ctx context.Context, c client) error {
				err := act(c.store, ctx, args[0], by(reason))
				var refused *jobs.NotAllowedError
				if errors.As(err, &refused) {
					return refused
				}
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(c.out, "%s: %sd\n", args[0], verb)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	return cmd
}

func newQueuesPurge(cfg *Config) *cobra.Command {
	var reason, confirm string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "purge QUEUE --confirm QUEUE",
		Short: "Cancel the queued jobs of a queue and drop its messages in the broker",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkQueue(args[0]); err != nil {
				return err
			}
			if confirm != args[0] {
				return usageError{fmt.Errorf("a purge drops messages: type the name of the queue once more, as --confirm %s", args[0])}
			}
			if err := useRunning(cmd, cfg); err != nil {
				return err
			}
			return withClient(cmd, cfg, asJSON, func(ctx context.Context, c client) error {
				purge, err := purgeQueue(ctx, *cfg, c.store, args[0], by(reason))
				if err != nil {
					return err
				}
				return c.print(purge, func(w io.Writer) {
					row(w, "QUEUE", "CANCELLED", "MESSAGES", "OPERATION")
					row(w, purge.Queue, purge.Cancelled, purge.Messages, purge.Operation)
				})
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	cmd.Flags().StringVar(&confirm, "confirm", "", "the name of the queue once more")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's object")
	return cmd
}

// checkQueue refuses a name that a job's queue cannot have, such as the broker's name of the queue.
func checkQueue(name string) error {
	if err := jobs.CheckQueue(name); err != nil {
		return usageError{err}
	}
	return nil
}

// purgeQueue empties a job queue of the deployment of cfg, which has the URLs of running servers.
func purgeQueue(ctx context.Context, cfg Config, s *store.Store, queue string, by jobs.Actor) (engine.Purge, error) {
	speak, quiet := context.WithCancel(context.WithoutCancel(ctx))
	announcer := s.NewAnnouncer()
	var told sync.WaitGroup
	told.Go(func() { _ = announcer.Run(speak) })
	defer told.Wait()
	defer quiet()
	purger := &engine.Purger{Store: s, Empty: clientBroker(cfg, "client").PurgeJobQueue, Announce: announcer.Announce}
	return purger.Purge(ctx, queue, by)
}
