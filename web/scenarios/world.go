//go:build unix

package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/child"
	"github.com/warrenjobs/warren/store"
)

// urls are the servers of one scenario: a database and a virtual host of its own.
type urls struct{ database, broker, management string }

// world is where one scenario happens. Its folder has bin/ with the programs, as the repository has
// after make build, and the logs of the processes.
type world struct {
	programs  programs
	dir       string
	urls      urls
	vhost     string
	dashboard string // host:port of Warren's
	app       string // host:port of the application's own
	env       []string
	store     *store.Store
	db        *sql.DB
	running   []*process
	log       *slog.Logger
}

func openWorld(p programs, dir string, u urls, log *slog.Logger) (*world, error) {
	w := &world{programs: p, dir: dir, urls: u, log: log}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	if err := os.Symlink(p.bin, filepath.Join(dir, "bin")); err != nil {
		return nil, fmt.Errorf("link the programs: %w", err)
	}
	broker, err := url.Parse(u.broker)
	if err != nil {
		return nil, fmt.Errorf("read the broker's URL: %w", err)
	}
	w.vhost = strings.TrimPrefix(broker.Path, "/")
	for _, address := range []*string{&w.dashboard, &w.app} {
		port, err := child.FreePort()
		if err != nil {
			return nil, err
		}
		*address = fmt.Sprintf("127.0.0.1:%d", port)
	}
	w.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "WARREN_DATA=" + dir, "WARREN_LISTEN=" + w.dashboard, "LISTEN=" + w.app,
		"DATABASE_URL=" + u.database, "AMQP_URL=" + u.broker, "RABBITMQ_MANAGEMENT_URL=" + u.management}
	if w.store, err = store.Open(context.Background(), u.database); err != nil {
		return nil, err
	}
	if w.db, err = sql.Open("pgx", u.database); err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	return w, nil
}

// close stops the processes that still run.
func (w *world) close() {
	ctx, cancel := context.WithTimeout(context.Background(), stopWait)
	defer cancel()
	for _, p := range w.running {
		_ = syscall.Kill(p.Pid(), syscall.SIGTERM)
	}
	for _, p := range w.running {
		_ = p.Stop(ctx)
	}
	w.store.Close()
	_ = w.db.Close()
}

// process is a program that runs.
type process struct {
	*child.Process
	name string // as Warren calls it
	args []string
}

// start starts a program of bin/.
func (w *world) start(args ...string) (*process, error) {
	p, err := child.Start(child.Spec{Path: filepath.Join(w.dir, "bin", args[0]), Args: args[1:], Env: w.env, Dir: w.dir,
		Log: filepath.Join(w.dir, strings.Join(args[:min(2, len(args))], "-")+".log")})
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	started := &process{Process: p, name: fmt.Sprintf("%s/%d", host, p.Pid()), args: args}
	w.running = append(w.running, started)
	return started, nil
}

// kill ends a process by SIGKILL.
func (p *process) kill() {
	_ = syscall.Kill(p.Pid(), syscall.SIGKILL)
	<-p.Done()
}

// restart starts a killed process's program again.
func (w *world) restart(p *process) (*process, error) { return w.start(p.args...) }

// warren runs a command of warren and returns its output.
func (w *world) warren(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(w.dir, "bin", "warren"), args...)
	cmd.Env, cmd.Dir = w.env, w.dir
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("warren %s: %w: %s", strings.Join(args, " "), err, said.String())
	}
	return out.String(), nil
}

// until polls ok until it is true or fails. Only ctx ends the wait: the machine may be busy.
func until(ctx context.Context, what string, ok func() (bool, error)) error {
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		switch done, err := ok(); {
		case ctx.Err() != nil:
			return fmt.Errorf("wait until %s: %w", what, errors.Join(context.Cause(ctx), err))
		case err != nil:
			return fmt.Errorf("wait until %s: %w", what, err)
		case done:
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// number reads one number from the database.
func (w *world) number(ctx context.Context, query string, args ...any) (n int, err error) {
	if err := w.db.QueryRowContext(ctx, query, args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("count %q: %w", query, err)
	}
	return n, nil
}

// inState waits until the job is in the state.
func (w *world) inState(ctx context.Context, id uuid.UUID, state jobs.State) (detail jobs.Detail, err error) {
	err = until(ctx, fmt.Sprintf("job %s is %s", id, state), func() (bool, error) {
		detail, err = w.store.Job(ctx, id)
		return detail.State == state, err
	})
	return detail, err
}

// open counts the jobs that have not ended; a dead job is an error.
const open = `SELECT count(*) FROM warren.jobs WHERE state NOT IN ('completed', 'cancelled', 'dead')`

// drained waits until no job is open, and fails when one is dead.
func (w *world) drained(ctx context.Context) error {
	return until(ctx, "all jobs have ended", func() (bool, error) {
		dead, err := w.number(ctx, `SELECT count(*) FROM warren.jobs WHERE state = 'dead'`)
		if err == nil && dead > 0 {
			err = fmt.Errorf("%d jobs are dead", dead)
		}
		if err != nil {
			return false, err
		}
		left, err := w.number(ctx, open)
		return left == 0, err
	})
}

// get reads a page of the dashboard, or of its API, and waits while the dashboard is not there yet or busy.
func (w *world) get(ctx context.Context, path string) (body []byte, err error) {
	err = until(ctx, path+" answers", func() (bool, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.dashboard+path, http.NoBody)
		if err != nil {
			return false, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false, nil //nolint:nilerr // it is starting
		}
		defer func() { _ = resp.Body.Close() }()
		if body, err = io.ReadAll(resp.Body); err != nil || resp.StatusCode == http.StatusServiceUnavailable {
			return false, nil //nolint:nilerr // asked again
		}
		if resp.StatusCode != http.StatusOK {
			return false, fmt.Errorf("%s: %s", resp.Status, body)
		}
		return true, nil
	})
	return body, err
}

// api reads an object of the API into v.
func (w *world) api(ctx context.Context, path string, v any) error {
	body, err := w.get(ctx, "/api/v1/"+path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("read %s of the API: %w", path, err)
	}
	return nil
}
