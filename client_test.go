package warren_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren"
	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/rabbit/rabbittest"
	"github.com/warrenjobs/warren/store/outbox"
	"github.com/warrenjobs/warren/store/storetest"
	"github.com/warrenjobs/warren/views/browsertest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	storetest.Stop()
	rabbittest.Stop()
	browsertest.Stop()
	os.Exit(code)
}

type greeting struct {
	Name string `json:"name"`
}

func (greeting) Kind() string { return "team.greeting" }

// open runs a client on a database and a virtual host of its own until the test ends.
func open(t *testing.T, greet func(greeting) error) (database string) {
	t.Helper()
	database = storetest.Database(t)
	vhost := rabbittest.New(t)
	c, err := warren.Open(warren.Config{DatabaseURL: database, BrokerURL: vhost.URL, ManagementURL: vhost.ManagementURL},
		jobs.Handle(func(_ context.Context, _ *jobs.Run, args greeting) error { return greet(args) }))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
		c.Close()
	})
	return database
}

func enqueue(ctx context.Context, conn *pgx.Conn, name string, end func(pgx.Tx, context.Context) error) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	if _, err := outbox.Enqueue(ctx, outbox.Pgx(tx), jobs.New(greeting{name})); err != nil {
		return err
	}
	return end(tx, ctx)
}

// The pool's dialer and AfterConnect apply to the client's connections too; PrepareConn is for the
// application's requests only.
func TestClient_ConnectsAsThePoolOfTheApplicationDoes(t *testing.T) {
	t.Parallel()
	cfg, err := pgxpool.ParseConfig(storetest.Database(t))
	require.NoError(t, err)
	var dialed, prepared atomic.Int64
	dial := cfg.ConnConfig.DialFunc
	cfg.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		dialed.Add(1)
		return dial(ctx, network, addr)
	}
	cfg.AfterConnect = func(context.Context, *pgx.Conn) error { prepared.Add(1); return nil }
	cfg.PrepareConn = func(context.Context, *pgx.Conn) (bool, error) { return false, errors.New("no tenant") }
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	c, err := warren.Open(warren.Config{Pool: pool, BrokerURL: "amqp://127.0.0.1:1/"}, jobs.Describe[greeting]())
	require.NoError(t, err)
	t.Cleanup(c.Close)
	require.NoError(t, c.Migrate(t.Context()))
	added, err := c.Enqueue(t.Context(), greeting{"Ann"})
	require.NoError(t, err)
	require.NotZero(t, added.ID)
	require.Positive(t, dialed.Load())
	require.Positive(t, prepared.Load())
	require.Zero(t, pool.Stat().TotalConns(), "the pool itself is the application's alone")

	_, err = warren.Open(warren.Config{Pool: pool, DatabaseURL: cfg.ConnString(), BrokerURL: "amqp://127.0.0.1:1/"})
	require.ErrorContains(t, err, "one of them")
}

func TestClient_HoldsAtMostTwelveConnections(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var ran atomic.Int64
	conn, err := pgx.Connect(ctx, open(t, func(greeting) error { ran.Add(1); return nil }))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	most, added := 0, 0
	require.Eventually(t, func() bool {
		if added < 200 && enqueue(ctx, conn, "Ann", pgx.Tx.Commit) == nil { // Run migrates
			added++
		}
		var n int
		require.NoError(t, conn.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`).Scan(&n))
		most = max(most, n)
		return added == 200 && ran.Load() == 200
	}, 2*time.Minute, time.Millisecond)
	require.LessOrEqual(t, most, 12)
}

func TestClient_WorksWhatWasCommittedAndNothingElse(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	ran := [2]chan string{make(chan string, 9), make(chan string, 9)}
	for i := range ran { // two clients in one process are independent
		conn, err := pgx.Connect(ctx, open(t, func(g greeting) error { ran[i] <- g.Name; return nil }))
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		require.Eventually(t, func() bool { // Run migrates
			return enqueue(ctx, conn, "rolled back", pgx.Tx.Rollback) == nil
		}, time.Minute, 50*time.Millisecond)
		require.NoError(t, enqueue(ctx, conn, []string{"Ann", "Bob"}[i], pgx.Tx.Commit))
	}
	for i, name := range []string{"Ann", "Bob"} {
		select {
		case got := <-ran[i]:
			require.Equal(t, name, got)
		case <-ctx.Done():
			require.Fail(t, "the job did not run", name)
		}
		require.Empty(t, ran[i])
	}
}

func TestOpen_NamesEverythingThatIsWrong(t *testing.T) {
	t.Parallel()
	_, err := warren.Open(warren.Config{DatabaseURL: "mysql://x", BrokerURL: "http://y", Roles: []warren.Role{"baker"},
		Concurrency: -1, Prefetch: 3000, Name: "a b", Queues: warren.Queues{"a b": {}, "c": {Slots: -1}}})
	require.ErrorContains(t, err, "is not a PostgreSQL URL")
	require.ErrorContains(t, err, "amqp://")
	require.ErrorContains(t, err, `Roles has "baker": it must be one of [web relay worker scheduler monitor]`)
	require.ErrorContains(t, err, "Concurrency is -1: it must be between 1 and 10000")
	require.ErrorContains(t, err, "Prefetch is 3000")
	require.ErrorContains(t, err, `Name is "a b"`)
	require.ErrorContains(t, err, `Queues has "a b"`)
	require.ErrorContains(t, err, `Queues has "c" with weight 0 and -1 slots`)
}

func TestDashboard_RefusesAGuardThatGuardsNothing(t *testing.T) {
	t.Parallel()
	c, err := warren.Open(warren.Config{DatabaseURL: "postgres://nobody@127.0.0.1:1/nothing", BrokerURL: "amqp://127.0.0.1:1/"})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	for says, options := range map[string][]warren.DashboardOption{
		"at least 8 characters": {warren.Password("")},
		"has no name":           {warren.TrustProxy("")},
		"not several of them":   {warren.Password("12345678"), warren.TrustProxy("X-User")},
		"needs Hosts":           {warren.TrustProxy("X-User")},
		"needs one of":          {warren.Hosts("warren.example")},
		"would trust everybody": {warren.Proxies("0.0.0.0/0")},
	} {
		_, err := c.Dashboard(options...)
		require.ErrorContains(t, err, says)
	}
	_, err = c.Dashboard(warren.ReadOnly())
	require.NoError(t, err)
	_, err = c.Dashboard()
	require.ErrorContains(t, err, "serves already")
}

func TestClient_OffersAndChecksTheKindsOfOtherProcesses(t *testing.T) {
	t.Parallel()
	database := storetest.Database(t)
	vhost := rabbittest.New(t)
	start := func(roles []warren.Role, own ...*jobs.Kind) *warren.Client {
		c, err := warren.Open(warren.Config{DatabaseURL: database, BrokerURL: vhost.URL, Roles: roles}, own...)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		t.Cleanup(func() {
			cancel()
			require.NoError(t, <-done)
			c.Close()
		})
		go func() { done <- c.Run(ctx) }()
		return c
	}
	ran := make(chan string, 9)
	start([]warren.Role{warren.RoleRelay, warren.RoleWorker, warren.RoleScheduler},
		jobs.Handle(func(_ context.Context, _ *jobs.Run, g greeting) error { ran <- g.Name; return nil }, jobs.MaxAttempts(2)))
	stock := start([]warren.Role{warren.RoleWeb, warren.RoleWorker}) // it receives such jobs, too, and gives them back
	pages, err := stock.Dashboard()
	require.NoError(t, err)
	submit := func(args string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "http://localhost/api/v1/jobs", strings.NewReader(`{"kind":"team.greeting","args":`+args+
			`}`))
		r.Header.Set("Content-Type", "application/json")
		answer := httptest.NewRecorder()
		pages.ServeHTTP(answer, r)
		return answer
	}
	require.Eventually(t, func() bool { return submit(`{"name":"Ann"}`).Code == http.StatusCreated }, time.Minute, 100*time.Millisecond)
	answer := submit(`{"name":7}`)
	require.Equal(t, http.StatusUnprocessableEntity, answer.Code)
	require.Contains(t, answer.Body.String(), "args.name")
	for range 3 {
		answer := submit(`{"name":"Ann"}`)
		require.Equal(t, http.StatusCreated, answer.Code)
		require.Contains(t, answer.Body.String(), `"max_attempts":2`, "its own defaults")
	}
	for range 4 {
		select {
		case name := <-ran:
			require.Equal(t, "Ann", name)
		case <-time.After(time.Minute):
			require.Fail(t, "a job did not come to the worker that has the handler")
		}
	}
}
