//go:build measure

package main

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// TestMeasure measures what each page of the warren at WARREN_MEASURE asks for while its demo runs:
// go test -tags measure -run TestMeasure ./web/warren -v
func TestMeasure(t *testing.T) {
	d := &deployment{t: t, ctx: t.Context(), base: os.Getenv("WARREN_MEASURE")}
	pages := []string{"/", "/jobs", "/jobs/new", "/tasks", "/tasks/board", "/queues",
		"/queues/%2F/" + url.PathEscape("warren.jobs.demo-billing"), "/failures", "/outbox", "/workers", "/audit"}
	for _, state := range []string{"dead", "completed"} {
		for _, j := range list[struct{ ID string }](d, "jobs?limit=1&state="+state) {
			pages = append(pages, "/jobs/"+j.ID)
		}
	}
	for _, f := range d.failures()[:1] {
		pages = append(pages, "/failures/"+f.Key.String())
	}
	for _, task := range list[struct{ ID string }](d, "tasks?limit=1") {
		pages = append(pages, "/tasks/"+task.ID)
	}
	t.Log("| page | first load | requests | next 10 s | layout shift |")
	for _, page := range pages {
		t.Log(d.measure(page))
	}
}

// wire counts the responses of a tab.
type wire struct {
	sync.Mutex
	paths []string
	bytes float64
}

func (w *wire) hear(ev any) {
	w.Lock()
	defer w.Unlock()
	switch e := ev.(type) {
	case *network.EventRequestWillBeSent:
		u, _ := url.Parse(e.Request.URL)
		part := u.Path
		if q := u.Query(); q.Has("part") || q.Has("chart") {
			part += "?" + q.Get("part") + q.Get("chart")
		}
		w.paths = append(w.paths, part)
	case *network.EventLoadingFinished: // not the stream, which does not end
		w.bytes += float64(e.EncodedDataLength)
	}
}

// take returns what was counted since the last call: the bytes, and how often each path was asked for.
func (w *wire) take() (bytes float64, n int, each string) {
	w.Lock()
	defer w.Unlock()
	count := map[string]int{}
	for _, p := range w.paths {
		count[p]++
	}
	var words []string
	for p, n := range count {
		words = append(words, fmt.Sprintf("%d× %s", n, p))
	}
	slices.Sort(words)
	bytes, n = w.bytes, len(w.paths)
	w.bytes, w.paths = 0, nil
	return bytes, n, strings.Join(words, ", ")
}

func (d *deployment) measure(page string) string {
	b, w := d.open(), &wire{}
	require.NoError(d.t, chromedp.Listen(b.ctx, w.hear))
	command(b, network.Enable, network.EnableParams{})
	command(b, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	b.goTo(page)
	b.do(chromedp.Evaluate[chromedp.Void](`window.shift = 0, new PerformanceObserver(l => { for (const e of l.getEntries()) shift += e.value })
		.observe({type: "layout-shift"})`), chromedp.Sleep(600*time.Millisecond))
	bytes, n, _ := w.take()
	b.do(chromedp.Sleep(10 * time.Second))
	later, m, each := w.take()
	shift := value[float64](b, `shift`)
	return fmt.Sprintf("| %s | %.1f kB | %d | %d req, %.1f kB | %.3f | %s", page, bytes/1000, n, m, later/1000, shift, each)
}
