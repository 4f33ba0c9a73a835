package store_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store"
)

func TestQueues_OnlyAQueueThatIsUsedCanBePaused(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	var refused *jobs.NotAllowedError
	require.ErrorAs(t, s.PauseQueue(t.Context(), "nosuch", somebody), &refused)
	require.Contains(t, refused.Why, "nosuch")
	require.Zero(t, number(t, conn, `SELECT count(*) FROM warren.job_queues`))
	session, err := s.OpenSession(t.Context(), store.SessionInfo{Name: "w", Roles: []string{"worker"}, Queues: []string{"later"}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = session.Close(context.Background()) })
	require.NoError(t, s.PauseQueue(t.Context(), "later", somebody), "a worker works it, though no job was sent to it yet")
}

func TestQueues_AQueueIsKnownOnceItIsUsed(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	known := func(queue string) bool {
		t.Helper()
		known, err := s.KnowsQueue(t.Context(), queue, "warren.jobs."+queue)
		require.NoError(t, err)
		return known
	}
	require.False(t, known("mail"))
	session, err := s.OpenSession(t.Context(), store.SessionInfo{Name: "w", Roles: []string{"worker"}, Queues: []string{"mail", "default"}})
	require.NoError(t, err)
	require.NoError(t, session.Close(t.Context()))
	require.True(t, known("mail"), "also while no worker works it")
	add(t, s, work(jobs.OnQueue("sent")))
	require.True(t, known("sent"))
	execute(t, conn, `INSERT INTO warren.tasks (id, description, job_kind, job_queue, job_runs)
		VALUES (gen_random_uuid(), 'x', 'dots', 'of-a-task', 'now')`)
	require.True(t, known("of-a-task"))
	seen(t, s, noon, depth("warren.jobs.declared", 0, noon), depth("others", 0, noon))
	require.True(t, known("declared"), "a worker in another language has declared it")
	require.False(t, known("others"))
	require.False(t, known("emial"))
}

func TestQueues_TheJobsOfAPausedQueueStayInTheOutbox(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	paused, other := add(t, s, work(jobs.OnQueue("mail"))), add(t, s, work())
	require.NoError(t, s.PauseQueue(t.Context(), "mail", somebody))
	require.Equal(t, other, claimable(t, s, jobID))
	require.True(t, read(t, s, paused[0]).QueuePaused)
	require.False(t, read(t, s, other[0]).QueuePaused)
	list, err := s.PausedQueues(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "mail", list[0].Queue)
	require.Equal(t, "somebody", list[0].By)
	require.EqualValues(t, 1, list[0].Waiting)

	var refused *jobs.NotAllowedError
	require.ErrorAs(t, s.PauseQueue(t.Context(), "mail", somebody), &refused)
	require.NoError(t, s.ResumeQueue(t.Context(), "mail", somebody))
	require.ErrorAs(t, s.ResumeQueue(t.Context(), "mail", somebody), &refused)
	require.Len(t, claimable(t, s, jobID), 2)
	require.Equal(t, 2, number(t, conn, `SELECT count(*) FROM warren.audit WHERE target = 'queue:mail' AND actor = 'somebody'`))
}

func TestQueues_AHoldEndsByItselfShouldThePurgerDie(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	add(t, s, work())
	require.NoError(t, s.HoldQueue(t.Context(), "default", time.Minute))
	require.Empty(t, claimable(t, s, jobID))
	execute(t, conn, `UPDATE warren.job_queues SET held_until = now() - interval '1 second'`)
	require.Len(t, claimable(t, s, jobID), 1)
}

func TestQueues_AHoldWaitsForWhatRelaysHaveInHand(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	add(t, s, work())
	claim, err := s.ClaimOutbox(t.Context(), engine.OutboxPick{}, 100, 0)
	require.NoError(t, err)
	held := make(chan error, 1)
	go func() { held <- s.HoldQueue(context.WithoutCancel(t.Context()), "default", time.Minute) }()
	waitsForALock(t, conn, 1)
	require.Empty(t, held)
	require.NoError(t, claim.Settle(t.Context(), []int64{claim.Messages()[0].OutboxID}, nil, nil))
	require.NoError(t, <-held)
}

// purge purges the queue default; drop runs in place of the broker's purge.
func purge(t *testing.T, s *store.Store, drop func()) engine.Purge {
	t.Helper()
	p := engine.Purger{Store: s, Announce: func(string, ...string) {}, Empty: func(context.Context, string) (int, error) {
		drop()
		return 3, nil
	}}
	done, err := p.Purge(t.Context(), "default", somebody)
	require.NoError(t, err)
	return done
}

func TestQueues_APurgeCancelsWhatIsQueuedAndLosesNothingThatComesMeanwhile(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	_, w := worker(t, s, "w")
	ids := add(t, s, work(), work(), work(jobs.OnQueue("other")), work())
	claim(t, s, w, ids[3])
	execute(t, conn, `DELETE FROM warren.outbox WHERE job_id IN ($1, $2)`, ids[0], ids[3])
	var late, waits []uuid.UUID
	done := purge(t, s, func() {
		late, waits = add(t, s, work()), add(t, s, work())
		execute(t, conn, `DELETE FROM warren.outbox WHERE job_id = $1`, late[0]) // sent, and purged
		require.Equal(t, ids[2:3], claimable(t, s, jobID), "relays send nothing to the queue meanwhile")
	})
	require.Equal(t, 2, done.Cancelled)
	require.Equal(t, 3, done.Messages)
	for _, id := range ids[:2] {
		job := read(t, s, id)
		require.Equal(t, jobs.Cancelled, job.State)
		require.False(t, job.InOutbox)
	}
	require.Equal(t, jobs.Queued, read(t, s, ids[2]).State)
	require.Equal(t, jobs.Running, read(t, s, ids[3]).State)
	require.Equal(t, 2, read(t, s, late[0]).Dispatch, "its message went with the others")
	require.Equal(t, 1, read(t, s, waits[0]).Dispatch)
	require.Len(t, claimable(t, s, jobID), 3)

	var raw string
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT details FROM warren.audit WHERE action = 'queue.purge'`).Scan(&raw))
	var said engine.Purge
	require.NoError(t, json.Unmarshal([]byte(raw), &said))
	require.Equal(t, done.Operation, said.Operation)
	require.Equal(t, 2, said.Cancelled)
	require.Equal(t, 3, said.Messages)
}

func TestQueues_UndoingAPurgeRetriesWhatStillCarriesIt(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	ids := add(t, s, work(), work(), work(jobs.UniqueKey("k")), work())
	done := purge(t, s, func() {})
	require.NoError(t, s.Retry(t.Context(), ids[0], somebody))
	require.NoError(t, s.Cancel(t.Context(), ids[0], somebody))
	require.NoError(t, s.Delete(t.Context(), ids[1], somebody))
	add(t, s, work(jobs.UniqueKey("k")))
	last, left, err := s.LastPurge(t.Context(), "default")
	require.NoError(t, err)
	require.Equal(t, done.Operation, last.Operation)
	require.EqualValues(t, 2, left)

	result, err := s.UndoPurge(t.Context(), "default", done.Operation, somebody)
	require.NoError(t, err)
	require.Equal(t, jobs.BulkResult{Done: 1, Skipped: 1}, result)
	require.Equal(t, jobs.Cancelled, read(t, s, ids[0]).State, "somebody retried it, and cancelled it himself")
	require.Equal(t, jobs.Cancelled, read(t, s, ids[2]).State, "a newer job has its key")
	require.Equal(t, jobs.Queued, read(t, s, ids[3]).State)
	require.Equal(t, 2, read(t, s, ids[3]).Dispatch)
	require.Equal(t, 1, number(t, conn, `SELECT count(*) FROM warren.audit WHERE action = 'queue.undo'`))

	result, err = s.UndoPurge(t.Context(), "default", done.Operation, somebody)
	require.NoError(t, err)
	require.Equal(t, jobs.BulkResult{Skipped: 1}, result, "once is enough")
}
