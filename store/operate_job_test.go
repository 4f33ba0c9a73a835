package store_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store"
)

// actions are the operators' actions, and the state of a job after each.
var actions = map[jobs.Action]struct {
	do    func(s *store.Store, t *testing.T, id uuid.UUID) error
	after func(before jobs.State) jobs.State
}{
	jobs.ActionRetry: {
		func(s *store.Store, t *testing.T, id uuid.UUID) error { return s.Retry(t.Context(), id, somebody) },
		func(jobs.State) jobs.State { return jobs.Queued },
	},
	jobs.ActionRun: {
		func(s *store.Store, t *testing.T, id uuid.UUID) error { return s.RunNow(t.Context(), id, somebody) },
		func(jobs.State) jobs.State { return jobs.Queued },
	},
	jobs.ActionCancel: {
		func(s *store.Store, t *testing.T, id uuid.UUID) error { return s.Cancel(t.Context(), id, somebody) },
		func(before jobs.State) jobs.State {
			if before == jobs.Running {
				return jobs.Running // its handler is asked to stop
			}
			return jobs.Cancelled
		},
	},
	jobs.ActionDelete: {func(s *store.Store, t *testing.T, id uuid.UUID) error { return s.Delete(t.Context(), id, somebody) }, nil},
}

func TestOperate_AnActionIsDoneWhereTheStateAllowsItAndIsWrittenDown(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	for action, a := range actions {
		for _, state := range jobs.States {
			t.Run(fmt.Sprintf("%s a %s job", action, state), func(t *testing.T) {
				id := addIn(t, s, conn, state)
				before := read(t, s, id)
				audited := func() int {
					return number(t, conn, `SELECT count(*) FROM warren.audit WHERE target = $1 AND action = $2 AND actor = 'somebody'
						AND reason = 'for a test' AND details->>'state' = $3`, "job:"+id.String(), "job."+string(action), state)
				}
				err := a.do(s, t, id)
				if !slices.Contains(action.AllowedFrom(), state) {
					var refused *jobs.NotAllowedError
					require.ErrorAs(t, err, &refused)
					require.Equal(t, state, refused.State)
					require.NotEmpty(t, refused.Why)
					require.Equal(t, before, read(t, s, id), "a refused action changes nothing")
					require.Zero(t, audited())
					return
				}
				require.NoError(t, err)
				require.Equal(t, 1, audited())
				if a.after == nil {
					_, err := s.Job(t.Context(), id)
					require.ErrorIs(t, err, jobs.ErrNotFound)
					require.Zero(t, number(t, conn, `SELECT count(*) FROM warren.outbox WHERE job_id = $1`, id))
					return
				}
				job := read(t, s, id)
				require.Equal(t, a.after(state), job.State)
				require.Equal(t, job.State.Ended(), job.FinishedAt != nil)
				require.Equal(t, job.State == jobs.Queued, job.InOutbox, "queued has a message, cancelled has none")
				if job.State == jobs.Queued {
					require.Equal(t, before.Dispatch+1, job.Dispatch)
				}
				if action == jobs.ActionCancel {
					require.NotNil(t, job.CancelRequestedAt)
				}
			})
		}
	}
}

func TestOperate_AnActionOnNoJobIsNotFound(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	for action, a := range actions {
		require.ErrorIs(t, a.do(s, t, uuid.New()), jobs.ErrNotFound, action)
	}
	require.Zero(t, number(t, conn, `SELECT count(*) FROM warren.audit`))
}

func TestOperate_ARetriedJobMayRunAtLeastOnceMore(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	_, w := worker(t, s, "w")
	id := addIn(t, s, conn, jobs.Dead)
	execute(t, conn, `UPDATE warren.jobs SET attempt = 5, max_attempts = 5, crashes = 3, cancel_requested_at = now(), last_error = 'x'
		WHERE id = $1`, id)
	require.NoError(t, s.Retry(t.Context(), id, somebody))
	job := read(t, s, id)
	require.Zero(t, job.Crashes)
	require.Nil(t, job.CancelRequestedAt)
	require.Nil(t, job.LastError)
	c := claim(t, s, w, id)
	require.Equal(t, 6, c.Attempt)
	require.Equal(t, 6, c.MaxAttempts)
}

func TestOperate_ADeadJobWhoseKeyIsTakenIsNotRetried(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	dead := addIn(t, s, conn, jobs.Dead, jobs.UniqueKey("k"))
	newer := add(t, s, work(jobs.UniqueKey("k")))[0]
	var taken *jobs.KeyTakenError
	require.ErrorAs(t, s.Retry(t.Context(), dead, somebody), &taken)
	require.Equal(t, "k", taken.Key)
	require.Equal(t, jobs.Dead, read(t, s, dead).State)
	require.Zero(t, number(t, conn, `SELECT count(*) FROM warren.audit`))

	require.NoError(t, s.Cancel(t.Context(), newer, somebody))
	require.NoError(t, s.Retry(t.Context(), dead, somebody), "the key is free again")
}

func TestOperate_ADeletedJobLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	id, err := s.RefuseForeign(t.Context(), engine.Delivery{Queue: "default", Type: "work", Body: []byte("{")}, "why")
	require.NoError(t, err)
	require.NoError(t, s.Delete(t.Context(), id, somebody))
	for _, table := range []string{"jobs", "outbox", "attempts", "deliveries", "raw_messages", "attempt_logs"} {
		require.Zero(t, number(t, conn, `SELECT count(*) FROM warren.`+table), table)
	}
}

func TestOperate_WeirdReasonsAreWrittenDown(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	id := addIn(t, s, conn, jobs.Dead)
	require.NoError(t, s.Retry(t.Context(), id, jobs.Actor{Name: "\x00", Reason: "\xff"}))
	require.Equal(t, 1, number(t, conn, `SELECT count(*) FROM warren.audit`))
}

func TestOperate_ARunThatCompletedIsNotForgottenWhenItsJobIsRetried(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	_, w := worker(t, s, "w")
	id := add(t, s, work())[0]
	for n := 1; n <= 2; n++ {
		require.Equal(t, []bool{true}, complete(t, s, completed(id, claim(t, s, w, id).Lease)))
		require.NoError(t, s.Retry(t.Context(), id, somebody))
		job := read(t, s, id)
		require.Len(t, job.Attempts, n)
		require.Equal(t, jobs.AttemptCompleted, job.Attempts[n-1].Outcome)
		require.Len(t, job.Deliveries, n)
	}
}
