package store_test

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/store/outbox"
)

func TestScanStart_WhatALookFindsGoneIsGoneOnceAllTransactionsBeforeItHaveEnded(t *testing.T) {
	t.Parallel()
	var l store.ScanStarts
	at := func(second int, id int64, oldest, own uint64) [2]int64 {
		from, final := l.At(second, id, oldest, own)
		return [2]int64{from, final}
	}
	require.Equal(t, [2]int64{0, 0}, at(1, 100, 7, 10), "the first look knows nothing")
	require.Equal(t, [2]int64{0, 0}, at(3, 200, 7, 20), "100 were taken by transactions before 20, and 7 goes on")
	require.Equal(t, [2]int64{0, 0}, at(5, 300, 7, 30))
	require.Equal(t, [2]int64{0, 0}, at(7, 400, 19, 40), "one of them goes on")
	require.Equal(t, [2]int64{0, 100}, at(9, 500, 20, 50))
	require.Equal(t, [2]int64{100, 100}, at(9, 500, 20, 50), "what the last look found gone")
	require.Equal(t, [2]int64{100, 400}, at(11, 600, 50, 60), "400 was the last id before 50 began")
	require.Equal(t, [2]int64{400, 500}, at(13, 700, 60, 70))
	from, _ := l.At(13+31*60, 800, 70, 80)
	require.Zero(t, from, "now and then a look trusts nothing")
	from, final := l.Restarted(13 + 32*60)
	require.Zero(t, from, "another server may have given its ids twice")
	require.Zero(t, final)

	var idle store.ScanStarts
	for second := range 10 {
		from, _ := idle.At(second, 100, 5, 0)
		require.Zero(t, from, "with little to pass by looks begin at the beginning")
	}
}

// held returns a deployment in which n jobs have come and gone while another transaction holds a
// snapshot.
func held(t *testing.T, n int) (*store.Store, *pgx.Conn) {
	t.Helper()
	s, conn := database(t)
	holder, err := pgx.Connect(t.Context(), conn.Config().ConnString())
	require.NoError(t, err)
	t.Cleanup(func() { _ = holder.Close(context.Background()) })
	execute(t, holder, `BEGIN ISOLATION LEVEL REPEATABLE READ`)
	require.Zero(t, number(t, holder, `SELECT count(*) FROM warren.jobs`))

	execute(t, conn, `INSERT INTO warren.queue_reached (queue, dispatched_at) SELECT 'q' || i, now() FROM generate_series(0, 2) i`)
	execute(t, conn, `
		INSERT INTO warren.jobs (id, kind, queue, args, state, max_attempts, queued_at, run_at, dispatch)
		SELECT gen_random_uuid(), 'work', 'q' || i % 3, '{}', 'queued', 1, clock_timestamp(), now(), 1 FROM generate_series(1, $1) i`, n)
	execute(t, conn, `INSERT INTO warren.outbox (job_id, dispatch, routing_key, type, body) SELECT id, 1, queue, 'work', ''
		FROM warren.jobs`)
	execute(t, conn, `UPDATE warren.relay_busy SET claimed = (SELECT max(id) FROM warren.outbox)`)
	execute(t, conn, `DELETE FROM warren.outbox`)
	worker(t, s, "w")
	execute(t, conn, `UPDATE warren.jobs SET state = 'running', worker_id = (SELECT id FROM warren.sessions WHERE name = 'w')`)
	execute(t, conn, `UPDATE warren.jobs SET state = 'completed', worker_id = NULL, finished_at = now()`)
	return s, conn
}

// blocks returns the number of blocks that a statement reads.
func blocks(t *testing.T, conn *pgx.Conn, sql string, args ...any) int {
	t.Helper()
	plan := explain(t, conn, "(ANALYZE, BUFFERS) "+sql, args...)
	n := 0
	for line := range strings.Lines(plan) { // the first line has the sum of all parts
		if found := regexp.MustCompile(`Buffers: shared(?: hit=(\d+))?(?: read=(\d+))?`).FindStringSubmatch(line); found != nil {
			for _, part := range found[1:] {
				read, _ := strconv.Atoi(part)
				n += read
			}
			return n
		}
	}
	t.Fatalf("no blocks: %s", plan)
	return 0
}

func TestScanStart_LooksPassByWhatHasGoneWhileSomebodyHoldsASnapshot(t *testing.T) {
	t.Parallel()
	s, conn := held(t, 12_000)
	until(t, "the statistics know of it", func() bool {
		return number(t, conn, `SELECT pg_stat_get_dead_tuples('warren.jobs'::regclass) +
			pg_stat_get_dead_tuples('warren.outbox'::regclass)`) > 20_000
	})
	below := int64(12_001)
	look := func() {
		id, err := s.Overlooked(t.Context(), engine.OutboxPick{}, below)
		require.NoError(t, err)
		require.Zero(t, id)
		require.Empty(t, waitingQueues(t, s))
	}
	var sent int64
	var queued map[string]time.Time
	until(t, "looks begin behind what has gone", func() bool {
		look()
		var err error
		sent, queued, err = s.ScanStart(t.Context())
		require.NoError(t, err)
		return sent == 12_000 && len(queued) == 3
	})
	var names []string
	var after []time.Time
	for name, at := range queued {
		names, after = append(names, name), append(after, at)
	}
	execute(t, conn, `SET enable_sort = off; SET enable_seqscan = off`) // as the store's statements do
	whole := blocks(t, conn, store.OldestSQL, []string{}, []time.Time{})
	require.Greater(t, whole, 400, "from the beginning they read all that has gone")
	require.Less(t, blocks(t, conn, store.OldestSQL, names, after), whole/10)
	execute(t, conn, `UPDATE warren.sessions SET expires_at = now() + interval '1 hour'`) // however long the test takes
	session, own := worker(t, s, "judge")
	require.NoError(t, session.Renew(t.Context()))
	require.Less(t, blocks(t, conn, store.GoneSQL, own.Session, "1 minute"), whole/10, "nor what living workers have held")

	// A transaction that stays open: its rows are found once it commits.
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = outbox.Enqueue(t.Context(), outbox.Pgx(tx), work(jobs.OnQueue("q1")), work(jobs.OnQueue("q1-only-seldom")))
	require.NoError(t, err)
	below += 2
	began := time.Now()
	until(t, "looks have seen nothing of it for a while", func() bool {
		look()
		return time.Since(began) > 3*time.Second
	})
	require.NoError(t, tx.Commit(t.Context()))
	id, err := s.Overlooked(t.Context(), engine.OutboxPick{}, below)
	require.NoError(t, err)
	require.EqualValues(t, 12_001, id)
	waiting, err := s.WaitingQueues(t.Context(), "v", "", 2*time.Second)
	require.NoError(t, err)
	require.Equal(t, []string{"q1", "q1-only-seldom"}, []string{waiting[0].Queue, waiting[1].Queue})
}
