package store_test

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/store/local"
	"github.com/warrenjobs/warren/store/storetest"
)

// The dangerous end of a failover: the old primary lives on as a standby, first in DATABASE_URL,
// with all our connections open, and still answers queries.
func TestHosts_APrimaryThatTakesNoWritesAnyMoreIsLeftByEveryConnection(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	pair := startPair(ctx, t)
	s := storetest.Open(t, pair.URL())
	session, err := s.OpenSession(ctx, store.SessionInfo{Name: "w", Roles: []string{"worker"}})
	require.NoError(t, err)
	defer func() { _ = session.Close(context.WithoutCancel(ctx)) }()
	leads, listens, changes := make(chan string, 10), make(chan struct{}, 10), make(chan store.Change, 10)
	go func() {
		_ = s.Lead(ctx, "test", func(leading context.Context) error {
			leads <- "begins"
			<-leading.Done()
			leads <- "ends"
			return nil
		})
	}()
	go func() {
		_ = s.Listen(ctx, slog.New(slog.DiscardHandler), store.Listeners{
			Reconnected: func() { listens <- struct{}{} }, Change: func(c store.Change) { changes <- c }})
	}()
	require.Equal(t, "begins", next(ctx, t, leads))
	next(ctx, t, listens)
	kept := add(t, s, work())[0]

	old := direct(ctx, t, pair.Primary().AdminURL())
	execute(t, old, `ALTER SYSTEM SET default_transaction_read_only = on`)
	execute(t, old, `SELECT pg_reload_conf()`)
	require.NoError(t, pair.Promote(ctx))
	refused, err := pgx.Connect(ctx, pair.Other().URL())
	require.NoError(t, err, "the old one still answers")
	require.NoError(t, refused.Close(ctx))

	// The first statement that fails resets the pool, with all of its connections.
	refusals := 0
	for {
		_, err := s.Enqueue(ctx, work())
		if err == nil {
			break
		}
		require.True(t, store.IsAway(err), "%v", err)
		refusals++
	}
	require.LessOrEqual(t, refusals, 1)
	require.Equal(t, jobs.Queued, read(t, s, kept).State)

	require.NoError(t, session.Renew(ctx))
	now := direct(ctx, t, pair.Primary().URL())
	require.Equal(t, 1, number(t, now, `SELECT count(*) FROM pg_locks l JOIN warren.sessions s ON s.lock_key = l.objid::int AND s.id = $1
		WHERE locktype = 'advisory' AND classid = 30561`, session.Holder().Session), "the session's lock is where others look for it")
	require.Equal(t, []string{"ends", "begins"}, []string{next(ctx, t, leads), next(ctx, t, leads)}, "the lead is held there too")
	next(ctx, t, listens)
	for len(changes) > 0 {
		<-changes
	}
	execute(t, now, `SELECT pg_notify('warren_live', '{"t":"from the new one"}')`)
	require.Equal(t, "from the new one", next(ctx, t, changes).Topic)
}

func TestHosts_ADatabaseURLForReadersIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, store.CheckURL("postgres://u:hunter2@a,b/warren?target_session_attrs=standby"),
		"target_session_attrs=standby: Warren writes")
	for _, url := range []string{"http://u:hunter2@a/warren", "postgres://u:hunter2/more@a,b/warren",
		"postgres://u:hunter2@a:1,b:x/warren"} {
		err := store.CheckURL(url)
		require.ErrorContains(t, err, "DATABASE_URL is not a PostgreSQL URL", url)
		require.NotContains(t, err.Error(), "hunter2")
	}
	for _, url := range []string{"postgres://u:p@a/w", "postgres://u:p@a:1,b:2,c/w",
		"postgresql://u:p@a:1,b:2/w?target_session_attrs=read-write", "postgres:///w?host=/run/postgresql"} {
		require.NoError(t, store.CheckURL(url), url)
	}
}

// A host that is down is skipped: the next one in the URL is tried.
func TestHosts_TheNextHostIsAskedWhereTheFirstIsDown(t *testing.T) {
	t.Parallel()
	s := storetest.Open(t, strings.Replace(storetest.Database(t), "@", "@127.0.0.1:1,", 1))
	add(t, s, work())
}

func startPair(ctx context.Context, t *testing.T) *local.Pair {
	t.Helper()
	dir, err := os.MkdirTemp("", "warren-pair-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755)) // the servers run as another user when we are root
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	pair, err := local.StartPair(ctx, dir)
	require.NoError(t, err)
	t.Cleanup(pair.Stop)
	return pair
}

func direct(ctx context.Context, t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(ctx, url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(ctx)) })
	return conn
}

func next[T any](ctx context.Context, t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-ctx.Done():
		t.Fatal("it never came")
		panic("unreachable")
	}
}
