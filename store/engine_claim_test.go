package store_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/store/storetest"
)

// sessionLocks selects the locks of the sessions in this database.
const sessionLocks = `FROM pg_locks l JOIN warren.sessions s ON s.lock_key = l.objid::int JOIN pg_database d ON d.oid = l.database
	WHERE l.locktype = 'advisory' AND l.classid = 30561 AND d.datname = current_database()`

// kill ends a session as the kernel ends a process: its lock is free, its row stays, and nothing
// renews it.
func kill(t *testing.T, conn *pgx.Conn, session *store.Session) {
	t.Helper()
	cut(t, conn, session)
	execute(t, conn, `UPDATE warren.sessions SET renewed_at = renewed_at - interval '3 seconds' WHERE id = $1`, session.Holder().Session)
}

// cut ends the connection that holds the session's lock.
func cut(t *testing.T, conn *pgx.Conn, session *store.Session) {
	t.Helper()
	execute(t, conn, `SELECT pg_terminate_backend(pid) `+sessionLocks+` AND s.id = $1`, session.Holder().Session)
	until(t, "the lock is free", func() bool {
		return number(t, conn, `SELECT count(*) `+sessionLocks+` AND s.id = $1`, session.Holder().Session) == 0
	})
}

func TestClaim_ASessionRenewsWhileAnOldConnectionHoldsItsLock(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	session, _ := worker(t, s, "w")
	id := session.Holder().Session
	locked := func() int {
		return number(t, conn, `SELECT count(*) `+sessionLocks+` AND s.id = $1 AND l.pid <> pg_backend_pid()`, id)
	}
	cut(t, conn, session)
	const lock = `(30561, (SELECT lock_key FROM warren.sessions WHERE id = $1)::int)`
	execute(t, conn, `SELECT pg_advisory_lock`+lock, id)
	execute(t, conn, `UPDATE warren.sessions SET renewed_at = renewed_at - interval '3 seconds' WHERE id = $1`, id)

	require.NoError(t, session.Renew(t.Context()))
	require.Equal(t, 1, number(t, conn, `
		SELECT count(*) FROM warren.sessions WHERE id = $1 AND renewed_at > clock_timestamp() - interval '2 seconds'`, id))
	require.Zero(t, locked())

	execute(t, conn, `SELECT pg_advisory_unlock`+lock, id)
	require.NoError(t, session.Renew(t.Context()))
	require.Equal(t, 1, locked(), "the lock is taken with the first renewal that can have it")
}

func TestClaim_OneOfManyWorkersGetsAJob(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	ids := add(t, s, work(), work(), work(), work(), work())
	in := make([]engine.Delivery, len(ids))
	for i, id := range ids {
		in[i] = delivery(id, 1)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	got := map[engine.DispatchKey]int{}
	for w := range 8 {
		_, holder := worker(t, s, fmt.Sprint("w", w))
		all.Go(func() {
			claims, err := s.Claim(t.Context(), holder, in)
			mu.Lock()
			defer mu.Unlock()
			for id := range claims {
				got[id]++
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	require.Len(t, got, len(ids))
	for _, n := range got {
		require.Equal(t, 1, n)
	}
}

func TestClaim_CarriesAllThatTheRunNeeds(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	_, w := worker(t, s, "w")
	job := work(jobs.MaxAttempts(7), jobs.Timeout(90*time.Second))
	job.Args = []byte(`{ "a": 1 }`)
	id := add(t, s, job)[0]
	require.Equal(t, engine.Claim{Lease: 1, Attempt: 1, MaxAttempts: 7, Timeout: 90 * time.Second, Kind: "work",
		Args: []byte(`{ "a": 1 }`)}, claim(t, s, w, id))
}

func TestClaim_OneLockedRowDoesNotHoldUpTheOthers(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	_, w := worker(t, s, "w")
	ids := add(t, s, work(), work(), work())
	in := []engine.Delivery{delivery(ids[0], 1), delivery(ids[1], 1), delivery(ids[2], 1)}
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	lock := func() {
		_, err := tx.Exec(t.Context(), `SELECT FROM warren.jobs WHERE id = $1 FOR UPDATE`, ids[1])
		require.NoError(t, err)
	}
	lock()

	claims, err := s.Claim(t.Context(), w, in)
	require.NoError(t, err)
	require.Len(t, claims, 2)
	require.NotContains(t, claims, in[1].Key())
	require.Equal(t, engine.DecisionWait, claimOne(t, s, w, in[1]).Decision, "it is to be looked at again")
	require.NoError(t, tx.Rollback(t.Context()))
	require.Equal(t, engine.DecisionClaim, claimOne(t, s, w, in[1]).Decision)

	tx, err = conn.Begin(t.Context())
	require.NoError(t, err)
	lock()
	endings, err := s.EndRuns(t.Context(), []engine.Result{completed(ids[0], 1), completed(ids[1], 1), completed(ids[2], 1)})
	require.NoError(t, err)
	require.Equal(t, []engine.RunOutcome{engine.OutcomeWritten, engine.OutcomeHeld, engine.OutcomeWritten}, endings)
	require.Equal(t, jobs.Running, read(t, s, ids[1]).State)
	require.NoError(t, tx.Rollback(t.Context()))
	require.Equal(t, []bool{true}, complete(t, s, completed(ids[1], 1)))
	for _, id := range ids {
		require.Equal(t, jobs.Completed, read(t, s, id).State)
	}
}

func TestClaim_NothingIsClaimedUnderASessionThatHasExpired(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	_, w := worker(t, s, "w")
	id := add(t, s, work())[0]
	_, err := conn.Exec(t.Context(), `UPDATE warren.sessions SET expires_at = clock_timestamp() - interval '1 second'`)
	require.NoError(t, err)
	claims, err := s.Claim(t.Context(), w, []engine.Delivery{delivery(id, 1)})
	require.NoError(t, err)
	require.Empty(t, claims)
	_, err = s.ClaimOne(t.Context(), w, delivery(id, 1))
	require.ErrorIs(t, err, jobs.ErrLost)
	require.Equal(t, jobs.Queued, read(t, s, id).State)
}

func TestClaim_WhatADeliveryMeansIsSaidByTheRow(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	_, w := worker(t, s, "w")
	_, other := worker(t, s, "other")
	for _, c := range []struct {
		state    jobs.State
		dispatch int // the row has 2
		verdict  engine.ClaimDecision
		recorded string
	}{
		{jobs.Queued, 2, engine.DecisionClaim, ""},
		{jobs.Queued, 1, engine.DecisionStale, jobs.DeliveryStale},
		{jobs.Queued, 3, engine.DecisionUnknown, ""},
		{jobs.Running, 2, engine.DecisionWait, ""},
		{jobs.Running, 1, engine.DecisionStale, jobs.DeliveryStale},
		{jobs.Running, 3, engine.DecisionUnknown, ""},
		{jobs.Scheduled, 2, engine.DecisionStale, jobs.DeliveryStale},
		{jobs.Retrying, 2, engine.DecisionStale, jobs.DeliveryStale},
		{jobs.Completed, 2, engine.DecisionStale, jobs.DeliveryStale},
		{jobs.Dead, 2, engine.DecisionStale, jobs.DeliveryStale},
		{jobs.Cancelled, 2, engine.DecisionStale, jobs.DeliveryStale},
		{jobs.Cancelled, 3, engine.DecisionUnknown, ""},
	} {
		t.Run(fmt.Sprintf("%s, dispatch %d of 2", c.state, c.dispatch), func(t *testing.T) {
			id := addIn(t, s, conn, c.state)
			execute(t, conn, `UPDATE warren.jobs SET dispatch = 2, worker_id = $2, worker = 'other' WHERE id = $1`, id, other.Session)
			before := read(t, s, id)
			require.Equal(t, c.verdict, claimOne(t, s, w, again(delivery(id, c.dispatch))).Decision)
			after := read(t, s, id)
			if c.verdict != engine.DecisionClaim {
				require.Equal(t, before.Job, after.Job, "nothing but the record changes")
			}
			if c.recorded != "" {
				require.Equal(t, c.recorded, after.Deliveries[len(after.Deliveries)-1].Outcome)
			}
		})
	}
	t.Run("no such job", func(t *testing.T) {
		require.Equal(t, engine.DecisionUnknown, claimOne(t, s, w, delivery(uuid.New(), 1)).Decision)
	})
}

func TestClaim_ALateMessageOfADeletedJobIsStaleAndNotUnknown(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	_, w := worker(t, s, "w")
	id := addIn(t, s, conn, jobs.Dead)
	require.NoError(t, s.Delete(t.Context(), id, somebody))
	require.Equal(t, engine.DecisionStale, claimOne(t, s, w, delivery(id, 1)).Decision)
	known, err := s.Known(t.Context(), id, 1)
	require.NoError(t, err)
	require.True(t, known)
}

func TestClaim_ARedeliveryIsRecordedAtTheClaim(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	_, w := worker(t, s, "w")
	ids := add(t, s, work(), work())
	_, err := s.Claim(t.Context(), w, []engine.Delivery{again(delivery(ids[0], 1)), delivery(ids[1], 1)})
	require.NoError(t, err)

	redelivered := read(t, s, ids[0]).Deliveries
	require.Len(t, redelivered, 1)
	require.True(t, redelivered[0].Redelivered)
	require.Equal(t, 1, redelivered[0].DeliveryCount)
	require.Equal(t, "running", redelivered[0].Outcome)
	plain := read(t, s, ids[1]).Deliveries
	require.Len(t, plain, 1)
	require.False(t, plain[0].Redelivered)
	list := forthAndBack(t, func(c jobs.Cursor) (jobs.Page[jobs.Redelivery], error) {
		return s.Redeliveries(t.Context(), "default", c, 10)
	})
	require.Len(t, list, 1)
	require.Equal(t, ids[0], list[0].JobID)
	for since, want := range map[time.Duration]jobs.Count{-time.Hour: 1, time.Hour: 0} {
		n, err := s.RedeliveriesSince(t.Context(), "default", time.Now().Add(since))
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
}

func TestClaim_AHolderIsGoneWhenItsMessageIsRedeliveredAndItsLockIsFree(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	session, a := worker(t, s, "a")
	_, b := worker(t, s, "b")
	id := add(t, s, work())[0]
	claim(t, s, a, id)

	require.Equal(t, engine.DecisionWait, claimOne(t, s, b, again(delivery(id, 1))).Decision, "its lock is held")
	kill(t, conn, session)
	require.Equal(t, engine.DecisionWait, claimOne(t, s, b, delivery(id, 1)).Decision, "a restart of PostgreSQL frees all locks, too")
	double := again(delivery(id, 1))
	double.SentAt = double.SentAt.Add(time.Second)
	require.Equal(t, engine.DecisionWait, claimOne(t, s, b, double).Decision,
		"of a second message of the dispatch, the holder has the first")
	c := claimOne(t, s, b, again(delivery(id, 1)))
	require.Equal(t, engine.DecisionTakeOver, c.Decision)
	require.Equal(t, 2, c.Lease)

	job := read(t, s, id)
	require.Equal(t, jobs.Running, job.State)
	require.Equal(t, 1, job.Crashes)
	require.Equal(t, []string{jobs.AttemptCrashed, ""}, []string{job.Attempts[0].Outcome, job.Attempts[1].Outcome})
	require.Equal(t, []string{"a", "b"}, []string{job.Attempts[0].Worker, job.Attempts[1].Worker})
	last := job.Deliveries[len(job.Deliveries)-1]
	require.Equal(t, []string{"a", "b", "running"}, []string{*last.FromWorker, last.Worker, last.Outcome})
	require.Greater(t, c.MaxAttempts, jobs.MaxAttemptsDefault, "a crash is not the handler's failure")
}

func TestClaim_AHolderIsNotGoneByADeliveryBeforeItsOwn(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	session, a := worker(t, s, "a")
	_, b := worker(t, s, "b")
	id := add(t, s, work())[0]
	first := again(delivery(id, 1)) // b received it, lost its channel, and claims late
	second := again(first)
	require.Equal(t, engine.DecisionClaim, claimOne(t, s, a, second).Decision)
	kill(t, conn, session)
	require.Equal(t, engine.DecisionWait, claimOne(t, s, b, first).Decision)

	third := again(second) // back to the holder, which claims again, as the first answer never arrived
	require.Equal(t, engine.DecisionClaim, claimOne(t, s, a, third).Decision)
	require.Equal(t, engine.DecisionWait, claimOne(t, s, b, second).Decision)
	require.Equal(t, engine.DecisionTakeOver, claimOne(t, s, b, again(third)).Decision)
}

func TestClaim_AHolderIsGoneWhenItsSessionIsRemoved(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	_, a := worker(t, s, "a")
	_, b := worker(t, s, "b")
	id := add(t, s, work())[0]
	claim(t, s, a, id)
	execute(t, conn, `DELETE FROM warren.sessions WHERE name = 'a'`)
	require.Equal(t, engine.DecisionTakeOver, claimOne(t, s, b, delivery(id, 1)).Decision)
}

func TestClaim_WhoseAnswerWasLostIsGivenAgain(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	_, w := worker(t, s, "w")
	id := add(t, s, work())[0]
	first := claim(t, s, w, id)
	second := claimOne(t, s, w, again(delivery(id, 1)))
	require.Equal(t, engine.DecisionClaim, second.Decision)
	require.Equal(t, first.Lease, second.Lease, "no run has started under the first")
	require.Equal(t, first.Attempt, second.Attempt)
	require.Equal(t, []bool{true}, complete(t, s, completed(id, second.Lease)))
}

func TestClaimOne_RecordsADeliveryOnceThoughItsAnswerWasLost(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	_, w := worker(t, s, "w")
	id := add(t, s, work())[0]
	complete(t, s, completed(id, claim(t, s, w, id).Lease))
	d := again(delivery(id, 1))
	recorded := func() (n int) {
		require.Equal(t, engine.DecisionStale, claimOne(t, s, w, d).Decision)
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM warren.deliveries WHERE job_id = $1`, id).Scan(&n))
		return n
	}
	require.Equal(t, 1, recorded())
	d.ClaimUnknown = true
	require.Equal(t, 1, recorded(), "the same delivery, whose answer was lost")
	d.ClaimUnknown = false
	require.Equal(t, 2, recorded(), "another message of the dispatch")
}

func TestClaim_OfABatchIsForItsDispatchAlone(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	_, w := worker(t, s, "w")
	id := add(t, s, work())[0]
	_, err := conn.Exec(t.Context(), `UPDATE warren.jobs SET dispatch = 2 WHERE id = $1`, id)
	require.NoError(t, err)
	claims, err := s.Claim(t.Context(), w, []engine.Delivery{again(delivery(id, 1)), delivery(id, 2)})
	require.NoError(t, err)
	require.Len(t, claims, 1)
	require.Contains(t, claims, engine.DispatchKey{JobID: id, Dispatch: 2})
}

func TestClaim_AJobThatKillsThreeWorkersIsDead(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	id := add(t, s, work())[0]
	session, holder := worker(t, s, "w0")
	claim(t, s, holder, id)
	message := delivery(id, 1)
	for i := 1; i <= engine.CrashesMax; i++ {
		kill(t, conn, session)
		session, holder = worker(t, s, fmt.Sprint("w", i))
		message = again(message)
		verdict := claimOne(t, s, holder, message).Decision
		require.Equal(t, i == engine.CrashesMax, verdict == engine.DecisionEnded)
	}
	job := read(t, s, id)
	require.Equal(t, jobs.Dead, job.State)
	require.Equal(t, engine.CrashesMax, job.Crashes)
	require.Len(t, job.Attempts, engine.CrashesMax)
	require.Contains(t, *job.LastError, "worker died 3 times running this job")
}

func TestRelease_DoesNotWaitForARowThatSomebodyHolds(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	_, w := worker(t, s, "w")
	ids := add(t, s, work(), work())
	runs := []engine.Result{{JobID: ids[0], Lease: claim(t, s, w, ids[0]).Lease}, {JobID: ids[1], Lease: claim(t, s, w, ids[1]).Lease}}
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `SELECT FROM warren.jobs WHERE id = $1 FOR UPDATE`, ids[0])
	require.NoError(t, err)
	require.Equal(t, []engine.RunOutcome{engine.OutcomeHeld, engine.OutcomeWritten}, release(t, s, runs))
	require.NoError(t, tx.Rollback(t.Context()))
	require.Equal(t, []engine.RunOutcome{engine.OutcomeWritten, engine.OutcomeWritten}, release(t, s, runs),
		"again, as when the answer never came")
	for _, id := range ids {
		require.Equal(t, jobs.Queued, read(t, s, id).State)
		require.Len(t, read(t, s, id).Attempts, 1)
	}
}

func TestClaim_ACancelledJobIsNotTakenOver(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	session, a := worker(t, s, "a")
	_, b := worker(t, s, "b")
	id := add(t, s, work())[0]
	claim(t, s, a, id)
	require.NoError(t, s.Cancel(t.Context(), id, somebody))
	kill(t, conn, session)
	require.Equal(t, engine.DecisionEnded, claimOne(t, s, b, again(delivery(id, 1))).Decision)
	require.Equal(t, jobs.Cancelled, read(t, s, id).State)
}

func TestClaim_TheResultOfAnOlderLeaseIsDropped(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	session, a := worker(t, s, "a")
	_, b := worker(t, s, "b")
	id := add(t, s, work())[0]
	old := claim(t, s, a, id)
	kill(t, conn, session)
	claimOne(t, s, b, again(delivery(id, 1)))
	before := read(t, s, id)

	for _, r := range results(id, old.Lease) {
		require.Equal(t, []bool{false}, complete(t, s, r), r.State)
	}
	require.NoError(t, s.SaveProgress(t.Context(), []engine.ProgressUpdate{{JobID: id, Lease: old.Lease,
		Progress: jobs.Progress{Done: 1}}}))
	release(t, s, []engine.Result{{JobID: id, Lease: old.Lease}})
	require.Equal(t, before, read(t, s, id))
}

// results returns one result of each kind.
func results(id uuid.UUID, lease int) []engine.Result {
	failed := engine.Failure{Error: "broken", Class: "*errors.errorString", Stack: "main.go:1"}
	return []engine.Result{
		{JobID: id, Lease: lease, State: jobs.Completed, Outcome: jobs.AttemptCompleted, Output: []byte(`{"a":1}`)},
		{JobID: id, Lease: lease, State: jobs.Retrying, Outcome: jobs.AttemptFailed, Wait: time.Hour, Failure: failed},
		{JobID: id, Lease: lease, State: jobs.Dead, Outcome: jobs.AttemptFailed, Failure: failed},
		{JobID: id, Lease: lease, State: jobs.Cancelled, Outcome: jobs.AttemptCancelled, Failure: failed},
	}
}

func TestClaim_AResultWhoseCommitWasInDoubtCountsOnce(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	_, w := worker(t, s, "w")
	for i, r := range results(uuid.Nil, 1) {
		t.Run(string(r.State), func(t *testing.T) {
			r := r
			r.JobID = add(t, s, work())[0]
			claim(t, s, w, r.JobID)
			require.Equal(t, []bool{true}, complete(t, s, r))
			once := read(t, s, r.JobID)
			require.Equal(t, []bool{true}, complete(t, s, r), "the worker that asks again learns that it was written")
			require.Equal(t, once, read(t, s, r.JobID))
			require.Equal(t, r.State, once.State)
			require.Len(t, once.Attempts, 1)
			require.Equal(t, r.Outcome, once.Attempts[0].Outcome)
			if i > 0 {
				require.Equal(t, engine.Failure{Error: once.Attempts[0].Error, Class: once.Attempts[0].ErrorClass,
					Stack: once.Attempts[0].Stack}, r.Failure)
			}
		})
	}
}

func TestClaim_OneBatchOfResultsMayEndInEveryWay(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	_, w := worker(t, s, "w")
	ids := add(t, s, work(), work(), work(), work())
	var batch []engine.Result
	for i, id := range ids {
		claim(t, s, w, id)
		batch = append(batch, results(id, 1)[i])
	}
	require.Equal(t, []bool{true, true, true, true}, complete(t, s, batch...))
	for i, id := range ids {
		require.Equal(t, batch[i].State, read(t, s, id).State)
	}
}

func TestClaim_TwoRunsOfOneJobInOneBatchAreToldApart(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	_, w := worker(t, s, "w")
	ids := add(t, s, work(), work())
	for _, id := range ids {
		claim(t, s, w, id)
	}
	release(t, s, []engine.Result{{JobID: ids[0], Lease: 1}})
	claim(t, s, w, ids[0]) // lease 2
	failed := func(id uuid.UUID, lease int) engine.Result { return results(id, lease)[1] }
	require.Equal(t, []bool{false, true, true}, complete(t, s, failed(ids[0], 1), failed(ids[0], 2), failed(ids[1], 1)))
	require.Len(t, read(t, s, ids[0]).Attempts, 2, "released, and failed")
}

func TestClaim_AFailedJobThatWasAskedToStopIsNotRetried(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	_, w := worker(t, s, "w")
	id := add(t, s, work())[0]
	claim(t, s, w, id)
	require.NoError(t, s.Cancel(t.Context(), id, somebody))
	retry := results(id, 1)[1]
	require.Equal(t, []bool{true}, complete(t, s, retry))
	require.Equal(t, []bool{true}, complete(t, s, retry), "also when its commit was in doubt")
	require.Equal(t, jobs.Cancelled, read(t, s, id).State)
}

func TestClaim_AnyErrorTextCanBeWritten(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	_, w := worker(t, s, "w")
	id := add(t, s, work())[0]
	claim(t, s, w, id)
	complete(t, s, engine.Result{JobID: id, Lease: 1, State: jobs.Dead, Outcome: jobs.AttemptFailed,
		Failure: engine.Failure{Error: "zero \x00, not UTF-8 \xff", Class: "\x00", Stack: "\xed\xa0\x80"},
		Output:  []byte(`"\u0000\ud800"`), Progress: &jobs.Progress{Done: 0.5, Note: "\x00\xff"}})
	require.Contains(t, *read(t, s, id).LastError, "zero")
}

func TestClaim_AReleasedRunIsQueuedAgainAndDoesNotCount(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	_, w := worker(t, s, "w")
	id := add(t, s, work(jobs.MaxAttempts(1)))[0]
	claim(t, s, w, id)
	release(t, s, []engine.Result{{JobID: id, Lease: 1}})
	job := read(t, s, id)
	require.Equal(t, jobs.Queued, job.State)
	require.Equal(t, 2, job.Dispatch)
	require.Equal(t, jobs.AttemptReleased, job.Attempts[0].Outcome)
	require.Equal(t, 1, job.Attempts[0].Dispatch)
	require.Equal(t, 1, number(t, conn, `SELECT count(*) FROM warren.outbox WHERE dispatch = 2`))
	c := claim(t, s, w, id)
	require.LessOrEqual(t, c.Attempt, c.MaxAttempts)
	require.Equal(t, []bool{false}, complete(t, s, completed(id, 1)), "a late result of the released run")
}

func TestClaim_AReleasedRunThatWasAskedToStopIsCancelled(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	_, w := worker(t, s, "w")
	id := add(t, s, work())[0]
	execute(t, conn, `DELETE FROM warren.outbox`)
	claim(t, s, w, id)
	require.NoError(t, s.Cancel(t.Context(), id, somebody))
	release(t, s, []engine.Result{{JobID: id, Lease: 1}})
	require.Equal(t, jobs.Cancelled, read(t, s, id).State)
	require.Equal(t, [2]int{1, 0}, rows(t, conn))
}

func TestClaim_AnExpiredSessionIsLostAndSaysSo(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	session, _ := worker(t, s, "w")
	require.NoError(t, session.Renew(t.Context()))
	execute(t, conn, `UPDATE warren.sessions SET expires_at = now() - interval '1 second'`)
	require.ErrorIs(t, session.Renew(t.Context()), jobs.ErrLost)
}

func TestClaim_ASessionTakesItsLockAgainAfterTheConnectionBroke(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	session, _ := worker(t, s, "w")
	kill(t, conn, session)
	require.NoError(t, session.Renew(t.Context()))
	require.Equal(t, 1, number(t, conn, `SELECT count(*) `+sessionLocks))
}

func TestClaim_AClosedSessionStaysAsLongAsItHoldsARunningJob(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	session, holder := worker(t, s, "w")
	id := add(t, s, work())[0]
	claim(t, s, holder, id)
	require.NoError(t, session.Close(t.Context()))
	require.Equal(t, 1, number(t, conn, `SELECT count(*) FROM warren.sessions`))
	complete(t, s, completed(id, 1))
	require.NoError(t, session.Close(t.Context()))
	require.Equal(t, 0, number(t, conn, `SELECT count(*) FROM warren.sessions`))
}

func TestClaim_AHolderWhoseLockIsFreeButThatRenewsIsNotGone(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	session, holder := worker(t, s, "a")
	_, other := worker(t, s, "b")
	id := add(t, s, work())[0]
	claim(t, s, holder, id)
	redelivered := again(delivery(id, 1))

	cut(t, conn, session)
	// true even on a slow machine
	execute(t, conn, `UPDATE warren.sessions SET renewed_at = clock_timestamp() + interval '1 minute' WHERE id = $1`, holder.Session)
	require.Equal(t, engine.DecisionWait, claimOne(t, s, other, redelivered).Decision, "it has renewed just now")
	require.NoError(t, session.Renew(t.Context()))
	execute(t, conn, `UPDATE warren.sessions SET renewed_at = renewed_at - interval '3 seconds' WHERE id = $1`, holder.Session)
	require.Equal(t, engine.DecisionWait, claimOne(t, s, other, redelivered).Decision, "it has its lock again")
	kill(t, conn, session)
	require.Equal(t, engine.DecisionWait, claimOne(t, s, other, delivery(id, 1)).Decision, "the broker did not redeliver")
	require.Equal(t, engine.DecisionTakeOver, claimOne(t, s, other, redelivered).Decision)
}

func TestClaim_ASessionIsRenewedWhileHandlersHaveAllOfThePool(t *testing.T) {
	t.Parallel()
	s := storetest.Open(t, storetest.Migrated(t))
	session, err := s.OpenSession(t.Context(), store.SessionInfo{Name: "w", Roles: []string{"worker"}, Process: uuid.New()})
	require.NoError(t, err)
	left := func() bool {
		short, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		return s.Ping(short) == nil
	}
	for left() {
		tx := s.Gorm().WithContext(t.Context()).Begin()
		require.NoError(t, tx.Error)
		t.Cleanup(func() { tx.Rollback() })
	}
	require.NoError(t, session.Renew(t.Context()))
	require.NoError(t, session.Renew(t.Context()))
}
