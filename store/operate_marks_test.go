package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store"
)

// mark marks the failure of a job as an operator does.
func mark(t *testing.T, s *store.Store, job uuid.UUID, status jobs.FailureStatus, note string) jobs.FailureGroup {
	t.Helper()
	key, _, err := s.FailureOf(t.Context(), job)
	require.NoError(t, err)
	g, err := s.MarkFailure(t.Context(), key, status, note, somebody)
	require.NoError(t, err)
	return g
}

// diesNow adds a dead job of a kind that failed just now.
func diesNow(t *testing.T, s *store.Store, conn *pgx.Conn, kind, message string) uuid.UUID {
	t.Helper()
	id := fails(t, s, conn, kind, message)[0]
	execute(t, conn, `UPDATE warren.jobs SET finished_at = clock_timestamp() WHERE id = $1`, id)
	return id
}

func TestFailures_AGroupMarkedFixedIsOpenAgainWhenAJobDies(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	id := diesNow(t, s, conn, "mail", "bounced 1")
	g := mark(t, s, id, jobs.FailureFixed, "deployed 1.4")
	require.Equal(t, jobs.FailureFixed, g.Status)
	require.Equal(t, &jobs.FailureMark{Status: jobs.FailureFixed, Note: "deployed 1.4", By: "somebody", At: g.Mark.At}, g.Mark)
	require.Equal(t, []jobs.FailureGroup{g}, withQueues(failures(t, s, jobs.FailureFilter{Status: jobs.FailureFixed}), g))

	diesNow(t, s, conn, "mail", "bounced 2")
	diesNow(t, s, conn, "mail", "bounced 3")
	again := failures(t, s, jobs.FailureFilter{Status: jobs.FailureOpen})
	require.Len(t, again, 1)
	require.True(t, again[0].CameBack())
	require.Equal(t, g.Mark.At, again[0].Mark.At, "it still says who called it fixed")
	require.EqualValues(t, 2, again[0].Mark.DiedSince)
	require.Empty(t, failures(t, s, jobs.FailureFilter{Status: jobs.FailureFixed}))
	require.Equal(t, 1, number(t, conn, `SELECT count(*) FROM warren.failure_marks WHERE status = 'fixed'`))

	require.Equal(t, jobs.FailureFixed, mark(t, s, id, jobs.FailureFixed, "this time").Status, "it can be fixed once more")
}

// withQueues adds what only a single group has.
func withQueues(list []jobs.FailureGroup, one jobs.FailureGroup) []jobs.FailureGroup {
	for i := range list {
		list[i].Queues = one.Queues
	}
	return list
}

func TestFailures_AKnownGroupStaysKnownUntilItIsReopened(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	id := diesNow(t, s, conn, "mail", "bounced 1")
	mark(t, s, id, jobs.FailureKnown, "")
	diesNow(t, s, conn, "mail", "bounced 2")
	known := failures(t, s, jobs.FailureFilter{Status: jobs.FailureKnown})
	require.Len(t, known, 1)
	require.False(t, known[0].CameBack())
	require.EqualValues(t, 1, known[0].Mark.DiedSince)

	g := mark(t, s, id, jobs.FailureOpen, "not the vendor after all")
	require.Equal(t, jobs.FailureOpen, g.Status)
	require.Nil(t, g.Mark)
	_, err := s.MarkFailure(t.Context(), g.Key, jobs.FailureOpen, "", somebody)
	var refused *jobs.NotAllowedError
	require.ErrorAs(t, err, &refused)
}

func TestFailures_EachMarkIsInTheAuditLogWithItsNote(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	id := diesNow(t, s, conn, "mail", "bounced 1")
	key := mark(t, s, id, jobs.FailureKnown, "the vendor is told").Key
	mark(t, s, id, jobs.FailureFixed, "")
	mark(t, s, id, jobs.FailureOpen, "no")
	rows, err := conn.Query(t.Context(), `SELECT action || ' was ' || (details->>'was') || ': ' || reason FROM warren.audit
		WHERE actor = 'somebody' AND target = $1 AND details->>'error' = 'bounced <n>' ORDER BY id`, "failure:"+key.String())
	require.NoError(t, err)
	said, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Equal(t, []string{"failures.known was open: the vendor is told", "failures.fixed was known: ", "failures.reopen was fixed: no"},
		said)
}

func TestFailures_AMarkNeedsADeadJobAndAShortNote(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	_, err := s.MarkFailure(t.Context(), uuid.New(), jobs.FailureKnown, "", somebody)
	require.ErrorIs(t, err, jobs.ErrNotFound)
	key, _, err := s.FailureOf(t.Context(), diesNow(t, s, conn, "mail", "bounced"))
	require.NoError(t, err)
	var wrong jobs.FieldErrors
	_, err = s.MarkFailure(t.Context(), key, jobs.FailureKnown, strings.Repeat("ä", jobs.FailureNoteMax+1), somebody)
	require.ErrorAs(t, err, &wrong)
	require.Equal(t, "note", wrong[0].Field)
	_, err = s.MarkFailure(t.Context(), key, jobs.FailureKnown, strings.Repeat("ä", jobs.FailureNoteMax), somebody)
	require.NoError(t, err)
}

func TestFailures_GroupsAreCountedByStatusAlsoWhereThePageIsEmpty(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	mark(t, s, diesNow(t, s, conn, "mail", "bounced"), jobs.FailureKnown, "")
	mark(t, s, diesNow(t, s, conn, "sms", "bounced"), jobs.FailureFixed, "")
	counts := func(f jobs.FailureFilter) jobs.FailureCounts {
		page, n, err := s.Failures(t.Context(), f, jobs.Cursor{}, 10)
		require.NoError(t, err)
		require.Empty(t, page.Items)
		return n
	}
	require.Equal(t, jobs.FailureCounts{Groups: 2, Known: 1, Fixed: 1}, counts(jobs.FailureFilter{Status: jobs.FailureOpen}))
	require.Equal(t, jobs.FailureCounts{Groups: 2, Known: 1}, counts(jobs.FailureFilter{Status: jobs.FailureFixed, Kind: "mail"}),
		"the other filters count")
	require.Equal(t, jobs.FailureCounts{Groups: 2}, counts(jobs.FailureFilter{Text: "nope"}))
}

func TestFailures_OnlyJobsOfOpenGroupsAskForAttention(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	day := func() jobs.DeadCounts {
		n, err := s.DeadJobs(t.Context(), time.Now().Add(-24*time.Hour))
		require.NoError(t, err)
		return n
	}
	known := diesNow(t, s, conn, "mail", "bounced 1")
	fixed := diesNow(t, s, conn, "sms", "no route")
	diesNow(t, s, conn, "http", "timeout")
	require.Equal(t, jobs.DeadCounts{Open: 3}, day())

	mark(t, s, known, jobs.FailureKnown, "")
	mark(t, s, fixed, jobs.FailureFixed, "")
	require.Equal(t, jobs.DeadCounts{Open: 1, Known: 1, KnownFailures: 1}, day())
	diesNow(t, s, conn, "mail", "bounced 2")
	require.Equal(t, jobs.DeadCounts{Open: 1, Known: 2, KnownFailures: 1}, day())
	diesNow(t, s, conn, "sms", "no route")
	require.Equal(t, jobs.DeadCounts{Open: 2, Known: 2, KnownFailures: 1}, day(), "it came back, with one job")

	execute(t, conn, `UPDATE warren.jobs SET finished_at = now() - interval '25 hours' WHERE kind = 'mail'`)
	require.Equal(t, jobs.DeadCounts{Open: 2}, day(), "a known failure without new jobs is not news")
}

func TestFailures_OpenOnesAreCountedBehindMoreKnownOnesThanAreCounted(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	execute(t, conn, `INSERT INTO warren.jobs (id, kind, queue, args, state, max_attempts, finished_at, last_error)
		SELECT gen_random_uuid(), CASE WHEN i <= $1 THEN 'storm' ELSE 'fixed' END, 'default', '{}', 'dead', 5, now(), 'x'
		FROM generate_series(1, $1 + 2) i`, jobs.CountCap+1)
	for _, g := range failures(t, s, jobs.FailureFilter{}) {
		_, err := s.MarkFailure(t.Context(), g.Key, map[string]jobs.FailureStatus{"storm": jobs.FailureKnown,
			"fixed": jobs.FailureFixed}[g.Kind], "", somebody)
		require.NoError(t, err)
	}
	since := time.Now().Add(-time.Hour)
	n, err := s.DeadJobs(t.Context(), since)
	require.NoError(t, err)
	require.Equal(t, jobs.DeadCounts{Known: jobs.FailureCountCap + 1, KnownFailures: 1}, n)
	diesNow(t, s, conn, "new", "y")
	diesNow(t, s, conn, "fixed", "x")
	n, err = s.DeadJobs(t.Context(), since)
	require.NoError(t, err)
	require.Equal(t, jobs.DeadCounts{Open: 2, Known: jobs.FailureCountCap + 1, KnownFailures: 1}, n)
}

func TestSweep_AMarkGoesWhenItsGroupHasHadNoJobsForItsRetention(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	stays, goes := diesNow(t, s, conn, "mail", "bounced"), diesNow(t, s, conn, "sms", "no route")
	mark(t, s, stays, jobs.FailureKnown, "")
	mark(t, s, goes, jobs.FailureFixed, "")
	sweep := func() int {
		_, err := s.Sweep(t.Context(), engine.RetentionDefault)
		require.NoError(t, err)
		return number(t, conn, `SELECT count(*) FROM warren.failure_marks`)
	}
	execute(t, conn, `UPDATE warren.failure_marks SET seen_at = now() - interval '91 days'`)
	require.NoError(t, s.Delete(t.Context(), goes, somebody))
	require.Equal(t, 1, sweep(), "that of a group with dead jobs stays, however old it is")
	require.NoError(t, s.Delete(t.Context(), stays, somebody))
	execute(t, conn, `UPDATE warren.failure_marks SET seen_at = seen_at - interval '89 days'`)
	require.Equal(t, 1, sweep(), "it was seen with jobs 89 days ago")
	execute(t, conn, `UPDATE warren.failure_marks SET seen_at = seen_at - interval '2 days'`)
	require.Zero(t, sweep())
}
