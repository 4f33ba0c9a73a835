package engine_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
)

func queue(name string) jobs.Option { return func(j *jobs.NewJob) { j.Queue = name } }

func TestIntake_AQueueAtItsLimitHoldsUpNoOther(t *testing.T) {
	b := setup(t)
	open := make(chan struct{})
	var running, most atomic.Int64
	b.work = func(_ context.Context, run *jobs.Run) error {
		if run.Queue != "reports" {
			return nil
		}
		n := running.Add(1)
		defer running.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-open
		return nil
	}
	b.relay()
	slow := b.steps(6, queue("reports"))
	b.outboxIsEmpty()
	b.worker("w", func(w *engine.Worker) {
		w.Queues, w.QueueConfigs = []string{"reports", "default"}, map[string]engine.QueueConfig{"reports": {Limit: 2}}
		w.EarlyAck = time.Millisecond // an early ack does not free a place in the limit
	})
	for _, id := range b.steps(20) {
		b.ended(id, jobs.Completed)
	}
	b.until(text("two reports run"), func() bool { return running.Load() == 2 })
	close(open)
	for _, id := range slow {
		b.ended(id, jobs.Completed)
	}
	require.EqualValues(t, 2, most.Load())
}

func TestIntake_QueuesStartByTheirWeightsAndAFloodInOneStarvesNone(t *testing.T) {
	b := setup(t)
	var mu sync.Mutex
	var order []string
	b.work = func(_ context.Context, run *jobs.Run) error {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, run.Queue)
		return nil
	}
	b.relay()
	var all []uuid.UUID
	all = append(all, b.steps(300, queue("flood"))...)
	all = append(all, b.steps(60, queue("critical"))...)
	b.outboxIsEmpty()
	b.worker("w", func(w *engine.Worker) {
		w.Queues, w.QueueConfigs = []string{"flood", "critical"}, map[string]engine.QueueConfig{"critical": {Weight: 3}}
		w.Concurrency, w.Prefetch = 1, 60
	})
	for _, id := range all {
		b.ended(id, jobs.Completed)
	}
	starts := map[string]int{}
	for _, q := range order[:60] {
		starts[q]++
	}
	require.Greater(t, starts["critical"], 35, "about three of four; the first ones come as they arrive")
	require.GreaterOrEqual(t, starts["flood"], 10)
}

// The message of a long run is acknowledged early, and the broker then delivers another.
func TestIntake_AFullWorkerKeepsNoMessagesFromOthers(t *testing.T) {
	b := setup(t)
	g := b.gate()
	b.relay()
	b.worker("a", func(w *engine.Worker) {
		w.Concurrency, w.StartWithin, w.EarlyAck = 2, 100*time.Millisecond, 10*time.Millisecond
	})
	ids := b.steps(2)
	for range ids {
		await(b, "a run", g.started)
	}
	more := b.steps(2)
	b.outboxIsEmpty()
	b.until(text("what waits is back"), func() bool { return b.ready("warren.jobs.default") == len(more) })
	b.worker("b")
	for range more {
		require.Equal(t, "b", *b.job(await(b, "a run elsewhere", g.started).ID).Worker)
	}
	close(g.open)
	for _, id := range append(ids, more...) {
		b.ended(id, jobs.Completed)
	}
	b.ended(b.step(), jobs.Completed)
}

func TestIntake_MessagesThatWaitTooLongForASlotGoBackAndFewerAreHeld(t *testing.T) {
	b := setup(t)
	g := b.gate()
	b.relay()
	ids := b.steps(10)
	b.outboxIsEmpty()
	b.worker("a", func(w *engine.Worker) { w.Concurrency, w.Prefetch, w.StartWithin = 1, 20, 100*time.Millisecond })
	first := await(b, "the run", g.started)
	b.until(text("what waits is back"), func() bool { return b.ready("warren.jobs.default") >= 7 })
	close(g.open)
	b.worker("b")
	for _, id := range ids {
		job := b.ended(id, jobs.Completed)
		require.Zero(t, job.Crashes)
		require.Len(t, job.Attempts, 1)
	}
	require.Contains(t, ids, first.ID)
}
