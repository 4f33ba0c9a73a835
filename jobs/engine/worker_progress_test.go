package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
)

// loggedStore counts the writes of logs, and fails the first ones on demand.
type loggedStore struct {
	engine.WorkerStore
	saves, fail atomic.Int64
}

func (s *loggedStore) SaveLogs(ctx context.Context, updates []engine.LogUpdate) error {
	s.saves.Add(1)
	if s.fail.Add(-1) >= 0 {
		return errors.New("the database is away")
	}
	return s.WorkerStore.SaveLogs(ctx, updates)
}

func TestRunLog_TheLogOfARunIsShownWhileItRunsAndKeptWithItsAttempt(t *testing.T) {
	b := setup(t)
	g := b.gate()
	b.work = func(_ context.Context, run *jobs.Run) error {
		g.started <- run
		run.Log().Info("charged", "card", "4242", slog.Group("sum", "eur", 12))
		<-g.open
		run.Log().Warn(fmt.Sprintf("slow\x00\xff %d", run.Attempt))
		run.Log().Debug("not kept")
		if run.Attempt == 1 {
			return errors.New("no")
		}
		return nil
	}
	b.relay()
	b.worker("w")
	id := b.step()
	job := b.eventually(id, "logged", func(j jobs.Detail) bool { return len(j.Attempts) == 1 && len(j.Attempts[0].Log) == 1 })
	require.Equal(t, jobs.Running, job.State)
	line := job.Attempts[0].Log[0]
	require.Equal(t, []any{slog.LevelInfo, "charged"}, []any{line.Level, line.Message})
	require.JSONEq(t, `{"card":"4242","sum":{"eur":12}}`, string(line.Attrs))
	require.False(t, line.Time.IsZero())

	close(g.open)
	job = b.eventually(id, "failed", in(jobs.Retrying))
	require.Len(t, job.Attempts[0].Log, 2)
	require.NoError(t, b.store.RunNow(b.ctx, id, jobs.Actor{}))
	job = b.ended(id, jobs.Completed)
	for i, a := range job.Attempts {
		require.Equal(t, fmt.Sprintf("slow\x00\ufffd %d", i+1), a.Log[1].Message, "each attempt has its own")
	}
}

func TestRunLog_AHandlerThatLogsALotDoesNotHurtTheDatabase(t *testing.T) {
	b := setup(t)
	const lines = 100_000
	store := &loggedStore{WorkerStore: b.store}
	b.work = func(_ context.Context, run *jobs.Run) error {
		for i := range lines {
			run.Log().Info("line", "n", i)
		}
		return nil
	}
	b.relay()
	b.worker("w", func(w *engine.Worker) { w.Store = store })
	job := b.ended(b.step(), jobs.Completed)
	kept := job.Attempts[0].Log
	require.Len(t, kept, 200)
	require.Equal(t, lines-200, job.Attempts[0].LogDropped)
	require.JSONEq(t, fmt.Sprintf(`{"n":%d}`, lines-1), string(kept[199].Attrs), "the newest are kept")
	require.Less(t, store.saves.Load(), int64(lines/1000))
}

func TestRunLog_TheLogOfARunIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	run := &jobs.Run{}
	deep := any(1)
	for range 1500 {
		deep = []any{deep}
	}
	run.Log().Info("deep", "value", deep)
	require.Empty(t, run.Record().LogLines()[0].Attrs, "deeper than PostgreSQL reads")
	for range 300 {
		run.Log().Info(strings.Repeat("\x01", 1000), "more", strings.Repeat("x", 10_000))
	}
	size := 0
	for _, l := range run.Record().LogLines() {
		require.NotEmpty(t, l.Message)
		size += len(l.Message) + len(l.Attrs)
	}
	require.Less(t, size, 64<<10)
}

func TestRunLog_LogLinesThatCouldNotBeWrittenAreWrittenWithTheEnd(t *testing.T) {
	b := setup(t)
	store := &loggedStore{WorkerStore: b.store}
	store.fail.Store(1)
	b.work = func(_ context.Context, run *jobs.Run) error { run.Log().Info("once"); return nil }
	b.relay()
	b.worker("w", func(w *engine.Worker) { w.Store = store })
	id := b.step()
	b.ended(id, jobs.Completed)
	b.eventually(id, "logged", func(j jobs.Detail) bool { return len(j.Attempts[0].Log) == 1 })
}

func TestRunLog_ALateWriteOfALogReplacesNothingNewer(t *testing.T) {
	b := setup(t)
	b.work = func(_ context.Context, run *jobs.Run) error {
		run.Log().Info("one")
		run.Log().Info("two")
		return nil
	}
	b.relay()
	b.worker("w")
	id := b.step()
	b.ended(id, jobs.Completed)
	b.eventually(id, "logged", func(j jobs.Detail) bool { return len(j.Attempts[0].Log) == 2 })
	for _, late := range []engine.LogUpdate{
		{JobID: id, Lease: 1, Total: 1, Lines: []byte(`[{"msg":"one"}]`)},
		{JobID: id, Lease: 0, Total: 9, Lines: []byte(`[{"msg":"of an older lease"}]`)},
	} {
		require.NoError(t, b.store.SaveLogs(b.ctx, []engine.LogUpdate{late}))
	}
	require.Len(t, b.job(id).Attempts[0].Log, 2)
	require.Equal(t, 1, b.number(`SELECT count(*) FROM warren.attempt_logs`))
}
