package store_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
)

func TestDue_JobsAreDispatchedOnceByManySchedulers(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	list := make([]jobs.NewJob, 100)
	for i := range list {
		list[i] = work(jobs.At(time.Now().Add(time.Hour)))
	}
	ids := add(t, s, list...)
	later := add(t, s, work(jobs.At(time.Now().Add(time.Hour))))[0]
	execute(t, conn, `UPDATE warren.jobs SET run_at = now() - interval '1 second' WHERE id <> $1`, later)

	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				moved, err := s.EnqueueDue(t.Context(), 7)
				if err != nil {
					t.Error(err)
				}
				if len(moved) == 0 {
					return
				}
			}
		})
	}
	all.Wait()
	require.Equal(t, [2]int{101, 100}, rows(t, conn))
	for _, id := range ids {
		job := read(t, s, id)
		require.Equal(t, jobs.Queued, job.State)
		require.Equal(t, 1, job.Dispatch)
	}
	require.Equal(t, jobs.Scheduled, read(t, s, later).State)
}

func TestDue_ARetryThatIsDueIsTheNextDispatch(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	_, w := worker(t, s, "w")
	id := add(t, s, work())[0]
	claim(t, s, w, id)
	complete(t, s, results(id, 1)[1])
	due := func() []uuid.UUID {
		moved, err := s.EnqueueDue(t.Context(), 10)
		require.NoError(t, err)
		return moved
	}
	require.Empty(t, due(), "it waits for an hour")
	execute(t, conn, `UPDATE warren.jobs SET run_at = now()`)
	require.Equal(t, []uuid.UUID{id}, due())
	require.Equal(t, 2, read(t, s, id).Dispatch)
}

func TestDue_OnlyAJobThatWaitsForItIsDispatchedAfterADeadLetter(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	for _, state := range jobs.States {
		id := addIn(t, s, conn, state)
		before := read(t, s, id).Dispatch
		older, err := s.DispatchDead(t.Context(), id, before-1)
		require.NoError(t, err)
		require.False(t, older, "%s, an older dispatch", state)
		moved, err := s.DispatchDead(t.Context(), id, before)
		require.NoError(t, err)
		require.Equal(t, state == jobs.Queued, moved, state)
	}
}

func TestDispatchDead_DoesNotWaitForARowThatSomebodyHolds(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	id := add(t, s, work())[0]
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `SELECT FROM warren.jobs WHERE id = $1 FOR UPDATE`, id)
	require.NoError(t, err)
	_, err = s.DispatchDead(t.Context(), id, 1)
	require.ErrorIs(t, err, jobs.ErrHeld)
	require.NoError(t, tx.Rollback(t.Context()))
	moved, err := s.DispatchDead(t.Context(), id, 1)
	require.NoError(t, err)
	require.True(t, moved)
}

func TestDue_RecoveredJobsGetTheNextDispatchOnce(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	_, w := worker(t, s, "w")
	ids := add(t, s, work(), work(), work())
	for _, id := range ids {
		claim(t, s, w, id)
	}
	require.NoError(t, s.Cancel(t.Context(), ids[1], somebody))
	execute(t, conn, `UPDATE warren.jobs SET crashes = 2 WHERE id = $1`, ids[2])
	execute(t, conn, `DELETE FROM warren.outbox`)

	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if _, err := s.Recover(t.Context(), w.Session, 100); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	again := read(t, s, ids[0])
	require.Equal(t, jobs.Queued, again.State)
	require.Equal(t, 2, again.Dispatch)
	require.Equal(t, 1, again.Crashes)
	require.Equal(t, jobs.Cancelled, read(t, s, ids[1]).State)
	require.Equal(t, jobs.Dead, read(t, s, ids[2]).State)
	require.Equal(t, [2]int{3, 1}, rows(t, conn))
	for _, id := range ids {
		require.Equal(t, []bool{false}, complete(t, s, completed(id, 1)), "a late result of the holder that was given up")
	}
}

func TestDue_SessionsThatExpiredAndHoldAJobAreFound(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	_, holds := worker(t, s, "holds")
	worker(t, s, "idle")
	claim(t, s, holds, add(t, s, work())[0])
	session, judge := worker(t, s, "judge")
	gone := func() []uuid.UUID {
		require.NoError(t, session.Renew(t.Context()))
		list, err := s.GoneHolders(t.Context(), judge.Session)
		require.NoError(t, err)
		return list
	}
	require.Empty(t, gone())
	execute(t, conn, `UPDATE warren.sessions SET expires_at = now() - interval '2 minutes' WHERE name <> 'judge'`)
	isGone := func() bool { return slices.Equal(gone(), []uuid.UUID{holds.Session}) }
	until(t, "who expired is found", isGone)
	require.NoError(t, s.SweepSessions(t.Context()))
	require.Equal(t, 2, number(t, conn, `SELECT count(*) FROM warren.sessions`), "the row of a holder stays until its job is recovered")

	execute(t, conn, `UPDATE warren.sessions SET renewed_at = now() - interval '3 seconds' WHERE name = 'judge'`)
	list, err := s.GoneHolders(t.Context(), judge.Session)
	require.NoError(t, err)
	require.Empty(t, list, "who could not renew itself calls nobody expired")
	execute(t, conn, `DELETE FROM warren.sessions WHERE name <> 'judge'`)
	list, err = s.GoneHolders(t.Context(), judge.Session)
	require.NoError(t, err)
	require.Empty(t, list, "nor gone")
	until(t, "who is no more is found", isGone)
}

func TestDue_TheSweepRemovesWhatIsOlderThanItsRetention(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	keep := engine.Retention{Finished: 24 * time.Hour, Dead: 72 * time.Hour, Inbox: 48 * time.Hour}
	left := map[jobs.State][2]uuid.UUID{}
	for _, state := range jobs.States {
		left[state] = [2]uuid.UUID{addIn(t, s, conn, state), addIn(t, s, conn, state)}
		execute(t, conn, `UPDATE warren.jobs SET finished_at = now() - interval '25 hours' WHERE id = $1`, left[state][0])
	}
	old := addIn(t, s, conn, jobs.Dead)
	execute(t, conn, `UPDATE warren.jobs SET finished_at = now() - interval '73 hours' WHERE id = $1`, old)
	execute(t, conn, `INSERT INTO warren.inbox (consumer, app_id, message_id, handled_at) VALUES ('c', '', 'new', now()), ('c', '', 'old',
		now() - interval '49 hours')`)

	removed, err := s.Sweep(t.Context(), keep)
	require.NoError(t, err)
	require.EqualValues(t, 4, removed)
	for state, ids := range left {
		_, err := s.Job(t.Context(), ids[0])
		require.Equal(t, state == jobs.Completed || state == jobs.Cancelled, err != nil, state)
		read(t, s, ids[1])
	}
	_, err = s.Job(t.Context(), old)
	require.ErrorIs(t, err, jobs.ErrNotFound)
	require.Equal(t, 1, number(t, conn, `SELECT count(*) FROM warren.inbox`))
}
