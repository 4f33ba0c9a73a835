package engine_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
)

// rounds gives a reconciler the state of one queue, round by round, and records which jobs it
// considers lost; the test ends the reconciler after the last round.
type rounds struct {
	queue  []engine.WaitingQueue
	broker []engine.Inspection
	round  int
	lost   []engine.Lost // zero: none
	done   chan struct{}
}

func (r *rounds) WaitingQueues(ctx context.Context, _, _ string, _ time.Duration) ([]engine.WaitingQueue, error) {
	if r.round++; r.round > len(r.queue) {
		if r.round == len(r.queue)+1 {
			close(r.done)
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	r.lost = append(r.lost, engine.Lost{})
	return r.queue[r.round-1 : r.round], nil
}

func (r *rounds) DispatchLost(_ context.Context, lost engine.Lost, _ int) ([]uuid.UUID, error) {
	r.lost[r.round-1] = lost
	return nil, nil
}

func (r *rounds) inspect(context.Context, string) (engine.Inspection, error) {
	return r.broker[r.round-1], nil
}

// judge returns, for each round, the second before which dispatched jobs are lost, -1 for none, and why.
func judge(t *testing.T, r *rounds) (before []int, found []string) {
	t.Helper()
	r.done = make(chan struct{})
	for i := range r.queue {
		r.queue[i].Queue = "q"
	}
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		re := &engine.Reconciler{Store: r, Inspect: r.inspect, Every: time.Microsecond, Announce: silent,
			Log: slog.New(slog.DiscardHandler)}
		_ = re.Run(ctx)
	}()
	<-r.done
	cancel()
	<-stopped
	for _, l := range r.lost {
		found = append(found, l.Found)
		if l.Before.IsZero() {
			before = append(before, -1)
			continue
		}
		before = append(before, int(l.Before.Sub(moment(0)).Seconds()))
	}
	return before, found
}

func moment(second int) time.Time {
	return time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC).Add(time.Duration(second) * time.Second)
}

// polled is a round in which the monitor's last sample, taken at second at, had the queue empty;
// since is the first such sample.
func polled(now, since, at int) engine.WaitingQueue {
	first, last := moment(since), moment(at)
	return engine.WaitingQueue{At: moment(now), Watched: true, EmptySince: &first, SampledAt: &last}
}

func TestReconciler_AJobIsLostWhenItsQueueWasSeenEmptyTwiceWellAfterItsDispatch(t *testing.T) {
	t.Parallel()
	before, found := judge(t, &rounds{queue: []engine.WaitingQueue{
		polled(101, 50, 100), // the first sample for this reconciler
		polled(102, 50, 100), // the same sample again
		polled(111, 50, 110), // the second: jobs dispatched 15 s before the first are lost
		polled(121, 50, 120),
		{At: moment(131), Watched: true}, // the queue holds something, or its state is unknown
		polled(141, 140, 140),
		polled(151, 140, 150),
		polled(161, 155, 160), // it held something in between
		polled(171, 155, 470), // the monitor's clock is ahead
	}})
	require.Equal(t, []int{-1, -1, 85, 95, -1, -1, 125, -1, 145}, before)
	require.Equal(t, jobs.DriftEmpty, found[2])
}

func TestReconciler_AJobIsLostWhenTheBrokerHasNoSuchQueue(t *testing.T) {
	t.Parallel()
	gone := func(now int) engine.WaitingQueue {
		return engine.WaitingQueue{At: moment(now), Watched: true, Gone: true}
	}
	before, found := judge(t, &rounds{queue: []engine.WaitingQueue{gone(100), gone(110), {At: moment(120), Watched: true}, gone(130)}})
	require.Equal(t, []int{-1, 85, -1, -1}, before)
	require.Equal(t, jobs.DriftGone, found[1])
}

func TestReconciler_WithoutAMonitorTheBrokerItselfIsAsked(t *testing.T) {
	t.Parallel()
	at := func(now int) engine.WaitingQueue { return engine.WaitingQueue{At: moment(now), Idle: true} }
	busy, external := at(130), at(150)
	busy.Idle, external.External = false, true
	before, found := judge(t, &rounds{
		queue: []engine.WaitingQueue{at(100), at(110), at(120), busy, at(140), external, at(160), at(170)},
		broker: []engine.Inspection{{Exists: true}, {Exists: true}, {Exists: true, Ready: 1}, {Exists: true}, {Exists: true},
			{Exists: true}, {}, {}},
	})
	require.Equal(t, []int{-1, 85, -1, -1, -1, -1, -1, 145}, before, "a busy worker and a foreign one may hold messages")
	require.Equal(t, jobs.DriftEmpty, found[1])
	require.Equal(t, jobs.DriftGone, found[7])
}

func TestReconciler_AJobIsLostWhenItWasOvertakenByAMinuteUnlessOthersWorkItsQueue(t *testing.T) {
	t.Parallel()
	reached := moment(200)
	passed := engine.WaitingQueue{At: moment(210), Watched: true, Reached: &reached}
	external := passed
	external.External = true
	both := polled(221, 50, 220)
	both.Reached = &reached
	later := polled(231, 50, 230)
	later.Reached = &reached
	before, found := judge(t, &rounds{queue: []engine.WaitingQueue{passed, external, both, later}})
	require.Equal(t, []int{140, -1, 140, 205}, before, "the stronger of both counts")
	require.Equal(t, []string{jobs.DriftOvertaken, "", jobs.DriftOvertaken, jobs.DriftEmpty}, found)
}

// reconciler runs a reconciler with short margins and without a monitor.
func (b *bundle) reconciler() (stop func()) {
	r := &engine.Reconciler{Store: b.store, Inspect: b.broker.Inspect, VHost: b.vhost.Name, QueuePrefix: "warren.jobs.", Announce: silent,
		Log:   b.log,
		Every: 50 * time.Millisecond, Margin: 300 * time.Millisecond, Overtaken: 300 * time.Millisecond}
	return b.background(r.Run)
}

func TestReconciler_AJobWhoseMessageWasPurgedIsDispatchedAgain(t *testing.T) {
	b := setup(t)
	b.work = func(context.Context, *jobs.Run) error { return nil }
	b.relay()
	id := b.step()
	b.outboxIsEmpty()
	n, err := b.amqp().QueuePurge("warren.jobs.default", false)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	b.reconciler()
	b.eventually(id, "is dispatched again", func(j jobs.Detail) bool { return j.Dispatch == 2 })
	b.worker("w")
	job := b.ended(id, jobs.Completed)
	require.Equal(t, 2, job.Dispatch)
	require.Len(t, job.Drift, 1)
	require.Equal(t, jobs.DriftEmpty, job.Drift[0].Found)
	require.Equal(t, 2, job.Drift[0].Dispatch)
}

func TestReconciler_WorkGoesOnWhenAQueueIsDeletedUnderARelayAndAWorkerOfTwo(t *testing.T) {
	b := setup(t)
	b.work = func(context.Context, *jobs.Run) error { return nil }
	b.topology()
	b.relay()
	lost := b.step()
	b.outboxIsEmpty()
	_, err := b.amqp().QueueDelete("warren.jobs.default", false, false, false)
	require.NoError(t, err)
	after := b.step()
	b.worker("w", func(w *engine.Worker) { w.Queues = []string{"other", "default"} })
	require.Equal(t, 1, b.ended(after, jobs.Completed).Dispatch, "the relay declared the queue again")

	_, err = b.amqp().QueueDelete("warren.jobs.default", false, false, false)
	require.NoError(t, err)
	require.Equal(t, 1, b.ended(b.step(), jobs.Completed).Dispatch, "the worker declared it again, and consumes it")
	b.reconciler()
	require.Equal(t, 2, b.ended(lost, jobs.Completed).Dispatch, "what was in the queue is dispatched again")
}

func TestReconciler_AJobThatWasOvertakenIsDispatchedAgainWhileItsQueueIsNeverEmpty(t *testing.T) {
	b := setup(t)
	g := b.gate()
	b.relay()
	lost := b.step()
	b.outboxIsEmpty()
	_, err := b.amqp().QueuePurge("warren.jobs.default", false)
	require.NoError(t, err)
	b.exec(`UPDATE warren.jobs SET queued_at = queued_at - interval '2 minutes'`)
	b.worker("w", small, func(w *engine.Worker) { w.StopGrace = time.Second })
	ids := b.steps(5)
	first := await(b, "a job starts", g.started)
	require.Contains(t, ids, first.ID)
	b.reconciler()
	job := b.eventually(lost, "is dispatched again", func(j jobs.Detail) bool { return j.Dispatch == 2 })
	require.Equal(t, jobs.DriftOvertaken, job.Drift[0].Found)
	for _, id := range ids {
		require.Equal(t, 1, b.job(id).Dispatch)
	}
	close(g.open)
	b.ended(lost, jobs.Completed)
}

func TestReconciler_APurgedQueueTakesJobsAgain(t *testing.T) {
	b := setup(t)
	b.work = func(context.Context, *jobs.Run) error { return nil }
	b.relay()
	old := b.steps(3)
	b.outboxIsEmpty()
	p := engine.Purger{Store: b.store, Empty: b.broker.PurgeJobQueue, Announce: silent}
	done, err := p.Purge(b.ctx, "default", jobs.Actor{Name: "somebody"})
	require.NoError(t, err)
	require.Equal(t, 3, done.Cancelled)
	require.Equal(t, 3, done.Messages)
	require.Zero(t, b.ready("warren.jobs.default"))
	b.worker("w")
	require.Equal(t, 1, b.ended(b.step(), jobs.Completed).Dispatch)
	for _, id := range old {
		require.Equal(t, jobs.Cancelled, b.job(id).State)
	}
	_, err = b.store.UndoPurge(b.ctx, "default", done.Operation, jobs.Actor{Name: "somebody"})
	require.NoError(t, err)
	for _, id := range old {
		require.Equal(t, 2, b.ended(id, jobs.Completed).Dispatch)
	}
	done, err = p.Purge(b.ctx, "missing", jobs.Actor{})
	require.NoError(t, err, "a queue that nobody has declared holds nothing")
	require.Zero(t, done.Messages)
}
