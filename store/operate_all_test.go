package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/store"
)

// operateAll is OperateAll up to now.
func operateAll(t *testing.T, s *store.Store, action jobs.Action, f jobs.Filter) jobs.BulkResult {
	t.Helper()
	r, err := s.OperateAll(t.Context(), action, f, time.Time{}, somebody)
	require.NoError(t, err)
	return r
}

// listedIDs are the jobs of a filter, in the order of their ids.
func listedIDs(t *testing.T, s *store.Store, f jobs.Filter) (ids []uuid.UUID) {
	t.Helper()
	page, err := s.Jobs(t.Context(), f, jobs.Cursor{}, 100)
	require.NoError(t, err)
	for _, j := range page.Items {
		ids = append(ids, j.ID)
	}
	slices.SortFunc(ids, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	return ids
}

func now(t *testing.T, s *store.Store) time.Time {
	t.Helper()
	at, err := s.Now(t.Context())
	require.NoError(t, err)
	return at
}

func TestOperateAll_AnActionOnAllDoesWhatItDoesOnOneAndIsOneAuditRow(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	for action, a := range actions {
		execute(t, conn, `TRUNCATE warren.jobs, warren.outbox, warren.audit CASCADE`)
		before := map[uuid.UUID]jobs.State{}
		want := jobs.BulkResult{}
		var changed []uuid.UUID
		for _, state := range jobs.States {
			id := addIn(t, s, conn, state)
			execute(t, conn, `UPDATE warren.jobs SET started_at = created_at WHERE id = $1 AND state = 'running'`, id)
			if before[id] = state; slices.Contains(action.ForMany(""), state) {
				want.Done++
				changed = append(changed, id)
			}
		}
		if action == jobs.ActionCancel {
			want.Stopping = 1
		}
		got := operateAll(t, s, action, jobs.Filter{Kind: "work"})
		if action != jobs.ActionDelete {
			require.NotNil(t, got.Operation)
			slices.SortFunc(changed, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
			require.Equal(t, changed, listedIDs(t, s, jobs.Filter{Operation: *got.Operation}), "its jobs can be listed")
		}
		want.Operation = got.Operation
		require.Equal(t, want, got, action)
		for id, state := range before {
			switch {
			case !slices.Contains(action.ForMany(""), state):
				require.Equal(t, state, read(t, s, id).State, "%s of a %s job", action, state)
			case a.after == nil:
				require.Zero(t, number(t, conn, `SELECT count(*) FROM warren.jobs WHERE id = $1`, id))
			default:
				d := read(t, s, id)
				require.Equal(t, a.after(state), d.State, "%s of a %s job", action, state)
				require.Len(t, d.People, 1)
				require.Equal(t, "job."+string(action), d.People[0].Action, "its page says who did it")
				require.Equal(t, "for a test", d.People[0].Reason)
			}
		}
		require.Equal(t, 1, number(t, conn, `SELECT count(*) FROM warren.audit`))
		require.Equal(t, 1, number(t, conn, `SELECT count(*) FROM warren.audit WHERE action = $1 AND actor = 'somebody'
			AND reason = 'for a test' AND details->>'filter' = 'jobs of kind work' AND (details->>'done')::int = $2
			AND details->>'skipped' = '0'`,
			"jobs."+string(action), want.Done))
	}
}

func TestOperateAll_TouchesOnlyJobsThatMatch(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	match := addIn(t, s, conn, jobs.Dead, jobs.OnQueue("mail"), jobs.Tags("paris"))
	for _, opts := range [][]jobs.Option{{jobs.OnQueue("mail")}, {jobs.Tags("paris")}} {
		addIn(t, s, conn, jobs.Dead, opts...)
	}
	addIn(t, s, conn, jobs.Cancelled, jobs.OnQueue("mail"), jobs.Tags("paris"))
	other := add(t, s, jobs.NewJob{Kind: "other", Queue: "mail", Tags: []string{"paris"}})[0]
	execute(t, conn, `UPDATE warren.jobs SET state = 'dead', finished_at = now() WHERE id = $1`, other)
	execute(t, conn, `DELETE FROM warren.outbox`)
	got := operateAll(t, s, jobs.ActionRetry, jobs.Filter{State: jobs.Dead, Kind: "work", Queue: "mail", Text: "paris"})
	require.Equal(t, jobs.BulkResult{Done: 1, Operation: got.Operation}, got)
	require.Equal(t, []uuid.UUID{match}, listedIDs(t, s, jobs.Filter{State: jobs.Queued}))
	require.True(t, read(t, s, match).InOutbox)

	got = operateAll(t, s, jobs.ActionRetry, jobs.Filter{State: jobs.Queued})
	require.Zero(t, got.Done, "no queued job can be retried")
	require.Equal(t, 1, number(t, conn, `SELECT count(*) FROM warren.audit`), "nothing was done: nothing to write down")
}

// Each job is in the state of the filter when the action is carried out, and was not when the page was read.
func TestOperateAll_LeavesOutJobsThatHaveComeSince(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	action := map[jobs.State]jobs.Action{jobs.Completed: jobs.ActionDelete, jobs.Dead: jobs.ActionRetry, jobs.Cancelled: jobs.ActionRetry,
		jobs.Scheduled: jobs.ActionRun, jobs.Retrying: jobs.ActionRun, jobs.Queued: jobs.ActionCancel, jobs.Running: jobs.ActionCancel}
	for _, state := range jobs.States {
		was, came := addIn(t, s, conn, state), addIn(t, s, conn, state)
		execute(t, conn, `UPDATE warren.jobs SET started_at = created_at WHERE state = 'running'`)
		until := now(t, s)
		switch state {
		case jobs.Scheduled, jobs.Retrying: // by a run that has ended since
			execute(t, conn, `INSERT INTO warren.attempts (job_id, lease, number, dispatch, worker, started_at, finished_at, outcome)
				VALUES ($1, 1, 1, 1, '', now(), clock_timestamp(), 'failed')`, came)
		case jobs.Queued:
			execute(t, conn, `UPDATE warren.jobs SET queued_at = clock_timestamp() WHERE id = $1`, came)
		case jobs.Running:
			execute(t, conn, `UPDATE warren.jobs SET started_at = clock_timestamp() WHERE id = $1`, came)
		default:
			execute(t, conn, `UPDATE warren.jobs SET finished_at = clock_timestamp() WHERE id = $1`, came)
		}
		r, err := s.OperateAll(t.Context(), action[state], jobs.Filter{State: state}, until, somebody)
		require.NoError(t, err)
		require.Equal(t, 1, r.Done, state)
		require.Contains(t, listedIDs(t, s, jobs.Filter{State: state}), came, "%s since", state)
		execute(t, conn, `DELETE FROM warren.jobs WHERE id = ANY($1)`, []uuid.UUID{was, came})
	}
}

func TestOperateAll_InAnyStateLeavesOutJobsThatWereSubmittedOrHaveEndedSince(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	moved, running := addIn(t, s, conn, jobs.Scheduled), addIn(t, s, conn, jobs.Running)
	until := now(t, s)
	execute(t, conn, `UPDATE warren.jobs SET state = 'queued', queued_at = clock_timestamp() WHERE id = $1`, moved)
	execute(t, conn, `UPDATE warren.jobs SET state = 'dead', finished_at = clock_timestamp() WHERE id = $1`, running)
	late := add(t, s, work())[0]
	for action, want := range map[jobs.Action]int{jobs.ActionCancel: 1, jobs.ActionRetry: 0} {
		r, err := s.OperateAll(t.Context(), action, jobs.Filter{Kind: "work"}, until, somebody)
		require.NoError(t, err)
		require.Equal(t, want, r.Done, action)
	}
	require.Equal(t, jobs.Cancelled, read(t, s, moved).State, "it was there, whatever its state")
	require.Equal(t, jobs.Dead, read(t, s, running).State)
	require.Equal(t, jobs.Queued, read(t, s, late).State)
}

func TestOperateAll_ARetrySkipsJobsWhoseUniqueKeyIsTaken(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	addIn(t, s, conn, jobs.Dead, jobs.UniqueKey("taken"))
	for range 2 {
		addIn(t, s, conn, jobs.Dead, jobs.UniqueKey("twin"))
	}
	add(t, s, work(jobs.UniqueKey("taken")))
	got := operateAll(t, s, jobs.ActionRetry, jobs.Filter{State: jobs.Dead})
	require.Equal(t, jobs.BulkResult{Done: 1, Skipped: 2, Operation: got.Operation}, got)
	require.Equal(t, 1, number(t, conn, `SELECT count(*) FROM warren.audit WHERE details->>'skipped' = '2'`))
}

func TestOperateAll_StopsAtItsMostAndSaysThatJobsAreLeft(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	execute(t, conn, `INSERT INTO warren.jobs (id, kind, queue, args, state, max_attempts, finished_at)
		SELECT gen_random_uuid(), 'work', 'default', '{}', 'dead', 5, now() FROM generate_series(1, 10001)`)
	got := operateAll(t, s, jobs.ActionRetry, jobs.Filter{State: jobs.Dead})
	require.Equal(t, jobs.BulkResult{Done: 10_000, Left: true, Operation: got.Operation}, got)
	require.Equal(t, 1, number(t, conn, `SELECT count(*) FROM warren.audit WHERE details->>'done' = '10000'`))
	require.Equal(t, 10_000, number(t, conn, `SELECT count(*) FROM warren.outbox`))
	got = operateAll(t, s, jobs.ActionRetry, jobs.Filter{State: jobs.Dead})
	require.Equal(t, jobs.BulkResult{Done: 1, Operation: got.Operation}, got)
}

func TestOperateAll_AJobThatIsLockedHoldsUpNoOtherAndIsLeft(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	ids := make([]uuid.UUID, 3)
	for i := range ids {
		ids[i] = addIn(t, s, conn, jobs.Scheduled)
	}
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `SELECT FROM warren.jobs WHERE id = $1 FOR UPDATE`, ids[0])
	require.NoError(t, err)
	got := operateAll(t, s, jobs.ActionCancel, jobs.Filter{State: jobs.Scheduled})
	require.Equal(t, jobs.BulkResult{Done: 2, Left: true, Operation: got.Operation}, got)
	require.NoError(t, tx.Rollback(t.Context()))
	got = operateAll(t, s, jobs.ActionCancel, jobs.Filter{State: jobs.Scheduled})
	require.Equal(t, jobs.BulkResult{Done: 1, Operation: got.Operation}, got)
}

func TestOperateAll_AJobThatIsLockedForAMomentIsWaitedFor(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	id := addIn(t, s, conn, jobs.Scheduled)
	watch := connect(t, conn)
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `SELECT FROM warren.jobs WHERE id = $1 FOR UPDATE`, id)
	require.NoError(t, err)
	got := make(chan jobs.BulkResult, 1)
	go func() {
		var total jobs.BulkResult
		for total.Done == 0 { // a busy machine may let the wait run out
			r, err := s.OperateAll(t.Context(), jobs.ActionCancel, jobs.Filter{State: jobs.Scheduled}, time.Time{}, somebody)
			if err != nil {
				t.Error(err)
				break
			}
			total = r
		}
		got <- total
	}()
	waitsForALock(t, watch, 1)
	require.NoError(t, tx.Commit(t.Context()))
	require.Equal(t, 1, (<-got).Done)
}
