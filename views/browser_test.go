package views_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a-h/templ"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/static"
	"github.com/warrenjobs/warren/views"
	"github.com/warrenjobs/warren/views/browsertest"
	"github.com/warrenjobs/warren/views/internal/gallery"
	"github.com/warrenjobs/warren/views/ui"
)

// site serves the gallery under the content security policy of the real pages.
type site struct {
	*httptest.Server
	first  atomic.Int64 // number of the newest row of the list
	fails  atomic.Bool  // the fragment answers 500
	open   atomic.Int64 // streams
	charts atomic.Int64 // times that the charts were asked for

	mu       sync.Mutex
	partials []http.Header
	send     chan string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{send: make(chan string, 16)}
	mux := http.NewServeMux()
	render := func(w http.ResponseWriter, r *http.Request, c templ.Component) {
		w.Header().Set("Content-Security-Policy", views.CSP)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_ = c.Render(ui.WithNow(r.Context(), gallery.Start), w)
	}
	frame := func(r *http.Request, title, active string) views.Page {
		p := gallery.Frame(title, active, r.URL.RequestURI())
		if c, err := r.Cookie("theme"); err == nil {
			p.Theme = c.Value
		}
		p.Topics = []string{"jobs", "queues", "health"}
		p.Lead, p.Fresh = "All states, newest first", gallery.Start.Add(-2*time.Second)
		return p
	}
	mux.Handle("/static/", static.Handler())
	mux.HandleFunc("/favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/blank", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<!DOCTYPE html><title>blank</title>") })
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		p := frame(r, "Overview", "overview")
		if r.URL.Query().Get("part") == "charts" {
			s.charts.Add(1)
			render(w, r, views.Timeline(gallery.Charts()))
			return
		}
		p.Lead = "2 queues have no consumers, 14 jobs are dead; everything else is well"
		render(w, r, gallery.Overview(p))
	})
	mux.HandleFunc("GET /jobs", func(w http.ResponseWriter, r *http.Request) {
		p := frame(r, "Jobs", "jobs")
		p.Actions = gallery.NewJob()
		rows := gallery.Rows(int(s.first.Load()), 25)
		if r.Header.Get("HX-Request-Type") == "partial" {
			s.mu.Lock()
			s.partials = append(s.partials, r.Header.Clone())
			s.mu.Unlock()
			if s.fails.Load() {
				w.WriteHeader(http.StatusInternalServerError)
				fmt.Fprint(w, "<p>broken</p>")
				return
			}
			render(w, r, gallery.JobsTable(rows, p.Path))
			return
		}
		render(w, r, gallery.Jobs(p, rows))
	})
	mux.HandleFunc("GET /job", func(w http.ResponseWriter, r *http.Request) {
		p := frame(r, "invoices.render", "jobs")
		p.Badge, p.Actions, p.Lead = ui.Badge("dead"), gallery.JobActions(), "0199f2c4-7a31-7c3e-9d41-5b6e0a1f3a77"
		p.Flash = []ui.FlashProps{
			{Kind: "done", Text: "262 jobs retried.", Detail: "3 skipped: they were completed meanwhile.",
				Action: ui.Action(ui.ActionProps{Label: "Undo", URL: "/undo", Small: true, Ghost: true})},
			{Kind: "error", Text: "The broker did not answer within 2 s.", Detail: "Nothing was purged."},
		}
		render(w, r, gallery.Job(p))
	})
	mux.HandleFunc("GET /crashed-job", func(w http.ResponseWriter, r *http.Request) {
		render(w, r, views.Job(frame(r, "demo.invoice", "jobs"), crashedJob()))
	})
	mux.HandleFunc("GET /form", func(w http.ResponseWriter, r *http.Request) {
		p := frame(r, "New job", "jobs")
		p.Fresh = time.Time{}
		p.Lead = "Enqueue one job by hand"
		render(w, r, gallery.Form(p))
	})
	mux.HandleFunc("GET /health-pills", func(w http.ResponseWriter, r *http.Request) {
		render(w, r, views.Health(gallery.Frame("", "", "").Health))
	})
	mux.HandleFunc("GET /live", func(w http.ResponseWriter, r *http.Request) {
		s.open.Add(1)
		defer s.open.Add(-1)
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Cache-Control", "no-store")
		fmt.Fprint(w, ": hello\n\n")
		w.(http.Flusher).Flush()
		for {
			select {
			case <-r.Context().Done():
				return
			case m, ok := <-s.send:
				if !ok {
					return
				}
				fmt.Fprint(w, m)
				w.(http.Flusher).Flush()
			}
		}
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

// crashedJob has a crash, a failure with a class and a redelivery in its timeline.
func crashedJob() views.JobModel {
	at := func(seconds int) *time.Time {
		t := gallery.Start.Add(time.Duration(seconds-60) * time.Second)
		return &t
	}
	before := "shop-2"
	return views.NewJobModel(jobs.Detail{
		Job: jobs.Job{Kind: "demo.invoice", State: jobs.Completed, Attempt: 3, MaxAttempts: 3, CreatedAt: *at(0), StartedAt: at(20),
			FinishedAt: at(22)},
		Attempts: []jobs.Attempt{
			{Number: 1, Lease: 1, Worker: before, StartedAt: *at(0), FinishedAt: at(4), Outcome: jobs.AttemptCrashed,
				Error: "its worker died"},
			{Number: 2, Lease: 2, Worker: "shop-1", StartedAt: *at(4), FinishedAt: at(8), Outcome: jobs.AttemptFailed,
				ErrorClass: "timeout", Error: "context deadline exceeded"},
			{Number: 3, Lease: 3, Worker: "shop-1", StartedAt: *at(20), FinishedAt: at(22), Outcome: jobs.AttemptCompleted},
		},
		Deliveries: []jobs.DeliveryRecord{{At: *at(4), Worker: "shop-1", FromWorker: &before, Redelivered: true,
			DeliveryCount: 1, Lease: 2}},
	}, nil, "/", "warren.jobs.")
}

// event sends a named message on the live connection.
func (s *site) event(name string) { s.send <- "event: " + name + "\ndata: {}\n\n" }

func (s *site) refetches() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.partials)
}

func TestMain(m *testing.M) {
	code := m.Run()
	browsertest.Stop()
	os.Exit(code)
}

// browse opens a tab. Its console may report the fragment that fails.
func browse(t *testing.T) context.Context {
	t.Helper()
	return browsertest.Tab(t, func(text string) bool { return strings.Contains(text, "status of 500") })
}

func run(ctx context.Context, t *testing.T, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

func evaluate[T any](ctx context.Context, t *testing.T, expr string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expr, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("%s: %v", expr[:min(len(expr), 80)], err)
	}
	return v
}

// do runs JavaScript for its effect.
func do(expr string) chromedp.Action[chromedp.Void] {
	return chromedp.Evaluate[chromedp.Void](expr, chromedp.EvalAwaitPromise)
}

func viewport(width int64) chromedp.Action[chromedp.Void] {
	if width < 768 {
		return chromedp.EmulateViewport(width, 900, chromedp.EmulateMobile)
	}
	return chromedp.EmulateViewport(width, 900)
}

// eventually polls a JavaScript expression until it is true. While a page loads, the expression may
// have no value at all.
func eventually(ctx context.Context, t *testing.T, expr string) {
	t.Helper()
	until(ctx, t, expr, func() bool {
		is, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("!!("+expr+")", chromedp.EvalAwaitPromise))
		return err == nil && is
	})
}

// until polls ok, at a growing interval, until it is true; it fails the test when ctx ends.
func until(ctx context.Context, t *testing.T, what string, ok func() bool) {
	t.Helper()
	for wait := 10 * time.Millisecond; !ok(); wait = min(2*wait, 100*time.Millisecond) {
		select {
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		case <-time.After(wait):
		}
	}
}

// goTo opens a page and waits until it is complete: a busy browser reports the navigation before
// the document exists.
func goTo(ctx context.Context, t *testing.T, url string) {
	t.Helper()
	run(ctx, t, chromedp.Navigate(url))
	eventually(ctx, t, `document.readyState === "complete" && document.body && location.protocol.startsWith("http")`)
}

// live opens a page and waits until its one connection stands.
func live(ctx context.Context, t *testing.T, url string) {
	t.Helper()
	goTo(ctx, t, url)
	eventually(ctx, t, `document.querySelector("#live")._htmx?.sse?.reader`)
}

// firstRow is an expression that is true when the list begins with the n-th job.
func firstRow(n int) string {
	return `document.querySelector("#jobs-table tbody tr").id === "job-` + gallery.Rows(n, 1)[0].ID + `"`
}

func TestPages_ATableRefetchesItselfWhenItsTopicArrives(t *testing.T) {
	t.Parallel()
	s, ctx := newSite(t), browse(t)
	live(ctx, t, s.URL+"/jobs?q=kind:http")
	evaluate[bool](ctx, t, `(window.kept = document.querySelector("#jobs-table tbody tr:nth-child(1)"), scrollTo(0, 120), true)`)
	s.first.Store(500)
	s.event("jobs")
	eventually(ctx, t, firstRow(500))
	if y := evaluate[float64](ctx, t, "scrollY"); y != 120 {
		t.Errorf("scrolled to %v", y)
	}
	s.mu.Lock()
	h := s.partials[0]
	s.mu.Unlock()
	if h.Get("HX-Request") != "true" || h.Get("HX-Request-Type") != "partial" || h.Get("HX-Target") != "section#jobs-table" {
		t.Errorf("headers: %v", h)
	}
	// Many events in a moment are a request at once and one for the rest, and a later swap still listens.
	before := s.refetches()
	s.first.Store(600)
	s.send <- strings.Repeat("event: jobs\ndata: {}\n\n", 10)
	eventually(ctx, t, firstRow(600))
	s.first.Store(700)
	s.event("jobs")
	eventually(ctx, t, firstRow(700))
	if n := s.refetches() - before; n < 1 || n > 3 {
		t.Errorf("11 events made %d requests", n)
	}
}

func TestPages_LiveWaitsWhileAReaderChoosesAndThenCatchesUp(t *testing.T) {
	t.Parallel()
	s, ctx := newSite(t), browse(t)
	live(ctx, t, s.URL+"/jobs")
	word := `document.querySelector("[data-live-word]").textContent`

	run(ctx, t, chromedp.Click(chromedp.CSS("#jobs-table details summary")))
	s.first.Store(200)
	s.event("jobs")
	eventually(ctx, t, word+` === "Live · 1 new"`)
	if !evaluate[bool](ctx, t, `document.querySelector("#jobs-table details").open`) {
		t.Error("the menu was closed under the reader")
	}
	run(ctx, t, chromedp.KeyEvent("\x1b"), do(`document.activeElement.blur()`), away)
	eventually(ctx, t, firstRow(200))

	evaluate[bool](ctx, t, `(getSelection().selectAllChildren(document.querySelector("#jobs-table .l2")), true)`)
	s.first.Store(300)
	s.event("jobs")
	eventually(ctx, t, word+` === "Live · 1 new"`)
	evaluate[bool](ctx, t, `(getSelection().removeAllRanges(), true)`)
	eventually(ctx, t, firstRow(300))

	run(ctx, t, chromedp.Click(chromedp.CSS("#live-switch")))
	s.first.Store(400)
	s.event("jobs")
	s.event("jobs")
	eventually(ctx, t, word+` === "Paused · 2 new"`)
	run(ctx, t, chromedp.Click(chromedp.CSS("#live-switch")))
	eventually(ctx, t, firstRow(400))
}

func TestPages_WhilePausedTheClocksOfWhatMayHaveEndedStop(t *testing.T) {
	t.Parallel()
	s, ctx := newSite(t), browse(t)
	live(ctx, t, s.URL+"/jobs")
	run(ctx, t, chromedp.Click(chromedp.CSS("#live-switch")))
	const clocks = `[...document.querySelectorAll("#jobs-table time")].filter(t => %s).map(t => t.textContent).join()`
	open, past := fmt.Sprintf(clocks, `t.dataset.time !== "ago"`), fmt.Sprintf(clocks, `t.dataset.time === "ago"`)
	stopped, ended := evaluate[string](ctx, t, open), evaluate[string](ctx, t, past)
	eventually(ctx, t, fmt.Sprintf(`%s !== %q`, past, ended))
	if now := evaluate[string](ctx, t, open); now != stopped || stopped == "" {
		t.Errorf("%q became %q", stopped, now)
	}
	run(ctx, t, chromedp.Click(chromedp.CSS("#live-switch")))
	eventually(ctx, t, fmt.Sprintf(`%s !== %q`, open, stopped))
}

// away moves the pointer off every list.
var away = chromedp.MouseEvent("mouseMoved", 700, 20)

// While somebody reads a list, each row stays where it is and is brought up to date there; new ones
// collect until he is done, or asks for them.
func TestPages_AListStandsStillWhileSomebodyReadsIt(t *testing.T) {
	t.Parallel()
	const shown = `[...document.querySelectorAll("#jobs-table tbody tr")].map(r => r.id).join()`
	const news = `document.querySelector("[data-news]")?.textContent`
	center := func(sel string) string {
		return `(({x, y, width, height}) => [x + width / 2, y + height / 2])(document.querySelector("` + sel + `").getBoundingClientRect())`
	}
	for name, reading := range map[string]struct {
		begin, end func(context.Context, *testing.T)
	}{
		"points at it": {func(ctx context.Context, t *testing.T) {
			at := evaluate[[2]float64](ctx, t, center("#jobs-table tbody tr:nth-child(3) .l2"))
			run(ctx, t, chromedp.MouseEvent("mouseMoved", at[0], at[1]))
		}, func(ctx context.Context, t *testing.T) { run(ctx, t, away) }},
		"has focused a row": {func(ctx context.Context, t *testing.T) { run(ctx, t, chromedp.KeyEvent("j"), chromedp.KeyEvent("j")) },
			func(ctx context.Context, t *testing.T) { run(ctx, t, do(`document.activeElement.blur()`)) }},
		"has ticked a row": {func(ctx context.Context, t *testing.T) {
			run(ctx, t, chromedp.Click(chromedp.CSS("[data-pick]")), do(`document.activeElement.blur()`), away)
		}, func(ctx context.Context, t *testing.T) {
			run(ctx, t, do(`document.querySelector("[data-unpick]").click()`))
		}},
		"has scrolled past its beginning": {func(ctx context.Context, t *testing.T) { run(ctx, t, do(`scrollTo(0, 700)`)) },
			func(ctx context.Context, t *testing.T) { run(ctx, t, do(`scrollTo(0, 0)`)) }},
	} {
		t.Run(name, func(t *testing.T) {
			s, ctx := newSite(t), browse(t)
			live(ctx, t, s.URL+"/jobs")
			reading.begin(ctx, t)
			before := evaluate[string](ctx, t, shown)
			const place = `document.querySelector("#jobs-table tbody tr:nth-child(20)").getBoundingClientRect().top`
			top := evaluate[float64](ctx, t, place)
			for _, first := range []int64{3, 7} {
				s.first.Store(first)
				s.event("jobs")
				eventually(ctx, t, fmt.Sprintf(news+` === "%d new"`, first))
			}
			if now := evaluate[string](ctx, t, shown); now != before {
				t.Errorf("rows moved:\n%s\n%s", before, now)
			}
			if now := evaluate[float64](ctx, t, place); now != top {
				t.Errorf("a row moved by %v px", now-top)
			}
			if n := evaluate[int](ctx, t, `document.querySelectorAll("#jobs-table .is-gone").length`); n != 7 {
				t.Errorf("%d rows are dimmed: seven are not among the newest any more", n)
			}
			reading.end(ctx, t)
			eventually(ctx, t, firstRow(7)+` && !document.querySelector("[data-news], .is-gone")`)
		})
	}
}

func TestPages_NewRowsAreLetInByTheirButtonAndByAKey(t *testing.T) {
	t.Parallel()
	s, ctx := newSite(t), browse(t)
	live(ctx, t, s.URL+"/jobs")
	run(ctx, t, do(`scrollTo(0, 700)`))
	for i, ask := range []chromedp.Action[chromedp.Void]{chromedp.Click(chromedp.CSS("[data-news]")), chromedp.KeyEvent("n"),
		chromedp.Click(chromedp.CSS("#live-switch"))} {
		n := 5 * (i + 1)
		run(ctx, t, do(`scrollTo(0, 700)`))
		s.first.Store(int64(n))
		s.event("jobs")
		eventually(ctx, t, `document.querySelector("[data-news]")?.textContent === "5 new"`)
		run(ctx, t, ask)
		eventually(ctx, t, firstRow(n)+` && !document.querySelector("[data-news]")`)
		eventually(ctx, t, `document.querySelector("#jobs-table tbody tr").getBoundingClientRect().top > 0`)
	}
}

func TestPages_WhatIsOnItsWayWhenAReaderBeginsToSelectWaitsToo(t *testing.T) {
	t.Parallel()
	s, ctx := newSite(t), browse(t)
	live(ctx, t, s.URL+"/jobs")
	evaluate[bool](ctx, t,
		`(document.addEventListener("htmx:after:swap", () =>
			getSelection().selectAllChildren(document.querySelector("#jobs-table .l2")), {once: true}), true)`)
	s.first.Store(100)
	s.send <- strings.Repeat("event: jobs\ndata: {}\n\n", 2) // one request at once, and another a second later
	until(ctx, t, "the first is asked for", func() bool { return s.refetches() > 0 })
	s.first.Store(200)
	eventually(ctx, t, `document.querySelector("[data-live-word]").textContent === "Live · 1 new"`)
	if !evaluate[bool](ctx, t, firstRow(100)) {
		t.Error("the table changed under the reader")
	}
	run(ctx, t, chromedp.Click(chromedp.CSS("#live-switch")))
	eventually(ctx, t, firstRow(200))
}

func TestPages_ALostConnectionIsSoughtAgainAndCatchesUp(t *testing.T) {
	t.Parallel()
	s, ctx := newSite(t), browse(t)
	live(ctx, t, s.URL+"/jobs")
	s.first.Store(700)
	close(s.send) // every stream ends at once, also later ones, so the page keeps reconnecting
	eventually(ctx, t, firstRow(700))
}

// A browser opens six connections to a host, for all its tabs together.
func TestPages_ATabThatNobodySeesHoldsNoConnection(t *testing.T) {
	t.Parallel()
	s, ctx := newSite(t), browse(t)
	live(ctx, t, s.URL+"/jobs")
	var hidden []context.Context
	for range 7 {
		tab := unseenTab(ctx, t)
		goTo(tab, t, s.URL+"/jobs")
		hidden = append(hidden, tab)
	}
	goTo(ctx, t, s.URL+"/form") // it answers
	live(ctx, t, s.URL+"/jobs")
	until(ctx, t, "the tab that is seen has the one stream", func() bool { return s.open.Load() == 1 })

	look := func(tab context.Context, is bool) {
		run(tab, t, do(fmt.Sprintf(`(window.unseen = %t, document.dispatchEvent(new Event("visibilitychange")))`, !is)))
	}
	s.first.Store(900)
	look(hidden[0], true)
	eventually(hidden[0], t, `document.querySelector("#live")._htmx?.sse?.reader`)
	eventually(hidden[0], t, firstRow(900))
	look(hidden[0], false)
	until(ctx, t, "it lets go of its stream", func() bool { return s.open.Load() == 1 })
	look(hidden[0], true)
	eventually(hidden[0], t, `document.querySelector("#live")._htmx?.sse?.reader`)
	until(ctx, t, "it has one again, and no more", func() bool { return s.open.Load() == 2 })
}

// unseenTab opens a tab in the browser profile of ctx whose pages are hidden until they set
// window.unseen to false: a headless browser shows all its tabs.
func unseenTab(ctx context.Context, t *testing.T) context.Context {
	t.Helper()
	tab, cancel := chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	run(tab, t, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
			Source: `window.unseen = true; Object.defineProperty(document, "hidden", {get: () => window.unseen});`})
		return err
	}))
	return tab
}

func TestPages_ABrokenAnswerLeavesTheTableAndMarksItStale(t *testing.T) {
	t.Parallel()
	s, ctx := newSite(t), browse(t)
	live(ctx, t, s.URL+"/jobs")
	s.fails.Store(true)
	s.event("jobs")
	eventually(ctx, t, `document.querySelector("#jobs-table.is-stale tbody tr:nth-child(25)")`)
	eventually(ctx, t, `document.querySelector("[data-live-word]").textContent === "Stale"`)
	s.fails.Store(false)
	eventually(ctx, t, `document.querySelector("#jobs-table:not(.is-stale) tbody tr:nth-child(25)")`)
	eventually(ctx, t, `document.querySelector("[data-live-word]").textContent === "Live"`)
}

func TestPages_AMorphKeepsWhatAReaderDid(t *testing.T) {
	t.Parallel()
	s, ctx := newSite(t), browse(t)
	goTo(ctx, t, s.URL+"/form")
	// A live region with typed text, ticked boxes and open details is refetched from a page on
	// which all of these are in their initial state.
	evaluate[bool](ctx, t, `(() => {
		const form = document.querySelector("main form");
		form.id = "typed";
		form.insertAdjacentHTML("beforeend", '<details id="d"><summary>more</summary>text</details>');
		window.before = form.outerHTML;
		document.querySelector("#body").value = "typed, not focused";
		document.querySelector("#url").value = "typed too";
		document.querySelector("#unique").checked = false;
		document.querySelector("#d").open = true;
		document.querySelector("#attempts").focus();
		document.querySelector("#attempts").value = "7";
		return true;
	})()`)
	evaluate[bool](ctx, t,
		`htmx.swap({sourceElement: document.body, target: document.querySelector("#typed"), swap: "outerMorph",
			text: window.before.replace("Enqueue job", "Enqueue it")}).then(() => true)`)
	eventually(ctx, t, `document.querySelector("#typed .btn-primary").textContent.includes("Enqueue it")`)
	got := evaluate[[]any](ctx, t,
		`[document.querySelector("#body").value, document.querySelector("#url").value, document.querySelector("#unique").checked,
		document.querySelector("#d").open, document.activeElement.id, document.activeElement.value]`)
	if want := "[typed, not focused typed too false true attempts 7]"; fmt.Sprint(got) != want {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func TestPages_AFormThatIsTooLargeIsNotSentAndKeepsWhatWasTyped(t *testing.T) {
	t.Parallel()
	s, ctx := newSite(t), browse(t)
	goTo(ctx, t, s.URL+"/form")
	got := evaluate[[]any](ctx, t, `(() => {
		const form = document.querySelector("main form"), body = document.querySelector("#body");
		form.dataset.max = "1000";
		let sent = 0;
		addEventListener("submit", (e) => { if (!e.defaultPrevented) sent++; e.preventDefault(); });
		body.value = "я".repeat(400);
		form.requestSubmit();
		const refused = body.validationMessage;
		body.value = "я";
		body.dispatchEvent(new Event("input"));
		form.requestSubmit();
		return [refused.includes("was not sent"), body.validationMessage, sent];
	})()`)
	if want := "[true  1]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestPages_KeyboardReachesRowsSearchHelpAndPages(t *testing.T) {
	t.Parallel()
	s, ctx := newSite(t), browse(t)
	goTo(ctx, t, s.URL+"/jobs")
	run(ctx, t, chromedp.KeyEvent("j"), chromedp.KeyEvent("j"), chromedp.KeyEvent("x"))
	eventually(ctx, t,
		`document.querySelectorAll("[data-row]")[1].contains(document.activeElement) &&
			document.querySelectorAll("[data-pick]")[1].checked`)
	run(ctx, t, chromedp.KeyEvent("j"), chromedp.KeyEvent("j"), chromedp.KeyEvent("X"))
	eventually(ctx, t, `[...document.querySelectorAll("[data-pick]")].map(b => +b.checked).join("").startsWith("0111000")`)
	run(ctx, t, chromedp.KeyEvent("/"))
	eventually(ctx, t, `document.activeElement.id === "q"`)
	run(ctx, t, chromedp.KeyEvent("\x1b"), chromedp.KeyEvent("?"))
	eventually(ctx, t, `document.querySelector("#help").open`)
	run(ctx, t, chromedp.KeyEvent("\x1b"))
	eventually(ctx, t, `!document.querySelector("#help").open`)
	// One script for both keys, as the second must come within 1.2 s.
	run(ctx, t, do(`for (const key of "go") document.dispatchEvent(new KeyboardEvent("keydown", {key}))`))
	eventually(ctx, t, `location.pathname === "/"`)
}

var pages = []string{"/", "/jobs", "/job", "/form"}

func TestPages_AxeFindsNothing(t *testing.T) {
	t.Parallel()
	axe, err := os.ReadFile("../static/testdata/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	s, ctx := newSite(t), browse(t)
	for _, theme := range []string{"light", "dark"} {
		for _, path := range pages {
			for _, width := range []int64{1440, 390} {
				if theme == "light" && width == 390 {
					continue // the same colors, and the same elements as in the dark
				}
				run(ctx, t, viewport(width))
				goTo(ctx, t, s.URL+"/blank")
				run(ctx, t, do(`document.cookie = "theme=`+theme+`; path=/"`))
				goTo(ctx, t, s.URL+path)
				run(ctx, t, do(string(axe)))
				found := evaluate[string](ctx, t,
					`axe.run(document, {resultTypes: ["violations"]}).then(r => r.violations.map(v => v.impact + " " + v.id + ": " +
					v.nodes.map(n => n.target.join(" ") + " " + (n.any[0]?.message ?? "")).slice(0, 4).join(" | ")).join("\n"))`)
				if found != "" {
					t.Errorf("%s %s %d:\n%s", path, theme, width, found)
				}
			}
		}
	}
}

func TestPages_NeverScrollSideways(t *testing.T) {
	t.Parallel()
	s, ctx := newSite(t), browse(t)
	for _, width := range []int64{320, 390, 640, 768, 1024, 1440} {
		for _, path := range pages {
			run(ctx, t, viewport(width))
			goTo(ctx, t, s.URL+path)
			if over := evaluate[float64](ctx, t, "document.documentElement.scrollWidth - document.documentElement.clientWidth"); over > 0 {
				t.Errorf("%s is %v px wider than %d", path, over, width)
			}
		}
	}
}

func TestPages_TheWordsOfAStepHaveRoom(t *testing.T) {
	t.Parallel()
	s, ctx := newSite(t), browse(t)
	const least = 64 // px
	for _, width := range []int64{390, 800, 1024, 1440} {
		run(ctx, t, viewport(width))
		goTo(ctx, t, s.URL+"/crashed-job")
		const words = `[...document.querySelectorAll(".step > span:not(.mark, .when)")].filter((e) => e.innerText.trim())`
		if n := evaluate[int](ctx, t, words+".length"); n < 6 {
			t.Fatalf("%d texts in the timeline", n)
		}
		narrow := evaluate[string](ctx, t, fmt.Sprintf(`%s.filter((e) => e.offsetWidth < %d).map((e) => e.innerText).join("; ")`,
			words, least))
		if narrow != "" {
			t.Errorf("at %d px these words are too narrow to read: %s", width, narrow)
		}
	}
}

// WARREN_SHOTS=dir go test ./views -run Shots writes a picture of every page.
func TestPages_Shots(t *testing.T) {
	dir := os.Getenv("WARREN_SHOTS")
	if dir == "" {
		t.Skip("set WARREN_SHOTS to a directory")
	}
	s, ctx := newSite(t), browse(t)
	shot := func(name string) {
		png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		run(ctx, t, viewport(1440), chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
			_, err := cdp.Call(ctx, target, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
			return err
		}), chromedp.Navigate(s.URL+"/"))
		shot("nojs")
	}()
	for _, theme := range []string{"light", "dark"} {
		for _, width := range []int64{1440, 1024, 390} {
			for i, path := range pages {
				run(ctx, t, viewport(width), chromedp.Navigate(s.URL+path),
					do(`document.querySelector('[data-theme-form] [value=`+theme+`]').click()`), chromedp.Sleep(300*time.Millisecond))
				name := fmt.Sprintf("%s-%d-%d", theme, width, i)
				shot(name)
				if path == "/job" && width != 1024 {
					run(ctx, t, do(`document.querySelector("#purge").open = true`), chromedp.Sleep(100*time.Millisecond))
					shot(name + "-confirm")
				}
				if path == "/jobs" {
					run(ctx, t,
						do(`document.querySelectorAll("[data-pick]")[1].click(); document.querySelectorAll("[data-pick]")[2].click()`),
						chromedp.Sleep(100*time.Millisecond))
					shot(name + "-picked")
					run(ctx, t, do(`document.querySelector("`+map[bool]string{true: "#drawer",
						false: "#display"}[width < 768]+`").open = true`), chromedp.Sleep(100*time.Millisecond))
					shot(name + "-menu")
				}
			}
		}
	}
}

func TestPages_AConfirmationSaysWhatToType(t *testing.T) {
	t.Parallel()
	s, ctx := newSite(t), browse(t)
	goTo(ctx, t, s.URL+"/job")
	run(ctx, t, do(`document.querySelector("#purge").open = true`), chromedp.SendKeys(chromedp.CSS("#purge-confirm"), "mai"))
	eventually(ctx, t, `document.querySelector("#purge-confirm").validationMessage === "Type mail"`)
	run(ctx, t, chromedp.SendKeys(chromedp.CSS("#purge-confirm"), "l"))
	eventually(ctx, t, `document.querySelector("#purge-confirm").validity.valid`)
}
