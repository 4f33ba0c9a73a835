package examples

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/warrentest"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/store/storetest"
)

// polyglot is a deployment whose queue "external" programs of other languages work.
type polyglot struct {
	t *testing.T
	warrentest.Deployment
	store *store.Store
}

// greet is a kind that Go works.
type greet struct {
	Name string `json:"name"`
}

func (greet) Kind() string { return "greet" }

func newPolyglot(t *testing.T) polyglot {
	t.Parallel()
	d := warrentest.Open(t, jobs.Handle(func(_ context.Context, run *jobs.Run, args greet) error {
		return run.Output("hello " + args.Name)
	}))
	p := polyglot{t, d, storetest.Open(t, d.DatabaseURL)}
	p.report(time.Hour)
	conn, err := amqp.Dial(d.BrokerURL)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	p.until("the worker has declared the queue default", func() bool {
		ch, err := conn.Channel()
		if err == nil {
			defer func() { _ = ch.Close() }() // a missing queue has closed it
			_, err = ch.QueueDeclarePassive("warren.jobs.default", true, false, false, false, nil)
		}
		return err == nil
	})
	return p
}

// report sets how long workers of the queue have for a report.
func (p polyglot) report(within time.Duration) {
	p.t.Helper()
	set := engine.ExternalQueue{External: true, ReportWithin: jobs.Duration(within)}
	require.NoError(p.t, p.store.SetExternal(p.t.Context(), "external", set, jobs.Actor{Name: "test"}))
}

// program returns the command of a program in dir, which talks to the deployment's broker.
func (p polyglot) program(dir, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(p.t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "AMQP_URL="+p.BrokerURL, "PYTHONDONTWRITEBYTECODE=1")
	return cmd
}

// python returns the command of a program of examples/python. Debian's pika belongs to Debian's python3,
// which need not be the first on PATH.
func (p polyglot) python(args ...string) *exec.Cmd {
	p.t.Helper()
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.CommandContext(p.t.Context(), python, "-c", "import pika").Run() == nil {
			return p.program("python", python, args...)
		}
	}
	p.t.Skip("python3 with pika is not installed (apt-get install python3-pika): the examples in Python are not tried")
	return nil
}

// output runs a program to its end.
func (p polyglot) output(cmd *exec.Cmd) (string, error) {
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// start runs a program until the test, or the returned stop, kills it, and waits for its first line.
func (p polyglot) start(cmd *exec.Cmd) (stop func()) {
	p.t.Helper()
	out, err := cmd.StdoutPipe()
	require.NoError(p.t, err)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	require.NoError(p.t, cmd.Start())
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if complaints.Len() > 0 {
			p.t.Log(complaints.String())
		}
	})
	p.t.Cleanup(stop)
	_, err = bufio.NewReader(out).ReadString('\n')
	require.NoError(p.t, err, "it has not started: %s", &complaints)
	return stop
}

func (p polyglot) until(what string, ok func() bool) {
	p.t.Helper()
	require.Eventually(p.t, ok, 2*time.Minute, 50*time.Millisecond, what)
}

func (p polyglot) enqueue(kind, args string, options ...jobs.Option) uuid.UUID {
	p.t.Helper()
	job := jobs.NewJob{Kind: kind, Args: []byte(args), Queue: "external", MaxAttempts: 1}
	for _, o := range options {
		o(&job)
	}
	added, err := p.EnqueueMany(p.t.Context(), []jobs.NewJob{job})
	require.NoError(p.t, err)
	return added[0].ID
}

func (p polyglot) job(id uuid.UUID) jobs.Detail {
	p.t.Helper()
	job, err := p.store.Job(p.t.Context(), id)
	require.NoError(p.t, err)
	return job
}

func (p polyglot) ended(id uuid.UUID) jobs.Detail {
	p.t.Helper()
	p.until("the job ends", func() bool { return p.job(id).State.Ended() })
	return p.job(id)
}

func (p polyglot) list(f jobs.Filter) []jobs.Job {
	p.t.Helper()
	page, err := p.store.Jobs(p.t.Context(), f, jobs.Cursor{}, 200)
	require.NoError(p.t, err)
	return page.Items
}

func TestLanguages_GoWorksWhatPythonSubmits(t *testing.T) {
	p := newPolyglot(t)
	out, err := p.output(p.python("submit.py", "--count", "100", "greet", `{"name": "Ada {n}"}`))
	require.NoError(t, err, out)
	require.Len(t, strings.Fields(out), 100)
	p.until("all are completed", func() bool { return len(p.list(jobs.Filter{Kind: "greet", State: jobs.Completed})) == 100 })
	job := p.job(p.list(jobs.Filter{Kind: "greet"})[0].ID)
	require.Equal(t, "broker", job.Origin)
	require.Regexp(t, `^"hello Ada \d+"$`, string(job.Output))
	outputs := map[string]bool{}
	for _, j := range p.list(jobs.Filter{Kind: "greet"}) {
		outputs[string(j.Output)] = true
	}
	require.Len(t, outputs, 100, "each was adopted once")
	require.Contains(t, string(job.Raw.Properties), `"app_id":"python-example"`)

	out, err = p.output(p.python("submit.py", "--queue", "nobodys", "greet"))
	require.Error(t, err, "a message that no queue wants is reported to its sender")
	require.Contains(t, out, "no queue takes jobs for nobodys")
}

func TestLanguages_PythonWorksWhatGoSubmits(t *testing.T) {
	p := newPolyglot(t)
	killed := p.start(p.python("worker.py", "external"))
	slow := p.enqueue("count", `{"to": 4}`)
	p.until("it is in the middle", func() bool { return p.job(slow).Progress != nil && p.job(slow).Progress.Done > 0 })
	first := *p.job(slow).Worker
	killed()

	var list []jobs.NewJob
	for n := range 99 {
		args := fmt.Sprintf(`{"numbers": [%d, 1]}`, n)
		if n%10 == 0 {
			args = fmt.Sprintf(`{"numbers": [%d, -1]}`, n)
		}
		list = append(list, jobs.NewJob{Kind: "sum", Args: []byte(args), Queue: "external", MaxAttempts: 1})
	}
	_, err := p.EnqueueMany(t.Context(), list)
	require.NoError(t, err)
	p.start(p.python("worker.py", "external")) // declares the queue once more
	p.start(p.python("worker.py", "external"))
	p.until("all have ended", func() bool {
		return len(p.list(jobs.Filter{Queue: "external", State: jobs.Completed})) == 90 &&
			len(p.list(jobs.Filter{Queue: "external", State: jobs.Dead})) == 10
	})
	job := p.ended(slow)
	require.JSONEq(t, `{"counted": 4}`, string(job.Output))
	require.Len(t, job.Attempts, 1, "the worker that got the message goes on with the attempt")
	require.NotEqual(t, first, *job.Worker)
	last := job.Deliveries[len(job.Deliveries)-1]
	require.Equal(t, []string{first, *job.Worker}, []string{*last.FromWorker, last.Worker})
	dead := p.job(p.list(jobs.Filter{Queue: "external", State: jobs.Dead})[0].ID)
	require.Regexp(t, `^negative number in \[\d+, -1\]$`, *dead.LastError)
	require.Equal(t, "ValueError", dead.Attempts[0].ErrorClass)
	require.Contains(t, dead.Attempts[0].Stack, "in total")
	require.Empty(t, p.list(jobs.Filter{Kind: engine.KindReport}), "every report could be read")
	for _, j := range p.list(jobs.Filter{Queue: "external"}) {
		require.Equal(t, []int{1, 1}, []int{j.Attempt, j.Lease})
	}
}

func TestLanguages_AWorkerThatNeverReportsIsNoticedAndItsJobTriedAgain(t *testing.T) {
	p := newPolyglot(t)
	stop := p.start(p.python("worker.py", "external"))
	id := p.enqueue("count", `{"to": 1000}`, jobs.MaxAttempts(5))
	p.until("it has begun", func() bool { return p.job(id).Progress != nil })
	stop() // no other worker takes its message
	p.report(time.Second)
	p.until("the attempt has failed", func() bool { return p.job(id).State == jobs.Retrying })
	require.Equal(t, "no report within 1s", p.job(id).Attempts[0].Error)
	p.until("it is tried again", func() bool { return p.job(id).Dispatch == 2 })
}

func TestLanguages_PythonPrintsEveryPropertyOfAMessage(t *testing.T) {
	p := newPolyglot(t)
	cmd := p.python("consume.py", "1")
	var out bytes.Buffer
	pipe, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(pipe)
	require.True(t, lines.Scan()) // it has declared its queue, twice
	conn, err := amqp.Dial(p.BrokerURL)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	require.NoError(t, err)
	require.NoError(t, ch.PublishWithContext(t.Context(), "test_exchange", "", true, false, amqp.Publishing{
		AppId: "go", ContentType: "text/plain", CorrelationId: "c-1", DeliveryMode: 2, Headers: amqp.Table{"k": "v"}, MessageId: "m-1",
		Priority: 3, Timestamp: time.Unix(1764500000, 0), Type: "greeting", Body: []byte("hello")}))
	for lines.Scan() {
		fmt.Fprintln(&out, lines.Text())
	}
	require.NoError(t, cmd.Wait())
	for _, line := range []string{"app_id: go", "content_type: text/plain", "correlation_id: c-1", "delivery_mode: 2",
		"headers: {'k': 'v'}", "message_id: m-1", "priority: 3", "timestamp: 1764500000", "type: greeting", "user_id: None",
		"body: hello"} {
		require.Contains(t, out.String(), line+"\n")
	}
}

func TestLanguages_AProgramInTheStyleOfTheTutorials(t *testing.T) {
	p := newPolyglot(t)
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./gotutorial/submit", "./gotutorial/work")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))

	text, err := p.output(p.program(".", filepath.Join(bin, "submit"), "default", "greet", `{"name": "Ada"}`))
	require.NoError(t, err, text)
	p.until("it is completed", func() bool { return len(p.list(jobs.Filter{Kind: "greet", State: jobs.Completed})) == 1 })
	text, err = p.output(p.program(".", filepath.Join(bin, "submit"), "nobodys", "greet"))
	require.Error(t, err)
	require.Contains(t, text, "No queue takes jobs for nobodys")

	good, bad := p.enqueue("upper", `{"text": "hello"}`), p.enqueue("upper", `{"text": 7}`)
	p.until("its queue is there", func() bool { return !p.job(good).InOutbox && !p.job(bad).InOutbox })
	worker := p.program(".", filepath.Join(bin, "work"), "external")
	require.NoError(t, worker.Start())
	t.Cleanup(func() { _ = worker.Process.Kill(); _ = worker.Wait() })
	require.JSONEq(t, `"HELLO"`, string(p.ended(good).Output))
	require.Contains(t, *p.ended(bad).LastError, "cannot unmarshal")
}

func TestLanguages_NodeSubmitsAndWorks(t *testing.T) {
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip(name + " is not installed: the example in Node.js is not tried")
		}
	}
	p := newPolyglot(t)
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS("node")))
	out, err := p.output(p.program(dir, "npm", "ci", "--no-audit", "--no-fund", "--prefer-offline"))
	require.NoError(t, err, out)

	out, err = p.output(p.program(dir, "node", "submit.mjs", "default", "greet", `{"name": "Ada"}`))
	require.NoError(t, err, out)
	p.until("it is completed", func() bool { return len(p.list(jobs.Filter{Kind: "greet", State: jobs.Completed})) == 1 })
	out, err = p.output(p.program(dir, "node", "submit.mjs", "nobodys", "greet"))
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, out)
	require.Contains(t, out, "no queue takes messages for nobodys")

	p.start(p.program(dir, "node", "worker.mjs", "external"))
	good, bad := p.enqueue("reverse", `{"text": "Warren"}`), p.enqueue("reverse", `{"text": ""}`)
	require.JSONEq(t, `{"text": "nerraW"}`, string(p.ended(good).Output))
	job := p.ended(bad)
	require.Equal(t, []string{"text is empty", "TypeError"}, []string{*job.LastError, job.Attempts[0].ErrorClass})
	require.Contains(t, job.Attempts[0].Stack, "worker.mjs")
}
