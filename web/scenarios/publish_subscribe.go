//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/warrenjobs/warren"
	"github.com/warrenjobs/warren/jobs/events"
)

// publishSubscribe is scenario 4: a schedule publishes an event each second, to two subscribers with
// patterns of their own, of which one is away for a third of the events. Both must get each event once.
func publishSubscribe(ctx context.Context, w *world, f form) (count, error) {
	if err := w.useDotEnv(); err != nil {
		return count{}, err
	}
	out, err := w.recipe(ctx, "docs/recipes/publish-subscribe.md")
	if err != nil {
		return count{}, err
	}
	if strings.Count(out, "ping") < 3 {
		return count{}, fmt.Errorf("the recipe's tail saw no three events: %s", out)
	}
	for _, role := range []string{"relay", "scheduler"} {
		if _, err := w.start("warren", role); err != nil {
			return count{}, err
		}
	}
	pool, err := pgxpool.New(ctx, w.urls.database)
	if err != nil {
		return count{}, fmt.Errorf("open the database: %w", err)
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, `CREATE TABLE seen_events (subscriber text NOT NULL, id text NOT NULL)`); err != nil {
		return count{}, fmt.Errorf("create a table: %w", err)
	}
	t := &ticks{world: w, pool: pool}
	return t.work(ctx, f.ticks)
}

// useDotEnv moves the broker's URL from the environment into .env, under its name of CloudAMQP.
func (w *world) useDotEnv() error {
	w.env = slices.DeleteFunc(w.env, func(v string) bool { return strings.HasPrefix(v, "AMQP_URL=") })
	if err := os.WriteFile(filepath.Join(w.dir, ".env"), []byte("CLOUDAMQP_URL="+w.urls.broker+"\n"), 0o600); err != nil {
		return fmt.Errorf("write .env: %w", err)
	}
	return nil
}

// ticks is a schedule of events, and its two subscribers.
type ticks struct {
	*world
	pool *pgxpool.Pool
}

// The subscribers, and the pattern of each.
const (
	subscriberEach = "each" // tick.second
	subscriberAll  = "all"  // tick.#
)

func (t *ticks) work(ctx context.Context, n int) (count, error) {
	stopEach, err := t.subscribe(ctx, subscriberEach, "tick.second")
	if err != nil {
		return count{}, err
	}
	stopAll, err := t.subscribe(ctx, subscriberAll, "tick.#")
	if err != nil {
		return count{}, errors.Join(err, stopEach())
	}
	if err := t.tickAndLeave(ctx, n, stopAll); err != nil {
		return count{}, errors.Join(err, stopEach())
	}
	if stopAll, err = t.subscribe(ctx, subscriberAll, "tick.#"); err != nil {
		return count{}, errors.Join(err, stopEach())
	}
	result, err := t.count(ctx)
	return result, errors.Join(err, stopEach(), stopAll())
}

// tickAndLeave lets the schedule publish n events, and more until the tail has seen half as many. The
// second subscriber leaves after two thirds of them.
func (t *ticks) tickAndLeave(ctx context.Context, n int, leave func() error) error {
	_, err := t.warren(ctx, "schedules", "add", "tick", "--rule", "every 1s", "--event", "tick.second", "--exchange", "amq.topic",
		"--body", "7", "--catch-up-all")
	if err != nil {
		return errors.Join(err, leave())
	}
	tail := t.tail(ctx, n)
	if err := t.published(ctx, n-n/3); err != nil {
		return errors.Join(err, leave())
	}
	t.log.Info("one of the subscribers leaves", "ticks", n-n/3, "of", n)
	if err := leave(); err != nil {
		return err
	}
	if err := errors.Join(t.published(ctx, n), t.tailed(ctx, tail, n)); err != nil {
		return err
	}
	_, err = t.warren(ctx, "schedules", "pause", "tick")
	return err
}

func (t *ticks) published(ctx context.Context, n int) error {
	return until(ctx, fmt.Sprintf("%d ticks are published", n), func() (bool, error) {
		now, err := t.number(ctx, `SELECT count(*) FROM warren.events WHERE routing_key = 'tick.second'`)
		return now >= n, err
	})
}

// subscribe runs a program with the subscriber, until it is stopped.
func (t *ticks) subscribe(ctx context.Context, name, pattern string) (stop func() error, err error) {
	mux := events.NewMux()
	mux.Handle(pattern, func(ctx context.Context, d *events.Delivery) error {
		return pgx.BeginFunc(ctx, t.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `INSERT INTO seen_events VALUES ($1, $2)`, name, d.ID); err != nil {
				return err //nolint:wrapcheck // of the handler
			}
			return warren.CompleteTx(ctx, warren.Pgx(tx), d.Run) //nolint:wrapcheck // of the handler
		})
	})
	client, err := warren.Open(warren.Config{DatabaseURL: t.urls.database, BrokerURL: t.urls.broker, Log: t.log,
		Roles: []warren.Role{warren.RoleWorker}, Queues: warren.Queues{name: {}},
		Subscribers: []*events.Subscriber{events.Subscribe(name, "amq.topic", mux)}})
	if err != nil {
		return nil, fmt.Errorf("open the subscriber %s: %w", name, err)
	}
	run, end := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- client.Run(run) }()
	stop = func() error {
		end()
		defer client.Close()
		return <-ended
	}
	if err := t.bound(ctx, name); err != nil {
		return nil, errors.Join(err, stop())
	}
	return stop, nil
}

// tail tails everything of the exchange until it has n/2 messages, as warren tail prints them.
func (t *ticks) tail(ctx context.Context, n int) <-chan string {
	said := make(chan string, 1)
	go func() {
		out, err := t.warren(ctx, "tail", "amq.topic", "#", "--count", strconv.Itoa(n/2), "--json")
		if err != nil {
			out = err.Error()
		}
		said <- out
	}()
	return said
}

func (t *ticks) tailed(ctx context.Context, tail <-chan string, n int) error {
	select {
	case out := <-tail:
		if strings.Count(out, `"tick.second"`) < n/2 {
			return fmt.Errorf("the tail of everything saw no %d ticks: %s", n/2, out)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the tail: %w", context.Cause(ctx))
	}
}

// count counts the ticks that were published, and those that both subscribers got exactly once.
func (t *ticks) count(ctx context.Context) (n count, err error) {
	if n.sent, err = t.number(ctx, `SELECT count(*) FROM warren.events WHERE routing_key = 'tick.second'`); err != nil {
		return n, err
	}
	err = until(ctx, "both subscribers have every tick", func() (bool, error) {
		seen, err := t.number(ctx, `SELECT count(*) FROM seen_events`)
		return seen >= 2*n.sent, err
	})
	if err != nil {
		return n, err
	}
	if err := t.drained(ctx); err != nil {
		return n, err
	}
	n.seen, err = t.number(ctx, `SELECT count(*) FROM warren.events e WHERE routing_key = 'tick.second' AND
		(SELECT array_agg(subscriber ORDER BY subscriber) FROM seen_events s WHERE s.id = e.id::text) = ARRAY['all', 'each']`)
	return n, err
}
