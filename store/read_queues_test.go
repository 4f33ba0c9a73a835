package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/monitor"
	"github.com/warrenjobs/warren/store"
)

// own says which queues are the deployment's in these tests.
var own = store.OwnQueues{VHost: "/", Prefix: "warren.jobs.", Dead: "warren.dead"}

func TestQueues_AJobQueueWithJobsIsUnconsumedUnlessItIsPaused(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	_, err := conn.Exec(t.Context(), `INSERT INTO warren.job_queues (name, paused_at, paused_by) VALUES ('paused', now(), 'anna')`)
	require.NoError(t, err)
	alone := func(name string, ready int64) monitor.Queue {
		q := depth(name, ready, noon)
		q.Consumers = n(0)
		return q
	}
	require.NoError(t, s.SaveBroker(t.Context(), monitor.Snapshot{At: noon, ChannelsOf: []string{"/"}, Queues: []monitor.Queue{
		alone("warren.jobs.mail", 2), alone("warren.jobs.archive", 1), alone("warren.jobs.empty", 0), alone("warren.jobs.paused", 3),
		alone("others", 4), depth("warren.jobs.worked", 5, noon)}}))
	list, err := s.Unconsumed(t.Context(), own, 10)
	require.NoError(t, err)
	require.Equal(t, []string{"archive", "mail"}, list)
	list, err = s.Unconsumed(t.Context(), own, 1)
	require.NoError(t, err)
	require.Equal(t, []string{"archive"}, list)
}

func TestQueues_TheWorstComeFirst(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	for _, q := range []string{"paused", "grows"} {
		_, err := conn.Exec(t.Context(), `INSERT INTO warren.job_queues (name, paused_at, paused_by)
			VALUES ($1, CASE WHEN $1 = 'paused' THEN now() END, 'anna')`, q)
		require.NoError(t, err)
	}
	broken, alone, dead := depth("warren.jobs.broken", 0, noon), depth("elsewhere", 1, noon), depth("warren.dead", 1, noon)
	broken.State, alone.Consumers = "down", n(0)
	alone.VHost = "other"
	for minute := range 6 {
		at := noon.Add(time.Duration(minute) * time.Minute)
		for _, q := range []*monitor.Queue{&broken, &alone, &dead} {
			q.SampledAt = at
		}
		snap := monitor.Snapshot{At: at, Queues: []monitor.Queue{depth("warren.jobs.fine", 3, at), depth("warren.jobs.paused", 0, at),
			broken, alone, dead, depth("warren.jobs.grows", int64(20*minute+1), at), depth("warren.jobs.shrinks", int64(200-20*minute), at),
			depth("warren.jobs.stuck", 0, at)}, ChannelsOf: []string{"/"}}
		snap.Channels = []monitor.Channel{{VHost: "/", Queue: "warren.jobs.stuck", Channel: "c", Client: "shop", Consumers: 1,
			Prefetch: n(1), Unacked: n(1), HoldingSince: &noon, SampledAt: at}}
		require.NoError(t, s.SaveBroker(t.Context(), snap))
	}
	page, all, err := s.Queues(t.Context(), store.QueueFilter{Own: own, Sort: "trouble"}, jobs.Cursor{}, 10)
	require.NoError(t, err)
	require.Equal(t, int64(3+1+1+101+100), *all.Ready)
	type row struct {
		name    string
		trouble monitor.Trouble
		trend   monitor.Trend
	}
	var got []row
	for _, q := range page.Items {
		got = append(got, row{q.Name, q.Trouble, q.Trend})
	}
	require.Equal(t, []row{
		{"warren.jobs.broken", monitor.BrokenQueue, monitor.NoTrend}, {"elsewhere", monitor.NoConsumers, monitor.Steady},
		{"warren.dead", monitor.DeadLetters, monitor.Steady}, {"warren.jobs.stuck", monitor.StuckUnacked, monitor.NoTrend},
		{"warren.jobs.grows", monitor.GrowingQueue, monitor.Growing}, {"warren.jobs.paused", monitor.Paused, monitor.NoTrend},
		{"warren.jobs.fine", monitor.NoTrouble, monitor.Steady}, {"warren.jobs.shrinks", monitor.NoTrouble, monitor.Shrinking},
	}, got)

	q, err := s.Queue(t.Context(), own, "/", "warren.jobs.paused")
	require.NoError(t, err)
	require.Equal(t, "paused", *q.JobQueue)
	require.Equal(t, "anna", *q.PausedBy)
	require.NotNil(t, q.PausedAt)
	q, err = s.Queue(t.Context(), own, "other", "elsewhere")
	require.NoError(t, err)
	require.Nil(t, q.JobQueue)
}

func TestQueues_OneThatIsWorkedOffDoesNotGrow(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	for minute, ready := range []int64{0, 0, 900, 800, 700, 600} {
		at := noon.Add(time.Duration(minute) * time.Minute)
		require.NoError(t, s.SaveBroker(t.Context(), monitor.Snapshot{At: at, Queues: []monitor.Queue{depth("q", ready, at)}}))
	}
	q, err := s.Queue(t.Context(), own, "/", "q")
	require.NoError(t, err)
	require.Equal(t, noon.Add(5*time.Minute), q.SampledAt)
	require.Equal(t, monitor.Steady, q.Trend, "a burst that is being worked does not grow")
}

func TestQueues_KnowWhoWaitsLongestAndWhoConsumes(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	_, err := s.Enqueue(t.Context(), work(jobs.OnQueue("mail")))
	require.NoError(t, err)
	var first time.Time
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT queued_at FROM warren.jobs`).Scan(&first))
	_, err = s.Enqueue(t.Context(), work(jobs.OnQueue("mail")), work(jobs.OnQueue("other")))
	require.NoError(t, err)
	seen(t, s, noon, depth("warren.jobs.empty", 0, noon), depth("warren.jobs.mail", 2, noon), depth("elsewhere", 1, noon))

	page, _, err := s.Queues(t.Context(), store.QueueFilter{Own: own}, jobs.Cursor{}, 10)
	require.NoError(t, err)
	require.Len(t, page.Items, 3)
	require.Nil(t, page.Items[0].OldestAt)
	require.Nil(t, page.Items[1].OldestAt)
	require.WithinDuration(t, first, *page.Items[2].OldestAt, 0)

	a, err := s.AroundQueue(t.Context(), "mail")
	require.NoError(t, err)
	require.Zero(t, a.Workers)
	session, err := s.OpenSession(t.Context(),
		store.SessionInfo{Name: "w", Roles: []string{"worker"}, Queues: []string{"mail"}, Concurrency: 3})
	require.NoError(t, err)
	t.Cleanup(func() { _ = session.Close(context.Background()) })
	require.NoError(t, s.PauseQueue(t.Context(), "mail", jobs.Actor{Name: "anna"}))
	a, err = s.AroundQueue(t.Context(), "mail")
	require.NoError(t, err)
	require.Equal(t, 1, a.Workers)
	require.Equal(t, 3, a.Slots)
	require.Equal(t, "anna", a.PausedBy)
	require.NotNil(t, a.PausedAt)
}
