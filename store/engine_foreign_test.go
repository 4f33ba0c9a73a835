package store_test

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store"
)

func foreign(id, body string) engine.Delivery {
	return engine.Delivery{Queue: "mail", Exchange: "warren.jobs", RoutingKey: "mail", AppID: "app", MessageID: id, Type: "work",
		Body: []byte(body)}
}

func TestAdoptForeign_MakesOneJobPerMessageID(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	var all sync.WaitGroup
	ids := make([]uuid.UUID, 5)
	for i := range ids {
		all.Go(func() {
			id, err := s.AdoptForeign(t.Context(), foreign("m", `{"a": 1}`))
			if err != nil {
				t.Error(err)
			}
			ids[i] = id
		})
	}
	all.Wait()
	require.Equal(t, [2]int{1, 1}, rows(t, conn))
	adopted := found(t, s, jobs.Filter{})[0]
	job := read(t, s, adopted)
	require.Equal(t, "broker", job.Origin)
	require.Equal(t, "mail", job.Queue)
	require.Equal(t, `{"a": 1}`, string(job.Args))
	for _, id := range ids {
		require.Contains(t, []uuid.UUID{adopted, uuid.Nil}, id, "the job that stands for the message, or none anew")
	}
}

// Whoever looks at the job of an adopted message sees all that came with it, and that it came again.
func TestAdoptForeign_KeepsThePropertiesAndCountsRepeats(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	in := foreign("m", `{"a": 1}`)
	in.Properties = func() json.RawMessage { return json.RawMessage(`{"reply_to":"answers","headers":{"x":1}}`) }
	id, err := s.AdoptForeign(t.Context(), in)
	require.NoError(t, err)
	for range 2 {
		again, err := s.AdoptForeign(t.Context(), in)
		require.NoError(t, err)
		require.Zero(t, again)
	}
	job := read(t, s, id)
	require.JSONEq(t, `{"reply_to":"answers","headers":{"x":1}}`, string(job.Raw.Properties))
	require.Nil(t, job.Raw.Body, "the args are the body")
	require.Equal(t, 2, job.Raw.Repeats)
	require.NotNil(t, job.Raw.RepeatedAt)
	require.NoError(t, s.Cancel(t.Context(), id, jobs.Actor{Name: "ann"}))
	require.NoError(t, s.Delete(t.Context(), id, jobs.Actor{Name: "ann"}))
	again, err := s.AdoptForeign(t.Context(), in)
	require.NoError(t, err)
	require.Zero(t, again, "a message is adopted once, even if its job was deleted")
}

func TestForeign_TheSameMessageIDOfAnotherAppOrQueueIsAnotherMessage(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	for _, app := range []string{"a", "b"} {
		for _, queue := range []string{"a", "b"} {
			in := foreign("m", `{}`)
			in.AppID, in.Queue = app, queue
			_, err := s.AdoptForeign(t.Context(), in)
			require.NoError(t, err)
		}
	}
	require.Equal(t, [2]int{4, 4}, rows(t, conn))
}

func TestForeign_AMessageIDWithAnotherBodyIsAConflictToLookAt(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	first, err := s.AdoptForeign(t.Context(), foreign("m", `{"a":1}`))
	require.NoError(t, err)
	id, err := s.AdoptForeign(t.Context(), foreign("m", `{"a":2}`))
	require.NoError(t, err)
	require.Equal(t, [2]int{2, 1}, rows(t, conn))
	job := read(t, s, id)
	require.Equal(t, jobs.Dead, job.State)
	require.Contains(t, *job.LastError, "conflict")
	require.Contains(t, *job.LastError, first.String(), "the job to compare it with")
	require.Equal(t, `{"a":2}`, string(job.Raw.Body))
}

func TestForeign_AMessageWithoutAnIDIsAdoptedEachTimeAndSaysSo(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	for range 2 {
		id, err := s.AdoptForeign(t.Context(), foreign("", `{}`))
		require.NoError(t, err)
		require.Equal(t, []string{"no-message-id"}, read(t, s, id).Tags)
	}
	require.Equal(t, [2]int{2, 2}, rows(t, conn))
}

func TestForeign_AnyMessageCanBeKept(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
			rapid.SampledFrom([]string{"", "\x00", "work", `"\u0000"`, strings.Repeat("[", 9999) + strings.Repeat("]", 9999),
				strings.Repeat("x", 70000)}))
		in := engine.Delivery{Queue: text.Draw(t, "queue"), Exchange: text.Draw(t, "exchange"), RoutingKey: text.Draw(t, "key"),
			AppID:     text.Draw(t, "app"),
			MessageID: text.Draw(t, "id"), Type: text.Draw(t, "type"), Body: []byte(text.Draw(t, "body"))}
		properties, err := json.Marshal(map[string]string{"a": text.Draw(t, "properties")})
		require.NoError(t, err)
		in.Properties = func() json.RawMessage { return properties }
		id, err := s.RefuseForeign(t.Context(), in, text.Draw(t, "why"))
		require.NoError(t, err)
		job, err := s.Job(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, jobs.Dead, job.State)
		require.Equal(t, string(in.Body), string(job.Raw.Body))
	})
}

func TestForeign_AKeptMessageIsShownWithItsQueueAndKind(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	for _, body := range []string{"not JSON", "\xff\x00", `{"a":`, ""} {
		id, err := s.RefuseForeign(t.Context(), foreign("m", body), "why")
		require.NoError(t, err)
		job := read(t, s, id)
		require.Equal(t, []string{"work", "mail", "why"}, []string{job.Kind, job.Queue, *job.LastError})
	}
}

// FuzzWritable checks that a message which cannot be run makes a job that the database takes.
func FuzzWritable(f *testing.F) {
	f.Add("dots", "default", []byte(`{"text":"x"}`))
	f.Add("Mis named", "a b", []byte("{"))
	f.Add("\x00", "\xff", []byte("\xff\x00"))
	f.Add(strings.Repeat("a", 101), strings.Repeat("q", 101), []byte(strings.Repeat("[", 2000)))
	f.Add("", "", []byte(`"\u0000\ud800"`))
	f.Fuzz(func(t *testing.T, kind, queue string, body []byte) {
		job := store.Writable(engine.Delivery{Type: kind, Queue: queue, Body: body})
		require.NoError(t, job.Prepare())
		require.True(t, json.Valid(job.Args))
		require.True(t, jobs.PlainText(string(job.Args)+job.Kind+job.Queue))
	})
}
