package jobs_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
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
	vhost  rabbittest.VHost
	broker *rabbit.Broker
	reg    *jobs.Registry
	log    *slog.Logger
	id     string
}

func setup(t *testing.T) *bundle {
	t.Helper()
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	b := &bundle{t: t, ctx: ctx, store: storetest.New(t), vhost: rabbittest.New(t), reg: jobs.NewRegistry(),
		log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))}
	kinds.Register(b.reg)
	id, err := b.store.DeploymentID(ctx)
	require.NoError(t, err)
	b.id = id
	b.broker = &rabbit.Broker{URL: b.vhost.URL, Names: rabbit.Names{Prefix: "warren"}, Deployment: id, Process: t.Name(), Log: b.log}
	return b
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

func (b *bundle) relay() (stop func()) {
	r := &jobs.Relay{Outbox: b.store, Publisher: b.broker.NewPublisher(), Announce: func(string, ...string) {},
		Health: func(context.Context, string, string) {}, Log: b.log}
	return b.background(r.Run)
}

func (b *bundle) newWorker(name string) *jobs.Worker {
	return &jobs.Worker{
		Store: b.store, Consumer: b.broker, Registry: b.reg, Deployment: b.id, Queues: []string{"default"}, Concurrency: 4,
		OpenSession: func(ctx context.Context) (jobs.Session, error) {
			return b.store.OpenSession(ctx, store.SessionInfo{Name: name, Roles: []string{"worker"}, Concurrency: 4})
		},
		Announce: func(string, ...string) {}, Log: b.log,
	}
}

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

func (b *bundle) eventually(id uuid.UUID, what string, ok func(jobs.Detail) bool) jobs.Detail {
	b.t.Helper()
	var job jobs.Detail
	for {
		var err error
		job, err = b.store.Job(b.ctx, id)
		require.NoError(b.t, err)
		if ok(job) {
			return job
		}
		select {
		case <-b.ctx.Done():
			raw, _ := json.Marshal(job)
			b.t.Fatalf("job never %s: %s", what, raw)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func in(state jobs.State) func(jobs.Detail) bool {
	return func(j jobs.Detail) bool { return j.State == state }
}

func TestAJobGoesThroughOutboxAndBrokerToAWorkerAndCompletes(t *testing.T) {
	b := setup(t)
	b.relay()
	b.background(b.newWorker("w1").Run)

	id := b.enqueue(jobs.New(kinds.Dots{Text: "Hello."}))[0]
	job := b.eventually(id, "completed", in(jobs.Completed))

	require.JSONEq(t, `{"dots":1}`, string(job.Output))
	require.Equal(t, 1, job.Attempt)
	require.Len(t, job.Attempts, 1)
	require.Equal(t, "w1", job.Attempts[0].Worker)
	require.Len(t, job.Deliveries, 1)
	require.False(t, job.Deliveries[0].Redelivered)
	require.NotNil(t, job.SentAt)
	out, err := b.store.Outbox(b.ctx)
	require.NoError(t, err)
	require.Zero(t, out.Waiting, "the relay removes what the broker confirmed")
}
