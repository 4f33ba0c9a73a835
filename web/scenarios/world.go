//go:build unix

package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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

// world is where one scenario happens. Its folder has bin/ with the programs and examples/, as the repository has
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
	for name, target := range map[string]string{"bin": p.bin, "examples": filepath.Join(p.root, "examples")} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			return nil, fmt.Errorf("link the programs: %w", err)
		}
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
	w.env = []string{"PATH=" + p.bin + ":" + os.Getenv("PATH"), "PYTHONDONTWRITEBYTECODE=1", "HOME=" + dir,
		"WARREN_DATA=" + dir, "WARREN_LISTEN=" + w.dashboard, "LISTEN=" + w.app, "DATABASE_URL=" + u.database,
		"AMQP_URL=" + u.broker, "RABBITMQ_MANAGEMENT_URL=" + u.management}
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
	p, err := child.Start(child.Spec{Path: filepath.Join(w.dir, "bin", args[0]), Args: args[1:], Env: w.env,
		Dir: w.dir, Log: w.logOf(args)})
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

// logOf returns the file with what the processes that are started like this one write.
func (w *world) logOf(args []string) string {
	name := args[0]
	if len(args) > 1 {
		name += "-" + filepath.Base(args[1])
	}
	return filepath.Join(w.dir, name+".log")
}

// wrote waits until the processes that are started like p have written all of these texts.
func (w *world) wrote(ctx context.Context, p *process, texts ...string) error {
	return until(ctx, fmt.Sprintf("%s writes %q", strings.Join(p.args, " "), texts), func() (bool, error) {
		said, err := os.ReadFile(w.logOf(p.args))
		return containsAll(string(said), texts), err
	})
}

func containsAll(text string, parts []string) bool {
	return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(text, part) })
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
	return w.command(ctx, append([]string{"warren"}, args...)...)
}

// command runs a program of bin/ to its end and returns its output.
func (w *world) command(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(w.dir, "bin", args[0]), args[1:]...)
	cmd.Env, cmd.Dir = w.env, w.dir
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, said.String())
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

// completed waits until the job is completed.
func (w *world) completed(ctx context.Context, id uuid.UUID) (detail jobs.Detail, err error) {
	err = until(ctx, fmt.Sprintf("job %s is completed", id), func() (bool, error) {
		detail, err = w.store.Job(ctx, id)
		return detail.State == jobs.Completed, err
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

// says waits until the page has all of these texts.
func (w *world) says(ctx context.Context, path string, texts ...string) error {
	page := ""
	err := until(ctx, fmt.Sprintf("%s says %q", path, texts), func() (bool, error) {
		body, err := w.get(ctx, path)
		page = readable(body)
		return containsAll(page, texts), err
	})
	if err != nil {
		missing := slices.DeleteFunc(slices.Clone(texts), func(text string) bool { return strings.Contains(page, text) })
		return fmt.Errorf("%w: it does not say %q", err, missing)
	}
	return nil
}

var tag = regexp.MustCompile(`<[^>]*>`)

// readable returns the text of a page, with what its tags say.
func readable(page []byte) string {
	return html.UnescapeString(string(page) + tag.ReplaceAllString(string(page), ""))
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

// post sends a form of the dashboard and returns the page that comes back.
func (w *world) post(ctx context.Context, path string, form url.Values) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+w.dashboard+path, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %s", path, resp.Status, page)
	}
	return page, nil
}
