package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/store"
)

func TestJobs_PagingVisitsEachJobOnceForthAndBack(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	round := 0
	rapid.Check(t, func(t *rapid.T) {
		round++
		p := &pager{t: t, store: s, conn: conn, kind: fmt.Sprintf("round%d", round), limit: rapid.IntRange(1, 5).Draw(t, "limit"),
			gone: map[uuid.UUID]bool{}}
		var list []jobs.NewJob
		for range rapid.IntRange(0, 17).Draw(t, "jobs") {
			list = append(list, jobs.NewJob{Kind: p.kind})
		}
		added, err := s.Enqueue(t.Context(), list...)
		require.NoError(t, err)
		for _, a := range added {
			p.all = append(p.all, a.ID)
		}
		slices.Reverse(p.all) // the list shows the newest first

		last := p.walk(jobs.Cursor{}, func(page jobs.Page[jobs.Job]) jobs.Cursor { return page.Next })
		if back := last.Prev; back != (jobs.Cursor{}) {
			p.expect(last, p.backwards(back))
		}
	})
}

// pager walks through the jobs of a kind, some of which are deleted between pages.
type pager struct {
	t     *rapid.T
	store *store.Store
	conn  *pgx.Conn
	kind  string
	limit int
	all   []uuid.UUID // newest first
	gone  map[uuid.UUID]bool
}

func (p *pager) page(c jobs.Cursor) jobs.Page[jobs.Job] {
	page, err := p.store.Jobs(p.t.Context(), jobs.Filter{Kind: p.kind}, c, p.limit)
	require.NoError(p.t, err)
	require.LessOrEqual(p.t, len(page.Items), p.limit)
	return page
}

// walk follows next to the end and returns the last page. It checks that each job that was not
// deleted was on exactly one page, in order.
func (p *pager) walk(c jobs.Cursor, next func(jobs.Page[jobs.Job]) jobs.Cursor) jobs.Page[jobs.Job] {
	var visited []uuid.UUID
	for {
		page := p.page(c)
		require.Equal(p.t, c == jobs.Cursor{}, page.Prev == jobs.Cursor{}, "the first page and no other has nothing newer")
		for _, j := range page.Items {
			visited = append(visited, j.ID)
		}
		if c = next(page); c == (jobs.Cursor{}) {
			left := func(id uuid.UUID) bool { return p.gone[id] }
			require.Equal(p.t, slices.DeleteFunc(slices.Clone(p.all), left), slices.DeleteFunc(slices.Clone(visited), left))
			require.Len(p.t, visited, len(compact(visited)))
			return page
		}
		p.delete()
	}
}

// backwards follows the newer links and returns the jobs that it saw, newest first.
func (p *pager) backwards(c jobs.Cursor) []uuid.UUID {
	var visited []uuid.UUID
	for c != (jobs.Cursor{}) {
		page := p.page(c)
		var ids []uuid.UUID
		for _, j := range page.Items {
			ids = append(ids, j.ID)
		}
		visited = append(ids, visited...)
		c = page.Prev
	}
	return visited
}

// expect checks that visited are the jobs above the last page that still exist.
func (p *pager) expect(last jobs.Page[jobs.Job], visited []uuid.UUID) {
	var want []uuid.UUID
	for _, id := range p.all {
		if len(last.Items) > 0 && id == last.Items[0].ID {
			break
		}
		if !p.gone[id] {
			want = append(want, id)
		}
	}
	require.Equal(p.t, want, visited)
}

// delete removes some jobs, possibly those that the cursor names.
func (p *pager) delete() {
	for _, id := range p.all {
		if rapid.IntRange(0, 9).Draw(p.t, "delete") == 0 {
			p.gone[id] = true
			_, err := p.conn.Exec(p.t.Context(), `DELETE FROM warren.jobs WHERE id = $1`, id)
			require.NoError(p.t, err)
		}
	}
}

func compact(ids []uuid.UUID) map[uuid.UUID]bool {
	set := map[uuid.UUID]bool{}
	for _, id := range ids {
		set[id] = true
	}
	return set
}

func TestJobs_CountsStopAtTheCap(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	execute(t, conn, `INSERT INTO warren.jobs (id, kind, queue, args, state, max_attempts)
		SELECT gen_random_uuid(), 'work', 'default', '{}', 'completed', 5 FROM generate_series(1, $1)`, jobs.CountCap+500)
	addIn(t, s, conn, jobs.Dead)
	counts, err := s.Counts(t.Context(), jobs.Filter{Kind: "work", State: jobs.Dead})
	require.NoError(t, err)
	require.True(t, counts[jobs.Completed].Capped())
	require.EqualValues(t, jobs.CountCap+1, counts[jobs.Completed])
	require.EqualValues(t, 1, counts[jobs.Dead])
	require.False(t, counts[jobs.Dead].Capped())
	require.Len(t, counts, len(jobs.States), "each state is counted, whatever the filter shows")
}

func TestJobs_TheListIsFilteredByEachField(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	other := add(t, s, jobs.NewJob{Kind: "other", Queue: "mail"})[0]
	dead := addIn(t, s, conn, jobs.Dead)
	require.Equal(t, []uuid.UUID{other}, found(t, s, jobs.Filter{Kind: "other"}))
	require.Equal(t, []uuid.UUID{other}, found(t, s, jobs.Filter{Queue: "mail"}))
	require.Equal(t, []uuid.UUID{dead}, found(t, s, jobs.Filter{State: jobs.Dead}))
	require.Equal(t, []uuid.UUID{dead, other}, found(t, s, jobs.Filter{}))
	require.Empty(t, found(t, s, jobs.Filter{Kind: "other", State: jobs.Dead}))
}

func found(t *testing.T, s *store.Store, f jobs.Filter) []uuid.UUID {
	t.Helper()
	page, err := s.Jobs(t.Context(), f, jobs.Cursor{}, 50)
	require.NoError(t, err)
	counts, err := s.Counts(t.Context(), f)
	require.NoError(t, err)
	var ids []uuid.UUID
	for _, j := range page.Items {
		ids = append(ids, j.ID)
	}
	if f.State != "" {
		require.EqualValues(t, len(ids), counts[f.State], "list and counts agree")
	}
	return ids
}

func TestJobs_TextIsSearchedAsItIsWritten(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	search := func(text string) []uuid.UUID { return found(t, s, jobs.Filter{Text: text}) }
	inArgs := func(text string) uuid.UUID {
		raw, err := json.Marshal(text)
		require.NoError(t, err)
		return add(t, s, jobs.NewJob{Kind: "work", Args: raw})[0]
	}
	percent, underscore, plain := inArgs("100% sure"), inArgs("a_b"), inArgs("axb and 100 sure")
	require.Equal(t, []uuid.UUID{percent}, search("100%"))
	require.Equal(t, []uuid.UUID{underscore}, search("a_b"))
	require.Equal(t, []uuid.UUID{plain}, search("AXB"), "in any case")
	require.Empty(t, search(`\`))
	require.Empty(t, search(`%%`))

	tagged := add(t, s, work(jobs.Tags("one", "two")))[0]
	keyed := add(t, s, work(jobs.UniqueKey("invoice-7")))[0]
	failed := addIn(t, s, conn, jobs.Dead)
	execute(t, conn, `UPDATE warren.jobs SET last_error = 'no such host' WHERE id = $1`, failed)
	require.Equal(t, []uuid.UUID{tagged}, search("two"))
	require.Equal(t, []uuid.UUID{keyed}, search("invoice-7"))
	require.Equal(t, []uuid.UUID{failed}, search("such host"))
	require.Equal(t, []uuid.UUID{keyed}, search(keyed.String()))
	require.Contains(t, search(keyed.String()[:13]), keyed)

	order := uuid.New()
	ordered := inArgs(order.String())
	require.Equal(t, []uuid.UUID{ordered}, search(order.String()), "a UUID may also be the caller's own")
}

func TestJobs_NoFilterTextIsAnErrorOfTheDatabase(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	for _, text := range []string{"\x00", "\xff", `\`, "'", "%", "?", "$1", "@name"} {
		require.Empty(t, found(t, s, jobs.Filter{Text: text}), "text %q", text)
		require.Empty(t, found(t, s, jobs.Filter{Kind: text}), "kind %q", text)
		require.Empty(t, found(t, s, jobs.Filter{Queue: text}), "queue %q", text)
		require.Empty(t, found(t, s, jobs.Filter{State: jobs.State(text)}), "state %q", text)
	}
}

func TestJobs_KindsAndQueuesThatJobsEverHadAreListed(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	for _, kind := range []string{"b", "a", "b", "c"} {
		add(t, s, jobs.NewJob{Kind: kind, Queue: "q" + kind})
	}
	kinds, err := s.JobKinds(context.WithoutCancel(t.Context()))
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b", "c"}, kinds)
	queues, err := s.JobQueues(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"qa", "qb", "qc"}, queues)
}

func TestJobs_ArgsAreFoundAsTheyReadHoweverAClientEscapesThem(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	for _, c := range []struct{ args, text string }{
		{`{"u":"https://shop.example/h?a=1\u0026b=2"}`, "a=1&b=2"},
		{`{"u":"x?c=1&d=2"}`, "c=1&d=2"},
		{`{"t":"caf\u00e9 open"}`, "café"},
		{`{"t":"CAF\u00C9 SHUT"}`, "CAFÉ S"},
		{`{"t":"th\u00e9"}`, `th\u00e9`},
		{`{"t":"say \"hi\" to all"}`, `say "hi"`},
		{`{"t":"say \u0022ho\u0022"}`, `say "ho"`},
		{`{"t":"say \"hm\""}`, `\"hm\"`},
		{`{"t":"C:\\tmp"}`, `C:\tmp`},
		{`{"t":"D:\u005cnew"}`, `D:\new`},
		{`{"t":"\\\\srv\\share"}`, `\\srv\share`},
		{`{"t":"a\tb"}`, "a\tb"},
		{`{"t":"c\u0009d"}`, "c\td"},
		{`{"t":"one\ntwo\r\nthree"}`, "e\ntwo\r\nt"},
		{`{"t":"\u003cb\u003e"}`, "<b>"},
		{`{"t":"\u003CI\u003E"}`, "<I>"},
		{`{"t":"line\u2028end"}`, "line\u2028end"},
		{`{"u":"https:\/\/php.example\/x"}`, "//php.example/x"},
		{`{"t":"party \ud83c\udf89!"}`, "party 🎉!"},
		{`{"t":"tea \uD83C\uDF75"}`, "tea 🍵"},
		{`{"t":"half \ud83c, none\u0000, and \udf89 \u00fcber"}`, "über"},
		{`{"t":"half \ud83c\u00e5"}`, "å"},
		{`{"k\u00fc":1}`, "kü"},
		{`{"t":"not a tab: x\\ty"}`, `x\ty`},
	} {
		id := add(t, s, jobs.NewJob{Kind: "work", Args: json.RawMessage(c.args)})[0]
		require.Equal(t, []uuid.UUID{id}, found(t, s, jobs.Filter{Text: c.text}), c.args)
	}
	require.Empty(t, found(t, s, jobs.Filter{Text: "x\ty"}), "an escaped backslash begins no escape")
	for _, char := range []string{`"`, `\`, "é", "ß", "🎉", "*", "(", "\u2028"} { // the longest texts that pages take
		require.Empty(t, found(t, s, jobs.Filter{Text: strings.Repeat(char, 500/len(char))}), char)
	}
}

// Each state's list is sorted by the time that its rows show, ties by id, and is paged forth and
// back in that order.
func TestJobs_TheListOfAStateIsSortedByTheTimeThatItShows(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	execute(t, conn, `INSERT INTO warren.jobs (id, kind, queue, args, state, max_attempts, run_at, started_at, finished_at)
		SELECT gen_random_uuid(), 'work', 'default', '{}', state, 5, now() + m * 7 % 5 * interval '1 min',
			now() - m * 3 % 5 * interval '1 min',
			CASE WHEN state IN ('completed', 'dead', 'cancelled') THEN now() - m * 11 % 5 * interval '1 min' END
		FROM generate_series(1, 9) m, unnest($1::text[]) state`, jobs.States)
	for state, order := range map[jobs.State]string{
		"": "id DESC", jobs.Queued: "id DESC", jobs.Scheduled: "run_at, id", jobs.Retrying: "run_at, id", jobs.Running: "started_at, id",
		jobs.Completed: "finished_at DESC, id DESC", jobs.Dead: "finished_at DESC, id DESC", jobs.Cancelled: "finished_at DESC, id DESC",
	} {
		rows, err := conn.Query(t.Context(), `SELECT id FROM warren.jobs WHERE $1 IN ('', state) ORDER BY `+order, string(state))
		require.NoError(t, err)
		want, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		require.NoError(t, err)
		var forth, back []uuid.UUID
		var last jobs.Page[jobs.Job]
		for c, more := (jobs.Cursor{}), true; more; more = c != (jobs.Cursor{}) {
			last, err = s.Jobs(t.Context(), jobs.Filter{State: state}, c, 4)
			require.NoError(t, err)
			forth, c = append(forth, ids(last.Items)...), last.Next
		}
		require.Equal(t, want, forth, "%s forth", state)
		for c := last.Prev; c != (jobs.Cursor{}); c = last.Prev {
			last, err = s.Jobs(t.Context(), jobs.Filter{State: state}, c, 4)
			require.NoError(t, err)
			back = append(ids(last.Items), back...)
		}
		require.Equal(t, want[:len(back)], back, "%s back", state)
	}
	_, err := s.Jobs(t.Context(), jobs.Filter{State: jobs.Dead}, jobs.Cursor{Key: `"` + uuid.NewString() + `"`}, 4)
	require.EqualError(t, err, jobs.ErrCursor.Error(), "a cursor of another list")
}

func ids(list []jobs.Job) (ids []uuid.UUID) {
	for _, j := range list {
		ids = append(ids, j.ID)
	}
	return ids
}

// A list reads its own index, whatever the mix of states, and not the jobs of other states.
func TestJobs_TheListOfAStateReadsAnIndexInItsOrder(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	execute(t, conn, `INSERT INTO warren.jobs (id, kind, queue, args, state, max_attempts, run_at, finished_at)
		SELECT gen_random_uuid(), 'work', 'default', '{}', state, 5, now() + m * interval '1 s', now() - m * interval '1 s'
		FROM generate_series(1, 3000) m, unnest($1::text[]) state`, []jobs.State{jobs.Scheduled, jobs.Completed, jobs.Dead, jobs.Cancelled})
	execute(t, conn, `ANALYZE warren.jobs`)
	for state, index := range map[jobs.State]string{
		jobs.Scheduled: "jobs_scheduled", jobs.Completed: "jobs_ended", jobs.Dead: "jobs_ended", jobs.Cancelled: "jobs_ended",
	} {
		require.Contains(t, explain(t, conn, s.JobsSQL(t.Context(), jobs.Filter{State: state})), index, state)
	}
}

func TestJobs_DeadOnesOfADayAreCountedApart(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	ids := add(t, s, work(), work(), work())
	execute(t, conn, `UPDATE warren.jobs SET state = 'dead', finished_at = now() - interval '1 hour' WHERE id <> $1`, ids[0])
	execute(t, conn, `UPDATE warren.jobs SET finished_at = now() - interval '25 hours' WHERE id = $1`, ids[1])
	day, err := s.DeadJobs(t.Context(), time.Now().Add(-24*time.Hour))
	require.NoError(t, err)
	all, err := s.CountState(t.Context(), jobs.Dead)
	require.NoError(t, err)
	require.Equal(t, []jobs.Count{1, 2}, []jobs.Count{day.Open, all})
}
