// Package local runs a private PostgreSQL as a child process: on loopback, with its own data
// folder, and for as long as this process lives.
package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs/child"
)

// Options configures Start.
type Options struct {
	Dir  string // the server keeps everything, also its passwords, in DIR/postgres
	Port int    // on 127.0.0.1; 0 means a free one
	Log  *slog.Logger
}

// Server is a running private PostgreSQL.
type Server struct {
	process           *child.Process
	port              int
	password          string // of the role warren
	superuserPassword string
}

// Start starts the server, the first time with a new cluster, and returns when it answers and has
// the database warren. When ctx ends first, or anything fails, nothing is left running. Where
// PostgreSQL is not installed and a Docker engine answers, the server is a container.
//
// No other process may start servers in the folder.
func Start(ctx context.Context, o Options) (*Server, error) {
	s, err := start(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("start a private PostgreSQL: %w", err)
	}
	return s, nil
}

func start(ctx context.Context, o Options) (*Server, error) {
	home, err := openFolder(o.Dir)
	if err != nil {
		return nil, err
	}
	s := &Server{port: o.Port}
	if s.password, err = home.password(); err != nil {
		return nil, err
	}
	if s.superuserPassword, err = home.superuserPassword(); err != nil {
		return nil, err
	}
	if s.port == 0 {
		if s.port, err = child.FreePort(); err != nil {
			return nil, err
		}
	}
	return s, s.startAfterOrphans(ctx, home, o.Log)
}

// startAfterOrphans starts the server once the backends of a killed one have released the data, for
// which they may need a moment.
func (s *Server) startAfterOrphans(ctx context.Context, home folder, log *slog.Logger) error {
	for began := time.Now(); ; {
		err := s.tryStart(ctx, home, log)
		if err == nil || !strings.Contains(err.Error(), orphans) || time.Since(began) > patience {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// orphans is postgres's message that backends of a dead postmaster still run.
const orphans = "pre-existing shared memory block"

// tryStart starts the server, whose data may first have to get the roles of today.
func (s *Server) tryStart(ctx context.Context, home folder, log *slog.Logger) error {
	err := s.run(ctx, home, log)
	if !errors.Is(err, errNoSuperuser) {
		return err
	}
	if err := s.splitRoles(ctx, home, log); err != nil {
		return err
	}
	return s.run(ctx, home, log)
}

func (s *Server) run(ctx context.Context, home folder, log *slog.Logger) (err error) {
	if s.process, err = s.launch(ctx, home, log); err != nil {
		return err
	}
	if err := s.prepare(ctx); err != nil {
		s.abandon()
		return err
	}
	return nil
}

// launch runs the installed binaries, or a container where those are missing or the data was made
// by one.
func (s *Server) launch(ctx context.Context, home folder, log *slog.Logger) (*child.Process, error) {
	binaries, err := home.binaries()
	if home.usesContainer() || (errors.Is(err, ErrNotInstalled) && child.Docker(ctx)) {
		return s.container(home).Start(ctx)
	}
	if err != nil {
		return nil, err
	}
	cluster, err := newCluster(home, binaries)
	if err != nil {
		return nil, err
	}
	if err := cluster.ready(ctx, s.superuserPassword, log); err != nil {
		return nil, err
	}
	return child.Start(cluster.server(s.port))
}

// errRefused means that the server does not take the password, or has no such role.
var errRefused = errors.New("refused")

// connect tries until the server accepts or refuses the connection, or ends, or ctx ends.
func (s *Server) connect(ctx context.Context, url string) (*pgx.Conn, error) {
	const wrongPassword = "28P01" // SQLSTATE invalid_password
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, url)
		if err == nil {
			return conn, nil
		}
		if hasCode(err, wrongPassword) {
			return nil, fmt.Errorf("%w: %w", errRefused, err)
		}
		select {
		case <-s.process.Done():
			return nil, s.process.Ended()
		case <-ctx.Done():
			return nil, fmt.Errorf("wait until it answers: %w (last: %w)", context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

// abandon ends a server that never became ready.
func (s *Server) abandon() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = s.Stop(ctx)
}

// URL returns the URL of the database warren for applications, whose role owns it and is no superuser; it contains the password.
func (s *Server) URL() string { return s.url(name, s.password, name) }

// AdminURL returns the URL of the superuser, for whoever administers the server: tests and tools, never applications.
func (s *Server) AdminURL() string { return s.url(superuser, s.superuserPassword, maintenance) }

// AdminURL returns the AdminURL of the server that Start has started in the folder, on that port.
func AdminURL(dir string, port int) (string, error) {
	home, err := openFolder(dir)
	if err != nil {
		return "", err
	}
	password, err := home.superuserPassword()
	if err != nil {
		return "", err
	}
	return (&Server{port: port, superuserPassword: password}).AdminURL(), nil
}

func (s *Server) url(role, password, database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(role, password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), Path: database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Port returns the server's port on 127.0.0.1.
func (s *Server) Port() int { return s.port }

// Pid returns the postmaster's process id.
func (s *Server) Pid() int { return s.process.Pid() }

// Pids returns the ids of the server's processes, without its backends.
func (s *Server) Pids() []int { return []int{s.Pid()} }

// Done returns a channel that is closed when the server has ended.
func (s *Server) Done() <-chan struct{} { return s.process.Done() }

// Ended returns an error that describes how the server ended, with the reason from its log.
func (s *Server) Ended() error { return s.process.Ended() }

// Stop closes all sessions, writes everything to disk and waits for the end;
// when ctx ends first the server is killed. It may be called again.
func (s *Server) Stop(ctx context.Context) error { return s.process.Stop(ctx) }

// fast is the signal for a shutdown that does not wait for clients.
const fast = syscall.SIGINT

// exists reports whether the path exists.
func exists(path ...string) bool {
	_, err := os.Stat(filepath.Join(path...))
	return err == nil
}
