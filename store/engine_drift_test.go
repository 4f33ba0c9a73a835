package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store"
)

// sent removes the jobs' messages from the outbox, and moves their dispatch ago into the past.
func sent(t *testing.T, conn *pgx.Conn, ago string) {
	t.Helper()
	execute(t, conn, `DELETE FROM warren.outbox`)
	execute(t, conn, `UPDATE warren.jobs SET queued_at = now() - $1::text::interval WHERE state = 'queued'`, ago)
}

func waitingQueues(t *testing.T, s *store.Store) []engine.WaitingQueue {
	t.Helper()
	list, err := s.WaitingQueues(t.Context(), "v", "warren.jobs.", 15*time.Second)
	require.NoError(t, err)
	return list
}

func dispatchLost(t *testing.T, s *store.Store, queue string, limit int) []uuid.UUID {
	t.Helper()
	ids, err := s.DispatchLost(t.Context(), engine.Lost{Queue: queue, Before: time.Now().Add(-10 * time.Second), Found: jobs.DriftEmpty},
		limit)
	require.NoError(t, err)
	return ids
}

// poll writes the monitor's row of a queue in the broker.
func poll(t *testing.T, conn *pgx.Conn, name string, emptySince any) {
	t.Helper()
	execute(t, conn, `INSERT INTO warren.broker_queues (id, vhost, name, empty_since, sampled_at)
		VALUES (hashtext($1), 'v', $1, now() - $2::text::interval, now())`, name, emptySince)
}

func TestDrift_OnlyQueuesWhereAJobHasWaitedForAWhileAreLookedAt(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	add(t, s, work(jobs.OnQueue("old")), work(jobs.OnQueue("old")), work(jobs.OnQueue("other")))
	sent(t, conn, "20 seconds")
	add(t, s, work(jobs.OnQueue("new")))
	queues := waitingQueues(t, s)
	require.Len(t, queues, 2)
	require.Equal(t, "old", queues[0].Queue)
	require.False(t, queues[0].Watched, "nobody has looked at the broker")
	require.False(t, queues[0].Gone, "so nobody knows that the queue is gone")
	require.True(t, queues[0].Idle)

	poll(t, conn, "warren.dead", nil)
	poll(t, conn, "warren.jobs.old", "40 seconds")
	queues = waitingQueues(t, s)
	require.True(t, queues[0].Watched)
	require.False(t, queues[0].Gone)
	require.WithinDuration(t, time.Now().Add(-40*time.Second), *queues[0].EmptySince, 20*time.Second)
	require.True(t, queues[1].Gone)

	execute(t, conn, `UPDATE warren.broker_queues SET sampled_at = now() - interval '1 minute'`)
	require.False(t, waitingQueues(t, s)[0].Watched, "what was seen a minute ago says nothing of now")
}

func TestDrift_AQueueIsIdleWhileEveryWorkerOnItHasAFreeSlot(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	session, err := s.OpenSession(t.Context(), store.SessionInfo{Name: "w", Roles: []string{"worker"}, Queues: []string{"default"},
		Concurrency: 1})
	require.NoError(t, err)
	id := add(t, s, work())[0]
	add(t, s, work(), work(jobs.OnQueue("other")))
	claim(t, s, session.Holder(), id)
	sent(t, conn, "20 seconds")
	queues := waitingQueues(t, s)
	require.False(t, queues[0].Idle, "the worker may hold messages that it has not claimed")
	require.True(t, queues[1].Idle)
	complete(t, s, completed(id, 1))
	require.True(t, waitingQueues(t, s)[0].Idle)
}

func TestDrift_ALostJobIsDispatchedAgainOnceInTenMinutesAndThenMoreRarely(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	id := add(t, s, work())[0]
	execute(t, conn, `UPDATE warren.jobs SET queued_at = now() - interval '20 seconds'`)
	require.Empty(t, dispatchLost(t, s, "default", 10), "it waits in the outbox")
	for n, rest := range []string{"10 minutes", "20 minutes", "40 minutes"} {
		sent(t, conn, "20 seconds")
		require.Equal(t, []uuid.UUID{id}, dispatchLost(t, s, "default", 10))
		job := read(t, s, id)
		require.True(t, job.InOutbox)
		require.Equal(t, n+2, job.Dispatch)
		require.Len(t, job.Drift, n+1)
		require.Equal(t, n+2, job.Drift[n].Dispatch)
		sent(t, conn, "20 seconds")
		execute(t, conn, `UPDATE warren.drift SET at = now() - $1::text::interval + interval '1 minute'`, rest)
		require.Empty(t, dispatchLost(t, s, "default", 10), rest)
		execute(t, conn, `UPDATE warren.drift SET at = now() - $1::text::interval`, rest)
	}
	require.Equal(t, 3, number(t, conn, `SELECT count(*) FROM warren.drift`))

	execute(t, conn, `UPDATE warren.drift SET at = now()`)
	execute(t, conn, `UPDATE warren.jobs SET started_at = clock_timestamp()`)
	require.Equal(t, []uuid.UUID{id}, dispatchLost(t, s, "default", 10), "since then it was delivered: this is another loss")
}

func TestDrift_LostJobsAreDispatchedOldestFirstAndNotTooManyInAMinute(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	ids := add(t, s, work(), work(), work())
	sent(t, conn, "20 seconds")
	execute(t, conn, `UPDATE warren.jobs SET queued_at = now() - interval '1 hour' WHERE id = $1`, ids[2])
	require.Equal(t, ids[2:], dispatchLost(t, s, "default", 1))
	execute(t, conn, `INSERT INTO warren.drift (job_id, queue, dispatch, found) SELECT gen_random_uuid(), 'other', 1, 'empty'
		FROM generate_series(1, 29998)`)
	require.Len(t, dispatchLost(t, s, "default", 10), 1, "30,000 in a minute, in the whole deployment")
	require.Empty(t, dispatchLost(t, s, "default", 10))
}

func TestDrift_HowFarAQueueIsOnlyMovesOnAndCountsTheDispatchThatWasDelivered(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	ids := add(t, s, work(), work(), work())
	sent(t, conn, "20 seconds")
	execute(t, conn, `UPDATE warren.jobs SET queued_at = now() - interval '1 hour' WHERE id = $1`, ids[1])
	reached := func(id uuid.UUID, dispatch int) time.Duration {
		require.NoError(t, s.SaveReached(t.Context(), []engine.Delivery{delivery(id, dispatch)}))
		r := waitingQueues(t, s)[0]
		if r.Reached == nil {
			return -1
		}
		return r.At.Sub(*r.Reached).Round(time.Minute)
	}
	require.EqualValues(t, -1, reached(ids[0], 7), "a dispatch that is not the job's says nothing")
	require.Equal(t, time.Hour, reached(ids[1], 1))
	require.Zero(t, reached(ids[0], 1))
	require.Zero(t, reached(ids[1], 1))
}

func TestDrift_IsCountedByQueue(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	add(t, s, work(), work(), work(jobs.OnQueue("busy")), work(jobs.OnQueue("passed")))
	sent(t, conn, "5 minutes")
	poll(t, conn, "warren.dead", nil)
	poll(t, conn, "warren.jobs.default", "1 minute")
	poll(t, conn, "warren.jobs.busy", nil)
	poll(t, conn, "warren.jobs.passed", nil)
	execute(t, conn, `INSERT INTO warren.queue_reached (queue, dispatched_at) VALUES ('passed', now())`)
	drift := func(queue string) engine.DriftStats {
		d, err := s.Drift(t.Context(), "v", "warren.jobs.", queue)
		require.NoError(t, err)
		return d
	}
	require.Equal(t, engine.DriftStats{Suspects: 3}, drift(""))
	require.Zero(t, drift("busy"))
	require.Len(t, dispatchLost(t, s, "default", 1), 1)
	require.Equal(t, engine.DriftStats{Suspects: 1, Repaired: 1}, drift("default"))
	execute(t, conn, `UPDATE warren.drift SET at = now() - interval '61 minutes'`)
	require.Equal(t, engine.DriftStats{Suspects: 1}, drift("default"))
}
