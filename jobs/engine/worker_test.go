package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store"
)

// sessionLocks selects the locks of the sessions of this database.
const sessionLocks = `FROM pg_locks l JOIN warren.sessions s ON s.lock_key = l.objid::int JOIN pg_database d ON d.oid = l.database
	WHERE l.locktype = 'advisory' AND l.classid = 30561 AND d.datname = current_database()`

// dying is a hand-made worker: it claims one job and does not finish it.
type dying struct {
	*bundle
	session    *store.Session
	deliveries engine.Subscription
	job        engine.Delivery
	claim      engine.Claim
}

func (b *bundle) dying(name string) *dying {
	b.t.Helper()
	d := &dying{bundle: b}
	var err error
	why := func() string { return fmt.Sprint("a session: ", err) }
	b.until(why, func() bool { // a queue that is just being declared answers INTERNAL_ERROR
		d.deliveries, err = b.broker.Consume(b.ctx, map[string]int{"default": 1})
		return err == nil
	})
	d.job = await(b, "a delivery", d.deliveries.C())
	d.session, err = b.store.OpenSession(b.ctx, store.SessionInfo{Name: name, Roles: []string{"worker"}}) // it is never renewed
	require.NoError(b.t, err)
	b.t.Cleanup(func() { _ = d.deliveries.Close(); _ = d.session.Close(context.WithoutCancel(b.ctx)) })
	claims, err := b.store.Claim(b.ctx, d.session.Holder(), []engine.Delivery{d.job})
	require.NoError(b.t, err)
	d.claim = claims[d.job.Key()]
	return d
}

// freeze ends only its connection to the broker: its lock is still held.
func (d *dying) freeze() { require.NoError(d.t, d.deliveries.Close()) }

// die acts like a SIGKILL: the kernel ends both connections.
func (d *dying) die() {
	d.exec(`SELECT pg_terminate_backend(pid) `+sessionLocks+` AND s.id = $1`, d.session.Holder().Session)
	d.freeze()
}

// outcomes returns the outcomes of the job's deliveries, oldest first.
func outcomes(job jobs.Detail) (list []string) {
	for _, d := range job.Deliveries {
		list = append(list, d.Outcome)
	}
	return list
}

func TestWorker_AJobWhoseConnectionIsCutRunsOnceAndCompletesOnce(t *testing.T) {
	b := setup(t)
	g := b.gate()
	b.relay()
	b.worker("w")
	id := b.step()
	await(b, "the run", g.started)
	b.cut("worker")
	b.eventually(id, "redelivered", func(j jobs.Detail) bool { return len(j.Deliveries) == 2 })
	close(g.open)
	job := b.ended(id, jobs.Completed)

	require.Empty(t, g.started, "the handler ran once")
	require.Len(t, job.Attempts, 1)
	require.Equal(t, []string{jobs.AttemptCompleted, jobs.DeliverySame}, outcomes(job))
	require.True(t, job.Deliveries[1].Redelivered)
	require.Zero(t, job.Crashes)
}

func TestWorker_ASecondMessageOfARunningJobIsAcknowledgedWithIt(t *testing.T) {
	b := setup(t)
	g := b.gate()
	b.relay()
	stop := b.worker("w")
	id := b.step()
	await(b, "the run", g.started)
	for range 3 { // as a relay resends unconfirmed messages; all slots would be held
		b.publish("warren.jobs", "default", b.message(id, 1))
	}
	b.eventually(id, "delivered again", func(j jobs.Detail) bool { return len(j.Deliveries) == 4 })
	close(g.open)
	b.ended(id, jobs.Completed)
	for _, next := range b.steps(4) {
		b.ended(next, jobs.Completed)
	}
	stop()
	require.Zero(t, b.ready("warren.jobs.default"), "nothing goes back to the queue")
}

func TestWorker_AJobWhoseHolderLivesElsewhereIsNotDoubled(t *testing.T) {
	b := setup(t)
	g := b.gate()
	b.relay()
	id := b.step()
	b.worker("a", small)
	await(b, "the run", g.started)
	stop := b.worker("b")
	b.until(text("b consumes"), func() bool {
		return b.number(`SELECT count(*) FROM warren.sessions WHERE name = 'b'`) == 1
	})
	sessions := b.connections("worker", 2)
	b.publish("warren.jobs", "default", b.message(id, 1)) // a holds one already: b gets it
	b.close(sessions)
	other := b.step()
	await(b, "another job meanwhile", g.started)
	close(g.open)
	job := b.ended(id, jobs.Completed)
	b.ended(other, jobs.Completed)
	b.until(text("every message is acknowledged"), func() bool {
		return b.number(`SELECT count(*) FROM warren.deliveries WHERE job_id = $1`,
			id) >= 2
	})
	stop()
	require.Empty(t, g.started)
	require.Len(t, job.Attempts, 1)
	require.Equal(t, "a", job.Attempts[0].Worker)
}

func TestWorker_AJobWhoseHolderDiedIsTakenOverByItsRedelivery(t *testing.T) {
	b := setup(t)
	b.work = func(context.Context, *jobs.Run) error { return nil }
	b.relay()
	id := b.step()
	d := b.dying("a")
	b.worker("b")
	d.die()
	job := b.ended(id, jobs.Completed)

	require.Equal(t, 1, job.Crashes)
	require.Equal(t, 1, job.Dispatch, "the broker's redelivery was enough")
	require.Equal(t, []string{jobs.AttemptCrashed, jobs.AttemptCompleted}, []string{job.Attempts[0].Outcome, job.Attempts[1].Outcome})
	last := job.Deliveries[len(job.Deliveries)-1]
	require.True(t, last.Redelivered)
	require.Equal(t, []string{"a", "b"}, []string{*last.FromWorker, last.Worker})
	page, err := b.store.Redeliveries(b.ctx, "default", jobs.Cursor{}, 10)
	require.NoError(t, err)
	require.Len(t, page.Items, 1)
	require.Equal(t, []string{"a", "b", jobs.AttemptCompleted}, []string{*page.Items[0].FromWorker, page.Items[0].ToWorker,
		page.Items[0].Outcome})
	endings, err := b.store.EndRuns(b.ctx, []engine.Result{{JobID: id, Lease: d.claim.Lease, State: jobs.Dead,
		Outcome: jobs.AttemptFailed}})
	require.NoError(t, err)
	require.Equal(t, []engine.RunOutcome{engine.OutcomeLate}, endings, "the former holder's late result is dropped")
}

func TestWorker_AFrozenHolderIsNotTakenOverByARedeliveryAlone(t *testing.T) {
	b := setup(t)
	g := b.gate()
	b.relay()
	id := b.step()
	d := b.dying("a")
	b.worker("b")
	d.freeze()
	other := b.step() // delivered after the redelivery
	require.Equal(t, other, await(b, "the other job", g.started).ID)
	b.until(text("its result counts, once nobody looks at the row"), func() bool {
		endings, err := b.store.EndRuns(b.ctx, []engine.Result{{JobID: id, Lease: d.claim.Lease, State: jobs.Completed,
			Outcome: jobs.AttemptCompleted}})
		require.NoError(t, err)
		return endings[0] == engine.OutcomeWritten
	})
	close(g.open)
	job := b.eventually(id, "acknowledged", func(j jobs.Detail) bool { return len(j.Deliveries) == 2 })
	require.Len(t, job.Attempts, 1)
	require.Zero(t, job.Crashes)
}

func TestWorker_AStaleMessageIsAcknowledgedAndRecorded(t *testing.T) {
	b := setup(t)
	b.work = func(context.Context, *jobs.Run) error { return nil }
	b.relay()
	id := b.step()
	stop := b.worker("w")
	b.ended(id, jobs.Completed)
	b.publish("warren.jobs", "default", b.message(id, 1)) // of a finished job
	b.publish("warren.jobs", "default", b.message(id, 0)) // of an older dispatch
	job := b.eventually(id, "recorded", func(j jobs.Detail) bool { return len(j.Deliveries) == 3 })
	stop()
	require.Equal(t, []string{jobs.AttemptCompleted, jobs.DeliveryStale, jobs.DeliveryStale}, outcomes(job))
	require.Zero(t, b.ready("warren.jobs.default"))
	require.Len(t, job.Attempts, 1)
}

func TestWorker_AMessageOfAnUnknownJobIsShownAndNotRun(t *testing.T) {
	b := setup(t)
	b.work = func(context.Context, *jobs.Run) error { return nil }
	b.policy()
	b.worker("w")
	b.scheduler()
	unknown := b.message(uuid.New(), 1)
	unknown.Body = []byte(`{"text":"who?"}`)
	b.publish("warren.jobs", "default", unknown)
	b.until(text("a dead job"), func() bool { return b.number(`SELECT count(*) FROM warren.jobs WHERE state = 'dead'`) == 1 })
	page, err := b.store.Jobs(b.ctx, jobs.Filter{}, jobs.Cursor{}, 10)
	require.NoError(t, err)
	job := b.job(page.Items[0].ID)
	require.Contains(t, *job.LastError, unknown.Headers["warren-job"])
	require.Equal(t, unknown.Body, job.Raw.Body)
	require.Contains(t, string(job.Raw.Properties), unknown.MessageId)
	require.Equal(t, "default", job.Queue)
}

func TestWorker_AFailureIsKeptAndRetriedUntilTheJobIsDead(t *testing.T) {
	b := setup(t)
	b.work = func(_ context.Context, run *jobs.Run) error {
		if run.Attempt == 2 {
			panic("no more")
		}
		return fmt.Errorf("send: %w", &time.ParseError{Message: "wrong"})
	}
	b.relay()
	b.worker("w")
	id := b.step(jobs.MaxAttempts(3))
	job := b.eventually(id, "failed", in(jobs.Retrying))
	require.True(t, job.RunAt.After(job.Attempts[0].StartedAt))
	require.Contains(t, *job.LastError, "send:")
	require.Equal(t, "*time.ParseError", job.Attempts[0].ErrorClass)

	require.NoError(t, b.store.RunNow(b.ctx, id, jobs.Actor{}))
	job = b.eventually(id, "panicked", func(j jobs.Detail) bool { return len(j.Attempts) == 2 && j.State == jobs.Retrying })
	require.Equal(t, "panic: no more", job.Attempts[1].Error)
	require.Equal(t, "panic", job.Attempts[1].ErrorClass)
	require.Contains(t, job.Attempts[1].Stack, "worker_test.go")

	require.NoError(t, b.store.RunNow(b.ctx, id, jobs.Actor{}))
	job = b.ended(id, jobs.Dead)
	require.Len(t, job.Attempts, 3)
	for i, a := range job.Attempts {
		require.Equal(t, i+1, a.Number)
		require.Equal(t, jobs.AttemptFailed, a.Outcome)
	}
	require.NotNil(t, job.FinishedAt)

	require.NoError(t, b.store.Retry(b.ctx, id, jobs.Actor{}))
	b.eventually(id, "tried once more", func(j jobs.Detail) bool { return len(j.Attempts) == 4 && j.State == jobs.Dead })
}

func TestWorker_ATimeoutEndsTheAttempt(t *testing.T) {
	b := setup(t)
	b.gate()
	b.relay()
	b.worker("w")
	id := b.step(jobs.Timeout(50*time.Millisecond), jobs.MaxAttempts(1))
	job := b.ended(id, jobs.Dead)
	require.Equal(t, "timeout", job.Attempts[0].ErrorClass)
	require.Contains(t, job.Attempts[0].Error, "longer than its timeout")
}

func TestWorker_ARunningJobIsCancelledThroughItsHandler(t *testing.T) {
	b := setup(t)
	g := b.gate()
	b.relay()
	b.worker("w")
	id := b.step()
	await(b, "the run", g.started)
	require.NoError(t, b.store.Cancel(b.ctx, id, jobs.Actor{}))
	job := b.ended(id, jobs.Cancelled)
	require.Equal(t, jobs.AttemptCancelled, job.Attempts[0].Outcome)
}

func TestWorker_DoesNotEndARunByWordOfACancelThatMeantAnEarlierOne(t *testing.T) {
	b := setup(t)
	g := b.gate()
	b.relay()
	var w *engine.Worker
	b.worker("w", func(started *engine.Worker) { w = started })
	id := b.step()
	await(b, "the run", g.started)
	w.CancelJob(b.ctx, id)
	close(g.open)
	b.ended(id, jobs.Completed)
}

func TestWorker_AHandlerThatFinishesAfterACancelHasCompleted(t *testing.T) {
	b := setup(t)
	started := make(chan struct{})
	b.work = func(ctx context.Context, _ *jobs.Run) error { close(started); <-ctx.Done(); return nil }
	b.relay()
	b.worker("w")
	id := b.step()
	await(b, "the run", started)
	require.NoError(t, b.store.Cancel(b.ctx, id, jobs.Actor{}))
	b.ended(id, jobs.Completed)
}

func TestWorker_AStoppingWorkerLetsAHandlerFinish(t *testing.T) {
	b := setup(t)
	g := b.gate()
	b.relay()
	stop := b.worker("w")
	id := b.step()
	await(b, "the run", g.started)
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	more := b.step()
	b.outboxIsEmpty()
	close(g.open)
	await(b, "the stop", stopped)
	require.Equal(t, jobs.Completed, b.job(id).State)
	require.Len(t, b.job(id).Attempts, 1)
	require.Contains(t, []jobs.State{jobs.Queued, jobs.Completed}, b.job(more).State)
	require.Zero(t, b.number(`SELECT count(*) FROM warren.sessions`), "a worker that stopped in good order leaves no session")
}

func TestWorker_AStoppingWorkerGivesBackWhatDoesNotFinish(t *testing.T) {
	b := setup(t)
	g := b.gate()
	b.relay()
	stop := b.worker("a", func(w *engine.Worker) { w.StopGrace = time.Millisecond })
	id := b.step(jobs.MaxAttempts(1))
	await(b, "the run", g.started)
	stop()
	job := b.job(id)
	require.Equal(t, jobs.Queued, job.State)
	require.Equal(t, 2, job.Dispatch)
	require.Equal(t, jobs.AttemptReleased, job.Attempts[0].Outcome)

	close(g.open)
	b.worker("b")
	job = b.ended(id, jobs.Completed)
	require.Zero(t, job.Crashes)
	require.Equal(t, "b", job.Attempts[1].Worker)
}

func TestWorker_TheLateResultOfAHandlerThatIgnoredTheStopIsDropped(t *testing.T) {
	b := setup(t)
	started, open, ended := make(chan struct{}, 2), make(chan struct{}), make(chan struct{}, 2)
	b.work = func(_ context.Context, run *jobs.Run) error {
		started <- struct{}{}
		if run.Lease == 1 {
			<-open
		}
		ended <- struct{}{}
		return errors.Join(run.Output(run.Lease))
	}
	b.relay()
	stop := b.worker("a", func(w *engine.Worker) { w.StopGrace = time.Millisecond })
	id := b.step()
	await(b, "the run", started)
	stop()
	require.Equal(t, jobs.Queued, b.job(id).State)
	b.worker("b")
	job := b.ended(id, jobs.Completed)
	close(open)
	await(b, "one end", ended)
	await(b, "the other", ended)
	require.Equal(t, "2", string(job.Output))
	require.Equal(t, job, b.job(id))
}

func TestWorker_APrefetchedJobThatNeverStartedGoesBackUntouched(t *testing.T) {
	b := setup(t)
	g := b.gate()
	b.relay()
	ids := b.steps(10)
	b.outboxIsEmpty()
	for range 10 {
		stop := b.worker("w", small, func(w *engine.Worker) { w.Prefetch, w.StopGrace = 10, time.Millisecond })
		await(b, "a run", g.started)
		stop()
	}
	close(g.open)
	b.worker("last")
	for _, id := range ids {
		require.Zero(t, b.ended(id, jobs.Completed).Crashes)
	}
}

func TestWorker_ThatLostItsSessionGivesUpItsRunsAndGetsANewOne(t *testing.T) {
	b := setup(t)
	started, causes := b.holdFirstLease()
	b.relay()
	b.worker("w")
	id := b.step(jobs.MaxAttempts(1))
	await(b, "the run", started)
	b.exec(`UPDATE warren.sessions SET expires_at = now() - interval '1 minute'`)
	require.ErrorIs(t, await(b, "the end of the handler", causes), jobs.ErrLost)
	job := b.ended(id, jobs.Completed)
	require.Equal(t, []string{jobs.AttemptReleased, jobs.AttemptCompleted}, []string{job.Attempts[0].Outcome, job.Attempts[1].Outcome})
	require.Equal(t, 1, b.number(`SELECT count(*) FROM warren.sessions WHERE expires_at > now()`))
	b.until(text("the old session's connection is closed"), func() bool {
		return b.number(`SELECT count(*) `+sessionLocks) == 1
	})
}

// watchedStore counts and delays writes of progress.
type watchedStore struct {
	engine.WorkerStore
	saves     atomic.Int64
	saving    chan struct{} // signalled when a write begins, if not nil
	completed chan struct{} // the write then waits for this
	once      sync.Once
}

func (s *watchedStore) SaveProgress(ctx context.Context, updates []engine.ProgressUpdate) error {
	s.saves.Add(1)
	if s.saving != nil {
		s.saving <- struct{}{}
		<-s.completed
	}
	return s.WorkerStore.SaveProgress(ctx, updates)
}

func (s *watchedStore) EndRuns(ctx context.Context, results []engine.Result) ([]engine.RunOutcome, error) {
	counted, err := s.WorkerStore.EndRuns(ctx, results)
	if s.completed != nil {
		s.once.Do(func() { close(s.completed) })
	}
	return counted, err
}

func TestWorker_ProgressIsWrittenButNotAtEachCall(t *testing.T) {
	b := setup(t)
	watched := &watchedStore{WorkerStore: b.store}
	g := b.gate()
	var calls atomic.Int64
	b.work = func(_ context.Context, run *jobs.Run) error {
		g.started <- run
		for {
			select {
			case <-g.open:
				return nil
			default:
				run.Progress(0.5, fmt.Sprint(calls.Add(1)))
			}
		}
	}
	b.relay()
	b.worker("w", func(w *engine.Worker) { w.Store = watched })
	id := b.step()
	b.eventually(id, "shows progress", func(j jobs.Detail) bool { return j.Progress != nil && watched.saves.Load() > 1 })
	close(g.open)
	job := b.ended(id, jobs.Completed)
	require.InDelta(t, 0.5, job.Progress.Done, 0)
	require.Equal(t, fmt.Sprint(calls.Load()), job.Progress.Note, "the last word is kept")
	require.Less(t, watched.saves.Load(), calls.Load()/10)
}

func TestWorker_TheLastProgressIsKeptEvenIfItsOwnWriteComesTooLate(t *testing.T) {
	b := setup(t)
	watched := &watchedStore{WorkerStore: b.store, saving: make(chan struct{}, 10), completed: make(chan struct{})}
	b.work = func(_ context.Context, run *jobs.Run) error {
		run.Progress(1, "done")
		<-watched.saving
		return nil
	}
	b.relay()
	b.worker("w", func(w *engine.Worker) { w.Store = watched })
	job := b.ended(b.step(), jobs.Completed)
	require.Equal(t, &jobs.Progress{Done: 1, Note: "done"}, job.Progress)
}

func TestWorker_WeirdProgressAndOutputDoNoHarm(t *testing.T) {
	b := setup(t)
	b.work = func(_ context.Context, run *jobs.Run) error {
		for _, done := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1, 7} {
			run.Progress(done, "\x00\xff")
		}
		run.Progress(math.NaN(), "none of none")
		deep := any(1)
		for range 9000 {
			deep = []any{deep}
		}
		if run.Output(deep) == nil {
			return errors.New("PostgreSQL could not keep this")
		}
		return run.Output("\x00\xff\u2028")
	}
	b.relay()
	b.worker("w")
	job := b.ended(b.step(), jobs.Completed)
	require.Equal(t, &jobs.Progress{Done: 0, Note: "none of none"}, job.Progress)
}

func TestWorker_LeavesAJobOfAKindThatItDoesNotKnowToOthersAndBurnsNoAttempt(t *testing.T) {
	b := setup(t)
	b.relay()
	b.worker("old")
	id := b.enqueue(jobs.NewJob{Kind: "newer", MaxAttempts: 1})[0]
	b.eventually(id, "given back", in(jobs.Scheduled))
	require.NoError(t, b.store.RunNow(b.ctx, id, jobs.Actor{}))
	job := b.eventually(id, "given back twice", func(j jobs.Detail) bool { return len(j.Attempts) == 2 && j.State == jobs.Scheduled })
	require.Contains(t, job.Attempts[0].Error, `has no handler for the kind "newer"`)
	require.Equal(t, jobs.AttemptSnoozed, job.Attempts[0].Outcome)
	require.Zero(t, job.Attempt)
	unknown, err := b.store.UnknownKinds(b.ctx)
	require.NoError(t, err)
	require.Len(t, unknown, 1)
	require.Equal(t, [2]string{"newer", "default"}, [2]string{unknown[0].Kind, unknown[0].Queue})

	registry, err := jobs.NewRegistry(jobs.Handle(func(context.Context, *jobs.Run, newer) error { return nil }))
	require.NoError(t, err)
	b.worker("new", func(w *engine.Worker) { w.Registry = registry })
	b.until(text("it comes to the worker that knows it"), func() bool {
		_ = b.store.RunNow(b.ctx, id, jobs.Actor{}) // skip the wait
		return b.job(id).State == jobs.Completed
	})
	require.Equal(t, 1, b.job(id).Attempt)
}

// newer holds the args of a kind that came with a later release.
type newer struct{}

func (newer) Kind() string { return "newer" }

func TestWorker_ManyJobsOnFewSlotsAllRunOnce(t *testing.T) {
	b := setup(t)
	var mu sync.Mutex
	runs := map[uuid.UUID]int{}
	b.work = func(_ context.Context, run *jobs.Run) error {
		mu.Lock()
		defer mu.Unlock()
		runs[run.ID]++
		return nil
	}
	b.relay()
	b.worker("a")
	b.worker("b", func(w *engine.Worker) { w.Prefetch = 50 })
	ids := b.steps(500)
	b.until(text("all are completed"),
		func() bool { return b.number(`SELECT count(*) FROM warren.jobs WHERE state = 'completed'`) == len(ids) })
	require.Len(t, runs, len(ids))
	for _, n := range runs {
		require.Equal(t, 1, n)
	}
}

func TestWorker_AnErrorOfAnyLengthIsKeptShort(t *testing.T) {
	b := setup(t)
	b.work = func(context.Context, *jobs.Run) error { return errors.New(strings.Repeat("é", 1<<20)) }
	b.relay()
	b.worker("w")
	job := b.ended(b.step(jobs.MaxAttempts(1)), jobs.Dead)
	require.Equal(t, strings.Repeat("é", 8<<10)+"…", *job.LastError)
	require.Equal(t, *job.LastError, job.Attempts[0].Error)
}
