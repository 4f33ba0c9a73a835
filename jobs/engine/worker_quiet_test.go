package engine_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
)

// holding makes a worker run one job at a time and hold the messages of nine more.
func holding(w *engine.Worker) { w.Concurrency, w.Prefetch = 1, 10 }

// startedOnce receives n runs and requires that each job is among them once.
func (b *bundle) startedOnce(g *gate, n int) {
	b.t.Helper()
	seen := map[uuid.UUID]bool{}
	for range n {
		run := await(b, "a run", g.started)
		require.False(b.t, seen[run.ID], "it runs once")
		seen[run.ID] = true
	}
}

// holds waits until the worker's subscriptions hold n messages of the default queue.
func (b *bundle) holds(n int64) {
	b.t.Helper()
	b.unacked("warren.jobs.default", n)
}

func (b *bundle) unacked(queue string, n int64) {
	b.t.Helper()
	b.until(text("the messages are at the worker"), func() bool {
		q, err := b.vhost.Management.Queue(b.ctx, b.vhost.Name, queue)
		return err == nil && q.Unacked != nil && *q.Unacked == n
	})
}

func TestWorker_AQuietWorkerFinishesWhatRunsAndGivesBackWhatItHeld(t *testing.T) {
	b := setup(t)
	g := b.gate()
	b.relay()
	a := b.newWorker("a")
	holding(a)
	ids := b.steps(5)
	b.outboxIsEmpty()
	b.background(a.Run)
	first := await(b, "the run", g.started).ID
	b.holds(5)

	a.Quiet()
	a.Quiet()
	stop := b.worker("b")
	b.startedOnce(g, 4) // while a still runs its own
	require.Equal(t, jobs.Running, b.job(first).State)
	close(g.open)
	for _, id := range ids {
		job := b.ended(id, jobs.Completed)
		want := "b"
		if id == first {
			want = "a"
		}
		require.Equal(t, want, *job.Worker)
		require.Len(t, job.Attempts, 1)
		require.Zero(t, job.Crashes)
	}
	more := b.step()
	require.Equal(t, "b", *b.ended(more, jobs.Completed).Worker)
	stop()
	waits := b.step()
	b.outboxIsEmpty()
	require.Equal(t, jobs.Queued, b.job(waits).State)

	a.Resume()
	require.Equal(t, "a", *b.ended(waits, jobs.Completed).Worker)
	require.Equal(t, 1, b.number(`SELECT count(*) FROM warren.sessions`), "its lease is the same all the time")
}

func TestWorker_ThatIsResumedAtOnceAcknowledgesOnBothSessions(t *testing.T) {
	b := setup(t)
	g := b.gate()
	b.relay()
	a := b.newWorker("a")
	a.Concurrency = 2
	stop := b.background(a.Run)
	first := b.step()
	await(b, "the run", g.started)
	a.Quiet()
	a.Resume()
	second := b.step()
	require.Equal(t, second, await(b, "a run on the next session", g.started).ID)
	close(g.open)
	b.ended(first, jobs.Completed)
	b.ended(second, jobs.Completed)
	b.holds(0)
	stop()
	require.Zero(t, b.ready("warren.jobs.default"), "nothing goes back to the queue")
	require.Empty(t, g.started)
}

func TestWorker_AQuietWorkerThatLosesItsConnectionStaysQuiet(t *testing.T) {
	b := setup(t)
	g := b.gate()
	b.relay()
	a := b.newWorker("a")
	b.background(a.Run)
	id := b.step()
	await(b, "the run", g.started)
	connection := b.connections("worker", 1)
	a.Quiet()
	b.close(connection)
	close(g.open)
	b.ended(id, jobs.Completed)
	other := b.step()
	b.outboxIsEmpty()
	b.worker("b")
	require.Equal(t, "b", *b.ended(other, jobs.Completed).Worker)
	require.Len(t, b.job(id).Attempts, 1)
}

func TestWorker_AQuietWorkerStopsInGoodOrder(t *testing.T) {
	b := setup(t)
	g := b.gate()
	b.relay()
	a := b.newWorker("a")
	stop := b.background(a.Run)
	id := b.step()
	await(b, "the run", g.started)
	a.Quiet()
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	close(g.open)
	await(b, "the stop", stopped)
	require.Equal(t, jobs.Completed, b.job(id).State)
	require.Zero(t, b.number(`SELECT count(*) FROM warren.sessions`))
	require.Zero(t, b.ready("warren.jobs.default"))
}

func TestWorker_WhatAStoppingWorkerHeldIsRunElsewhereBeforeItsGraceTimeIsOver(t *testing.T) {
	b := setup(t)
	g := b.gate()
	b.relay()
	ids := b.steps(5)
	b.outboxIsEmpty()
	stop := b.worker("a", holding, func(w *engine.Worker) { w.StopGrace = time.Hour })
	await(b, "the run", g.started)
	b.holds(5)
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	b.worker("b")
	b.startedOnce(g, 4)
	close(g.open)
	await(b, "the stop", stopped)
	for _, id := range ids {
		require.Len(t, b.ended(id, jobs.Completed).Attempts, 1)
	}
}

func TestWorker_ARelayMeasuresItsConfirms(t *testing.T) {
	b := setup(t)
	r := &engine.Relay{Outbox: b.store, Publisher: b.broker.NewPublisher(), Announce: silent, ReportHealth: unwritten, Log: b.log}
	require.Nil(t, r.Stats().ConfirmP50, "unknown is not zero")
	b.background(r.Run)
	b.steps(20)
	b.outboxIsEmpty()
	b.until(text("it has measured"), func() bool { return r.Stats().Sent == 20 })
	st := r.Stats()
	require.Positive(t, *st.ConfirmP50)
	require.GreaterOrEqual(t, *st.ConfirmP95, *st.ConfirmP50)
	require.Empty(t, st.Problem)
}

func TestWorker_ABrokerThatDoesNotAnswerHoldsUpNoStop(t *testing.T) {
	b := setup(t)
	g := b.gate()
	b.relay()
	mute := b.link()
	broker := *b.broker
	broker.URL = mute.url
	w := b.newWorker("a")
	holding(w)
	w.Consumer, w.StopGrace = &broker, 100*time.Millisecond
	ids := b.steps(5)
	b.outboxIsEmpty()
	stop := b.background(w.Run)
	await(b, "the run", g.started)
	b.holds(5)
	mute.Lock()
	defer mute.Unlock()
	began := time.Now()
	stop()
	require.Less(t, time.Since(began), 20*time.Second) // the heartbeat alone ends the connection after some 30 s
	for _, id := range ids {
		require.Equal(t, jobs.Queued, b.job(id).State)
	}
}
