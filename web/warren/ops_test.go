package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/rabbit/management"
)

// processes returns all processes that the API lists, by name.
func (d *deployment) processes() map[string]engine.Process {
	d.t.Helper()
	byName := map[string]engine.Process{}
	for _, p := range list[engine.Process](d, "workers") {
		byName[p.Name] = p
	}
	return byName
}

// listed waits until the process is listed and ok.
func (d *deployment) listed(p *proc, what string, ok func(engine.Process) bool) engine.Process {
	d.t.Helper()
	var found engine.Process
	d.until(what, func() bool {
		var there bool
		found, there = d.processes()[p.name()]
		return there && ok(found)
	})
	return found
}

func there(engine.Process) bool { return true }

func working(p engine.Process) bool { return p.Worker != nil }

func doing(s engine.ProcessState) func(engine.Process) bool {
	return func(p engine.Process) bool { return p.State == s }
}

// post sends a form as a browser does, and returns the page that it leads to.
func (d *deployment) post(path string, form url.Values) string {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.ctx, http.MethodPost, d.base+path, strings.NewReader(form.Encode()))
	require.NoError(d.t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	require.NoError(d.t, err)
	require.NoError(d.t, resp.Body.Close())
	require.Equal(d.t, http.StatusSeeOther, resp.StatusCode)
	next, err := http.NewRequestWithContext(d.ctx, http.MethodGet, d.base+resp.Header.Get("Location"), nil)
	require.NoError(d.t, err)
	for _, c := range resp.Cookies() {
		next.AddCookie(c)
	}
	resp, err = client.Do(next)
	require.NoError(d.t, err)
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(d.t, err)
	return string(raw)
}

func (d *deployment) sql(statement string, args ...any) {
	d.t.Helper()
	conn, err := pgx.Connect(d.ctx, d.database)
	require.NoError(d.t, err)
	defer func() { _ = conn.Close(d.ctx) }()
	_, err = conn.Exec(d.ctx, statement, args...)
	require.NoError(d.t, err)
}

// failingEvent adds an event to the outbox that requires a queue where there is none.
func (d *deployment) failingEvent() {
	d.t.Helper()
	d.sql(`INSERT INTO warren.outbox (exchange, routing_key, type, body, required) VALUES ('orders', 'orders.paid', 'orders.paid', '{}',
		true)`)
}

func TestOperators_AProcessThatIsStoppedOnThePageFinishesItsJobAndExitsWith0(t *testing.T) {
	d := deploy(t)
	d.start("web")
	d.start("relay")
	w := d.start("worker", "--concurrency", "1")
	d.ready()
	id := d.submit("dots", `{"text":"`+dotsText(12)+`"}`)
	d.inState(id, jobs.Running)
	p := d.listed(w, "the worker is listed with its job", func(p engine.Process) bool { return working(p) && p.Worker.Busy == 1 })
	require.Contains(t, d.page("/workers"), "/jobs/"+id)
	require.Contains(t, d.post("/workers/"+p.ID.String()+"/stop", url.Values{"reason": {"for a test"}}), "stops: it finishes what runs")
	d.listed(w, "it says that it stops", doing(engine.ProcessStopping))
	<-w.done
	require.Zero(t, w.cmd.ProcessState.ExitCode())
	require.Contains(t, w.log.String(), "by=web")
	j := d.job(id)
	require.Equal(t, jobs.Completed, j.State)
	require.Len(t, j.Attempts, 1)
	d.listed(w, "it says that it has stopped", doing(engine.ProcessStopped))
	require.Contains(t, d.page("/workers"), "1 process gone in the last 5 min: 1 stopped.")
	require.Contains(t, d.page("/jobs/"+id), "/workers#process-")
}

func TestOperators_AQuietWorkerIsShownAndResumedByTheCommandLine(t *testing.T) {
	d := deploy(t)
	d.start("web")
	d.start("relay")
	w := d.start("worker")
	d.ready()
	id := d.listed(w, "the worker is listed", working).ID.String()
	d.until("it consumes", func() bool { return strings.Contains(w.log.String(), "worker: consuming") })
	require.Equal(t, 202, d.do("POST", "/api/v1/workers/"+id+"/quiet", "", nil))
	d.listed(w, "it is quiet", doing(engine.ProcessQuiet))
	require.Contains(t, d.page("/workers"), "1 quiet")
	d.until("its consumer is cancelled", func() bool { return strings.Contains(w.log.String(), "takes no new jobs") })
	job := d.submit("dots", `{"text":"x"}`)
	require.Equal(t, 409, d.do("POST", "/api/v1/workers/"+id+"/quiet", "", nil))
	_, errs, code := d.warren("workers", "quiet", id)
	require.Equal(t, exitRefused, code)
	require.Contains(t, errs, "quiet already")
	require.Equal(t, jobs.Queued, d.job(job).State)

	out, errs, code := d.warren("workers", "list")
	require.Zero(t, code, errs)
	require.Contains(t, out, w.name())
	require.Regexp(t, `quiet +default,tasks.search +0 of 10 busy`, out)
	out, errs, code = d.warren("workers", "list", "--role", "relay")
	require.Zero(t, code, errs)
	require.NotContains(t, out, w.name())
	_, errs, code = d.warren("workers", "list", "--role", "x")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, `--role: "x" is not a valid role: it is one of web, relay, worker, scheduler, monitor`)
	_, errs, code = d.warren("workers", "resume", id)
	require.Zero(t, code, errs)
	d.inState(job, jobs.Completed)
	d.listed(w, "it runs", doing(engine.ProcessRunning))
	_, _, code = d.warren("workers", "stop", "nope")
	require.Equal(t, exitUsage, code)
	_, errs, code = d.warren("workers", "stop", "01a1fc51-8ed1-7ccc-b1e9-a7f2c11bda29")
	require.Equal(t, exitRefused, code)
	require.Contains(t, errs, "no such process")
}

func TestOperators_AKilledWorkerIsShownAsGone(t *testing.T) {
	d := deploy(t)
	web := d.start("web")
	w := d.start("worker")
	d.ready()
	d.listed(w, "the worker is listed", working)
	w.kill()
	d.listed(w, "it is gone", doing(engine.ProcessIsGone))
	p := d.listed(web, "the server is listed", there)
	require.Contains(t, d.page("/workers"), "1 process gone in the last 5 min: 1 lost.")
	require.Contains(t, d.page("/workers"), "This process also serves this page")
	require.Equal(t, []string{"web"}, p.Roles)
}

func TestOperators_TheOutboxPageSaysThatNoRelayRuns(t *testing.T) {
	d := deploy(t)
	d.start("web")
	d.ready()
	d.submit("dots", `{"text":"x"}`)
	require.Contains(t, d.page("/outbox"), "No relay is running")
	relay := d.start("relay")
	d.listed(relay, "the relay has sent it", func(p engine.Process) bool { return p.Details.Relay != nil && p.Details.Relay.Sent > 0 })
	d.until("it is gone", func() bool { return len(list[engine.OutboxRow](d, "outbox")) == 0 })
	page := d.page("/outbox")
	require.Contains(t, page, "The outbox is empty.")
	require.Contains(t, page, "p95")
}

func TestOperators_TheOutboxPageSaysThatAQueueIsFullAndAMessageIsDiscarded(t *testing.T) {
	d := deploy(t)
	full, err := json.Marshal(map[string]any{"max-length": 1, "overflow": "reject-publish"})
	require.NoError(t, err)
	require.NoError(t, d.vhost.Management.PutPolicy(d.ctx, d.vhost.Name, "full", management.Policy{Pattern: "full", ApplyTo: "queues",
		Priority: 10, Definition: full}))
	d.start("web")
	d.start("relay")
	d.ready()
	var row engine.OutboxRow
	d.until("the queue is full", func() bool {
		d.submit("dots", `{"text":"x"}`, "--queue", "full")
		failing := list[engine.OutboxRow](d, "outbox?show=failing")
		i := slices.IndexFunc(failing, func(r engine.OutboxRow) bool {
			return r.LastError != nil && strings.HasPrefix(*r.LastError, engine.OutboxRefused)
		})
		if i >= 0 {
			row = failing[i]
		}
		return i >= 0
	})
	d.until("the page says why", func() bool { return strings.Contains(d.page("/outbox?show=failing"), "full refuses messages") })
	require.Contains(t, d.page("/outbox?show=failing"), "at the earliest.")
	at := fmt.Sprintf("/outbox/%d", row.ID)
	d.until("it is tried again", func() bool { return strings.Contains(d.post(at+"/retry", nil), "as soon as a relay can") })
	require.Contains(t, d.post("/outbox/retry", nil), "role=\"status\"")
	require.Equal(t, 422, d.do("DELETE", "/api/v1"+at, "", nil), "a reason is required")
	d.until("it is discarded, unless it is just being sent", func() bool {
		return strings.Contains(d.post(at+"/discard", url.Values{"reason": {"too many"}, "back": {"/outbox?show=failing"}}),
			"was cancelled; it can be retried")
	})
	require.Equal(t, jobs.Cancelled, d.job(row.JobID.String()).State)
	require.Equal(t, 404, d.do("DELETE", "/api/v1"+at+"?reason=x", "", nil))
}

func TestOperators_TheOutboxPageNamesALongTransactionAndWhatCannotBeRouted(t *testing.T) {
	d := deploy(t)
	d.start("web")
	d.start("relay")
	d.ready()
	d.failingEvent()
	d.until("it is said that no queue takes it", func() bool {
		return strings.Contains(d.page("/outbox?show=events"), "No queue takes what is sent to exchange orders, key orders.paid")
	})
	conn, err := pgx.Connect(d.ctx, d.database)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(d.ctx) })
	tx, err := conn.Begin(d.ctx)
	require.NoError(t, err)
	_, err = tx.Exec(d.ctx, `INSERT INTO warren.outbox (routing_key, type, body) VALUES ('x', 'x', 'secret')`)
	require.NoError(t, err)
	d.until("the transaction is named", func() bool { return strings.Contains(d.page("/outbox"), "A transaction has been open for 3") })
	require.NotContains(t, d.page("/outbox"), "secret")
}

func TestOperators_WorkersAndOutboxAreSeenLive(t *testing.T) {
	d := deploy(t)
	d.start()
	d.ready()
	workers, outbox := d.open(), d.open()
	workers.live("/workers")
	outbox.live("/outbox")
	for _, b := range []*tab{workers, outbox} {
		b.do(chromedp.Evaluate[chromedp.Void](`window.kept = 1`))
	}
	// Not by the pointer: while it is over the list, no rows are added.
	workers.do(chromedp.Evaluate[chromedp.Void](`document.querySelector("#workers-list tbody summary").click()`))
	id := d.submit("dots", `{"text":"`+dotsText(15)+`"}`)
	workers.until(fmt.Sprintf(`document.querySelector('.process-runs a[href="/jobs/%s"]')?.offsetHeight >= 24`, id))
	other := d.start("worker", "--queue", "other")
	workers.until(`document.querySelectorAll("#workers-list tbody tr").length === 2`)
	require.True(t, value[bool](workers, `document.querySelector('.process-runs').closest("details").open`), "what is open stays open")
	other.stop()
	workers.until(`document.querySelector("#workers-gone")?.innerText.includes("1 stopped")`)
	workers.do(chromedp.Click(chromedp.CSS(`#workers-list form[action$="/quiet"] button`)))
	workers.until(`document.querySelector("#workers-list .badge")?.innerText.trim() === "quiet"`)
	d.inState(id, jobs.Completed)

	d.failingEvent()
	outbox.until(`document.querySelector("#outbox .s-dead.state-word") &&
		document.querySelector("#outbox .verdict").innerText.includes("No queue takes")`)
	outbox.do(chromedp.Click(chromedp.CSS(`#outbox a[data-ask]`)))
	outbox.do(chromedp.SendKeys(chromedp.CSS(`#confirm [name=reason]`), "for a test"))
	require.Equal(t, 1, value[int](outbox, "window.kept"), "the page was not loaded again")
	outbox.do(chromedp.Click(chromedp.CSS(`#confirm button[type=submit]`)))
	outbox.until(`document.querySelector("#flash")?.innerText.includes("Discarded") ||
		document.querySelector("#flash")?.innerText.includes("just being sent")`)
}

func TestOperators_AProcessHasTheNameThatItWasGivenWhereverItIsShown(t *testing.T) {
	d := deploy(t)
	d.start("web")
	d.start("relay")
	d.env = append(d.env, "WARREN_NAME=mail-1")
	w := d.start("worker")
	d.ready()
	id := d.submit("dots", `{"text":"x"}`)
	j := d.inState(id, jobs.Completed)
	require.Equal(t, "mail-1", *j.Worker)
	require.Contains(t, d.page("/jobs/"+id), "mail-1")
	page := d.page("/workers")
	require.Contains(t, page, `id="process-mail-1"`)
	require.Contains(t, page, w.name(), "host and process id are shown, too")
	d.env = append(d.env, "WARREN_NAME=mail 1")
	_, errs, code := d.warren("worker")
	require.Equal(t, exitRefused, code)
	require.Contains(t, errs, `WARREN_NAME is "mail 1": it must be 1 to 64 letters, digits`)
}
