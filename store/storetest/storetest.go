// Package storetest gives each test a fresh, migrated database on a real
// PostgreSQL: the one of WARREN_TEST_DATABASE_URL, or a private one that is
// started for the test process.
package storetest

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/store/local"
)

var server struct {
	once sync.Once
	url  string
	err  error
	stop func()
}

// Stop stops the server that was started for this process, if one was. For TestMain.
func Stop() {
	if server.stop != nil {
		server.stop()
	}
}

// URL is the server's, with the maintenance database.
func URL(tb testing.TB) string {
	tb.Helper()
	server.once.Do(func() {
		if server.url = os.Getenv("WARREN_TEST_DATABASE_URL"); server.url == "" {
			server.url, server.err = start()
		}
	})
	require.NoError(tb, server.err)
	return server.url
}

func start() (string, error) {
	dir, err := os.MkdirTemp("", "warren-test-postgres-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // the server runs as another user when we are root
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	s, err := local.Start(ctx, local.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		_ = os.RemoveAll(dir)
		return "", err
	}
	server.stop = func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = s.Stop(ctx)
		_ = os.RemoveAll(dir)
	}
	return s.URL(), nil
}

// Database creates an empty database for the test, drops it afterwards and returns its URL.
func Database(tb testing.TB) string {
	tb.Helper()
	admin := URL(tb)
	name := "t_" + uuid.NewString()[:13]
	exec(tb, admin, fmt.Sprintf(`CREATE DATABASE %q STRATEGY file_copy`, name))
	tb.Cleanup(func() { exec(tb, admin, fmt.Sprintf(`DROP DATABASE IF EXISTS %q WITH (FORCE)`, name)) })
	u, err := url.Parse(admin)
	require.NoError(tb, err)
	u.Path = "/" + name
	return u.String()
}

// New returns a store on a fresh, migrated database.
func New(tb testing.TB) *store.Store {
	tb.Helper()
	return Open(tb, Database(tb))
}

// Open returns a migrated store on the database of the URL, closed with the test.
func Open(tb testing.TB, url string) *store.Store {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	s, err := store.Open(ctx, url)
	require.NoError(tb, err)
	tb.Cleanup(s.Close)
	require.NoError(tb, s.Migrate(ctx))
	return s
}

func exec(tb testing.TB, url, sql string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	require.NoError(tb, err)
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, sql)
	require.NoError(tb, err)
}
