package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
)

// gate is the way to a server, which can be shut.
type gate struct {
	mu    sync.Mutex
	shut  bool
	conns map[net.Conn]struct{}
}

// gate puts a gate in front of the server of a variable, in the environment of later processes.
func (d *deployment) gate(variable, at string) *gate {
	d.t.Helper()
	u, err := url.Parse(at)
	require.NoError(d.t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(d.t, err)
	d.t.Cleanup(func() { _ = l.Close() })
	g := &gate{conns: map[net.Conn]struct{}{}}
	go g.serve(l, u.Host)
	u.Host = l.Addr().String()
	d.env = append(d.env, variable+"="+u.String())
	return g
}

func (g *gate) serve(l net.Listener, target string) {
	for {
		from, err := l.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", target)
		if err != nil || !g.keep(from, to) {
			_ = from.Close()
			continue
		}
		for _, pair := range [][2]net.Conn{{from, to}, {to, from}} {
			go func() {
				_, _ = io.Copy(pair[0], pair[1])
				_ = pair[0].Close()
			}()
		}
	}
}

// keep reports whether the gate is open, and remembers connections to close them with it.
func (g *gate) keep(conns ...net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range conns {
		g.conns[c] = struct{}{}
	}
	return !g.shut
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
	for c := range g.conns {
		_ = c.Close()
	}
	clear(g.conns)
}

const (
	liveWord = `document.querySelector("[data-live-word]").textContent`
	// dimmed is an expression; the argument selects a region.
	dimmed = `getComputedStyle(document.querySelector("%s > *")).opacity < 1`
	lead   = `document.querySelector(".page-lead").innerText`
)

func TestFreshness_APageThatIsOpenSaysThatTheBrokerIsAwayAndHowOldItsFiguresAre(t *testing.T) {
	d := deploy(t)
	broker := []*gate{d.gate("AMQP_URL", d.vhost.URL), d.gate("RABBITMQ_MANAGEMENT_URL", d.vhost.ManagementURL)}
	d.start()
	d.ready()
	d.submit("dots", `{"text":"x"}`)
	d.until("the queue was sampled", func() bool { return strings.Contains(d.page("/queues"), "warren.jobs.default") })
	queues, list := d.open(), d.open()
	queues.live("/queues")
	list.live("/jobs")
	queues.until(liveWord + ` === "Live"`)
	for _, g := range broker {
		g.set(true)
	}
	queues.until(liveWord + ` === "Stale · broker"`)
	queues.until(fmt.Sprintf(dimmed, "#queues-table"))
	require.Contains(t, value[string](queues, lead), "Broker down since ")
	queues.until(`Date.parse(document.querySelector("#fresh time").dateTime) === Number(document.querySelector("#sources").dataset.broker)`)
	list.until(`document.querySelector("#sources[data-of=broker]")`)
	require.Equal(t, "Live", value[string](list, liveWord), "what this page shows is the database's")
	require.NotContains(t, value[string](list, lead), "Broker")
	for _, g := range broker {
		g.set(false)
	}
	queues.until(liveWord + ` === "Live" && !(` + fmt.Sprintf(dimmed, "#queues-table") + `) && !` + lead + `.includes("down")`)
}

func TestFreshness_WhileTheDatabaseIsAwayClocksStopAndAfterwardsErrorPagesMendThemselves(t *testing.T) {
	d := deploy(t)
	database := d.gate("DATABASE_URL", d.database)
	d.start()
	d.ready()
	d.inState(d.submit("dots", `{"text":"`+dotsText(300)+`"}`), jobs.Running)
	open, failed := d.open(), d.open()
	open.live("/jobs")
	const runs = `document.querySelector("#jobs-list time[data-time=for]")?.textContent`
	open.until(runs)

	database.set(true)
	open.until(liveWord + ` === "Stale · database"`)
	open.until(fmt.Sprintf(dimmed, "#jobs-list"))
	require.Contains(t, value[string](open, lead), "Database down since ")
	stopped := value[string](open, runs)
	open.until(`parseInt(document.querySelector("#health .is-down time").textContent) >= 3`) // that one ticks
	require.Equal(t, stopped, value[string](open, runs))

	failed.live("/failures")
	require.Contains(t, value[string](failed, `document.querySelector("main").innerText`), "The database cannot be reached.")
	require.Contains(t, value[string](failed, `document.querySelector("#health .is-down").innerText`), "Database")
	status, raw := d.raw("GET", "/failures", "")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, string(raw), `<noscript><meta http-equiv="refresh"`)

	database.set(false)
	failed.until(whole + ` && document.querySelector("#failures-list")`)
	open.until(liveWord + ` === "Live" && !(` + fmt.Sprintf(dimmed, "#jobs-list") + `) && ` + runs + ` !== "` + stopped + `"`)
}

func TestFreshness_ThePageOfAnEndedJobAsksForNothingWhileOthersRun(t *testing.T) {
	d := deploy(t)
	d.start()
	d.ready()
	id := d.submit("dots", `{"text":"x"}`)
	d.inState(id, jobs.Completed)
	ended, list := d.open(), d.open()
	ended.live("/jobs/" + id)
	list.live("/jobs")
	const asked = `performance.getEntriesByType("resource").filter((e) => e.name.includes("/jobs/")).length`
	// The stream, which brings the status, lives.
	told := func() {
		ended.do(chromedp.Evaluate[chromedp.Void](`window.told = 0`))
		ended.until(`window.told >= 2`)
	}
	ended.do(chromedp.Evaluate[chromedp.Void](
		`document.addEventListener("htmx:after:swap", (e) => { if (e.target.id === "live") told++ })`))
	told()
	var before, after int
	for range 5 { // what happened just before it was loaded is asked for, maybe late; a page that follows others asks each time
		before = value[int](ended, asked)
		for range 3 {
			list.shows(d.submit("dots", `{"text":"y"}`), "completed")
		}
		told()
		if after = value[int](ended, asked); after == before {
			break
		}
	}
	require.Equal(t, before, after)
}

func TestFreshness_ARunningJobSaysWhenItsWorkerWasLastHeardOf(t *testing.T) {
	d := deploy(t)
	d.start("web")
	d.start("relay")
	d.ready()
	w := d.start("worker")
	id := d.submit("dots", `{"text":"`+dotsText(300)+`"}`)
	d.inState(id, jobs.Running)
	b := d.open()
	b.live("/jobs/" + id)
	b.until(`document.querySelector(".explanation").innerText.includes("Running on")`)
	w.kill()
	b.until(`document.querySelector(".explanation").innerText.includes("was last seen")`)
}
