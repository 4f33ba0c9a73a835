package store_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/store/outbox"
	"github.com/warrenjobs/warren/store/storetest"
)

func TestFailures_ErrorsThatDifferOnlyInIdsAreOneFailure(t *testing.T) {
	t.Parallel()
	_, conn := database(t)
	for normal, messages := range map[string][]string{
		"dial tcp <addr>: connect: connection refused": {"dial tcp 10.0.0.7:5432: connect: connection refused",
			"dial tcp [::1]:80: connect: connection refused"},
		"upstream answered 503 (request <id>)": {"upstream answered 503 (request " + uuid.NewString() + ")",
			"upstream answered 503 (request " + uuid.NewString() + ")"},
		"upstream answered 404": {"upstream answered 404"},
		"card declined for cus_<id>, invoice INV-<id>": {"card declined for cus_N8sd7hKJ2, invoice INV-20411",
			"card declined for cus_4kZ02bQx, invoice INV-7", "card declined for cus_81, invoice INV-8a"},
		"context deadline exceeded after <n>": {"context deadline exceeded after 1m30.25s",
			"context deadline exceeded after 250ms"},
		"unknown stock unit <s>": {`unknown stock unit "a-1"`, "unknown stock unit 'b'", "unknown stock unit `c`",
			`unknown stock unit "say \"x\""`},
		"x509: can't trust it, don't use sha256": {"x509: can't trust it, don't use sha256"},
		"mail to <email> bounced":                {"mail to ann@example.com bounced", "mail to bob.b+x@mail.example.org bounced"},
		"open /tmp/up-<id>/f.png: no such file": {"open /tmp/up-83bf2a1c/f.png: no such file",
			"open /tmp/up-0dd10a9c/f.png: no such file"},
		"GET https://shop.example/orders/<id>?<s> no": {"GET https://shop.example/orders/18?t=a&u=b no",
			"GET https://shop.example/orders/19?t=c no"},
		"nil pointer at <id>": {"nil pointer at 0xc000123400", "nil pointer at 0x1f"},
		"late since <time>": {"late since 2031-05-06T07:08:09.1Z", "late since 2031-05-06 07:08:09+02:00",
			"late since 2031-05-06"},
		"user<n> has order_<id> and <n>%, -<n>": {"user12345 has order_7 and 99%, -5", "user99999 has order_8,000 and 1.5%, -6"},
		"two lines":                             {"two lines\ngoroutine 7", "\n  two   lines\r\nelse"},
		"its worker died <n> times":             {"its worker died 3 times", "its worker died 4 times"},
		"HTTP 503 Unavailable":                  {"HTTP/1.1 503 Unavailable", "HTTP/2 503 Unavailable"},
		"":                                      {"", " ", "\n"},
	} {
		for _, m := range messages {
			var got string
			require.NoError(t, conn.QueryRow(t.Context(), `SELECT warren.failure($1)`, m).Scan(&got))
			require.Equal(t, normal, got, m)
		}
	}
}

func TestFailures_ANormalisedErrorStaysAsItIs(t *testing.T) {
	t.Parallel()
	_, conn := database(t)
	parts := rapid.OneOf(rapid.StringMatching(`[ -~]{0,12}`), rapid.StringMatching(`[0-9a-f:.'"<>@?=\[\]-]{0,20}`), rapid.String(),
		rapid.SampledFrom([]string{" 12.5s", `"a"`, "'", "0x12", "<id>", "10.0.0.1:1", "status 404", "[::1]", "?a=1", uuid.NewString(),
			"\n"}))
	rapid.Check(t, func(t *rapid.T) {
		message := ""
		for _, p := range rapid.SliceOfN(parts, 0, 40).Draw(t, "parts") {
			message += p
		}
		message = clean(message)
		var once, twice string
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT f, warren.failure(f) FROM warren.failure($1) f`, message).Scan(&once, &twice))
		require.Equal(t, once, twice, "of %q", message)
		require.LessOrEqual(t, len([]rune(once)), 300)
	})
}

// clean leaves out the characters that PostgreSQL cannot store as text; the store does so before it
// writes.
func clean(s string) (out string) {
	for _, r := range s {
		if r != 0 {
			out += string(r)
		}
	}
	return out
}

// fails adds dead jobs of a kind with these errors, each a minute later than the one before.
func fails(t *testing.T, s *store.Store, conn *pgx.Conn, kind string, errors ...string) []uuid.UUID {
	t.Helper()
	ids := make([]uuid.UUID, len(errors))
	for i, e := range errors {
		ids[i] = add(t, s, jobs.NewJob{Kind: kind})[0]
		execute(t, conn, `DELETE FROM warren.outbox WHERE job_id = $1`, ids[i])
		execute(t, conn, `UPDATE warren.jobs SET state = 'dead', finished_at = $2, last_error = $3
			WHERE id = $1`, ids[i], noon.Add(time.Duration(i)*time.Minute), e)
	}
	return ids
}

func failures(t *testing.T, s *store.Store, f jobs.FailureFilter) []jobs.FailureGroup {
	t.Helper()
	page, _, err := s.Failures(t.Context(), f, jobs.Cursor{}, 50)
	require.NoError(t, err)
	return page.Items
}

func TestFailures_DeadJobsAreGroupedByKindAndError(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	mails := fails(t, s, conn, "mail", "bounced 1", "bounced 2", "no route", "bounced 3")
	fails(t, s, conn, "sms", "bounced 1")
	addIn(t, s, conn, jobs.Dead) // without an error
	addIn(t, s, conn, jobs.Completed)
	execute(t, conn, `UPDATE warren.jobs SET finished_at = $1, queue = 'late' WHERE kind = 'work' AND state = 'dead'`, noon.Add(time.Hour))

	list := failures(t, s, jobs.FailureFilter{})
	type short struct {
		kind, message string
		n             jobs.Count
	}
	var got []short
	for _, g := range list {
		got = append(got, short{g.Kind, g.Error, g.Count})
	}
	require.Equal(t, []short{{"work", "", 1}, {"mail", "bounced <n>", 3}, {"mail", "no route", 1}, {"sms", "bounced <n>", 1}}, got,
		"the one that failed last first")
	g := list[1]
	require.Equal(t, noon, g.FirstSeen)
	require.Equal(t, noon.Add(3*time.Minute), g.LastSeen)
	require.Equal(t, "bounced 3", g.NewestError)
	require.Equal(t, mails[3], g.Newest)

	one, err := s.Failure(t.Context(), g.Key)
	require.NoError(t, err)
	require.Equal(t, []string{"default"}, one.Queues)
	one.Queues = nil
	require.Equal(t, g, one)
	_, err = s.Failure(t.Context(), uuid.New())
	require.ErrorIs(t, err, jobs.ErrNotFound)

	key, n, err := s.FailureOf(t.Context(), mails[0])
	require.NoError(t, err)
	require.Equal(t, g.Key, key)
	require.EqualValues(t, 3, n)

	require.Len(t, failures(t, s, jobs.FailureFilter{Kind: "mail"}), 2)
	require.Len(t, failures(t, s, jobs.FailureFilter{Text: "BOUNCED"}), 2)
	require.Len(t, failures(t, s, jobs.FailureFilter{Queue: "late"}), 1)
	require.Empty(t, failures(t, s, jobs.FailureFilter{Queue: "late", Kind: "mail"}))
	require.Empty(t, failures(t, s, jobs.FailureFilter{Text: "%"}))
}

func TestFailures_PagingVisitsEachFailureAndEachOfItsJobsOnce(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	for i := range 7 {
		fails(t, s, conn, fmt.Sprintf("kind%d", i), "x", "x", "x")
	}
	groups := forthAndBack(t, func(c jobs.Cursor) (jobs.Page[jobs.FailureGroup], error) {
		page, _, err := s.Failures(t.Context(), jobs.FailureFilter{}, c, 3)
		return page, err
	})
	require.Len(t, groups, 7)
	for _, g := range groups {
		list := forthAndBack(t, func(c jobs.Cursor) (jobs.Page[jobs.Job], error) { return s.FailedJobs(t.Context(), g.Key, c, 2) })
		require.Len(t, list, 3)
		require.True(t, list[0].FinishedAt.After(*list[1].FinishedAt))
	}
}

func TestFailures_ByCountTheLargestGroupIsFirstOnEachPage(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	for i, n := range []int{2, 5, 1, 5, 3} {
		fails(t, s, conn, fmt.Sprintf("kind%d", i), slices.Repeat([]string{"x"}, n)...)
	}
	groups := forthAndBack(t, func(c jobs.Cursor) (jobs.Page[jobs.FailureGroup], error) {
		page, n, err := s.Failures(t.Context(), jobs.FailureFilter{ByCount: true}, c, 2)
		require.Equal(t, 5, n.Groups, "the groups of all pages")
		return page, err
	})
	var counts []int
	for _, g := range groups {
		counts = append(counts, int(g.Count))
	}
	require.Equal(t, []int{5, 5, 3, 2, 1}, counts)
}

func TestFailures_TheJobsOfARetryAreListedWhateverBecomesOfThem(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	ids := fails(t, s, conn, "mail", "bounced 1", "bounced 2", "bounced 3")
	fails(t, s, conn, "sms", "bounced 1")
	key, _, err := s.FailureOf(t.Context(), ids[0])
	require.NoError(t, err)
	_, err = s.FailureAction(t.Context(), key)
	require.ErrorIs(t, err, jobs.ErrNotFound)

	r, err := s.RetryFailure(t.Context(), key, time.Time{}, somebody)
	require.NoError(t, err)
	of := jobs.Filter{Operation: *r.Operation}
	execute(t, conn, `UPDATE warren.jobs SET state = 'completed', finished_at = now() WHERE id = $1`, ids[0])
	execute(t, conn, `UPDATE warren.jobs SET state = 'dead', finished_at = now() WHERE id = $1`, ids[1])
	listed := func(f jobs.Filter) (found []uuid.UUID) {
		page, err := s.Jobs(t.Context(), f, jobs.Cursor{}, 10)
		require.NoError(t, err)
		for _, j := range page.Items {
			found = append(found, j.ID)
		}
		return found
	}
	require.Equal(t, []uuid.UUID{ids[2], ids[1], ids[0]}, listed(of), "newest first")
	completed := of
	completed.State = jobs.Completed
	require.Equal(t, ids[:1], listed(completed))
	counts, err := s.Counts(t.Context(), of)
	require.NoError(t, err)
	require.EqualValues(t, 1, counts[jobs.Dead])

	last, err := s.FailureAction(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, jobs.FailureAction{At: last.At, Actor: "somebody", Reason: "for a test", Kind: "mail", Error: "bounced <n>",
		Retried: true, Done: 3, Operation: *r.Operation}, last)
	require.NoError(t, s.Retry(t.Context(), ids[1], somebody))
	require.Equal(t, []uuid.UUID{ids[2], ids[0]}, listed(of), "one that is retried again belongs to that retry")
}

func TestFailures_ACountOfAFailureStopsAtTheCap(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	execute(t, conn, `INSERT INTO warren.jobs (id, kind, queue, args, state, max_attempts, finished_at, last_error)
		SELECT gen_random_uuid(), 'work', 'default', '{}', 'dead', 5, now(), 'x ' || i FROM generate_series(1, $1) i`,
		jobs.FailureCountCap+200)
	list := failures(t, s, jobs.FailureFilter{})
	require.Len(t, list, 1)
	require.EqualValues(t, jobs.FailureCountCap+1, list[0].Count)
	one, err := s.Failure(t.Context(), list[0].Key)
	require.NoError(t, err)
	require.EqualValues(t, jobs.FailureCountCap+200, one.Count)
}

func TestFailures_ATrendCountsTheHoursOfEachGroupAndKnowsNoneBeforeTheCap(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	now := noon.Add(30 * time.Minute)
	execute(t, conn, `INSERT INTO warren.jobs (id, kind, queue, args, state, max_attempts, finished_at, last_error)
		SELECT gen_random_uuid(), kind, 'default', '{}'::json, 'dead', 5, $1::timestamptz - ago, 'x' FROM (VALUES
			('few', interval '5 minutes'), ('few', interval '59 minutes'), ('few', interval '61 minutes'),
			('few', interval '23 hours 59 minutes'),
			('few', interval '24 hours'), ('few', interval '-1 second'), ('many', interval '10 hours')) v (kind, ago)
		UNION ALL SELECT gen_random_uuid(), 'many', 'default', '{}'::json, 'dead', 5, $1::timestamptz - interval '2 hours 1 minute', 'x'
			FROM generate_series(1, $2::int)`, now, jobs.FailureCountCap)
	groups := failures(t, s, jobs.FailureFilter{})
	trends, err := s.FailureTrends(t.Context(), groups, now)
	require.NoError(t, err)
	require.Len(t, trends, 2)
	for i, g := range groups {
		want := make([]*int64, jobs.FailureTrendHours)
		if g.Kind == "few" {
			for hour := range want {
				want[hour] = new(map[int]int64{23: 2, 22: 1, 0: 1}[hour])
			}
		} else {
			want[21], want[22], want[23] = new(int64(jobs.FailureCountCap)), new(int64(0)), new(int64(0))
		}
		require.Equal(t, want, trends[i], g.Kind)
	}
}

func TestFailures_IsRetriedButForTakenKeysAndLaterJobs(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	ids := fails(t, s, conn, "mail", "bounced 1", "bounced 2", "bounced 3", "bounced 4", "bounced 5")
	other := fails(t, s, conn, "mail", "no route")[0]
	execute(t, conn, `UPDATE warren.jobs SET unique_key = 'k' WHERE id = $1`, ids[0])
	execute(t, conn, `UPDATE warren.jobs SET unique_key = 'l' WHERE id = ANY($1)`, ids[1:3]) // two jobs that share a key
	add(t, s, work(jobs.UniqueKey("k")))
	key, _, err := s.FailureOf(t.Context(), ids[0])
	require.NoError(t, err)

	r, err := s.RetryFailure(t.Context(), key, noon.Add(3*time.Minute), somebody) // ids[4] failed after that
	require.NoError(t, err)
	require.Equal(t, jobs.BulkResult{Done: 2, Skipped: 2, Operation: r.Operation}, r)
	require.Equal(t, jobs.Dead, read(t, s, ids[0]).State)
	require.ElementsMatch(t, []jobs.State{jobs.Dead, jobs.Queued}, []jobs.State{read(t, s, ids[1]).State, read(t, s, ids[2]).State})
	d := read(t, s, ids[3])
	require.Equal(t, jobs.Queued, d.State)
	require.True(t, d.InOutbox)
	require.Equal(t, 2, d.Dispatch)
	require.Equal(t, jobs.Dead, read(t, s, ids[4]).State)
	require.Equal(t, jobs.Dead, read(t, s, other).State)
	require.Equal(t, 1, number(t, conn, `SELECT count(*) FROM warren.audit WHERE action = 'failures.retry' AND target = $1
		AND actor = 'somebody' AND reason = 'for a test'
		AND details->>'kind' = 'mail' AND details->>'error' = 'bounced <n>' AND details->>'done' = '2' AND details->>'skipped' = '2'`,
		"failure:"+key.String()))
	require.Equal(t, 1, number(t, conn, `SELECT count(*) FROM warren.audit`))
}

func TestFailures_AnActionOnAFailureOfManyJobsIsOneAuditRowAndStopsAtItsMost(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	execute(t, conn, `INSERT INTO warren.jobs (id, kind, queue, args, state, max_attempts, finished_at, last_error)
		SELECT gen_random_uuid(), 'work', 'default', '{}', 'dead', 5, $2, 'x ' || i FROM generate_series(1, $1) i`, 10_001, noon)
	key := failures(t, s, jobs.FailureFilter{})[0].Key
	r, err := s.RetryFailure(t.Context(), key, noon, somebody)
	require.NoError(t, err)
	require.Equal(t, jobs.BulkResult{Done: 10_000, Left: true, Operation: r.Operation}, r)
	require.Equal(t, 1, number(t, conn, `SELECT count(*) FROM warren.audit WHERE details->>'done' = '10000'`))
	require.Equal(t, 10_000, number(t, conn, `SELECT count(*) FROM warren.outbox`))
	r, err = s.RetryFailure(t.Context(), key, noon, somebody)
	require.NoError(t, err)
	require.Equal(t, jobs.BulkResult{Done: 1, Operation: r.Operation}, r)
}

func TestFailures_ADeletedFailureLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	for range 3 {
		_, err := s.RefuseForeign(t.Context(), engine.Delivery{Queue: "default", Type: "work", Body: []byte("{")}, "why")
		require.NoError(t, err)
	}
	kept := addIn(t, s, conn, jobs.Dead)
	var key uuid.UUID
	for _, g := range failures(t, s, jobs.FailureFilter{Text: "why"}) {
		key = g.Key
	}
	r, err := s.DeleteFailure(t.Context(), key, time.Now().Add(time.Hour), somebody)
	require.NoError(t, err)
	require.Equal(t, jobs.BulkResult{Done: 3}, r)
	require.Equal(t, jobs.Dead, read(t, s, kept).State)
	require.Equal(t, 1, number(t, conn, `SELECT count(*) FROM warren.jobs`))
	for _, table := range []string{"attempts", "deliveries", "raw_messages"} {
		require.Zero(t, number(t, conn, `SELECT count(*) FROM warren.`+table), table)
	}
	require.Equal(t, 1, number(t, conn, `SELECT count(*) FROM warren.audit WHERE action = 'failures.delete'`))
	_, err = s.DeleteFailure(t.Context(), key, time.Now(), somebody)
	require.ErrorIs(t, err, jobs.ErrNotFound)
}

func TestFailures_ARetryOfAGroupThatMeetsADeadlockGoesOn(t *testing.T) {
	t.Parallel()
	url := storetest.Migrated(t)
	s := storetest.Open(t, url+"&deadlock_timeout=10000") // by then the other transaction waits too
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	execute(t, conn, `SET deadlock_timeout = '1min'`)
	for _, key := range []string{"a", "b"} {
		id := addIn(t, s, conn, jobs.Dead, jobs.UniqueKey(key))
		execute(t, conn, `UPDATE warren.jobs SET last_error = 'the same' WHERE id = $1`, id)
	}
	page, _, err := s.Failures(t.Context(), jobs.FailureFilter{}, jobs.Cursor{}, 10)
	require.NoError(t, err)
	require.Len(t, page.Items, 1)

	tx, err := conn.Begin(t.Context()) // takes the keys in the opposite order
	require.NoError(t, err)
	_, err = outbox.Enqueue(t.Context(), outbox.Pgx(tx), work(jobs.UniqueKey("b")))
	require.NoError(t, err)
	type answer struct {
		result jobs.BulkResult
		err    error
	}
	retried := make(chan answer, 1)
	go func() {
		result, err := s.RetryFailure(t.Context(), page.Items[0].Key, time.Time{}, somebody)
		retried <- answer{result, err}
	}()
	waits := func() (n int) {
		require.NoError(t, tx.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks
			WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))`).Scan(&n))
		return n
	}
	for waits() == 0 {
		require.NoError(t, t.Context().Err())
	}
	_, err = outbox.Enqueue(t.Context(), outbox.Pgx(tx), work(jobs.UniqueKey("a")))
	require.NoError(t, err, "the retry looks first, so it gives way")
	require.NoError(t, tx.Commit(t.Context()))
	got := <-retried
	require.NoError(t, got.err)
	require.Equal(t, jobs.BulkResult{Skipped: 2, Operation: got.result.Operation}, got.result, "the keys are taken now")
}
