package warren_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren"
	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/events"
	"github.com/warrenjobs/warren/jobs/rabbit/local"
	"github.com/warrenjobs/warren/jobs/rabbit/rabbittest"
	"github.com/warrenjobs/warren/store/storetest"
)

type order struct {
	ID      int   `json:"id"`
	Version int64 `json:"version"`
}

// shop is a database and a broker on which programs with subscribers run.
type shop struct {
	*testing.T
	url    string
	broker string
	pool   *pgxpool.Pool
	client *warren.Client // publishes; its relay and scheduler run

	dashboard http.Handler // of client, once it was asked
}

func openShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{T: t, url: storetest.Migrated(t), broker: rabbittest.New(t).URL}
	var err error
	s.pool, err = pgxpool.New(t.Context(), s.url)
	require.NoError(t, err)
	t.Cleanup(s.pool.Close)
	s.client, _ = s.run([]warren.Role{warren.RoleRelay, warren.RoleScheduler})
	return s
}

// run runs a program with these subscribers until stop is called, or the test ends.
func (s *shop) run(roles []warren.Role, subscribers ...*events.Subscriber) (c *warren.Client, stop func()) {
	s.Helper()
	return s.runAs(warren.Config{Roles: roles, Subscribers: subscribers})
}

func (s *shop) runAs(config warren.Config) (c *warren.Client, stop func()) {
	s.Helper()
	config.DatabaseURL, config.BrokerURL = s.url, s.broker
	c, err := warren.Open(config)
	require.NoError(s, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(s, <-done)
		c.Close()
	})
	s.Cleanup(stop)
	return c, stop
}

// work runs a worker with these subscribers, and returns once it consumes their queues: they are bound.
func (s *shop) work(subscribers ...*events.Subscriber) (stop func()) {
	s.Helper()
	_, stop = s.run([]warren.Role{warren.RoleWorker}, subscribers...)
	ch := s.channel()
	for _, sub := range subscribers {
		require.True(s, waitFor(func() bool {
			q, err := ch.QueueDeclarePassive("warren.jobs."+sub.Name(), true, false, false, false, nil)
			if err != nil { // there is no such queue, which ends the channel
				ch = s.channel()
			}
			return err == nil && q.Consumers > 0
		}), sub.Name())
	}
	return stop
}

func (s *shop) publish(list ...events.Event) {
	s.Helper()
	require.NoError(s, pgx.BeginFunc(s.Context(), s.pool, func(tx pgx.Tx) error {
		return s.client.PublishTx(s.Context(), warren.Pgx(tx), list...)
	}))
}

func (s *shop) number(sql string, args ...any) (n int) {
	s.Helper()
	require.NoError(s, s.pool.QueryRow(s.Context(), sql, args...).Scan(&n))
	return n
}

func (s *shop) until(n int, sql string, args ...any) {
	s.Helper()
	last := -1
	if !waitFor(func() bool { last = s.number(sql, args...); return last == n }) {
		var states string
		_ = s.pool.QueryRow(s.Context(), `
			SELECT string_agg(DISTINCT kind || ' ' || state || ' ' || coalesce(last_error, ''), '; ') FROM warren.jobs`).Scan(&states)
		require.Failf(s, "never seen", "%s: want %d, last %d. The jobs: %s", sql, n, last, states)
	}
}

// waitFor polls for a minute. Unlike require.Eventually, it polls in the goroutine of the test.
func waitFor(done func() bool) bool {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if done() {
			return true
		}
	}
	return false
}

func (s *shop) completed(subscriber string, n int) {
	s.Helper()
	s.until(n, `SELECT count(*) FROM warren.jobs WHERE kind = $1 AND state = 'completed' AND origin = 'event'`, subscriber)
}

// answer is what the dashboard answers to a request, whose status must be this one.
func (s *shop) answer(method, path, body string, status int) string {
	s.Helper()
	if s.dashboard == nil {
		var err error
		s.dashboard, err = s.client.Dashboard()
		require.NoError(s, err)
	}
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "127.0.0.1"
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	s.dashboard.ServeHTTP(w, r)
	require.Equal(s, status, w.Code, w.Body.String())
	return w.Body.String()
}

// channel is a client of the broker that is not Warren.
func (s *shop) channel() *amqp.Channel {
	s.Helper()
	conn, err := amqp.Dial(s.broker)
	require.NoError(s, err)
	s.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	require.NoError(s, err)
	return ch
}

// runDue lets retries run at once.
func (s *shop) runDue() {
	_, err := s.pool.Exec(s.Context(), `UPDATE warren.jobs SET run_at = now() WHERE state = 'retrying'`)
	require.NoError(s, err)
}

// collect is a handler that keeps the routing keys.
type collect struct {
	mu   sync.Mutex
	keys []string
}

func (c *collect) handle(_ context.Context, d *events.Delivery) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys = append(c.keys, d.Key)
	return nil
}

func TestSubscriber_EachGetsWhatItsPatternsMatchOnceAndWhatItMissed(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	var everything collect
	mux := events.NewMux()
	mux.Handle("#", everything.handle)
	audit := events.Subscribe("audit", "orders", mux)
	var orders sync.Map
	mail := events.NewMux()
	var wrapped atomic.Int64
	mail.Use(func(next events.Handler) events.Handler {
		return func(ctx context.Context, d *events.Delivery) error { wrapped.Add(1); return next(ctx, d) }
	})
	events.On(mail, "order.*", func(_ context.Context, d *events.Delivery, o order) error {
		orders.Store(fmt.Sprint(d.Key, o.ID), d.ContentType)
		return nil
	})
	mailer := events.Subscribe("mailer", "orders", mail)
	stop := s.work(audit, mailer)
	require.Equal(t, 2, s.number(`SELECT count(*) FROM warren.bindings`))
	s.publish(events.JSON("orders", "order.created", order{ID: 1}), events.Gob("orders", "order.packed", order{ID: 2}),
		events.Event{Exchange: "orders", Key: "stock.counted.twice", ContentType: "text/plain", Body: []byte("7\xff")})
	s.completed("audit", 3)
	s.completed("mailer", 2)
	kind, _ := orders.Load("order.created1")
	require.Equal(t, events.TypeJSON, kind)
	kind, _ = orders.Load("order.packed2")
	require.Equal(t, events.TypeGob, kind)
	require.EqualValues(t, 2, wrapped.Load())

	stop()
	s.publish(events.JSON("orders", "order.missed", order{ID: 3}))
	stop = s.work(audit, mailer)
	s.completed("mailer", 3)
	s.completed("audit", 4)
	require.ElementsMatch(t, []string{"order.created", "order.packed", "stock.counted.twice", "order.missed"}, everything.all())

	// A stranger sends one message twice, and then another with the same id.
	ch := s.channel()
	send := func(body string) {
		require.NoError(t, ch.PublishWithContext(t.Context(), "orders", "order.foreign", false, false, amqp.Publishing{
			MessageId: "m-1", AppId: "till", ContentType: events.TypeJSON, Body: []byte(body), Headers: amqp.Table{"n": int64(7)}}))
	}
	send(`{"id": 4}`)
	send(`{"id": 4}`)
	s.completed("mailer", 4)
	send(`{"id": 5}`)
	s.until(1, `SELECT count(*) FROM warren.jobs WHERE kind = 'mailer' AND state = 'dead' AND last_error LIKE 'conflict: %'`)
	s.until(2, `SELECT count(*) FROM warren.raw_messages WHERE repeats > 0`)
	require.Equal(t, 4, s.number(`SELECT count(*) FROM warren.jobs WHERE kind = 'mailer' AND state = 'completed'`))

	// The queue is deleted: the next subscription declares and binds it again.
	_, err := ch.QueueDelete("warren.jobs.mailer", false, false, false)
	require.NoError(t, err)
	require.True(t, waitFor(func() bool {
		s.publish(events.JSON("orders", "order.again", order{ID: 6}))
		_, ok := orders.Load("order.again6")
		return ok
	}))
	stop()
}

func TestSubscriber_AFailingHandlerIsTriedAgainAndThenDead(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	var fixed atomic.Bool
	var tries atomic.Int64
	mux := events.NewMux()
	mux.Handle("flaky", func(context.Context, *events.Delivery) error {
		if tries.Add(1) <= 3 {
			return errors.New("the index is away")
		}
		return nil
	})
	mux.Handle("broken", func(context.Context, *events.Delivery) error {
		if !fixed.Load() {
			return errors.New("always")
		}
		return nil
	})
	events.On(mux, "typed", func(context.Context, *events.Delivery, order) error { return nil })
	s.work(events.Subscribe("search", "shop", mux, jobs.MaxAttempts(4)))
	s.publish(events.JSON("shop", "flaky", 1), events.JSON("shop", "broken", 1), events.JSON("shop", "typed", "no order"))
	require.True(t, waitFor(func() bool {
		s.runDue()
		return s.number(`SELECT count(*) FROM warren.jobs WHERE state IN ('completed', 'dead')`) == 3
	}))
	require.Equal(t, 4, s.number(`SELECT attempt FROM warren.jobs WHERE state = 'completed'`))
	require.Equal(t, 3, s.number(`
		SELECT count(*) FROM warren.attempts a JOIN warren.jobs j ON j.id = a.job_id WHERE j.state = 'completed'`))
	require.Equal(t, 4, s.number(`SELECT attempt FROM warren.jobs WHERE state = 'dead' AND last_error LIKE '%always%'`))
	require.Equal(t, 1, s.number(`
		SELECT attempt FROM warren.jobs WHERE state = 'dead' AND last_error LIKE '%read the body of the event typed%'`),
		"a body that cannot be read is not tried again")

	fixed.Store(true)
	var broken string
	require.NoError(t, s.pool.QueryRow(t.Context(), `SELECT id FROM warren.jobs WHERE last_error LIKE '%always%'`).Scan(&broken))
	require.Contains(t, s.answer("GET", "/failures", "", http.StatusOK), "always")
	s.answer("POST", "/api/v1/jobs/"+broken+"/retry", "", http.StatusOK)
	s.completed("search", 2)
	require.Equal(t, 5, s.number(`SELECT attempt FROM warren.jobs WHERE id = $1`, broken))
}

func TestSubscriber_EventsAreReceivedWhileAllSlotsAreBusy(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	free := make(chan struct{})
	mux := events.NewMux()
	mux.Handle("#", func(ctx context.Context, _ *events.Delivery) error {
		select {
		case <-free:
		case <-ctx.Done():
		}
		return ctx.Err()
	})
	s.runAs(warren.Config{Roles: []warren.Role{warren.RoleWorker}, Concurrency: 1, Prefetch: 1000,
		Subscribers: []*events.Subscriber{events.Subscribe("slow", "orders", mux)}})
	require.True(t, waitFor(func() bool {
		s.publish(events.JSON("orders", "first", 1)) // until the queue is bound
		return s.number(`SELECT count(*) FROM warren.jobs WHERE state = 'running'`) == 1
	}))
	s.publish(events.JSON("orders", "second", 1), events.JSON("orders", "third", 1))
	s.until(2, `SELECT count(*) FROM warren.jobs j JOIN warren.events e ON e.id = j.event_id WHERE e.routing_key IN ('second', 'third')`)
	require.Equal(t, 1, s.number(`SELECT count(*) FROM warren.jobs WHERE state = 'running'`))
	close(free)
	s.until(0, `SELECT count(*) FROM warren.jobs WHERE state <> 'completed'`)
}

func TestSubscriber_ABrokerThatRestartsLosesNoEvent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o711)) // the broker runs as another user when we are root
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	broker, err := local.Start(ctx, local.Options{Dir: filepath.Join(dir, "data"), Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // nothing to keep
		_ = broker.Stop(ctx)
	})
	s := &shop{T: t, url: storetest.Migrated(t), broker: broker.URL()}
	s.pool, err = pgxpool.New(t.Context(), s.url)
	require.NoError(t, err)
	t.Cleanup(s.pool.Close)
	s.client, _ = s.run([]warren.Role{warren.RoleRelay, warren.RoleScheduler})
	var got collect
	mux := events.NewMux()
	mux.Handle("order.*", got.handle)
	s.work(events.Subscribe("search", "orders", mux))
	some := make([]events.Event, 300)
	for i := range some {
		some[i] = events.JSON("orders", "order.created", order{ID: i})
	}
	s.publish(some...)
	require.True(t, waitFor(func() bool { return len(got.all()) > 0 }))
	require.NoError(t, broker.Ctl(ctx, "stop_app"))
	s.publish(some[:100]...)
	require.NoError(t, broker.Ctl(ctx, "start_app"))
	s.completed("search", 400)
	require.Equal(t, 400, s.number(`SELECT count(DISTINCT event_id) FROM warren.jobs WHERE kind = 'search'`))
	require.Zero(t, s.number(`SELECT count(*) FROM warren.jobs WHERE state <> 'completed'`))
}

// index is what the handlers of the tests write: one row for each order.
const index = `CREATE TABLE found (id int PRIMARY KEY, version bigint NOT NULL, writes int NOT NULL DEFAULT 1)`

func TestNewestTx_AnOlderVersionComesToNothingInWhateverOrderAndNumberEventsCome(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	_, err := s.pool.Exec(t.Context(), index)
	require.NoError(t, err)
	mux := events.NewMux()
	events.On(mux, "order.#", func(ctx context.Context, d *events.Delivery, o order) error {
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			newest, err := warren.NewestTx(ctx, warren.Pgx(tx), d, fmt.Sprint("order:", o.ID), o.Version)
			if err == nil && newest {
				_, err = tx.Exec(ctx, `INSERT INTO found (id, version) VALUES ($1, $2)
					ON CONFLICT (id) DO UPDATE SET version = excluded.version, writes = found.writes + 1`, o.ID, o.Version)
			}
			if err != nil {
				return err
			}
			return warren.CompleteTx(ctx, warren.Pgx(tx), d.Run)
		})
	})
	s.work(events.Subscribe("index", "orders", mux))
	var list []events.Event
	for id := range 10 {
		for _, version := range []int64{3, 1, 2, 3} {
			list = append(list, events.JSON("orders", "order.updated", order{id, version}))
		}
	}
	s.publish(list...)
	s.completed("index", len(list))
	require.Equal(t, 10, s.number(`SELECT count(*) FROM found WHERE version = 3`))
}

func TestSubscriber_ADroppedPatternIsUnbound(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	var got collect
	of := func(patterns ...string) *events.Subscriber {
		mux := events.NewMux()
		for _, p := range patterns {
			mux.Handle(p, got.handle)
		}
		return events.Subscribe("ship", "orders", mux)
	}
	stop := s.work(of("a.*", "b.*"))
	s.publish(events.JSON("orders", "a.1", 1), events.JSON("orders", "b.1", 1))
	s.completed("ship", 2)
	stop()
	s.publish(events.JSON("orders", "b.2", 1)) // routed by the old binding
	s.until(0, `SELECT count(*) FROM warren.outbox WHERE job_id IS NULL`)
	stop = s.work(of("a.*"))
	require.Equal(t, 1, s.number(`SELECT count(*) FROM warren.bindings`))
	s.completed("ship", 3)
	require.Equal(t, 1, s.number(`SELECT count(*) FROM warren.attempt_logs WHERE lines::text LIKE '%no handler%'`))
	s.publish(events.JSON("orders", "b.3", 1), events.JSON("orders", "a.3", 1))
	s.completed("ship", 4)
	s.until(1, `SELECT count(*) FROM warren.events WHERE routing_key = 'b.3' AND unheard_at IS NOT NULL`)
	require.ElementsMatch(t, []string{"a.1", "b.1", "a.3"}, got.all())
	stop()
}

func (c *collect) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string{}, c.keys...)
}

// An exchange of another type must not keep the worker from its other queues.
func TestSubscriber_AnExchangeOfAnotherTypeIsNamedAndStopsNoOther(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	require.NoError(t, s.channel().ExchangeDeclare("wrong", "fanout", true, false, false, false, nil))
	var got collect
	mux := events.NewMux()
	mux.Handle("#", got.handle)
	s.work(events.Subscribe("a", "wrong", mux), events.Subscribe("b", "amq.topic", mux))
	s.publish(events.JSON("amq.topic", "ping", 1))
	s.completed("b", 1)
}

func TestOpen_NamesEveryWrongSubscriber(t *testing.T) {
	t.Parallel()
	mux := events.NewMux()
	mux.Handle("#", func(context.Context, *events.Delivery) error { return nil })
	_, err := warren.Open(warren.Config{DatabaseURL: "postgres://x", BrokerURL: "amqp://x", Subscribers: []*events.Subscriber{
		events.Subscribe("no name", "e", mux), events.Subscribe("none", "", mux), events.Subscribe("empty", "e", events.NewMux())}})
	for _, want := range []string{"no name", "exchange", "no pattern"} {
		require.ErrorContains(t, err, want)
	}
	require.Panics(t, func() { mux.Handle("#", nil) })
	require.Panics(t, func() { mux.Handle("a.b#", nil) })
}

func TestReplay_GivesASubscriberTheStoredEventsThatMatchItsPatternsAgain(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	var got collect
	mux := events.NewMux()
	mux.Handle("order.*", got.handle)
	s.work(events.Subscribe("copy", "orders", mux))
	first := events.JSON("orders", "order.created", order{ID: 1})
	first.Headers = map[string]string{"shop": "north"}
	s.publish(first, events.Gob("orders", "order.packed", order{ID: 2}),
		events.JSON("orders", "stock.low", order{ID: 3}), events.JSON("elsewhere", "order.created", order{ID: 4}))
	s.completed("copy", 2)
	s.until(2, `SELECT count(*) FROM warren.events WHERE unheard_at IS NOT NULL`)
	form := s.answer("GET", "/events/subscribers/copy/replay?since=1h", "", 200)
	require.Contains(t, form, "2 events match")
	require.Contains(t, form, "order.packed")
	require.NotContains(t, form, "stock.low")
	require.Contains(t, s.answer("GET", "/events/subscribers/copy/replay?since=1h&until=30m", "", 200), "0 events match")
	require.Contains(t, s.answer("GET", "/events/subscribers/copy/replay?since=30m&until=1h", "", 200), "Must be later than the start.")
	s.answer("POST", "/api/v1/subscribers/copy/replay", `{"since": "30m", "until": "1h"}`, 422)
	s.answer("GET", "/events/subscribers/nobody/replay?since=1h", "", 404)
	s.answer("POST", "/api/v1/subscribers/copy/replay", `{"since": "1h", "until": "2999-01-01T00:00:00Z"}`, 422)
	s.answer("POST", "/api/v1/subscribers/copy/replay", `{"since": "2999-01-01T00:00:00Z"}`, 422)
	require.Contains(t, s.answer("POST", "/api/v1/subscribers/copy/replay", `{"since": "2h", "until": "1h"}`, 201), `"events.replay"`)
	require.Contains(t, s.answer("POST", "/api/v1/subscribers/copy/replay", `{"since": "1h"}`, 201), `"events.replay"`)
	s.completed("copy", 4)
	require.ElementsMatch(t, []string{"order.created", "order.packed", "order.created", "order.packed"}, got.all())
	require.Equal(t, 2, s.number(`SELECT count(*) FROM warren.jobs WHERE kind = 'copy' AND args->'headers'->>'shop' = 'north'`))
	require.Equal(t, 2, s.number(`SELECT count(*) FROM warren.audit WHERE action = 'events.replay' AND target = 'subscriber:copy'
		AND (details->>'until')::timestamptz > (details->>'since')::timestamptz`))

	page := s.answer("GET", "/events?key=order.*&subscriber=copy", "", 200)
	require.Contains(t, page, "order.packed")
	require.NotContains(t, page, "stock.low")
	require.Contains(t, s.answer("GET", "/events?outcome=unheard", "", 200), "not routed")
	require.NotContains(t, s.answer("GET", "/events?key=order.*&within=1ms", "", 200), "order.packed")
	s.answer("GET", "/api/v1/events?within=soon", "", 422)
	list := s.answer("GET", "/events/subscribers", "", 200)
	require.Contains(t, list, "order.*")
	require.Contains(t, list, "No jobs waiting.", "the sentence of its queue")
	subscribers := s.answer("GET", "/api/v1/subscribers", "", 200)
	require.Contains(t, subscribers, `"patterns":["order.*"]`)
	require.Contains(t, subscribers, `"worked":true`)
	var id string
	require.NoError(t, s.pool.QueryRow(t.Context(), `SELECT id FROM warren.events WHERE routing_key = 'order.packed'`).Scan(&id))
	require.Contains(t, s.answer("GET", "/events/"+id, "", 200), events.TypeGob)
	require.Contains(t, s.answer("GET", "/api/v1/events/"+id, "", 200), `"subscriber":"copy"`)
	s.answer("GET", "/api/v1/events?key=a..b", "", 422)
}
