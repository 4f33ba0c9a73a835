package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs/child"
)

// Pair is a primary with a synchronous standby, for tests of failover: no commit is acknowledged
// before the standby has it on disk. It needs an installed PostgreSQL. Not safe for concurrent use.
type Pair struct {
	dir     string
	servers [2]*Server
	ports   [2]int
	primary int
	joined  bool // the other server is its standby
}

// StartPair starts a new primary and its standby in dir, and returns when the standby is
// synchronous. When it fails nothing is left running.
func StartPair(ctx context.Context, dir string) (*Pair, error) {
	p := &Pair{dir: dir}
	if err := p.start(ctx); err != nil {
		p.Stop()
		return nil, fmt.Errorf("start a PostgreSQL with a standby: %w", err)
	}
	return p, nil
}

func (p *Pair) start(ctx context.Context) (err error) {
	for i := range p.ports {
		if p.ports[i], err = child.FreePort(); err != nil {
			return err
		}
	}
	if p.servers[0], err = Start(ctx, Options{Dir: p.home(0), Port: p.ports[0]}); err != nil {
		return err
	}
	return p.Rejoin(ctx)
}

func (p *Pair) home(n int) string { return filepath.Join(p.dir, "pg"+strconv.Itoa(n+1)) }

// URL returns a URL that names both servers, the first primary first, and asks for the one that
// takes writes; it contains the password.
func (p *Pair) URL() string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(name, p.servers[p.primary].password), Path: name,
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(p.ports[0])) + "," + net.JoinHostPort("127.0.0.1", strconv.Itoa(p.ports[1])),
		RawQuery: "sslmode=disable&target_session_attrs=read-write",
	}
	return u.String()
}

// Primary returns the server that takes writes; after Kill and until Promote it is down.
func (p *Pair) Primary() *Server { return p.servers[p.primary] }

// Other returns the standby; between Promote and Rejoin it is the old primary, if that still runs.
func (p *Pair) Other() *Server { return p.servers[1-p.primary] }

// Kill ends the primary with SIGKILL and waits for its end.
func (p *Pair) Kill() { p.Primary().process.Kill() }

// Promote makes the standby the primary, and returns when it takes writes. The old primary must
// have been killed, or take no writes any more.
func (p *Pair) Promote(ctx context.Context) error {
	if !p.joined {
		return errors.New("promote the standby: there is none")
	}
	if err := p.Other().exec(ctx, `SELECT pg_promote(true, 30)`); err != nil {
		return fmt.Errorf("promote the standby: %w", err)
	}
	p.primary, p.joined = 1-p.primary, false
	return nil
}

// Rejoin replaces the old primary with a synchronous standby, from a copy of the new primary.
// Commits wait for the standby from then on.
func (p *Pair) Rejoin(ctx context.Context) error {
	if p.joined {
		return errors.New("make a standby: there is one")
	}
	n := 1 - p.primary
	if old := p.servers[n]; old != nil {
		old.process.Kill()
	}
	if err := p.copyPrimary(ctx, n); err != nil {
		return fmt.Errorf("copy the primary: %w", err)
	}
	standby, err := Start(ctx, Options{Dir: p.home(n), Port: p.ports[n]})
	if err != nil {
		return fmt.Errorf("start the standby: %w", err)
	}
	p.servers[n] = standby
	// Set on the primary after the copy: the standby, once promoted, waits for no other server.
	for _, sql := range []string{`ALTER SYSTEM SET synchronous_standby_names = '*'`, `SELECT pg_reload_conf()`} {
		if err := p.Primary().exec(ctx, sql); err != nil {
			return fmt.Errorf("make the standby synchronous: %w", err)
		}
	}
	p.joined = true
	return p.awaitSync(ctx)
}

// copyPrimary gives server n the password and the data of the primary.
func (p *Pair) copyPrimary(ctx context.Context, n int) error {
	home, err := openFolder(p.home(n))
	if err != nil {
		return err
	}
	for secret, text := range map[string]string{"password": p.Primary().password, "superuser": p.Primary().superuserPassword} {
		if err := child.WriteOwn(filepath.Join(home.path, secret), []byte(text), 0o600, nil); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(home.data()); err != nil {
		return err
	}
	binaries, err := home.binaries()
	if err != nil {
		return err
	}
	c, err := newCluster(home, binaries)
	if err != nil {
		return err
	}
	if err := child.Give(home.data(), c.user); err != nil {
		return err
	}
	program := filepath.Join(binaries, "pg_basebackup")
	if !exists(program) {
		program = "pg_basebackup" // linked elsewhere, on PATH
	}
	return child.Run(ctx, child.Spec{
		Path: program,
		Args: []string{"--pgdata", home.data(), "--write-recovery-conf", "--checkpoint", "fast",
			"--host", "127.0.0.1", "--port", strconv.Itoa(p.Primary().port), "--username", superuser},
		Env: append(environment(), "PGPASSWORD="+p.Primary().superuserPassword), Dir: home.path, Log: home.log(), User: c.user,
	})
}

// awaitSync waits until the primary has a synchronous standby.
func (p *Pair) awaitSync(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, p.Primary().AdminURL())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for {
		var sync bool
		err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')`).Scan(&sync)
		if err != nil || sync {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the standby to be synchronous: %w", context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// exec runs one statement of the superuser on a connection of its own.
func (s *Server) exec(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, s.AdminURL())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, sql)
	return err
}

// Stop kills both servers: their data is not needed any more. Idempotent.
func (p *Pair) Stop() {
	for _, s := range p.servers {
		if s != nil {
			s.process.Kill()
		}
	}
}
