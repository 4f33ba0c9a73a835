package store_test

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	jobexplain "github.com/warrenjobs/warren/jobs/explain"
	"github.com/warrenjobs/warren/store"
)

func TestJob_APageReadsTheBeginningOfWhatIsLargeAndADownloadAllOfIt(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	const size = 3 << 20 // of characters, most of which have two bytes
	id := add(t, s, jobs.NewJob{Kind: "work", Args: json.RawMessage(`{"text":"ü"}`)})[0]
	execute(t, conn, `UPDATE warren.jobs SET output = to_json(repeat('aé', $2)) WHERE id = $1`, id, size/2)
	whole := `"` + strings.Repeat("aé", size/2) + `"`

	shown, err := s.ShownJob(t.Context(), id)
	require.NoError(t, err)
	require.EqualValues(t, len(whole), shown.OutputSize)
	require.Less(t, len(shown.Output), 64<<10)
	require.True(t, strings.HasPrefix(whole, string(shown.Output)))
	require.JSONEq(t, `{"text":"ü"}`, string(shown.Args))
	require.EqualValues(t, len(shown.Args), shown.ArgsSize)
	require.Equal(t, whole, string(read(t, s, id).Output), "the API has all of it")

	require.Equal(t, whole, document(t, s, id, store.DocumentOutput))
	require.JSONEq(t, `{"text":"ü"}`, document(t, s, id, store.DocumentArgs))
	for _, missing := range []uuid.UUID{uuid.New(), add(t, s, work())[0]} {
		_, err = s.DocumentSize(t.Context(), missing, store.DocumentOutput)
		require.ErrorIs(t, err, jobs.ErrNotFound)
	}
}

// document downloads a document, which has the size that is said before.
func document(t *testing.T, s *store.Store, id uuid.UUID, part store.Document) string {
	t.Helper()
	size, err := s.DocumentSize(t.Context(), id, part)
	require.NoError(t, err)
	got, err := io.ReadAll(s.OpenDocument(t.Context(), id, part))
	require.NoError(t, err)
	require.Len(t, got, int(size))
	pieces, err := io.ReadAll(s.OpenDocumentBy(t.Context(), id, part, int(size)/3+1))
	require.NoError(t, err)
	require.True(t, bytes.Equal(got, pieces), "in three pieces")
	return string(got)
}

func TestJob_OfALargeMessageAPageReadsTheBeginning(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	body := strings.Repeat("\x00binary\xff", 200_000)
	id, err := s.RefuseForeign(t.Context(), engine.Delivery{Queue: "default", Body: []byte(body)}, strings.Repeat("why ", 10_000))
	require.NoError(t, err)
	shown, err := s.ShownJob(t.Context(), id)
	require.NoError(t, err)
	require.EqualValues(t, len(body), shown.Raw.Size)
	require.Len(t, shown.Raw.Body, 16<<10)
	require.LessOrEqual(t, len(*shown.LastError), 16<<10)
	require.Equal(t, body, document(t, s, id, store.DocumentMessage))
}

func TestJob_IsReadWithWhoCouldMoveItOn(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	ctx := t.Context()
	first := add(t, s, work())[0]
	id := add(t, s, jobs.NewJob{Kind: "work", RetryOf: first})[0]
	says := func(want string) {
		t.Helper()
		d, err := s.Job(ctx, id)
		require.NoError(t, err)
		require.Contains(t, jobexplain.Of(d).String(), want)
		waiting, err := s.Waiting(ctx, []jobs.Job{read(t, s, first).Job, d.Job})
		require.NoError(t, err)
		if d.State == jobs.Queued {
			require.Len(t, waiting, 2)
			require.Equal(t, jobexplain.Short(d), jobexplain.Short(waiting[1]), "a list says what the page says")
		}
	}
	says("no relay is running")
	d, err := s.Job(ctx, id)
	require.NoError(t, err)
	require.Equal(t, first, *d.RetryOf)
	require.Empty(t, d.People)

	process := engine.Process{ID: uuid.New(), Name: "web-1/7", Host: "web-1", Roles: []string{"relay", "worker"}, State: "running"}
	_, _, err = s.Heartbeat(ctx, process, "")
	require.NoError(t, err)
	says("in the outbox for the relay")
	require.NoError(t, s.PauseQueue(ctx, jobs.QueueDefault, somebody))
	says("was paused at ")
	says("by somebody")
	require.NoError(t, s.ResumeQueue(ctx, jobs.QueueDefault, somebody))

	_, err = conn.Exec(ctx, `DELETE FROM warren.outbox`)
	require.NoError(t, err)
	says("no worker consumes the queue default")
	ses, err := s.OpenSession(ctx, store.SessionInfo{Process: process.ID, Name: process.Name, Roles: process.Roles,
		Queues: []string{jobs.QueueDefault}, Concurrency: 1})
	require.NoError(t, err)
	t.Cleanup(func() { _ = ses.Close(ctx) })
	says("for a worker of the queue default")
	require.NoError(t, s.SaveUnknownKind(ctx, "work", jobs.QueueDefault, process.Name))
	says("handles the kind work")
	process.State = "quiet"
	_, _, err = s.Heartbeat(ctx, process, "")
	require.NoError(t, err)
	_, err = conn.Exec(ctx, `DELETE FROM warren.unknown_kinds`)
	require.NoError(t, err)
	says("are quiet or stopping")

	_, err = conn.Exec(ctx, `
		UPDATE warren.jobs SET state = 'running', worker_id = $2, worker = 'web-1/7', started_at = now() WHERE id = $1`,
		id, ses.Holder().Session)
	require.NoError(t, err)
	says("Running on web-1/7 since ")
	require.NoError(t, s.Cancel(ctx, id, somebody))
	says("by somebody; its handler has not stopped yet")
	_, err = conn.Exec(ctx, `UPDATE warren.sessions SET renewed_at = now() - interval '10 s'`)
	require.NoError(t, err)
	says("was last seen at ")
	_, err = conn.Exec(ctx, `DELETE FROM warren.sessions`)
	require.NoError(t, err)
	says("is gone")

	d, err = s.Job(ctx, id)
	require.NoError(t, err)
	require.Len(t, d.People, 1)
	require.Equal(t, "for a test", d.People[0].Reason)
}

func TestJob_RunsThatCostNoAttemptAreCountedApart(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	id := add(t, s, work(jobs.MaxAttempts(5)))[0]
	session, holder := worker(t, s, "w0")
	claim(t, s, holder, id)
	kill(t, conn, session)
	_, holder = worker(t, s, "w1")
	claimOne(t, s, holder, again(delivery(id, 1)))
	release(t, s, []engine.Result{{JobID: id, Lease: 2}})
	claim(t, s, holder, id)
	d := read(t, s, id)
	require.Equal(t, 2, d.Uncounted)
	require.Equal(t, "1 of 5, 1 crash", jobexplain.TriesOf(d).Count())
	page, err := s.Jobs(t.Context(), jobs.Filter{}, jobs.Cursor{}, 10)
	require.NoError(t, err)
	require.Equal(t, "1/5", jobexplain.TriesIn(page.Items[0]).Fraction(), "a list counts as the page does")
}

func TestRecent_AreThoseOfTheKindThatRanAndEndedLast(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	_, w := worker(t, s, "w")
	var want []uuid.UUID
	for range 3 {
		id := add(t, s, work())[0]
		complete(t, s, completed(id, claim(t, s, w, id).Lease))
		want = append(want, id)
	}
	unstarted := add(t, s, work(), jobs.NewJob{Kind: "other"}, work())
	require.NoError(t, s.Cancel(t.Context(), unstarted[0], somebody))
	list, err := s.Recent(t.Context(), "work", 2)
	require.NoError(t, err)
	got := []uuid.UUID{list[0].ID, list[1].ID}
	require.Equal(t, want[1:], got)
}

func TestRecent_AJobThatTookLongToDieIsAmongThoseThatEndedLast(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	_, w := worker(t, s, "w")
	slow := add(t, s, work())[0]
	dying := claim(t, s, w, slow)
	var quick []uuid.UUID
	for range 3 {
		id := add(t, s, work())[0]
		complete(t, s, completed(id, claim(t, s, w, id).Lease))
		quick = append(quick, id)
	}
	complete(t, s, engine.Result{JobID: slow, Lease: dying.Lease, State: jobs.Dead, Outcome: jobs.AttemptFailed})
	list, err := s.Recent(t.Context(), "work", 2)
	require.NoError(t, err)
	require.Equal(t, []uuid.UUID{quick[2], slow}, []uuid.UUID{list[0].ID, list[1].ID})
	require.Equal(t, jobs.Dead, list[1].State)
}
