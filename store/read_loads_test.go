package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store"
)

// load reads what the worker of that name did lately.
func load(t *testing.T, s *store.Store, name string) *engine.ProcessLoad {
	t.Helper()
	page, err := s.Processes(t.Context(), engine.ProcessFilter{}, jobs.Cursor{}, 10)
	require.NoError(t, err)
	for _, p := range page.Items {
		if p.Name == name && p.Worker != nil {
			return p.Worker.Load
		}
	}
	t.Fatalf("no worker %s", name)
	return nil
}

// employ inserts a process that started so many seconds ago and has a worker with two slots.
func employ(t *testing.T, s *store.Store, conn *pgx.Conn, name string, seconds int) engine.Holder {
	t.Helper()
	p := process(t, s, name, "worker")
	execute(t, conn, `UPDATE warren.processes SET started_at = now() - $2 * interval '1 s' WHERE id = $1`, p.ID, seconds)
	session, err := s.OpenSession(t.Context(), store.SessionInfo{Process: p.ID, Name: name, Roles: []string{"worker"}, Concurrency: 2})
	require.NoError(t, err)
	t.Cleanup(func() { _ = session.Close(context.Background()) })
	return session.Holder()
}

const (
	// ranJobs inserts completed jobs of a worker, and ranAttempts runs that failed, each of one second.
	ranJobs = `INSERT INTO warren.jobs (id, kind, queue, args, state, attempt, max_attempts, worker, started_at, finished_at)
		SELECT gen_random_uuid(), 'work', 'default', '{}', 'completed', 1, 5, $1, at - interval '1 s', at
		FROM (SELECT now() - $2 * interval '1 s' + n * interval '1 ms' AS at FROM generate_series(1, $3) n) runs`
	ranAttempts = `INSERT INTO warren.attempts (job_id, lease, number, dispatch, worker, started_at, finished_at, outcome)
		SELECT gen_random_uuid(), 1, 1, 1, $1, at - interval '1 s', at, 'failed'
		FROM (SELECT now() - $2 * interval '1 s' + n * interval '1 ms' AS at FROM generate_series(1, $3) n) runs`
)

func TestProcesses_TheLoadOfAWorkerIsThatOfItsRuns(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	employ(t, s, conn, "w", 100)
	employ(t, s, conn, "new", 50)
	employ(t, s, conn, "old", 3600)
	execute(t, conn, ranJobs, "w", 90, 30)
	execute(t, conn, ranAttempts, "w", 20, 10)
	execute(t, conn, ranJobs, "w", 200, 7) // of a process before it with the same name
	execute(t, conn, ranJobs, "old", 700, 7)

	l := load(t, s, "w")
	require.EqualValues(t, 40, l.Runs)
	require.InDelta(t, 0.2, l.BusyShare, 0.05, "40 s of 100 s on two slots")
	require.NotNil(t, l.IdleSince)
	require.WithinDuration(t, time.Now().Add(-20*time.Second), *l.IdleSince, 10*time.Second)
	require.WithinDuration(t, time.Now().Add(-100*time.Second), l.Since, 10*time.Second)

	l = load(t, s, "new")
	require.Zero(t, l.Runs)
	require.NotNil(t, l.IdleSince)
	require.Equal(t, l.Since, *l.IdleSince, "idle since it started")

	l = load(t, s, "old")
	require.Zero(t, l.Runs, "older than the window")
	require.Nil(t, l.IdleSince)
	require.WithinDuration(t, time.Now().Add(-engine.LoadWindow), l.Since, 10*time.Second)
}

func TestProcesses_AWorkerThatRunsAJobIsNotIdle(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	holder := employ(t, s, conn, "w", 100)
	id := add(t, s, work())[0]
	claim(t, s, holder, id)
	execute(t, conn, `UPDATE warren.jobs SET started_at = now() - interval '60 s' WHERE id = $1`, id)
	l := load(t, s, "w")
	require.Nil(t, l.IdleSince)
	require.Zero(t, l.Runs)
	require.InDelta(t, 0.3, l.BusyShare, 0.05, "60 s of 100 s on one of two slots")
}

func TestProcesses_ALoadReachesAsFarBackAsTheRunsThatAreCounted(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	employ(t, s, conn, "w", 3600)
	execute(t, conn, ranJobs, "w", 300, 100)
	execute(t, conn, ranJobs, "w", 60, 5000)
	l := load(t, s, "w")
	require.WithinDuration(t, time.Now().Add(-60*time.Second), l.Since, 10*time.Second)
	require.EqualValues(t, 5000, l.Runs+1, "those after the first that is counted")
}

func TestProcesses_TheLoadOfTwoProcessesWithOneNameIsNotKnown(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	employ(t, s, conn, "w", 100)
	require.NotNil(t, load(t, s, "w"))
	other := process(t, s, "w", "worker")
	require.Nil(t, load(t, s, "w"))
	require.NoError(t, s.EndProcess(t.Context(), other.ID))
	require.NotNil(t, load(t, s, "w"))
}
