package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/child"
	"github.com/warrenjobs/warren/jobs/rabbit/rabbittest"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/store/storetest"
	"github.com/warrenjobs/warren/views/browsertest"
	"github.com/warrenjobs/warren/web"
)

// binary is the real warren: the one of WARREN_TEST_BINARY, or built once for all tests of this package.
var binary = os.Getenv("WARREN_TEST_BINARY")

// Exit codes of commands.
const (
	exitRefused = 1
	exitUsage   = 2
)

func TestMain(m *testing.M) {
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	if os.Getenv(asProgram) != "" {
		web.Main(jobs.Handle(greet, jobs.MaxAttempts(2)))
	}
	if binary == "" {
		dir, err := os.MkdirTemp("", "warren-bin-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		binary = filepath.Join(dir, "warren")
		if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build warren: %v\n%s", err, out)
			return 1
		}
	}
	defer storetest.Stop()
	defer rabbittest.Stop()
	defer browsertest.Stop()
	return m.Run()
}

// deployment is a database and a virtual host of its own, for real processes.
type deployment struct {
	t        *testing.T
	binary   string
	ctx      context.Context
	dir      string
	env      []string
	database string
	vhost    rabbittest.VHost
	base     string       // URL of the dashboard
	store    *store.Store // opened when a job is read
}

func deploy(t *testing.T) *deployment {
	t.Helper()
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	t.Cleanup(cancel)
	d := &deployment{t: t, ctx: ctx, binary: binary, dir: t.TempDir(), database: storetest.Migrated(t), vhost: rabbittest.New(t)}
	port := freePort(t)
	d.base = "http://" + port
	d.env = append(os.Environ(), "DATABASE_URL="+d.database, "AMQP_URL="+d.vhost.URL, "RABBITMQ_MANAGEMENT_URL="+d.vhost.ManagementURL,
		"WARREN_LISTEN="+port, "WARREN_DATA="+d.dir)
	return d
}

func freePort(t *testing.T) string {
	t.Helper()
	port, err := child.FreePort()
	require.NoError(t, err)
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// proc is a running warren.
type proc struct {
	cmd  *exec.Cmd
	done chan struct{}
	log  *lockedBuffer
}

// start runs warren with these arguments until the test ends.
func (d *deployment) start(args ...string) *proc {
	d.t.Helper()
	p := &proc{cmd: exec.Command(d.binary, args...), done: make(chan struct{}), log: &lockedBuffer{}}
	p.cmd.Env, p.cmd.Dir = d.env, d.dir
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	require.NoError(d.t, p.cmd.Start())
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	d.t.Cleanup(func() {
		p.stop()
		if d.t.Failed() {
			d.t.Logf("warren %s said:\n%s", strings.Join(args, " "), tail(p.log.String(), 4000))
		}
	})
	return p
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

// kill sends SIGKILL, so that the process ends without cleanup, and waits.
func (p *proc) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop sends SIGTERM and waits; after 40 s it kills the process.
func (p *proc) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(40 * time.Second):
		p.kill()
	}
}

// name returns the name of the process in deliveries.
func (p *proc) name() string {
	host, _ := os.Hostname()
	return fmt.Sprintf("%s/%d", host, p.cmd.Process.Pid)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// warren runs a client command and returns what it printed and its exit code.
func (d *deployment) warren(args ...string) (stdout, stderr string, code int) {
	d.t.Helper()
	cmd := exec.CommandContext(d.ctx, d.binary, args...)
	cmd.Env, cmd.Dir = d.env, d.dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run()
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// submit enqueues one job by the command line and returns its id.
func (d *deployment) submit(args ...string) string {
	d.t.Helper()
	return d.submitMany(1, args...)[0]
}

// submitMany enqueues n equal jobs by one command, which lists the ids of up to 20, and returns
// them.
func (d *deployment) submitMany(n int, args ...string) (ids []string) {
	d.t.Helper()
	out, errs, code := d.warren(append([]string{"enqueue", "--count", strconv.Itoa(n)}, args...)...)
	require.Zero(d.t, code, errs)
	for line := range strings.Lines(out) {
		ids = append(ids, strings.Fields(line)[0])
	}
	require.Len(d.t, ids, n)
	return ids
}

// do calls the API and decodes the answer into v, if it is not nil.
func (d *deployment) do(method, path, body string, v any) int {
	d.t.Helper()
	status, raw := d.raw(method, path, body)
	if v != nil {
		require.NoError(d.t, json.Unmarshal(raw, v), "%s", raw)
	}
	return status
}

func (d *deployment) raw(method, path, body string) (int, []byte) {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.ctx, method, d.base+path, strings.NewReader(body))
	require.NoError(d.t, err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(d.t, err)
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(d.t, err)
	return resp.StatusCode, raw
}

// get returns the body of the response, and asks again while a busy server answers 503.
func (d *deployment) get(path string) (raw []byte) {
	d.t.Helper()
	d.until(path+" answers", func() bool {
		var status int
		if status, raw = d.raw("GET", path, ""); status != http.StatusServiceUnavailable {
			require.Equal(d.t, http.StatusOK, status, "%s", raw)
			return true
		}
		return false
	})
	return raw
}

// page returns a page as people read it, without its escapes.
func (d *deployment) page(path string) string {
	d.t.Helper()
	return html.UnescapeString(string(d.get(path)))
}

// list returns the items of a list of the API.
func list[T any](d *deployment, path string) []T {
	d.t.Helper()
	var page struct{ Items []T }
	require.NoError(d.t, json.Unmarshal(d.get("/api/v1/"+path), &page))
	return page.Items
}

// until polls ok, at a growing interval, until it is true; it fails the test when its time is over.
func (d *deployment) until(what string, ok func() bool) {
	d.t.Helper()
	for wait := 20 * time.Millisecond; !ok(); wait = min(2*wait, 200*time.Millisecond) {
		select {
		case <-d.ctx.Done():
			d.t.Fatalf("never: %s", what)
		case <-time.After(wait):
		}
	}
}

// ready waits until the dashboard accepts jobs.
func (d *deployment) ready() {
	d.t.Helper()
	d.until("the dashboard is ready", func() bool {
		resp, err := http.Get(d.base + "/readyz")
		if err != nil {
			return false
		}
		defer func() { _ = resp.Body.Close() }()
		return resp.StatusCode == http.StatusOK
	})
}

// job reads a job from the database. Tests poll with it: `warren jobs show` would start a process each time.
func (d *deployment) job(id string) jobs.Detail {
	d.t.Helper()
	if d.store == nil {
		d.store = storetest.Open(d.t, d.database)
	}
	detail, err := d.store.Job(d.ctx, uuid.MustParse(id))
	require.NoError(d.t, err)
	return detail
}

// inState waits until the job is in the state.
func (d *deployment) inState(id string, state jobs.State) jobs.Detail {
	d.t.Helper()
	var detail jobs.Detail
	d.until(fmt.Sprintf("job %s is %s", id, state), func() bool {
		detail = d.job(id)
		return detail.State == state
	})
	return detail
}
