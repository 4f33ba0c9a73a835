// Package storetest gives each test a fresh, migrated database on a real PostgreSQL: the one of
// WARREN_TEST_DATABASE_URL, or a private one that is started for the test process.
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
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/store/local"
)

var server struct {
	once  sync.Once
	url   string
	admin *pgxpool.Pool // creates and drops the databases
	err   error
	stop  func()
}

// template is a migrated database from which the tests' databases are cloned, which takes a third
// of the time. All clones have its deployment id.
var template struct {
	once sync.Once
	name string
	err  error
}

// Stop removes what the tests of this process share: the template, and the server if this process
// started it. For TestMain.
func Stop() {
	if template.name != "" {
		_ = run(fmt.Sprintf(`DROP DATABASE IF EXISTS %q WITH (FORCE)`, template.name))
	}
	if server.admin != nil {
		server.admin.Close()
	}
	if server.stop != nil {
		server.stop()
	}
}

// URL returns the server's URL, with the maintenance database.
func URL(tb testing.TB) string {
	tb.Helper()
	server.once.Do(func() {
		if server.url = os.Getenv("WARREN_TEST_DATABASE_URL"); server.url == "" {
			if server.url, server.err = start(); server.err != nil {
				return
			}
		}
		server.admin, server.err = pgxpool.New(context.Background(), server.url)
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
	return s.AdminURL(), nil
}

// Database creates an empty database for the test, drops it afterwards and returns its URL.
func Database(tb testing.TB) string {
	tb.Helper()
	return create(tb, "template1")
}

// Migrated is Database, with Warren's schema in it.
func Migrated(tb testing.TB) string {
	tb.Helper()
	admin := URL(tb)
	template.once.Do(func() {
		template.name = "template_" + uuid.NewString()[:13]
		template.err = makeTemplate(admin, template.name)
	})
	require.NoError(tb, template.err)
	return create(tb, template.name)
}

func makeTemplate(admin, name string) error {
	if err := run(fmt.Sprintf(`CREATE DATABASE %q`, name)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	s, err := store.Open(ctx, in(admin, name))
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Migrate(ctx); err != nil {
		return err
	}
	return runIn(ctx, in(admin, name), refuseTransitions())
}

// runIn runs SQL in another database of the server.
func runIn(ctx context.Context, url, sql string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	return err
}

func create(tb testing.TB, from string) string {
	tb.Helper()
	admin := URL(tb)
	name := "t_" + uuid.NewString()[:13]
	require.NoError(tb, run(fmt.Sprintf(`CREATE DATABASE %q TEMPLATE %q STRATEGY wal_log`, name, from)))
	tb.Cleanup(func() { require.NoError(tb, run(fmt.Sprintf(`DROP DATABASE IF EXISTS %q WITH (FORCE)`, name))) })
	return in(admin, name)
}

// in returns the URL of another database of the server.
func in(admin, name string) string {
	u, err := url.Parse(admin)
	if err != nil {
		panic(err) // of our own server
	}
	u.Path = "/" + name
	query := u.Query()
	query.Set("connect_timeout", "60") // a busy machine takes its time to sign a client in
	u.RawQuery = query.Encode()
	return SearchPath(u.String(), "public") // a role named warren would find the schema by itself; each statement must name it
}

// SearchPath returns the URL of a database with another search_path.
func SearchPath(database, path string) string {
	u, err := url.Parse(database)
	if err != nil {
		panic(err) // of our own server
	}
	query := u.Query()
	query.Set("search_path", path)
	u.RawQuery = query.Encode()
	return u.String()
}

// New returns a store on a fresh, migrated database.
func New(tb testing.TB) *store.Store {
	tb.Helper()
	return open(tb, Migrated(tb))
}

// Open returns a store on the database of the URL, migrates it, and closes the store with the test.
func Open(tb testing.TB, url string) *store.Store {
	tb.Helper()
	s := open(tb, url)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	require.NoError(tb, s.Migrate(ctx))
	return s
}

func open(tb testing.TB, url string) *store.Store {
	tb.Helper()
	s, err := store.Open(context.Background(), url)
	require.NoError(tb, err)
	tb.Cleanup(s.Close)
	return s
}

func run(sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	_, err := server.admin.Exec(ctx, sql)
	return err
}
