package engine_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
)

// A job that is claimed after one session has ended and before the next one starts would run under
// a lease that others recover.
func TestWorker_WithoutASessionClaimsNothing(t *testing.T) {
	b := setup(t)
	g := b.gate()
	b.relay()
	lost, open := make(chan struct{}), make(chan struct{})
	opened := 0
	b.worker("w", func(w *engine.Worker) {
		opener := w.OpenSession
		w.OpenSession = func(ctx context.Context) (engine.Session, error) {
			if opened++; opened == 2 {
				close(lost)
				<-open
			}
			return opener(ctx)
		}
	})
	id := b.step()
	await(b, "the run", g.started)
	b.exec(`UPDATE warren.sessions SET expires_at = now() - interval '1 minute'`)
	await(b, "the loss of the session", lost)
	b.eventually(id, "given back", func(j jobs.Detail) bool { return j.Dispatch == 2 })
	b.outboxIsEmpty()
	b.until(text("it is delivered again"), func() bool { return b.ready("warren.jobs.default") == 0 })
	others := b.steps(3)
	b.outboxIsEmpty()
	b.until(text("others are delivered"), func() bool { return b.ready("warren.jobs.default") == 0 })
	close(open)
	for range 1 + len(others) {
		run := await(b, "a run", g.started)
		require.Equal(t, 1, b.number(`SELECT count(*) FROM warren.jobs j JOIN warren.sessions s ON s.id = j.worker_id WHERE j.id = $1
			AND s.expires_at > now()`, run.ID),
			"it runs under a session that lives")
	}
	close(g.open)
	b.ended(id, jobs.Completed)
}

func TestWorker_ThatNeverReachedTheDatabaseStops(t *testing.T) {
	b := setup(t)
	w, asked := b.newWorker("w"), make(chan struct{}, 100)
	w.OpenSession = func(context.Context) (engine.Session, error) {
		asked <- struct{}{}
		return nil, errors.New("connection refused")
	}
	stop := b.background(w.Run)
	await(b, "a try", asked)
	stop()
}

// unanswered is a store that claims, but returns an error as if the answer had been lost.
type unanswered struct {
	engine.WorkerStore
	quiet func()
}

func (s unanswered) Claim(ctx context.Context, holder engine.Holder, in []engine.Delivery) (map[engine.DispatchKey]engine.Claim, error) {
	if _, err := s.WorkerStore.Claim(ctx, holder, in); err != nil {
		return nil, err
	}
	s.quiet() // its message goes to the other worker
	return nil, errors.New("connection reset by peer")
}

// Other workers leave a running job to its holder as long as that is alive, so the holder must find
// out that it never started the job.
func TestWorker_AJobWhoseClaimWasNotAnsweredDoesNotStayRunning(t *testing.T) {
	b := setup(t)
	b.work = func(context.Context, *jobs.Run) error { return nil }
	b.relay()
	a := b.newWorker("a")
	claimed := make(chan struct{}, 10)
	a.Store = unanswered{b.store, func() { a.Quiet(); claimed <- struct{}{} }}
	b.background(a.Run)
	id := b.step()
	await(b, "the claim", claimed)
	b.worker("b")
	job := b.ended(id, jobs.Completed)
	require.Equal(t, "b", *job.Worker)
}

// cutOff is a session whose renewals fail on demand.
type cutOff struct {
	engine.Session
	off *atomic.Bool
}

func (s cutOff) Renew(ctx context.Context) error {
	if s.off.Load() {
		return errors.New("no route to host")
	}
	return s.Session.Renew(ctx)
}

func TestWorker_ThatIsCutOffFromBothGivesUpWhatOthersMayTakeOver(t *testing.T) {
	b := setup(t)
	started, causes := b.holdFirstLease()
	b.relay()
	var off atomic.Bool
	b.worker("a", func(w *engine.Worker) {
		open := w.OpenSession
		w.OpenSession = func(ctx context.Context) (engine.Session, error) {
			s, err := open(ctx)
			return cutOff{s, &off}, err
		}
	})
	id := b.step()
	await(b, "the run", started)
	sessions := b.connections("worker", 1)
	off.Store(true)
	b.close(sessions)
	require.ErrorIs(t, await(b, "the end of the handler", causes), jobs.ErrLost)
	require.Equal(t, 1, b.number(`SELECT count(*) FROM warren.sessions WHERE name = 'a'
		AND expires_at > now() + interval '5 seconds'`), "long before it expires")
	off.Store(false)
	b.ended(id, jobs.Completed)
}

func TestWorker_ALongRunIsAcknowledgedEarlyAndLivesOnItsLease(t *testing.T) {
	b := setup(t)
	g := b.gate()
	b.relay()
	a := b.newWorker("a")
	a.Concurrency, a.Prefetch, a.EarlyAck = 2, 1, time.Millisecond
	b.background(a.Run)
	ids := b.steps(2)
	await(b, "one run", g.started)
	await(b, "the other, of which the message comes when that of the first is acknowledged", g.started)
	a.Quiet()
	b.close(b.connections("worker", 1)) // as a restart of the broker does
	other := b.step()
	b.worker("b")
	require.Equal(t, other, await(b, "another job", g.started).ID)
	close(g.open)
	for _, id := range ids {
		require.Len(t, b.ended(id, jobs.Completed).Attempts, 1)
	}
	require.Empty(t, g.started)
}

func TestWorker_ALongRunThatWasAcknowledgedEarlyIsRecoveredByItsLease(t *testing.T) {
	b := setup(t)
	b.work = func(context.Context, *jobs.Run) error { return nil }
	b.relay()
	id := b.step()
	d := b.dying("a")
	require.NoError(t, d.job.Ack())
	d.die()
	b.exec(`UPDATE warren.sessions SET expires_at = now() - interval '1 second' WHERE name = 'a'`)
	b.worker("b")
	b.scheduler()
	job := b.ended(id, jobs.Completed)
	require.Equal(t, 1, job.Crashes)
	require.Equal(t, 2, job.Dispatch, "no redelivery: PostgreSQL recovered it")
	require.Equal(t, "b", job.Attempts[1].Worker)
}
