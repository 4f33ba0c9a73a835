package views_test

import (
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/monitor"
	"github.com/warrenjobs/warren/static"
	"github.com/warrenjobs/warren/views"
	"github.com/warrenjobs/warren/views/ui"
)

// overviewAt returns the facts at night, after some minutes with 2 completed and 1 failed job each 10 s.
func overviewAt(minutes int) views.OverviewFacts {
	f := views.OverviewFacts{FindingFacts: views.FindingFacts{Now: night, Workers: 1}}
	from := ago(time.Duration(minutes) * time.Minute)
	f.Total = monitor.NewSeries([]monitor.Sample{{At: from, Until: night, Ready: num(72), Unacked: num(3)}},
		ago(views.OverviewSpan), night, 5*time.Second)
	for i := 6*minutes - 1; i >= 0; i-- {
		at := ago(time.Duration(i)*10*time.Second + 2*time.Second)
		f.Activity = append(f.Activity, monitor.Moment{At: at, Seconds: 10, Completed: 2, Failed: 1, OutboxAge: 4, OldestQueued: 30})
	}
	return f
}

func TestOverview_TilesAndChartsShowTheSameNumbersOverTheSameTime(t *testing.T) {
	t.Parallel()
	m := views.NewOverviewModel(overviewAt(5))
	tiles := map[string]ui.StatProps{}
	for _, tile := range m.Tiles {
		tiles[tile.Label] = tile
		require.InDelta(t, 60, len(tile.Spark), 3, "%s: it begins where data begin", tile.Label)
		known := 0
		for _, v := range tile.Spark {
			if !math.IsNaN(v) {
				known++
			}
		}
		require.InDelta(t, 60, known, 3, "%s: five minutes, where they were", tile.Label)
	}
	require.Equal(t, "12", tiles["Completed"].Value)
	require.Equal(t, "6", tiles["Failed attempts"].Value)
	require.Equal(t, "72", tiles["Ready"].Value)
	for _, chart := range m.Charts.Charts {
		for _, s := range chart.Series {
			require.Equal(t, tiles[s.Label].Spark, s.Y, s.Label)
		}
	}
}

func TestOverview_AnOldSampleIsUnknownNow(t *testing.T) {
	t.Parallel()
	f := overviewAt(5)
	f.Now = night.Add(2 * time.Minute)
	f.Total = monitor.NewSeries(nil, f.Now.Add(-views.OverviewSpan), f.Now, 5*time.Second)
	f.Activity[len(f.Activity)-1].OutboxAge = 3600
	m := views.NewOverviewModel(f)
	require.Empty(t, m.Findings)
	for _, tile := range m.Tiles {
		require.Equal(t, ui.Unknown, tile.Value, tile.Label)
	}
}

func TestOverview_TheOldestWaitingJobLeadsToItsQueueUnlessThatIsPaused(t *testing.T) {
	t.Parallel()
	f := overviewAt(5)
	f.VHost, f.QueuePrefix = "v", "jobs."
	f.Oldest = map[string]time.Time{"stock": ago(time.Hour), "mail": ago(time.Minute), "default": ago(time.Second)}
	f.Paused = []engine.PausedQueue{{Queue: "stock", Since: ago(time.Hour)}}
	tiles := views.NewOverviewModel(f).Tiles
	oldest := tiles[len(tiles)-1]
	require.Equal(t, []string{"in mail", "/queues/v/jobs.mail"}, []string{oldest.Hint, oldest.Href})
}

func TestOverview_TheVerdictIsRedOnlyForWhatIsBroken(t *testing.T) {
	t.Parallel()
	f := overviewAt(5)
	verdict := func() [2]string {
		m := views.NewOverviewModel(f)
		return [2]string{m.State, m.Verdict}
	}
	require.Equal(t, [2]string{"completed", "All systems normal"}, verdict())
	f.Drift.Repaired = 1
	require.Equal(t, [2]string{"completed", "All systems normal"}, verdict())
	f.Paused = []engine.PausedQueue{{Queue: "stock", Since: ago(time.Hour)}}
	require.Equal(t, [2]string{"retrying", "Nothing is broken; 1 thing to know"}, verdict())
	f.Dead.Open = 1
	require.Equal(t, [2]string{"dead", "1 problem, 1 warning"}, verdict())
}

func TestOverview_APhoneShowsFailuresBeforeFiguresAndAWideScreenAfterThem(t *testing.T) {
	t.Parallel()
	f := overviewAt(5)
	f.Failures = []jobs.FailureGroup{{Kind: "mail", Count: 1, LastSeen: night}}
	mux := http.NewServeMux()
	mux.Handle("/static/", static.Handler())
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		_ = views.Overview(views.Page{Title: "Overview"}, views.NewOverviewModel(f)).Render(ui.WithNow(r.Context(), night), w)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	ctx := browse(t)
	order := func() string {
		return evaluate[string](ctx, t, `[...document.querySelector("#overview-findings").parentElement.children]
			.map((e) => [e.getBoundingClientRect().top, e.id || e.className]).sort((a, b) => a[0] - b[0]).map((e) => e[1]).join(" ")`)
	}
	run(ctx, t, viewport(390), chromedp.Navigate(server.URL))
	require.Equal(t, "overview-findings overview-failures overview-tiles overview-charts overview-jobs", order())
	run(ctx, t, viewport(1440))
	require.Equal(t, "overview-findings overview-tiles overview-charts overview-failures overview-jobs", order())
}

func TestOverview_AnEmptyOutboxNamesItsLongestLag(t *testing.T) {
	t.Parallel()
	hint := func(f views.OverviewFacts) string {
		tiles := views.NewOverviewModel(f).Tiles
		return tiles[slices.IndexFunc(tiles, func(s ui.StatProps) bool { return s.Label == "Outbox lag" })].Hint
	}
	f := overviewAt(5)
	f.Activity[1].OutboxAge = 12.4
	require.Equal(t, "max 12 s in 15 min", hint(f))
	f.Waiting = 3
	require.Equal(t, "3 waiting", hint(f))
}
