package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"pgregory.net/rapid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/store/outbox"
)

var errUndo = errors.New("the caller undoes it")

// transactions are the ways in which a caller may own the transaction; an error from do rolls it
// back.
var transactions = map[string]func(s *store.Store, conn *pgx.Conn, do func(tx outbox.Tx) error) error{
	"pgx.Tx": func(_ *store.Store, conn *pgx.Conn, do func(outbox.Tx) error) error {
		return pgx.BeginFunc(context.Background(), conn, func(tx pgx.Tx) error { return do(outbox.Pgx(tx)) })
	},
	"*sql.Tx": func(_ *store.Store, conn *pgx.Conn, do func(outbox.Tx) error) error {
		db := stdlib.OpenDB(*conn.Config())
		defer func() { _ = db.Close() }()
		tx, err := db.Begin()
		if err != nil {
			return err
		}
		if err := do(outbox.SQL(tx)); err != nil {
			return errors.Join(err, tx.Rollback())
		}
		return tx.Commit()
	},
	"*gorm.DB": func(s *store.Store, _ *pgx.Conn, do func(outbox.Tx) error) error {
		return s.Gorm().Transaction(func(tx *gorm.DB) error { return do(store.Gorm(tx)) })
	},
	"*gorm.DB, nested and prepared": func(s *store.Store, _ *pgx.Conn, do func(outbox.Tx) error) error {
		return s.Gorm().Session(&gorm.Session{PrepareStmt: true}).Transaction(func(tx *gorm.DB) error {
			return tx.Transaction(func(tx *gorm.DB) error { return do(store.Gorm(tx.WithContext(context.Background()))) })
		})
	},
}

func TestEnqueue_AJobExistsWithItsMessageIfAndOnlyIfTheCallersTransactionCommits(t *testing.T) {
	t.Parallel()
	for name, begin := range transactions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, conn := database(t)
			enqueue := func(tx outbox.Tx) error {
				added, err := outbox.Enqueue(t.Context(), tx, work(), work(jobs.UniqueKey("k")), work(jobs.UniqueKey("k")))
				if err == nil {
					require.NotEqual(t, added[1].Duplicate, added[2].Duplicate)
					require.Equal(t, added[1].ID, added[2].ID)
				}
				return err
			}
			err := begin(s, conn, func(tx outbox.Tx) error { return errors.Join(enqueue(tx), errUndo) })
			require.ErrorIs(t, err, errUndo)
			require.Equal(t, [2]int{0, 0}, rows(t, conn))

			require.NoError(t, begin(s, conn, enqueue))
			require.Equal(t, [2]int{2, 2}, rows(t, conn))
		})
	}
}

func TestEnqueue_RefusesAGormDBThatIsInNoTransaction(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	for _, db := range []*gorm.DB{s.Gorm(), s.Gorm().WithContext(t.Context()), s.Gorm().Session(&gorm.Session{PrepareStmt: true})} {
		_, err := outbox.Enqueue(t.Context(), store.Gorm(db), work())
		require.ErrorContains(t, err, "is in no transaction")
		require.ErrorContains(t, outbox.CompleteTx(t.Context(), store.Gorm(db), &jobs.Run{}), "is in no transaction")
	}
	require.Equal(t, [2]int{0, 0}, rows(t, conn))
}

func TestEnqueue_WantsATransaction(t *testing.T) {
	t.Parallel()
	_, err := outbox.Enqueue(t.Context(), outbox.Tx{}, work())
	require.ErrorContains(t, err, "the zero outbox.Tx is not a transaction")
}

func TestEnqueue_AUniqueKeyGivesTheOpenJobAndIsFreeWhenThatEnds(t *testing.T) {
	t.Parallel()
	for _, state := range jobs.States {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			s, conn := database(t)
			holder := addIn(t, s, conn, state, jobs.UniqueKey("k"))
			added, err := s.Enqueue(t.Context(), work(jobs.UniqueKey("k")))
			require.NoError(t, err)
			require.Equal(t, !state.Ended(), added[0].Duplicate)
			require.Equal(t, !state.Ended(), added[0].ID == holder)
		})
	}
}

func TestEnqueue_TwoCallersWithOneUniqueKeyGetOneJob(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	first, err := outbox.Enqueue(t.Context(), outbox.Pgx(tx), work(jobs.UniqueKey("k")))
	require.NoError(t, err)
	second := make(chan []outbox.Enqueued, 1)
	go func() {
		added, _ := s.Enqueue(context.WithoutCancel(t.Context()), work(jobs.UniqueKey("k")))
		second <- added
	}()
	waitsForALock(t, connect(t, conn), 1)
	require.NoError(t, tx.Commit(t.Context()))
	require.Equal(t, []outbox.Enqueued{{ID: first[0].ID, Duplicate: true}}, <-second)
}

func TestEnqueue_CallersWithTheSameKeysInAnyOrderDoNotDeadlock(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	const callers, keys = 8, 50
	var all sync.WaitGroup
	errs := make([]error, callers)
	for c := range callers {
		all.Go(func() {
			list := make([]jobs.NewJob, keys)
			for i := range list {
				list[i] = work(jobs.UniqueKey(fmt.Sprint((i*(2*c+1) + c) % keys)))
			}
			_, errs[c] = s.Enqueue(t.Context(), list...)
		})
	}
	all.Wait()
	require.NoError(t, errors.Join(errs...))
	require.Equal(t, [2]int{keys, keys}, rows(t, conn))
}

func TestEnqueue_AKeyThatIsFreedMeanwhileIsNotAnError(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	stop := make(chan struct{})
	var freeing sync.WaitGroup
	freeing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = conn.Exec(context.Background(), `UPDATE warren.jobs SET state = 'completed' WHERE state = 'queued'`)
			}
		}
	})
	var callers sync.WaitGroup
	errs := make([]error, 4)
	for c := range errs {
		callers.Go(func() {
			for range 200 {
				if _, err := s.Enqueue(t.Context(), work(jobs.UniqueKey("k")), work()); err != nil {
					errs[c] = err
					return
				}
			}
		})
	}
	callers.Wait()
	close(stop)
	freeing.Wait()
	require.NoError(t, errors.Join(errs...))
}

func TestEnqueue_ThousandsOfJobsAreEnqueuedInOneCallWhateverTheTransaction(t *testing.T) {
	t.Parallel()
	const n = 10_000
	list := make([]jobs.NewJob, n)
	for i := range list {
		list[i] = work(jobs.UniqueKey(fmt.Sprint(i%(n-1))), jobs.Tags("a", "b")) // the last has the key of the first
	}
	for name, begin := range transactions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, conn := database(t)
			enqueue := func() (added []outbox.Enqueued) {
				require.NoError(t, begin(s, conn, func(tx outbox.Tx) (err error) {
					added, err = outbox.Enqueue(t.Context(), tx, list...)
					return err
				}))
				return added
			}
			added := enqueue()
			require.Equal(t, [2]int{n - 1, n - 1}, rows(t, conn))
			require.Equal(t, "4999", *read(t, s, added[4999].ID).UniqueKey, "the answers are in the order of the jobs")
			require.Equal(t, added[0].ID, added[n-1].ID)
			require.NotEqual(t, added[0].Duplicate, added[n-1].Duplicate, "one of the two")
			for i, again := range enqueue() {
				require.Equal(t, outbox.Enqueued{ID: added[i].ID, Duplicate: true}, again)
			}
		})
	}
}

func TestEnqueue_AJobForLaterIsScheduledAndNotSent(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	id := add(t, s, work(jobs.At(time.Now().Add(time.Hour))))[0]
	require.Equal(t, jobs.Scheduled, read(t, s, id).State)
	require.Zero(t, read(t, s, id).Dispatch)
	require.Equal(t, [2]int{1, 0}, rows(t, conn))
}

func TestEnqueue_AJobThatIsDueIsSentAtOnce(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	id := add(t, s, work(jobs.At(time.Now().Add(-time.Hour))))[0]
	require.Equal(t, jobs.Queued, read(t, s, id).State)
	require.Equal(t, [2]int{1, 1}, rows(t, conn))
}

// weirdArgs are JSON texts that callers may send, each a trap for one of Go, JSON libraries and
// PostgreSQL.
var weirdArgs = map[string]string{
	"white space":         " {\n\t\"a\" : 1 }\r\n ",
	"html":                `{"a":"<b>&amp;</b>"}`,
	"line separators":     "\"\u2028\u2029\"",
	"zero":                `{"a":"\u0000"}`,
	"zero as a key":       `{"\u0000":1}`,
	"lone high surrogate": `"\ud800"`,
	"lone low surrogate":  `"\udc00x"`,
	"swapped surrogates":  `"\udc00\ud800"`,
	"pair":                `"\ud83d\ude00"`,
	"noncharacters":       "\"\uffff\ufdd0\U0010ffff\"",
	"big number":          `{"n":123456789012345678901234567890.000000000000000001}`,
	"huge exponent":       `[1e400,-1E-999999]`,
	"negative zero":       `-0`,
	"duplicate keys":      `{"a":1,"a":2,"a":{"a":3}}`,
	"escaped slash":       `"\/"`,
	"deep array":          strings.Repeat("[", 1000) + strings.Repeat("]", 1000),
	"deep object":         strings.Repeat(`{"a":`, 1000) + `1` + strings.Repeat("}", 1000),
	"percent and quotes":  `"%s $1 ' \" \\ ?"`,
	"null":                `null`,
	"a string":            `""`,
}

func TestEnqueue_ArgsSurviveByteForByte(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	for name, args := range weirdArgs {
		t.Run(name, func(t *testing.T) { survives(t, s, args) })
	}
}

// survives checks that job and message carry the args byte for byte.
func survives(t interface {
	require.TestingT
	Context() context.Context
}, s *store.Store, args string) {
	added, err := s.Enqueue(t.Context(), jobs.NewJob{Kind: "work", Args: json.RawMessage(args)})
	require.NoError(t, err)
	job, err := s.Job(t.Context(), added[0].ID)
	require.NoError(t, err)
	require.Equal(t, args, string(job.Args))
	out, err := s.ClaimOutbox(t.Context(), engine.OutboxPick{}, 1000, 0)
	require.NoError(t, err)
	last := out.Messages()[len(out.Messages())-1]
	require.Equal(t, args, string(last.Body))
	require.NoError(t, out.Settle(t.Context(), []int64{last.OutboxID}, nil, nil))
}

func TestEnqueue_AnyValidJSONSurvivesAsArgs(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	rapid.Check(t, func(t *rapid.T) { survives(t, s, anyJSON(4).Draw(t, "args")) })
}

// anyJSON draws JSON text with everything that the grammar allows.
func anyJSON(depth int) *rapid.Generator[string] {
	space := rapid.SampledFrom([]string{"", "", "", " ", "\n", "\t\r"})
	str := rapid.Map(rapid.SliceOfN(rapid.OneOf(
		rapid.StringMatching(`[^"\\\x00-\x1f]`),
		rapid.StringMatching(`\\u[0-9a-fA-F]{4}`),
		rapid.SampledFrom([]string{`\"`, `\\`, `\/`, `\n`, `\u0000`, `\ud800`, `\udfff`}),
	), 0, 6), func(parts []string) string { return `"` + strings.Join(parts, "") + `"` })
	leaf := rapid.OneOf(str, rapid.StringMatching(`-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?`),
		rapid.SampledFrom([]string{"null", "true", "false", "[]", "{}"}))
	if depth == 0 {
		return leaf
	}
	return rapid.Custom(func(t *rapid.T) string {
		pad := space.Draw(t, "space")
		switch rapid.IntRange(0, 2).Draw(t, "form") {
		case 0:
			return pad + "[" + pad + strings.Join(rapid.SliceOfN(anyJSON(depth-1), 1, 3).Draw(t, "items"), pad+","+pad) + "]"
		case 1:
			var fields []string
			for range rapid.IntRange(1, 3).Draw(t, "fields") {
				fields = append(fields, str.Draw(t, "key")+pad+":"+anyJSON(depth-1).Draw(t, "value"))
			}
			return "{" + strings.Join(fields, pad+",") + "}" + pad
		}
		return leaf.Draw(t, "leaf")
	})
}

func TestEnqueue_BadInputIsRefusedByFieldAndNotByTheDatabase(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	bad := map[string]struct {
		field string
		job   jobs.NewJob
	}{
		"no kind":            {"kind", jobs.NewJob{}},
		"kind in capitals":   {"kind", jobs.NewJob{Kind: "Work"}},
		"kind with a zero":   {"kind", jobs.NewJob{Kind: "work\x00"}},
		"queue with a slash": {"queue", work(jobs.OnQueue("a/b"))},
		"long queue":         {"queue", work(jobs.OnQueue(strings.Repeat("q", 101)))},
		"half an object":     {"args", jobs.NewJob{Kind: "work", Args: json.RawMessage(`{`)}},
		"two values":         {"args", jobs.NewJob{Kind: "work", Args: json.RawMessage(`1 2`)}},
		"not UTF-8":          {"args", jobs.NewJob{Kind: "work", Args: json.RawMessage("\"\xff\"")}},
		"surrogate in UTF-8": {"args", jobs.NewJob{Kind: "work", Args: json.RawMessage("\"\xed\xa0\x80\"")}},
		"a zero byte":        {"args", jobs.NewJob{Kind: "work", Args: json.RawMessage("\"\x00\"")}},
		"too deep array": {"args", jobs.NewJob{Kind: "work", Args: json.RawMessage(strings.Repeat("[", 9999) +
			strings.Repeat("]", 9999))}},
		"too deep object": {"args", jobs.NewJob{Kind: "work", Args: json.RawMessage(strings.Repeat(`{"a":`, 9999) + "1" +
			strings.Repeat("}", 9999))}},
		"too large":          {"args", jobs.NewJob{Kind: "work", Args: json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`)}},
		"key with a zero":    {"unique_key", work(jobs.UniqueKey("a\x00"))},
		"key not UTF-8":      {"unique_key", work(jobs.UniqueKey("\xff"))},
		"long key":           {"unique_key", work(jobs.UniqueKey(strings.Repeat("k", 201)))},
		"empty tag":          {"tags", work(jobs.Tags(""))},
		"tag with a zero":    {"tags", work(jobs.Tags("\x00"))},
		"many tags":          {"tags", work(jobs.Tags(strings.Split(strings.Repeat("t ", 21), " ")...))},
		"no attempts":        {"max_attempts", work(jobs.MaxAttempts(-1))},
		"many attempts":      {"max_attempts", work(jobs.MaxAttempts(1001))},
		"negative timeout":   {"timeout", work(jobs.Timeout(-1))},
		"timeout under 1 ms": {"timeout", work(jobs.Timeout(time.Microsecond))},
		"year 10000":         {"run_at", work(jobs.At(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)))},
		"year 10000 in UTC":  {"run_at", work(jobs.At(time.Date(9999, 12, 31, 23, 0, 0, 0, time.FixedZone("", -7200))))},
		"before 1970":        {"run_at", work(jobs.At(time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC)))},
		"origin with a zero": {"origin", jobs.NewJob{Kind: "work", Origin: "\x00"}},
	}
	for name, b := range bad {
		t.Run(name, func(t *testing.T) {
			_, err := s.Enqueue(t.Context(), work(), b.job)
			var fields jobs.FieldErrors
			require.ErrorAs(t, err, &fields)
			require.Equal(t, b.field, fields[0].Field)
		})
	}
	require.Equal(t, [2]int{0, 0}, rows(t, conn), "one bad job refuses the call")
}

func TestEnqueue_AnEmptyCallAddsNothing(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	added, err := s.Enqueue(t.Context())
	require.NoError(t, err)
	require.Empty(t, added)
	require.Equal(t, [2]int{0, 0}, rows(t, conn))
}

func TestEnqueue_TheCallersIDIsKept(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	id := uuid.Must(uuid.NewV7())
	require.Equal(t, []uuid.UUID{id}, add(t, s, jobs.NewJob{ID: id, Kind: "work"}))
}
