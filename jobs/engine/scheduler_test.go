package engine_test

import (
	"context"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
)

func TestScheduler_TwoSchedulersDispatchADueJobOnce(t *testing.T) {
	b := setup(t)
	b.work = func(context.Context, *jobs.Run) error { return nil }
	b.topology()
	b.scheduler()
	b.scheduler()
	ids := b.steps(50, jobs.At(time.Now().Add(300*time.Millisecond)))
	for _, id := range ids {
		b.eventually(id, "is due", in(jobs.Queued))
	}
	b.relay()
	b.worker("w")
	for _, id := range ids {
		job := b.ended(id, jobs.Completed)
		require.Equal(t, 1, job.Dispatch)
		require.Len(t, job.Attempts, 1)
	}
}

// lookedStore records how many checks had found expired holders before each recovery.
type lookedStore struct {
	engine.SchedulerStore
	mu        sync.Mutex
	looks     int
	recovered []int
}

func (s *lookedStore) GoneHolders(ctx context.Context, own uuid.UUID) ([]uuid.UUID, error) {
	ids, err := s.SchedulerStore.GoneHolders(ctx, own)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(ids) > 0 {
		s.looks++
	}
	return ids, err
}

func (s *lookedStore) Recover(ctx context.Context, holder uuid.UUID, limit int) ([]uuid.UUID, error) {
	s.mu.Lock()
	s.recovered = append(s.recovered, s.looks)
	s.mu.Unlock()
	return s.SchedulerStore.Recover(ctx, holder, limit)
}

func TestScheduler_AJobOfAnExpiredWorkerIsRecoveredAfterTwoLooks(t *testing.T) {
	b := setup(t)
	b.work = func(context.Context, *jobs.Run) error { return nil }
	b.relay()
	id := b.step()
	d := b.dying("frozen") // it holds its message and its lock
	looked := &lookedStore{SchedulerStore: b.store}
	s := b.newScheduler()
	s.Store = looked
	b.background(s.Run)
	b.exec(`UPDATE warren.sessions SET expires_at = now() - interval '1 second' WHERE name = 'frozen'`)
	b.worker("w")
	job := b.ended(id, jobs.Completed)
	require.Equal(t, 2, job.Dispatch)
	require.Equal(t, 1, job.Crashes)
	looked.mu.Lock()
	defer looked.mu.Unlock()
	require.NotEmpty(t, looked.recovered)
	require.GreaterOrEqual(t, looked.recovered[0], 2)

	d.freeze() // now the broker gives its message to the worker
	b.eventually(id, "sees the stale message", func(j jobs.Detail) bool {
		return j.Deliveries[len(j.Deliveries)-1].Outcome == jobs.DeliveryStale
	})
}

// reject takes n messages from the job queue and rejects them to the dead-letter queue.
func (b *bundle) reject(n int) {
	b.t.Helper()
	ch := b.amqp()
	b.until(text("rejected"), func() bool {
		d, ok, err := ch.Get("warren.jobs.default", false)
		require.NoError(b.t, err)
		if ok {
			require.NoError(b.t, d.Reject(false))
			n--
		}
		return n == 0
	})
}

func TestScheduler_ADeadLetterOfAJobThatNeverStartedIsDispatchedAgain(t *testing.T) {
	b := setup(t)
	b.work = func(context.Context, *jobs.Run) error { return nil }
	b.policy()
	b.relay()
	ids := b.steps(3)
	b.outboxIsEmpty()
	require.NoError(t, b.store.Cancel(b.ctx, ids[2], jobs.Actor{}))
	b.reject(3)
	b.scheduler()
	b.worker("w")
	for _, id := range ids[:2] {
		job := b.ended(id, jobs.Completed)
		require.Equal(t, 2, job.Dispatch)
		require.Zero(t, job.Crashes)
	}
	require.Equal(t, jobs.Cancelled, b.job(ids[2]).State)
	b.until(text("no dead letter is left"), func() bool { return b.ready("warren.dead") == 0 })
}

func TestScheduler_NothingStaysAmongTheDeadLetters(t *testing.T) {
	b := setup(t)
	b.work = func(context.Context, *jobs.Run) error { return nil }
	stop := b.scheduler()
	b.until(text("the dead-letter queue is bound and consumed"), func() bool {
		q, err := b.vhost.Management.Queue(b.ctx, b.vhost.Name, "warren.dead")
		return err == nil && q.Consumers != nil && *q.Consumers > 0
	})
	garbage := []amqp.Publishing{
		{}, {Type: "step", Body: []byte(`{}`)}, {Body: []byte("\xff\x00")},
		b.message(uuid.New(), math.MaxInt64), b.message(uuid.New(), math.MinInt64), b.message(uuid.New(), 1),
	}
	for i, m := range garbage {
		b.publish("warren.dead", "", m)
		job := b.listed(i + 1)[0]
		require.Equal(t, jobs.Dead, job.State)
		require.Equal(t, string(m.Body), string(job.Raw.Body))
	}
	b.unacked("warren.dead", 0)
	stop()
	require.Zero(t, b.ready("warren.dead"))
}
