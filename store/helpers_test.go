package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store"
)

var somebody = jobs.Actor{Name: "somebody", Reason: "for a test"}

// work is a job of a kind that exists only in these tests.
func work(opts ...jobs.Option) jobs.NewJob {
	j := jobs.NewJob{Kind: "work"}
	for _, opt := range opts {
		opt(&j)
	}
	return j
}

// add enqueues the jobs in one call and returns their ids.
func add(t *testing.T, s *store.Store, list ...jobs.NewJob) []uuid.UUID {
	t.Helper()
	added, err := s.Enqueue(t.Context(), list...)
	require.NoError(t, err)
	ids := make([]uuid.UUID, len(added))
	for i, a := range added {
		require.False(t, a.Duplicate)
		ids[i] = a.ID
	}
	return ids
}

// claimable returns a field of each message that a relay would claim now.
func claimable[T any](t *testing.T, s *store.Store, field func(engine.Message) T) (list []T) {
	t.Helper()
	claim, err := s.ClaimOutbox(t.Context(), engine.OutboxPick{}, 100, 0)
	require.NoError(t, err)
	defer claim.Release(t.Context())
	for _, m := range claim.Messages() {
		list = append(list, field(m))
	}
	return list
}

func rowID(m engine.Message) int64     { return m.OutboxID }
func jobID(m engine.Message) uuid.UUID { return m.JobID }

// addIn adds a job in that state.
func addIn(t *testing.T, s *store.Store, conn *pgx.Conn, state jobs.State, opts ...jobs.Option) uuid.UUID {
	t.Helper()
	id := add(t, s, work(opts...))[0]
	if state != jobs.Queued {
		execute(t, conn, `DELETE FROM warren.outbox WHERE job_id = $1`, id)
		execute(t, conn, `UPDATE warren.jobs SET state = $2, finished_at = CASE WHEN $3 THEN now() END,
			worker_id = CASE WHEN $4 THEN gen_random_uuid() END WHERE id = $1`, id, state, state.Ended(), state == jobs.Running)
	}
	return id
}

func execute(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	_, err := conn.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

func read(t *testing.T, s *store.Store, id uuid.UUID) jobs.Detail {
	t.Helper()
	d, err := s.Job(t.Context(), id)
	require.NoError(t, err)
	d.Around = jobs.Around{} // of the moment at which it is read
	return d
}

// rows returns the number of jobs and of outbox rows.
func rows(t *testing.T, conn *pgx.Conn) [2]int {
	t.Helper()
	return [2]int{number(t, conn, `SELECT count(*) FROM warren.jobs`), number(t, conn, `SELECT count(*) FROM warren.outbox`)}
}

// worker opens a session and returns it with its holder.
func worker(t *testing.T, s *store.Store, name string) (*store.Session, engine.Holder) {
	t.Helper()
	session, err := s.OpenSession(t.Context(), store.SessionInfo{Name: name, Roles: []string{"worker"}, Concurrency: 1})
	require.NoError(t, err)
	t.Cleanup(func() { _ = session.Close(context.Background()) })
	return session, session.Holder()
}

// delivery is the message of the job's dispatch as a worker receives it.
func delivery(id uuid.UUID, dispatch int) engine.Delivery {
	return engine.Delivery{Queue: "default", JobID: id, Dispatch: dispatch, SentAt: time.UnixMilli(1_800_000_000_000)}
}

func again(in engine.Delivery) engine.Delivery {
	in.Redelivered, in.DeliveryCount = true, in.DeliveryCount+1
	return in
}

// claim claims the first dispatch of a queued job.
func claim(t *testing.T, s *store.Store, h engine.Holder, id uuid.UUID) engine.Claim {
	t.Helper()
	in := delivery(id, read(t, s, id).Dispatch)
	claims, err := s.Claim(t.Context(), h, []engine.Delivery{in})
	require.NoError(t, err)
	require.Contains(t, claims, in.Key())
	return claims[in.Key()]
}

func release(t *testing.T, s *store.Store, runs []engine.Result) []engine.RunOutcome {
	t.Helper()
	for i := range runs {
		runs[i].Outcome = jobs.AttemptReleased
	}
	endings, err := s.EndRuns(t.Context(), runs)
	require.NoError(t, err)
	return endings
}

func claimOne(t *testing.T, s *store.Store, h engine.Holder, in engine.Delivery) engine.Claim {
	t.Helper()
	c, err := s.ClaimOne(t.Context(), h, in)
	require.NoError(t, err)
	return c
}

func completed(id uuid.UUID, lease int) engine.Result {
	return engine.Result{JobID: id, Lease: lease, State: jobs.Completed, Outcome: jobs.AttemptCompleted}
}

func complete(t *testing.T, s *store.Store, results ...engine.Result) []bool {
	t.Helper()
	endings, err := s.EndRuns(t.Context(), results)
	require.NoError(t, err)
	counted := make([]bool, len(endings))
	for i, e := range endings {
		counted[i] = e == engine.OutcomeWritten
	}
	return counted
}

// connect opens another connection to the database of conn.
func connect(t *testing.T, conn *pgx.Conn) *pgx.Conn {
	t.Helper()
	other, err := pgx.ConnectConfig(t.Context(), conn.Config().Copy())
	require.NoError(t, err)
	t.Cleanup(func() { _ = other.Close(context.Background()) })
	return other
}

// waitsForALock blocks until n statements of the database wait for a lock.
func waitsForALock(t *testing.T, conn *pgx.Conn, n int) {
	t.Helper()
	until(t, fmt.Sprintf("%d statements wait for a lock", n), func() bool {
		return number(t, conn, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) >= n
	})
}

// until polls until ok returns true, less often after a while, for at most two minutes.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for wait := 5 * time.Millisecond; !ok(); wait = min(2*wait, 100*time.Millisecond) {
		time.Sleep(wait)
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}
