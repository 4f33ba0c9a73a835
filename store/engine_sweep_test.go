package store_test

import (
	"context"
	"strings"
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

func TestSweep_TakesAllThatIsOldAndWhatBelongsToIt(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	execute(t, conn, `
		INSERT INTO warren.jobs (id, kind, queue, args, state, max_attempts, finished_at)
		SELECT gen_random_uuid(), 'work', 'default', '{}', (ARRAY['completed', 'cancelled', 'dead'])[1 + i % 3], 1,
			now() - interval '8 days' - i * interval '1 second'
		FROM generate_series(1, 7500) i`)
	for _, table := range []string{
		`attempts (job_id, lease, number, dispatch, worker, started_at, finished_at, outcome) SELECT id, 1, 1, 1, '', now(), now(),
			'failed'`,
		`deliveries (job_id, dispatch, queue, worker, redelivered, delivery_count, outcome) SELECT id, 1, '', '', true, 1, 'stale'`,
		`drift (job_id, queue, dispatch, found) SELECT id, 'default', 2, 'empty'`,
		`raw_messages (job_id, exchange, routing_key, properties, body) SELECT id, '', '', '{}', ''`,
		`event_replays (job_id, after) SELECT id, id`,
	} {
		execute(t, conn, `INSERT INTO warren.`+table+` FROM warren.jobs`)
	}
	n, err := s.Sweep(t.Context(), engine.RetentionDefault)
	require.NoError(t, err)
	require.EqualValues(t, 5000, n, "more than one statement takes, and not the dead")
	for _, table := range []string{"jobs", "attempts", "deliveries", "drift", "raw_messages", "event_replays"} {
		require.Equal(t, 2500, number(t, conn, `SELECT count(*) FROM warren.`+table), table)
	}
	require.Equal(t, 2500, number(t, conn, `SELECT count(*) FROM warren.deleted_jobs`),
		"messages of cancelled jobs may still lie in the broker")
}

func TestSweep_TheAuditLogIsKeptForItsTimeOrForEver(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	execute(t, conn, `INSERT INTO warren.audit (at, actor, action, target) SELECT now() - i * interval '100 days', 'a', 'b', 'c'
		FROM generate_series(10, 1, -1) i`)
	sweep := func(keep engine.Retention) int {
		_, err := s.Sweep(t.Context(), keep)
		require.NoError(t, err)
		return number(t, conn, `SELECT count(*) FROM warren.audit`)
	}
	require.Equal(t, 10, sweep(engine.Retention{}))
	require.Equal(t, 3, sweep(engine.RetentionDefault))
}

func TestSweep_AnEventIsKeptWhileItWaitsInTheOutbox(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	execute(t, conn, `INSERT INTO warren.events (id, exchange, routing_key, body, created_at) SELECT gen_random_uuid(), 'tasks', 'x', '{}',
		now() - interval '30 days' FROM generate_series(1, 2)`)
	execute(t, conn, `INSERT INTO warren.outbox (exchange, routing_key, type, body, message_id) SELECT 'tasks', 'x', 'x', '', id
		FROM warren.events LIMIT 1`)
	n, err := s.Sweep(t.Context(), engine.RetentionDefault)
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
}

func TestSweep_ALateMessageOfADeletedJobIsStale(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	_, w := worker(t, s, "w")
	one, group, demo := addIn(t, s, conn, jobs.Dead), addIn(t, s, conn, jobs.Dead), addIn(t, s, conn, jobs.Queued,
		func(j *jobs.NewJob) { j.Origin = store.DemoOrigin })
	require.NoError(t, s.Delete(t.Context(), one, somebody))
	key, _, err := s.FailureOf(t.Context(), group)
	require.NoError(t, err)
	_, err = s.DeleteFailure(t.Context(), key, time.Time{}, somebody)
	require.NoError(t, err)
	_, err = s.RemoveDemo(t.Context(), []string{"default"}, somebody)
	require.NoError(t, err)
	for name, id := range map[string]uuid.UUID{"by itself": one, "with its group": group, "with the demo": demo} {
		require.Equal(t, engine.DecisionStale, claimOne(t, s, w, delivery(id, 1)).Decision, name)
		known, err := s.Known(t.Context(), id, 1)
		require.NoError(t, err)
		require.True(t, known, name)
	}
	require.Equal(t, engine.DecisionUnknown, claimOne(t, s, w, delivery(uuid.New(), 1)).Decision)
	execute(t, conn, `UPDATE warren.deleted_jobs SET at = now() - interval '31 days'`)
	_, err = s.Sweep(t.Context(), engine.RetentionDefault)
	require.NoError(t, err)
	require.Zero(t, number(t, conn, `SELECT count(*) FROM warren.deleted_jobs`))
}

func TestSweep_WhatLoopsAskReadsNoneOfTheFinishedJobs(t *testing.T) {
	t.Parallel()
	_, conn := database(t)
	execute(t, conn, `
		INSERT INTO warren.jobs (id, kind, queue, args, state, max_attempts, finished_at, queued_at, run_at, created_at)
		SELECT gen_random_uuid(), 'work', 'q' || i % 3, '{}', CASE WHEN i % 10 = 0 THEN 'dead' ELSE 'completed' END, 1,
			now() - i * interval '1 minute', now(), now() - interval '1 day', now()
			FROM generate_series(1, 30000) i`)
	execute(t, conn, `
		INSERT INTO warren.jobs (id, kind, queue, args, state, max_attempts, queued_at, run_at)
		SELECT gen_random_uuid(), 'work', 'q' || i % 3, '{}', (ARRAY['scheduled', 'retrying', 'queued'])[1 + i % 3], 1, now(), now()
			FROM generate_series(1, 300) i`)
	execute(t, conn, `ANALYZE warren.jobs`)
	execute(t, conn, `SET enable_sort = off`) // as for statements that read an index in its order
	now := time.Now()
	for name, q := range map[string]struct {
		sql   string
		reads string // the index that the plan reads, and its bound
		args  []any
	}{
		"due jobs":           {store.DueSQL, "Index Cond: (run_at <= now())", []any{500}},
		"queues that wait":   {store.OldestSQL, "jobs_waiting", []any{[]string{}, []time.Time{}}},
		"holders":            {store.GoneSQL, "jobs_holder", []any{uuid.New(), "2 s"}},
		"lost jobs":          {"SELECT count(*) FROM (SELECT j.id " + store.LostOnes + ") x", "jobs_waiting", []any{10_000, "q1", now}},
		"jobs that died":     {store.DeadSQL, "using jobs_ended", []any{now.Add(-24 * time.Hour), 10_000, 1000}},
		"open failures":      {store.OpenSQL, "using jobs_failure", []any{1000, now.Add(-24 * time.Hour), 10_000}},
		"jobs to be removed": {store.SweepJobs, "using jobs_ended", []any{24 * time.Hour, 2000, time.Time{}, "completed"}},
	} {
		plan := explain(t, conn, q.sql, q.args...)
		require.Contains(t, plan, q.reads, name)
		require.NotContains(t, plan, "Seq Scan on jobs", "%s: %s", name, plan)
	}
}

func explain(t *testing.T, conn *pgx.Conn, sql string, args ...any) string {
	t.Helper()
	rows, err := conn.Query(t.Context(), "EXPLAIN "+sql, args...)
	require.NoError(t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return strings.Join(lines, "\n")
}

func TestSweep_HotTablesAreVacuumedByANumberOfRowsNotByAShare(t *testing.T) {
	t.Parallel()
	_, conn := database(t)
	for _, table := range []string{"jobs", "outbox", "sessions", "health", "relay_busy", "processes", "broker_queues", "queue_reached"} {
		var options []string
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT reloptions FROM pg_class WHERE oid = $1::regclass`, "warren."+
			table).Scan(&options))
		require.Contains(t, options, "autovacuum_vacuum_scale_factor=0", table)
		require.Contains(t, strings.Join(options, " "), "autovacuum_vacuum_threshold=", table)
		if table != "outbox" { // its rows are written once
			require.Contains(t, strings.Join(options, " "), "fillfactor=", table)
		}
	}
}

func TestSweep_RenewingASessionTouchesNoIndex(t *testing.T) {
	t.Parallel()
	url := storetest.Migrated(t)
	storetest.Open(t, url)
	s, err := store.Open(t.Context(), url)
	require.NoError(t, err)
	session, err := s.OpenSession(t.Context(), store.SessionInfo{Name: "w", Roles: []string{"worker"}, Process: uuid.New()})
	require.NoError(t, err)
	for range 50 {
		require.NoError(t, session.Renew(t.Context()))
	}
	require.NoError(t, session.Close(t.Context()))
	s.Close() // connections report their statistics when they end
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	until(t, "the renewals are counted", func() bool {
		return number(t, conn, `SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'sessions'`) == 50
	})
	// A renewal may come before its page is cleaned.
	require.GreaterOrEqual(t, number(t, conn, `SELECT n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'sessions'`), 48)
}
