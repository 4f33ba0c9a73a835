package engine_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/kinds"
	"github.com/warrenjobs/warren/jobs/rabbit"
	"github.com/warrenjobs/warren/jobs/rabbit/rabbittest"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/store/storetest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	storetest.Stop()
	rabbittest.Stop()
	os.Exit(code)
}

// bundle is one deployment of its own: a fresh database, a fresh virtual host.
type bundle struct {
	t      *testing.T
	ctx    context.Context
	store  *store.Store
	db     *pgx.Conn // for queries that bypass the store
	vhost  rabbittest.VHost
	broker *rabbit.Broker
	reg    *jobs.Registry
	log    *slog.Logger
	id     string
	work   func(ctx context.Context, run *jobs.Run) error // the handler of step
}

// step is a kind whose handler is bundle.work.
type step struct {
	Text string `json:"text,omitempty"`
}

func (step) Kind() string { return "step" }

func setup(t *testing.T) *bundle {
	t.Helper()
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return setupOn(ctx, t, storetest.Migrated(t), rabbittest.New(t))
}

// setupOn is setup on the given servers.
func setupOn(ctx context.Context, t *testing.T, db string, vhost rabbittest.VHost) *bundle {
	t.Helper()
	b := &bundle{t: t, ctx: ctx, store: storetest.Open(t, db), vhost: vhost,
		log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))}
	b.kinds(kinds.Config{}, jobs.Handle(func(ctx context.Context, run *jobs.Run, _ step) error { return b.work(ctx, run) }))
	var err error
	b.db, err = pgx.Connect(ctx, db)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.db.Close(context.WithoutCancel(ctx)) })
	b.id, err = b.store.DeploymentID(ctx)
	require.NoError(t, err)
	b.broker = &rabbit.Broker{URL: b.vhost.URL, Names: rabbit.Names{Prefix: "warren"}, Deployment: b.id, Process: t.Name(), Log: b.log}
	return b
}

// kinds registers the built-in kinds and these others.
func (b *bundle) kinds(cfg kinds.Config, own ...*jobs.Kind) {
	var err error
	b.reg, err = jobs.NewRegistry(append(kinds.BuiltIn(cfg), own...)...)
	require.NoError(b.t, err)
}

// background runs a loop until the test, or the returned stop, ends it.
func (b *bundle) background(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(b.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = run(ctx)
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	b.t.Cleanup(stop)
	return stop
}

func (b *bundle) relay() (stop func()) { return b.relayTo(b.broker) }

func (b *bundle) relayTo(broker *rabbit.Broker) (stop func()) {
	return b.relayBy(patient{broker.NewPublisher()})
}

func (b *bundle) relayBy(p engine.Publisher) (stop func()) {
	r := &engine.Relay{Outbox: b.store, Publisher: p, Announce: silent, ReportHealth: unwritten, Log: b.log}
	return b.background(r.Run)
}

// patient waits longer for confirms, so that no message is sent twice, however busy the machine is.
type patient struct{ engine.Publisher }

func (p patient) Publish(ctx context.Context, msgs []engine.Message, _ time.Duration, late func([]int64)) (engine.Receive, error) {
	return p.Publisher.Publish(ctx, msgs, 3*time.Minute, late)
}

func unwritten(context.Context, string, string) {}

func silent(string, ...string) {}

func (b *bundle) newWorker(name string) *engine.Worker {
	return &engine.Worker{
		Store: b.store, Consumer: b.broker, Registry: b.reg, Deployment: b.id, Queues: []string{"default"}, Concurrency: 4,
		OpenSession: b.opener(name, "worker"), Announce: silent, Log: b.log,
	}
}

// worker runs a worker; small makes it hold one message at a time.
func (b *bundle) worker(name string, change ...func(*engine.Worker)) (stop func()) {
	w := b.newWorker(name)
	for _, c := range change {
		c(w)
	}
	return b.background(w.Run)
}

func small(w *engine.Worker) { w.Concurrency = 1 }

func (b *bundle) opener(name, role string) func(ctx context.Context) (engine.Session, error) {
	s := b.store // a test may open another one while this runs
	return func(ctx context.Context) (engine.Session, error) {
		return s.OpenSession(ctx, store.SessionInfo{Name: name, Roles: []string{role}, Concurrency: 4})
	}
}

func (b *bundle) newScheduler() *engine.Scheduler {
	return &engine.Scheduler{Store: b.store, DeadLetters: b.broker, OpenSession: b.opener("s", "scheduler"), Announce: silent, Log: b.log}
}

func (b *bundle) scheduler() (stop func()) { return b.background(b.newScheduler().Run) }

func (b *bundle) enqueue(list ...jobs.NewJob) []uuid.UUID {
	b.t.Helper()
	added, err := b.store.Enqueue(b.ctx, list...)
	require.NoError(b.t, err)
	ids := make([]uuid.UUID, len(added))
	for i, a := range added {
		ids[i] = a.ID
	}
	return ids
}

// step enqueues a job whose handler is work.
func (b *bundle) step(opts ...jobs.Option) uuid.UUID {
	b.t.Helper()
	return b.enqueue(jobs.New(step{}, opts...))[0]
}

func (b *bundle) steps(n int, opts ...jobs.Option) []uuid.UUID {
	b.t.Helper()
	list := make([]jobs.NewJob, n)
	for i := range list {
		list[i] = jobs.New(step{}, opts...)
	}
	return b.enqueue(list...)
}

func (b *bundle) job(id uuid.UUID) jobs.Detail {
	b.t.Helper()
	job, err := b.store.Job(b.ctx, id)
	require.NoError(b.t, err)
	return job
}

func (b *bundle) eventually(id uuid.UUID, what string, ok func(jobs.Detail) bool) jobs.Detail {
	b.t.Helper()
	var job jobs.Detail
	b.until(func() string { raw, _ := json.Marshal(job); return "job " + what + ": " + string(raw) }, func() bool {
		job = b.job(id)
		return ok(job)
	})
	return job
}

// until polls until ok, less often after a while.
func (b *bundle) until(what func() string, ok func() bool) {
	b.t.Helper()
	for wait := 10 * time.Millisecond; !ok(); wait = min(2*wait, 100*time.Millisecond) {
		select {
		case <-b.ctx.Done():
			b.t.Fatalf("never: %s", what())
		case <-time.After(wait):
		}
	}
}

func text(s string) func() string { return func() string { return s } }

func in(state jobs.State) func(jobs.Detail) bool {
	return func(j jobs.Detail) bool { return j.State == state }
}

// ended waits until the job has ended, and requires its state.
func (b *bundle) ended(id uuid.UUID, state jobs.State) jobs.Detail {
	b.t.Helper()
	job := b.eventually(id, "ended", func(j jobs.Detail) bool { return j.State.Ended() })
	require.Equal(b.t, state, job.State, "%v", job.Attempts)
	return job
}

func (b *bundle) number(sql string, args ...any) (n int) {
	b.t.Helper()
	require.NoError(b.t, b.db.QueryRow(b.ctx, sql, args...).Scan(&n))
	return n
}

func (b *bundle) exec(sql string, args ...any) {
	b.t.Helper()
	_, err := b.db.Exec(b.ctx, sql, args...)
	require.NoError(b.t, err)
}

func (b *bundle) outboxIsEmpty() {
	b.t.Helper()
	b.until(text("the outbox is empty"), func() bool { return b.number(`SELECT count(*) FROM warren.outbox`) == 0 })
}

// gate is a handler that reports its start and returns once open is closed.
type gate struct {
	started chan *jobs.Run
	open    chan struct{}
}

func (b *bundle) gate() *gate {
	g := &gate{started: make(chan *jobs.Run, 1000), open: make(chan struct{})}
	b.work = g.handle
	return g
}

// holdFirstLease makes handlers run until they are stopped under a job's first lease, and complete
// at once under later ones. started receives each run, causes why a run was stopped.
func (b *bundle) holdFirstLease() (started chan struct{}, causes chan error) {
	started, causes = make(chan struct{}, 2), make(chan error, 1)
	b.work = func(ctx context.Context, run *jobs.Run) error {
		started <- struct{}{}
		if run.Lease > 1 {
			return nil
		}
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return ctx.Err()
	}
	return started, causes
}

func (g *gate) handle(ctx context.Context, run *jobs.Run) error {
	g.started <- run
	select {
	case <-g.open:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// await receives from c, or fails when the test's time is over.
func await[T any](b *bundle, what string, c <-chan T) T {
	b.t.Helper()
	select {
	case v := <-c:
		return v
	case <-b.ctx.Done():
		b.t.Fatalf("never: %s", what)
		panic("unreachable")
	}
}

// amqp opens a plain channel, as a program that is not Warren would.
func (b *bundle) amqp() *amqp.Channel {
	b.t.Helper()
	return b.amqpAt(b.vhost.URL)
}

func (b *bundle) amqpAt(url string) *amqp.Channel {
	b.t.Helper()
	conn, err := amqp.Dial(url)
	require.NoError(b.t, err)
	b.t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	require.NoError(b.t, err)
	return ch
}

// topology declares what relays and workers declare.
func (b *bundle) topology() {
	b.t.Helper()
	b.until(text("a session"), func() bool {
		session, err := b.broker.Consume(b.ctx, map[string]int{"default": 1})
		return err == nil && session.Close() == nil
	})
}

// ready returns how many messages are ready in the broker's queue. RabbitMQ reports 0 for a queue
// that does not answer within 250 ms, so a 0 is read again.
func (b *bundle) ready(queue string) int {
	b.t.Helper()
	ch := b.amqp()
	for range 5 {
		q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
		require.NoError(b.t, err)
		if q.Messages > 0 {
			return q.Messages
		}
	}
	return 0
}

// message returns the message that the relay sends for a dispatch of the job.
func (b *bundle) message(id uuid.UUID, dispatch int64) amqp.Publishing {
	return amqp.Publishing{AppId: b.id, Type: "step", MessageId: uuid.NewString(), ContentType: "application/json", Body: []byte(`{}`),
		DeliveryMode: amqp.Persistent, Headers: amqp.Table{"warren-job": id.String(), "warren-dispatch": dispatch}}
}

// publish sends a message to a queue and waits for the confirm.
func (b *bundle) publish(exchange, key string, m amqp.Publishing) {
	b.t.Helper()
	ch := b.amqp()
	require.NoError(b.t, ch.Confirm(false))
	c, err := ch.PublishWithDeferredConfirmWithContext(b.ctx, exchange, key, true, false, m)
	require.NoError(b.t, err)
	acked, err := c.WaitContext(b.ctx)
	require.NoError(b.t, err)
	require.True(b.t, acked)
}

// api calls the broker's management API.
func (b *bundle) api(method, path string, in, out any) int {
	b.t.Helper()
	base, err := url.Parse(b.vhost.ManagementURL)
	require.NoError(b.t, err)
	body, err := json.Marshal(in)
	require.NoError(b.t, err)
	req, err := http.NewRequestWithContext(b.ctx, method, strings.TrimRight(base.Scheme+"://"+base.Host+base.Path, "/")+"/api/"+path,
		strings.NewReader(string(body)))
	require.NoError(b.t, err)
	password, _ := base.User.Password()
	req.SetBasicAuth(base.User.Username(), password)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(b.t, err)
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(b.t, err)
	if out != nil && resp.StatusCode == http.StatusOK {
		require.NoError(b.t, json.Unmarshal(raw, out))
	}
	return resp.StatusCode
}

// cut closes the connections that serve the purpose, as an operator does.
func (b *bundle) cut(purpose string) {
	b.t.Helper()
	b.close(b.connections(purpose, 1))
}

// connections waits until the broker lists n connections that serve the purpose, which takes some seconds.
func (b *bundle) connections(purpose string, n int) (names []string) {
	b.t.Helper()
	b.until(text("the broker lists the connections"), func() bool {
		var conns []struct {
			Name             string `json:"name"`
			ClientProperties struct {
				Name string `json:"connection_name"`
			} `json:"client_properties"`
		}
		b.api(http.MethodGet, "vhosts/"+b.vhost.Name+"/connections", nil, &conns)
		names = nil
		for _, c := range conns {
			if strings.HasSuffix(c.ClientProperties.Name, " "+purpose) {
				names = append(names, c.Name)
			}
		}
		return len(names) >= n
	})
	return names
}

func (b *bundle) close(connections []string) {
	b.t.Helper()
	for _, name := range connections {
		require.Contains(b.t, []int{http.StatusNoContent, http.StatusNotFound}, b.api(http.MethodDelete, "connections/"+
			url.PathEscape(name), nil, nil))
	}
}

// policy applies Warren's policy and waits until the queue has it.
func (b *bundle) policy() {
	b.t.Helper()
	note, err := b.broker.ApplyPolicy(b.ctx, b.vhost.Management)
	require.NoError(b.t, err)
	require.Zero(b.t, note)
	b.topology()
	b.until(text("the policy is in effect"), func() bool {
		q, err := b.vhost.Management.Queue(b.ctx, b.vhost.Name, "warren.jobs.default")
		return err == nil && q.Policy != ""
	})
}
