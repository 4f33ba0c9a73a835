package views_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/views"
	"github.com/warrenjobs/warren/views/ui"
)

// workersPage renders the page of one worker.
func workersPage(t *testing.T, w engine.ProcessWorker) string {
	t.Helper()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	p := engine.Process{ID: uuid.New(), Name: "w", Roles: []string{"worker"}, SeenAt: now, StartedAt: now.Add(-time.Hour), Worker: &w}
	return workersOf(t, p, now)
}

// workersOf renders the page of one process as of now.
func workersOf(t *testing.T, p engine.Process, now time.Time) string {
	t.Helper()
	m := views.NewWorkersModel(views.WorkersFacts{Page: jobs.Page[engine.Process]{Items: []engine.Process{p}},
		Totals: engine.ProcessTotals{At: now}, Queue: func(string) string { return "" }})
	var page strings.Builder
	require.NoError(t, views.WorkersList(m).Render(ui.WithNow(t.Context(), now), &page))
	return page.String()
}

func TestWorkers_ARowSaysWhatTheWorkerDidLatelyAndSinceWhenItIsIdle(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	since, idle := now.Add(-10*time.Minute), now.Add(-130*time.Second)

	row := workersPage(t, engine.ProcessWorker{Concurrency: 2,
		Load: &engine.ProcessLoad{Since: since, Runs: 1240, BusyShare: 0.83, IdleSince: &idle}})
	require.Contains(t, row, "0/2 now · 83 % avg")
	require.Contains(t, row, "ran 1,240 in 10 m")
	require.Regexp(t, `idle\s+for\s+<time[^>]+datetime="2026-03-01T11:57:50`, row)

	row = workersPage(t, engine.ProcessWorker{Concurrency: 2, Load: &engine.ProcessLoad{Since: since}})
	require.Contains(t, row, "0 % avg")
	require.Contains(t, row, "idle, ran nothing in the last 10 m")

	row = workersPage(t, engine.ProcessWorker{Concurrency: 2, Busy: 1, Load: &engine.ProcessLoad{Since: since, Runs: 3, BusyShare: 0.5}})
	require.Contains(t, row, "running 1 more")
	require.NotContains(t, row, "idle")

	row = workersPage(t, engine.ProcessWorker{Concurrency: 2})
	require.NotContains(t, row, "avg", "not known")
}

func TestWorkers_ARowOfASilentProcessDoesNotSayWhatItDoesAndOffersNothing(t *testing.T) {
	t.Parallel()
	now, ended := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), int64(140)
	p := engine.Process{ID: uuid.New(), Name: "w", Roles: []string{"worker"}, SeenAt: now, StartedAt: now.Add(-time.Hour),
		Details: engine.ProcessDetails{Ended: &ended}, Worker: &engine.ProcessWorker{Concurrency: 2, Busy: 1}}
	for _, words := range []string{"140", "1/2 now", `/quiet"`, `/stop"`} {
		require.Contains(t, workersOf(t, p, now), words)
		require.NotContains(t, workersOf(t, p, now.Add(9*time.Second)), words)
	}
	require.Contains(t, workersOf(t, p, now.Add(9*time.Second)), "This process is not answering: it was last seen 9 s ago.")
}
