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
)

// event writes an event to the outbox and returns its row's id.
func event(t *testing.T, conn *pgx.Conn) (id int64) {
	t.Helper()
	require.NoError(t, conn.QueryRow(t.Context(), `
		INSERT INTO warren.outbox (exchange, routing_key, type, body) VALUES ('orders', 'orders.paid', 'orders.paid', '{}')
			RETURNING id`).Scan(&id))
	return id
}

// rowOf returns the id of a job's outbox row.
func rowOf(t *testing.T, conn *pgx.Conn, job uuid.UUID) int64 {
	t.Helper()
	return int64(number(t, conn, `SELECT id FROM warren.outbox WHERE job_id = $1`, job))
}

// fail marks rows as failed, as a relay does.
func fail(t *testing.T, conn *pgx.Conn, ids ...int64) {
	t.Helper()
	execute(t, conn, `UPDATE warren.outbox SET tries = 3, last_error = $2, not_before = now() + interval '1 minute'
		WHERE id = ANY($1)`, ids, engine.OutboxRefused+": why")
}

func TestOutbox_ARowThatIsRetriedIsDueAtOnceAndKeepsItsTries(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	id := event(t, conn)
	fail(t, conn, id)
	require.Empty(t, claimable(t, s, rowID))
	execute(t, conn, `LISTEN warren_wake`)
	require.NoError(t, s.RetryOutbox(t.Context(), id, somebody))
	require.Equal(t, []int64{id}, claimable(t, s, rowID))
	require.Equal(t, 3, number(t, conn, `SELECT tries FROM warren.outbox`))
	require.Equal(t, 1, number(t, conn, `SELECT count(*) FROM warren.audit WHERE action = 'outbox.retry' AND actor = 'somebody'
		AND details->>'type' = 'orders.paid'`))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := conn.WaitForNotification(ctx)
	require.NoError(t, err, "a relay is woken")
}

func TestOutbox_AllFailingRowsAreRetriedExceptThoseThatAreJustBeingSent(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	first, second, sending, fine := event(t, conn), event(t, conn), event(t, conn), event(t, conn)
	fail(t, conn, first, second, sending)
	lockRow(t, conn, sending)
	n, err := s.RetryFailingOutbox(t.Context(), somebody)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.ElementsMatch(t, []int64{first, second, fine}, claimable(t, s, rowID))
	n, err = s.RetryFailingOutbox(t.Context(), somebody)
	require.NoError(t, err)
	require.Zero(t, n)
	require.Equal(t, 1, number(t, conn, `SELECT count(*) FROM warren.audit`), "nothing done, nothing written down")
}

// lockRow locks an outbox row as a relay does while it sends.
func lockRow(t *testing.T, conn *pgx.Conn, id int64) {
	t.Helper()
	tx, err := connect(t, conn).Begin(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	_, err = tx.Exec(t.Context(), `SELECT FROM warren.outbox WHERE id = $1 FOR UPDATE`, id)
	require.NoError(t, err)
}

func TestOutbox_NothingIsDoneToARowThatIsJustBeingSent(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	job := add(t, s, work())[0]
	id := rowOf(t, conn, job)
	lockRow(t, conn, id)
	require.ErrorIs(t, s.RetryOutbox(t.Context(), id, somebody), engine.ErrSending)
	_, err := s.DiscardOutbox(t.Context(), id, somebody)
	require.ErrorIs(t, err, engine.ErrSending)
	require.Equal(t, jobs.Queued, read(t, s, job).State)
	require.Zero(t, number(t, conn, `SELECT count(*) FROM warren.audit`))
}

// Relays look ten times a second: their looks must not count as failed transactions.
func TestOutbox_ALookThatFindsNothingIsNotRolledBack(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	last := func(statement string) int {
		return number(t, conn, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query = $1`, statement)
	}
	require.Empty(t, claimable(t, s, rowID))
	require.Equal(t, []int{1, 0}, []int{last("COMMIT"), last("ROLLBACK")})
	add(t, s, work())
	require.Len(t, claimable(t, s, rowID), 1)
	require.Equal(t, 1, last("ROLLBACK"), "what was claimed and not sent is given back")
}

func TestOutbox_DiscardingAJobsMessageCancelsTheJob(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	job := add(t, s, work(jobs.UniqueKey("k")))[0]
	execute(t, conn, `UPDATE warren.jobs SET attempt = 2`)
	cancelled, err := s.DiscardOutbox(t.Context(), rowOf(t, conn, job), somebody)
	require.NoError(t, err)
	require.Equal(t, job, cancelled)
	d := read(t, s, job)
	require.Equal(t, jobs.Cancelled, d.State)
	require.Equal(t, 2, d.Attempt, "its attempts are untouched")
	require.Contains(t, *d.LastError, somebody.Reason)
	require.NotNil(t, d.FinishedAt)
	require.False(t, d.InOutbox)
	require.Equal(t, 1, number(t, conn, `SELECT count(*) FROM warren.audit WHERE action = 'outbox.discard' AND target = $1
		AND reason = 'for a test'
		AND details->>'type' = 'work' AND details->>'key' = 'default'`, "job:"+job.String()))
	add(t, s, work(jobs.UniqueKey("k"))) // its key is free
}

func TestOutbox_DiscardingAnOldMessageLeavesTheJobAlone(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	_, w := worker(t, s, "w")
	running := add(t, s, work())[0]
	claim(t, s, w, running) // the confirm of its message was late
	newer := add(t, s, work())[0]
	old := rowOf(t, conn, newer)
	execute(t, conn, `UPDATE warren.jobs SET dispatch = dispatch + 1 WHERE id = $1`, newer)
	for _, id := range []int64{rowOf(t, conn, running), old} {
		cancelled, err := s.DiscardOutbox(t.Context(), id, somebody)
		require.NoError(t, err)
		require.Equal(t, uuid.Nil, cancelled)
	}
	require.Equal(t, jobs.Running, read(t, s, running).State)
	require.Equal(t, jobs.Queued, read(t, s, newer).State)
}

func TestOutbox_AnEventIsDiscardedForAReason(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	id := event(t, conn)
	var fields jobs.FieldErrors
	_, err := s.DiscardOutbox(t.Context(), id, jobs.Actor{Name: "somebody"})
	require.ErrorAs(t, err, &fields)
	require.Equal(t, 1, number(t, conn, `SELECT count(*) FROM warren.outbox`))
	_, err = s.DiscardOutbox(t.Context(), id, somebody)
	require.NoError(t, err)
	require.Zero(t, number(t, conn, `SELECT count(*) FROM warren.outbox`))
	require.Equal(t, 1, number(t, conn, `SELECT count(*) FROM warren.audit WHERE action = 'outbox.discard' AND target = $1
		AND details->>'exchange' = 'orders'`, fmt.Sprintf("outbox:%d", id)))
	_, err = s.DiscardOutbox(t.Context(), id, somebody)
	require.ErrorIs(t, err, jobs.ErrNotFound)
	require.ErrorIs(t, s.RetryOutbox(t.Context(), id, somebody), jobs.ErrNotFound)
}

func TestOutbox_IsPagedByFilterInBothDirections(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	var events, failing []int64
	for i := range 7 {
		add(t, s, work())
		events = append(events, event(t, conn))
		if i%2 == 0 {
			failing = append(failing, events[i])
		}
	}
	fail(t, conn, failing...)
	for filter, want := range map[engine.OutboxFilter]int{engine.OutboxAll: 14, engine.OutboxJobs: 7, engine.OutboxEvents: 7,
		engine.OutboxFailing: 4} {
		rows := forthAndBack(t, func(c jobs.Cursor) (jobs.Page[engine.OutboxRow], error) {
			return s.OutboxRows(t.Context(), filter, c, 3)
		})
		require.Len(t, rows, want, filter)
		require.IsIncreasing(t, idsOf(rows))
	}
	view, err := s.OutboxView(t.Context(), engine.OutboxEvents, jobs.Cursor{}, 3)
	require.NoError(t, err)
	require.Equal(t, []int{14, 7, 4}, []int{view.Waiting, view.Events, view.Failing})
	require.Equal(t, events[:3], idsOf(view.Page.Items))
	groups := view.Failures
	require.Len(t, groups, 1)
	require.Equal(t, []any{4, "orders", "orders.paid", false}, []any{groups[0].Rows, groups[0].Exchange, groups[0].Key, groups[0].Job})
}

func idsOf(rows []engine.OutboxRow) (ids []int64) {
	for _, r := range rows {
		ids = append(ids, r.ID)
	}
	return ids
}

func TestOutbox_ALongTransactionIsNamedWithoutItsQuery(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	other := connect(t, conn)
	execute(t, other, `SET application_name = 'importer'`)
	tx, err := other.Begin(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	_, err = tx.Exec(t.Context(), `INSERT INTO warren.outbox (routing_key, type, body) VALUES ('secret', 'x', '{}')`)
	require.NoError(t, err)
	list, err := s.OpenTransactions(t.Context(), time.Hour)
	require.NoError(t, err)
	require.Empty(t, list)
	list, err = s.OpenTransactions(t.Context(), 0)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "importer", list[0].Application)
	require.Equal(t, "idle in transaction", list[0].State)
	require.True(t, list[0].Writes)
	require.Equal(t, int(other.PgConn().PID()), list[0].PID)
}

func TestOutbox_TheQueuesWhoseJobsTheBrokerDoesNotConfirmAreNamed(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	silent := rowOf(t, conn, add(t, s, work(jobs.OnQueue("silent")))[0])
	fail(t, conn, rowOf(t, conn, add(t, s, work(jobs.OnQueue("full")))[0]), event(t, conn))
	add(t, s, work())
	execute(t, conn, `UPDATE warren.outbox SET tries = 1, last_error = $2 WHERE id = $1`, silent, engine.OutboxUnconfirmed)
	queues, err := s.UnconfirmedQueues(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"silent"}, queues)
}

func TestOutbox_JobsOfAPausedQueueAreNoLag(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	add(t, s, work())
	execute(t, conn, `UPDATE warren.outbox SET created_at = now() - interval '1 hour'`)
	lag := func() (read, sampled time.Duration) {
		stats, err := s.Outbox(t.Context())
		require.NoError(t, err)
		execute(t, conn, `DELETE FROM warren.activity`)
		require.NoError(t, s.SampleActivity(t.Context(), time.Hour))
		moments, err := s.Activity(t.Context(), time.Now().Add(-time.Hour), time.Now())
		require.NoError(t, err)
		require.Len(t, moments, 1)
		require.EqualValues(t, stats.Waiting, moments[0].OutboxWaiting)
		return stats.OldestAge, time.Duration(moments[0].OutboxAge * float64(time.Second))
	}
	read, sampled := lag()
	require.GreaterOrEqual(t, min(read, sampled), time.Hour)
	require.NoError(t, s.PauseQueue(t.Context(), "default", somebody))
	read, sampled = lag()
	require.Zero(t, max(read, sampled))
	event(t, conn)
	execute(t, conn, `UPDATE warren.outbox SET created_at = now() - interval '5 minutes' WHERE job_id IS NULL`)
	read, sampled = lag()
	require.GreaterOrEqual(t, min(read, sampled), 5*time.Minute)
	require.Less(t, max(read, sampled), time.Hour)
}

func TestOutbox_QueuesThatRefuseMessagesAreNamed(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	job := add(t, s, work())[0]
	fail(t, conn, rowOf(t, conn, job), event(t, conn))
	refusing, err := s.RefusingQueues(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"default"}, refusing)
	unconfirmed, err := s.UnconfirmedQueues(t.Context())
	require.NoError(t, err)
	require.Empty(t, unconfirmed)
}
