package views_test

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

const firstChart = `document.querySelector("#chart-depth")`

// drawn is the drawing of the first chart, without its cursor.
const drawn = firstChart + `.querySelector(".plot svg").outerHTML.replace(/<line class="cursor".*?<.line>/, "")`

func when(chart string) string {
	return `document.querySelector("#` + chart + ` [data-when]").textContent`
}

// pointAt moves the mouse to a place in the first chart, as shares of its width.
func pointAt(ctx context.Context, t *testing.T, event input.DispatchMouseEventType, share float64) {
	t.Helper()
	box := evaluate[[]float64](ctx, t, `(b => [b.left, b.top, b.width])(`+firstChart+`.querySelector(".plot svg").getBoundingClientRect())`)
	run(ctx, t, chromedp.MouseEvent(event, box[0]+share*box[2], box[1]+20, chromedp.ButtonLeft))
}

func TestCharts_TheCursorSaysWhenInEveryChart(t *testing.T) {
	t.Parallel()
	s, ctx := newSite(t), browse(t)
	run(ctx, t, viewport(1440))
	live(ctx, t, s.URL+"/")
	run(ctx, t, do(`document.querySelector("[data-tz-form] [value=utc]").click()`))
	require.Empty(t, evaluate[string](ctx, t, when("chart-depth")))
	pointAt(ctx, t, "mouseMoved", 0.25)
	eventually(ctx, t, when("chart-depth")+` === "03:11:04 UTC"`)
	eventually(ctx, t, when("chart-rates")+` === "03:11:04 UTC"`)
	value := evaluate[string](ctx, t, firstChart+`.querySelector("[data-value]").textContent`)

	asked := s.charts.Load()
	s.event("queues")
	until(ctx, t, "the charts follow their topic", func() bool { return s.charts.Load() == asked+1 })
	eventually(ctx, t, firstChart+`.querySelector(".cursor").getAttribute("x1") !== null`)
	require.Equal(t, value, evaluate[string](ctx, t, firstChart+`.querySelector("[data-value]").textContent`))

	pointAt(ctx, t, "mouseMoved", 450./595)
	eventually(ctx, t, when("chart-depth")+` === "03:16:04 UTC · mail paused by ada: the mail server is full"`)
	run(ctx, t, away)
	eventually(ctx, t, when("chart-depth")+` === ""`)

	run(ctx, t, do(firstChart+`.querySelector(".plot").focus()`), chromedp.KeyEvent(kb.ArrowLeft))
	eventually(ctx, t, when("chart-depth")+` === "03:18:24 UTC"`)
}

func TestCharts_AreDrawnTheSameWithAndWithoutJavaScript(t *testing.T) {
	t.Parallel()
	s, ctx := newSite(t), browse(t)
	goTo(ctx, t, s.URL+"/blank")
	run(ctx, t, do(`document.cookie = "tz=utc; path=/"`))
	live(ctx, t, s.URL+"/")
	res, err := http.Get(s.URL + "/")
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	page, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	run(ctx, t, do(`window.served = new DOMParser().parseFromString(`+quoted(string(page))+`, "text/html")`))
	require.Equal(t, evaluate[string](ctx, t, strings.Replace(drawn, "document", "served", 1)), evaluate[string](ctx, t, drawn))
	require.NotEmpty(t, evaluate[string](ctx, t, firstChart+`.querySelector("text").textContent`))
}

func TestCharts_ADragAsksForTheTimeThatItCovers(t *testing.T) {
	t.Parallel()
	s, ctx := newSite(t), browse(t)
	run(ctx, t, viewport(1440))
	live(ctx, t, s.URL+"/?range=1h")
	pointAt(ctx, t, "mousePressed", 0.25)
	pointAt(ctx, t, "mouseMoved", 0.5)
	require.NotEqual(t, "0%", evaluate[string](ctx, t, firstChart+`.querySelector(".brush").getAttribute("width")`))
	pointAt(ctx, t, "mouseReleased", 0.5)
	eventually(ctx, t, `/^\?from=2026-11-21T03%3A11%3A0\dZ&to=2026-11-21T03%3A13%3A3\dZ$/.test(location.search)`)
}

func TestCharts_WithForcedColoursALineIsALine(t *testing.T) {
	t.Parallel()
	s, ctx := newSite(t), browse(t)
	run(ctx, t, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "forced-colors", Value: "active"}}})
		return err
	}))
	live(ctx, t, s.URL+"/")
	style := func(sel, property string) string {
		return evaluate[string](ctx, t, `getComputedStyle(document.querySelector("`+sel+`")).getPropertyValue("`+property+`")`)
	}
	ink := style("body", "color")
	require.Equal(t, "none", style(".plot .area", "display"))
	require.Equal(t, "none", style(".spark .area", "display"))
	for _, line := range []string{".plot .s-queued .line", ".plot .s-dead .line", ".spark path:last-child", ".legend .s-dead line"} {
		require.Equal(t, ink, style(line, "stroke"), line)
	}
	require.NotEqual(t, style(".plot .s-completed .line", "stroke-dasharray"), style(".plot .s-dead .line", "stroke-dasharray"))
	require.Equal(t, ink, style(".live .dot", "background-color"))
}

func TestPages_OnPaperAreBlackOnWhiteAndWhole(t *testing.T) {
	t.Parallel()
	s, ctx := newSite(t), browse(t)
	goTo(ctx, t, s.URL+"/blank")
	run(ctx, t, do(`document.cookie = "theme=dark; path=/"`))
	goTo(ctx, t, s.URL+"/jobs")
	run(ctx, t, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"})
		return err
	}))
	colours := evaluate[string](ctx, t, `(s => s.color + " on " + s.backgroundColor)(getComputedStyle(document.body))`)
	require.Equal(t, "rgb(0, 0, 0) on rgb(255, 255, 255)", colours)
	require.Empty(t, evaluate[string](ctx, t, `[...document.querySelectorAll(".rail, .topbar, .btn, .filters, [data-pick]")]
		.filter(e => e.checkVisibility()).map(e => e.outerHTML).join()`))
	require.Zero(t, evaluate[int](ctx, t,
		`[...document.querySelectorAll("td *")].filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth).length`), "cut off")
}

var quotes = regexp.MustCompile("[`$\\\\]")

// quoted writes a text as a template literal.
func quoted(s string) string { return "`" + quotes.ReplaceAllString(s, `\$0`) + "`" }
