package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/schedule"
	"github.com/warrenjobs/warren/jobs/tasks"
	"github.com/warrenjobs/warren/views/browsertest"
)

// tab is a browser's tab whose console must stay free of errors.
type tab struct {
	t   *testing.T
	ctx context.Context
	d   *deployment
}

// expected matches errors of the console that are allowed: a refused form, an ended login, a
// server that restarts.
var expected = regexp.MustCompile(`status of (4(22|01|09)|503)|net::ERR_CONNECTION_REFUSED|net::ERR_EMPTY_RESPONSE|` +
	`net::ERR_INCOMPLETE_CHUNKED_ENCODING`)

func (d *deployment) open() *tab {
	d.t.Helper()
	return &tab{d.t, browsertest.Tab(d.t, expected.MatchString), d}
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, actions...))
}

// command calls one of the browser's own commands.
func command[P, R any](b *tab, method cdp.Command[P, R], params P) {
	b.t.Helper()
	b.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, method, params)
		return err
	}))
}

// whole is an expression that is true once a page is complete.
const whole = `document.readyState === "complete" && document.body`

// goTo opens a page and waits until it is complete: a busy browser reports the navigation before
// the document exists.
func (b *tab) goTo(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.d.base + path))
	b.until(whole + ` && location.protocol.startsWith("http")`)
}

// live opens a page and waits until its one connection is open.
func (b *tab) live(path string) {
	b.t.Helper()
	b.goTo(path)
	b.until(`document.querySelector("#live")._htmx?.sse?.reader`)
}

func value[T any](b *tab, expr string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expr, chromedp.EvalAwaitPromise))
	require.NoError(b.t, err, expr[:min(len(expr), 100)])
	return v
}

// until polls an expression until it is true. While a page loads, the expression may have no value
// at all.
func (b *tab) until(expr string) {
	b.t.Helper()
	b.d.until(expr, func() bool {
		is, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("!!("+expr+")", chromedp.EvalAwaitPromise))
		return err == nil && is
	})
}

// shows waits until the list shows the job in the state.
func (b *tab) shows(id, state string) {
	b.t.Helper()
	b.until(fmt.Sprintf(`document.querySelector("#job-%s .badge")?.innerText.trim() === %q`, id, state))
}

func TestBrowser_AJobIsSeenLiveWithoutReloadAlsoWithFiveProcesses(t *testing.T) {
	d := deploy(t)
	d.roles()
	list, page := d.open(), d.open()
	list.live("/jobs")
	list.do(chromedp.Evaluate[chromedp.Void](`window.kept = 1`))
	id := d.submit("dots", `{"text":"Hello`+dotsText(5)+`"}`, "--at", "+1h")
	list.shows(id, "scheduled")
	page.live("/jobs/" + id)
	require.Equal(t, http.StatusOK, d.do("POST", "/api/v1/jobs/"+id+"/run", "", nil))
	list.shows(id, "running")
	page.until(`document.querySelector("#job progress")`)
	list.shows(id, "completed")
	page.until(`document.querySelector("#job-state").innerText.includes("completed") && document.querySelector("#output")`)
	require.Equal(t, 1, value[int](list, "window.kept"), "the page was not loaded again")
}

func TestBrowser_AnUpdateKeepsScrollFocusTypedTextAndSelection(t *testing.T) {
	d := deploy(t)
	d.start()
	d.ready()
	for range 2 {
		d.submitMany(20, "dots", `{"text":"x"}`)
	}
	b := d.open()
	b.live("/jobs")
	b.until(`document.querySelectorAll("#jobs-list tbody tr").length === 40`)
	b.do(chromedp.Evaluate[chromedp.Void](`(() => {
		const q = document.querySelector(".filters [name=q]"); q.focus({preventScroll: true});
		q.value = "half a wo"; scrollTo(0, 100); })()`))
	id := d.submit("dots", `{"text":"y"}`)
	b.shows(id, "completed")
	require.JSONEq(t, `{"focus":"q","text":"half a wo","scroll":100}`, value[string](b,
		`JSON.stringify({focus: document.activeElement.name, text: document.activeElement.value, scroll: scrollY})`))

	b.do(chromedp.Evaluate[chromedp.Void](`getSelection().selectAllChildren(document.querySelector("#jobs-list tbody tr .l2"))`))
	chosen := value[string](b, `getSelection().toString()`)
	next := d.submit("dots", `{"text":"z"}`)
	b.until(`document.querySelector("[data-live-word]").textContent.includes("new")`)
	require.Equal(t, chosen, value[string](b, `getSelection().toString()`))
	require.False(t, value[bool](b, fmt.Sprintf(`!!document.querySelector("#job-%s")`, next)), "live waits while text is selected")
	b.do(chromedp.Evaluate[chromedp.Void](`getSelection().removeAllRanges()`))
	b.shows(next, "completed")
}

func TestBrowser_EveryPageIsCleanAtEveryWidthInBothThemes(t *testing.T) {
	axe, err := os.ReadFile(filepath.Join("..", "..", "static", "testdata", "axe.min.js"))
	require.NoError(t, err)
	d := deploy(t)
	d.start()
	d.ready()
	d.subscriber("search", "tasks", "tasks.event.#", jobs.MaxAttempts(1))
	running := d.submit("dots", `{"text":"`+dotsText(90)+`"}`, "--tag", "long")
	dead := d.submit("dots", `{"text":"..."}`, "--timeout", "50ms", "--max-attempts", "1")
	d.submit("dots", `{"text":"x"}`, "--at", "+1h")
	d.submit("dots", `{"text":"x"}`, "--queue", "nobody")
	var task tasks.Task
	d.do("POST", "/api/v1/tasks",
		`{"description":"Renew the certificate","priority":"high","due_at":"2026-01-01",
			"job":{"kind":"dots","args":{"text":"x"},"runs":"schedule","rule":"every 1s"}}`, &task)
	d.do("POST", "/api/v1/tasks", `{"description":"Done already","done":true}`, nil)
	imported := d.upload([]byte("description,priority\nA,high\nB,urgent\n"))
	var ticker, paused schedule.Schedule
	d.do("POST", "/api/v1/schedules",
		`{"name":"ticker","rule":"every 1s","catch_up":"all","event":{"exchange":"amq.topic","key":"ping","body":7}}`,
		&ticker)
	d.do("POST", "/api/v1/schedules",
		`{"name":"nightly","rule":"30 2 * * *","zone":"Europe/Berlin","job":{"kind":"dots","args":{"text":"."}}}`,
		&paused)
	d.do("POST", "/api/v1/schedules/"+paused.ID.String()+"/pause", "", nil)
	d.inState(running, jobs.Running)
	d.inState(dead, jobs.Dead)
	d.inState(imported, jobs.Completed)
	queue := "/queues/" + d.vhost.Name + "/warren.jobs.default"
	d.until("the queue was sampled", func() bool { status, _ := d.raw("GET", queue, ""); return status == 200 })
	pages := []string{"/", "/audit", "/tasks", "/tasks?sort=newest", "/tasks/board", "/tasks/new", "/tasks/import",
		"/tasks/import/" + imported, "/tasks/" + task.ID.String(), "/tasks/" +
			task.ID.String() + "/edit", "/jobs", "/jobs?state=dead", "/jobs?q=nothing+has+this",
		"/jobs?cursor=expired", "/jobs/new", "/jobs/new?as=json", "/jobs/new?kind=*",
		"/jobs/new?kind=http", "/jobs/new?kind=mail", "/jobs/" + running, "/jobs/" + dead, "/queues", queue, queue + "?range=7d"}
	pages = append(pages, "/schedules", "/schedules?zone=Asia/Tokyo", "/schedules?q=nothing", "/schedules/new", "/schedules/new?does=event",
		"/schedules/"+ticker.ID.String(), "/schedules/"+paused.ID.String(), "/schedules/"+paused.ID.String()+"/edit")
	received := d.received("search", jobs.Dead)
	pages = append(pages, "/events", "/events?outcome=dead", "/events?key=nothing", "/events/"+received, "/events/subscribers",
		"/events/subscribers/search/replay", "/events/subscribers/search/replay?since=never")
	d.failingEvent()
	failure := d.failures()[0].Key.String()
	d.do("POST", "/api/v1/failures/"+failure+"/known", `{"note":"the vendor is told"}`, nil)
	pages = append(pages, "/outbox", "/outbox?show=failing", "/outbox?show=jobs", "/workers", "/workers?role=monitor",
		"/tail", tailPage, "/publish", "/failures", "/failures?status=all", "/failures?status=fixed", "/failures?q=nothing",
		"/failures/"+failure)
	b := d.open()
	b.goTo("/")
	b.until(`[...document.querySelectorAll("#health .is-limited")].some((p) => p.title.includes("without consumers in nobody"))`)
	for _, page := range pages { // colors are all that a theme changes
		b.goToAt(1440, page)
		b.theme("light")
		b.fits(page, 1440)
		require.Empty(t, b.violations(string(axe), cleanRules...), "%s at 1440 px, light", page)
		b.theme("dark")
		require.Empty(t, b.violations(string(axe), "color-contrast"), "%s at 1440 px, dark", page)
		for _, width := range []int64{1024, 800, 640} { // 640 is what a window of 1280 px has at 200 %
			b.resize(width)
			b.fits(page, width)
		}
		b.goToAt(390, page)
		b.theme("dark")
		b.fits(page, 390)
		require.Empty(t, b.violations(string(axe), cleanRules...), "%s at 390 px, dark", page)
		b.resize(320)
		b.fits(page, 320)
	}
}

var cleanRules = []string{"wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"}

// resize makes the window that wide, at a scale for pictures that nobody looks at.
func (b *tab) resize(width int64) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, 900, chromedp.EmulateScale(0.2)))
	b.until(`new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(() => drawn(true))))`)
}

// goToAt opens a page, and all that it folds, in a window of that width.
func (b *tab) goToAt(width int64, page string) {
	b.t.Helper()
	b.resize(width)
	b.goTo(page)
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelectorAll("details.fold").forEach((d) => { d.open = true; })`))
}

// fits requires that nothing of the page is outside of the window, cut or squeezed.
func (b *tab) fits(page string, width int64) {
	b.t.Helper()
	where := fmt.Sprintf("%s at %d px", page, width)
	require.LessOrEqual(b.t, value[int](b, `document.documentElement.scrollWidth - innerWidth`), 0, "sideways scroll: %s", where)
	require.Zero(b.t, value[int](b, hiddenTimes), "steps of a timeline do not show their times: %s", where)
	if width == 800 { // where lists have the least room beside the rail
		require.GreaterOrEqual(b.t, value[int](b, narrowestName), 200, "the name's column has no room: %s", where)
	}
}

// narrowestName is the width of the narrowest first column of a list, and hiddenTimes counts the times
// of a job's steps that are not seen.
const (
	narrowestName = `Math.min(9999, ...[...document.querySelectorAll(".tbl td.grow")].map((td) => td.offsetWidth))`
	hiddenTimes   = `[...document.querySelectorAll(".line .when time")].filter((t) => !t.checkVisibility() || !t.offsetWidth).length`
)

// theme emulates a preference for that color scheme, and for no transitions, which would have to be
// waited for.
func (b *tab) theme(name string) {
	b.t.Helper()
	prefers := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}, {Name: "prefers-reduced-motion", Value: "reduce"}}
	command(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: prefers})
	b.until(`document.getAnimations().every(a => !(a instanceof CSSTransition))`)
	b.until(`!document.querySelector(".is-stale")`) // what a busy server could not answer is dimmed until it can
}

// violations lists the violations of these sets of rules, or rules, that axe finds on the page.
func (b *tab) violations(axe string, only ...string) (found []string) {
	b.t.Helper()
	if !value[bool](b, `"axe" in window`) {
		b.do(chromedp.Evaluate[chromedp.Void](axe + ";0"))
	}
	names, err := json.Marshal(only)
	require.NoError(b.t, err)
	list := value[string](b, `axe.run(document, {runOnly: `+string(names)+`}).then(r => JSON.stringify(
		r.violations.map(v => v.id + ": " + v.nodes[0].html)))`)
	require.NoError(b.t, json.Unmarshal([]byte(list), &found))
	return found
}

func TestBrowser_WithoutJavaScriptAJobIsSubmittedFoundAndCancelled(t *testing.T) {
	d := deploy(t)
	d.start()
	d.ready()
	b := d.open()
	command(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.goTo("/jobs/new")
	b.do(chromedp.SendKeys(chromedp.CSS(`[name="unique_key"]`), "k-1"),
		chromedp.Click(chromedp.CSS(`main form button[type=submit].btn-primary`)))
	text := func() string {
		s, _ := chromedp.Run(b.ctx, chromedp.OuterHTML(chromedp.CSS("main"))) // while it navigates there is none
		return s
	}
	d.until("the form comes back and says what is wrong", func() bool {
		return strings.Contains(text(), `class="field-error"`)
	})
	require.Contains(t, text(), `value="k-1"`, "what was typed is still there")
	b.do(chromedp.SendKeys(chromedp.CSS(`[name="args.text"]`), "without script"),
		chromedp.SendKeys(chromedp.CSS(`[name="when"]`), "In 1 h"),
		chromedp.Click(chromedp.CSS(`[name="to"][value="json"]`)))
	d.until("the form as JSON", func() bool { return strings.Contains(text(), `"text": "without script"`) })
	require.Contains(t, text(), `value="k-1"`)
	b.do(chromedp.Click(chromedp.CSS(`main form button[type=submit].btn-primary`)))
	d.until("the job's page", func() bool { return strings.Contains(text(), "Submitted.") })
	b.goTo("/jobs?q=without+script")
	require.Contains(t, text(), "without script")
	b.do(chromedp.Click(chromedp.CSS("tbody a[data-open]")))
	d.until("the job's page again", func() bool { return strings.Contains(text(), "Cancel…") })
	b.do(chromedp.Click(chromedp.CSS("#cancel summary")), chromedp.Click(chromedp.CSS("#cancel button[type=submit]")))
	d.until("it says that it is cancelled", func() bool { return strings.Contains(text(), "Cancelled.") })
}

// The write itself notifies the pages, whichever process makes it.
func TestCommandLine_WhatItChangesIsSeenInOpenPages(t *testing.T) {
	d := deploy(t)
	d.start()
	d.ready()
	list, board := d.open(), d.open()
	list.live("/jobs")
	board.live("/tasks")
	run := func(args ...string) string {
		out, errs, code := d.warren(args...)
		require.Zero(t, code, errs)
		return out
	}
	id := d.submit("dots", `{"text":"x"}`, "--at", "+1h")
	list.shows(id, "scheduled")
	run("jobs", "cancel", id)
	list.shows(id, "cancelled")
	run("jobs", "retry", id)
	list.shows(id, "completed")
	run("jobs", "delete", id)
	list.until(fmt.Sprintf(`!document.querySelector("#job-%s")`, id))

	const shown = `document.querySelector("main").innerText.includes("water the plants")`
	task := strings.Fields(run("tasks", "add", "water the plants"))[0]
	board.until(shown)
	run("tasks", "done", task)
	board.until(`!` + shown)
}
