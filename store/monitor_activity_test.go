package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/monitor"
)

func TestActivity_AgesLeaveOutPausedQueues(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	add(t, s, work(jobs.OnQueue("stock")), work())
	execute(t, conn, `UPDATE warren.outbox SET created_at = now() - interval '1 hour' WHERE routing_key = 'stock'`)
	execute(t, conn, `UPDATE warren.jobs SET queued_at = now() - interval '1 hour' WHERE queue = 'stock'`)
	sample := func() monitor.Moment {
		require.NoError(t, s.SampleActivity(t.Context(), time.Hour))
		list, err := s.Activity(t.Context(), time.Now().Add(-time.Hour), time.Now())
		require.NoError(t, err)
		return list[len(list)-1]
	}
	m := sample()
	require.GreaterOrEqual(t, m.OutboxAge, 3600.0)
	require.GreaterOrEqual(t, m.OldestQueued, 3600.0)
	require.NoError(t, s.PauseQueue(t.Context(), "stock", somebody))
	m = sample()
	require.Less(t, m.OutboxAge, 3600.0)
	require.Less(t, m.OldestQueued, 3600.0)
	require.EqualValues(t, 2, m.OutboxWaiting, "the rows are counted all the same")
}

func TestActivity_TheOldestWaitingJobOfEachQueueIsKnown(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	ids := add(t, s, work(), work(), work(jobs.OnQueue("mail")))
	execute(t, conn, `UPDATE warren.jobs SET queued_at = '2026-11-30 03:00:00Z' WHERE id = $1`, ids[1])
	oldest, err := s.OldestWaiting(t.Context())
	require.NoError(t, err)
	require.Len(t, oldest, 2)
	require.Equal(t, time.Date(2026, 11, 30, 3, 0, 0, 0, time.UTC), oldest["default"])
}
