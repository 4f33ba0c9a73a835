package store_test

import (
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
)

func TestOperate_AnActionOnManyDoesWhatItDoesOnOneAndSkipsTheRest(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	for action, a := range actions {
		var ids []uuid.UUID
		var want jobs.BulkResult
		want.NotAllowed, want.Gone = map[jobs.State]int{}, 1
		before := map[uuid.UUID]jobs.State{}
		for _, state := range jobs.States {
			id := addIn(t, s, conn, state)
			ids, before[id] = append(ids, id), state
			if ok, _ := action.Allowed(state); ok {
				want.Done++
				continue
			}
			want.Skipped++
			want.NotAllowed[state]++
		}
		if action == jobs.ActionCancel {
			want.Stopping = 1
		}
		got, err := s.Operate(t.Context(), action, append(ids, ids[0], uuid.New()), somebody) // one twice, and one that is gone
		require.NoError(t, err)
		require.Equal(t, want, got, action)
		for id, state := range before {
			audited := number(t, conn, `SELECT count(*) FROM warren.audit WHERE target = $1 AND action = $2 AND actor = 'somebody'
				AND reason = 'for a test' AND details->>'state' = $3`, "job:"+id.String(), "job."+string(action), state)
			switch ok, _ := action.Allowed(state); {
			case !ok:
				require.Zero(t, audited)
				require.Equal(t, state, read(t, s, id).State, "%s of a %s job", action, state)
			case a.after == nil:
				require.Equal(t, 1, audited)
				require.Zero(t, number(t, conn, `SELECT count(*) FROM warren.jobs WHERE id = $1`, id))
			default:
				require.Equal(t, 1, audited)
				require.Equal(t, a.after(state), read(t, s, id).State, "%s of a %s job", action, state)
			}
		}
	}
}

func TestOperate_ARetryOfManySkipsJobsWhoseUniqueKeyIsTaken(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	taken, twin1, twin2 := addIn(t, s, conn, jobs.Dead, jobs.UniqueKey("taken")), addIn(t, s, conn, jobs.Dead, jobs.UniqueKey("twin")),
		addIn(t, s, conn, jobs.Completed, jobs.UniqueKey("twin"))
	add(t, s, work(jobs.UniqueKey("taken")))
	got, err := s.Operate(t.Context(), jobs.ActionRetry, []uuid.UUID{taken, twin1, twin2}, somebody)
	require.NoError(t, err)
	require.Equal(t, jobs.BulkResult{Done: 1, Skipped: 2, NotAllowed: map[jobs.State]int{}}, got)
	require.Equal(t, jobs.Dead, read(t, s, taken).State)
	require.Equal(t, jobs.Queued, read(t, s, twin2).State, "the newest of those that share a key")
}

// Two people tick the same jobs in any order at the same moment.
func TestOperate_ActionsOnTheSameJobsAtOnceAreEachDoneOnce(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	var ids []uuid.UUID
	for i := range 20 {
		ids = append(ids, addIn(t, s, conn, jobs.Dead, jobs.UniqueKey(fmt.Sprint("k", i))))
	}
	results := make(chan int, 4)
	for i := range cap(results) {
		go func() {
			order := append(append([]uuid.UUID{}, ids[i*5:]...), ids[:i*5]...)
			r, err := s.Operate(t.Context(), jobs.ActionRetry, order, somebody)
			if err != nil {
				t.Error(err)
			}
			results <- r.Done
		}()
	}
	total := 0
	for range cap(results) {
		total += <-results
	}
	require.Equal(t, len(ids), total)
}
