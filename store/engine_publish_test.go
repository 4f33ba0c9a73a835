package store_test

import (
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/events"
	"github.com/warrenjobs/warren/store/outbox"
)

func TestPublish_AnEventExistsWithItsMessageIfAndOnlyIfTheCallersTransactionCommits(t *testing.T) {
	t.Parallel()
	for name, begin := range transactions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, conn := database(t)
			publish := func(tx outbox.Tx) error {
				return outbox.Publish(t.Context(), tx, events.JSON("shop", "order", "<b>"), events.Gob("shop", "order", 7))
			}
			err := begin(s, conn, func(tx outbox.Tx) error { return errors.Join(publish(tx), errUndo) })
			require.ErrorIs(t, err, errUndo)
			require.Zero(t, number(t, conn, `SELECT (SELECT count(*) FROM warren.events) + (SELECT count(*) FROM warren.outbox)`))

			require.NoError(t, begin(s, conn, publish))
			require.Equal(t, 2, number(t, conn, `SELECT count(*) FROM warren.events e JOIN warren.outbox o ON o.message_id = e.id
				WHERE o.job_id IS NULL AND o.content_type = e.content_type`))
		})
	}
}

func TestPublish_ABodySurvivesByteForByte(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	deep := make([]byte, 0, 4000)
	for range 2000 {
		deep = append(deep, '[')
	}
	for range 2000 {
		deep = append(deep, ']')
	}
	list := []events.Event{
		{ContentType: "application/json", Body: []byte(`{"zero": "\u0000", "half": "\ud800", "b" :  "<&>"}`)},
		{ContentType: "application/json", Body: []byte(`null`)},
		{ContentType: "application/json", Body: deep},
		{ContentType: "application/cloudevents+json; charset=utf-8", Body: []byte(` {"id": 1.0e2} `)},
		{ContentType: "text/plain", Body: []byte("no JSON, \x00 and \xff")},
		{Body: nil},
	}
	for i := range list {
		list[i].Exchange, list[i].Key, list[i].Headers = "shop", "k", map[string]string{"tenant": "7"}
	}
	require.NoError(t, outbox.Publish(t.Context(), s.Own(), list...))
	sent := claimable(t, s, func(m engine.Message) engine.Message { return m })
	require.Len(t, sent, len(list))
	for i, m := range sent {
		require.Equal(t, string(list[i].Body), string(m.Body), "%d: in order", i)
		require.JSONEq(t, `{"tenant": "7"}`, string(m.Headers))
		require.False(t, m.Required)
	}
	require.Equal(t, "text/plain", sent[4].ContentType)
	require.Equal(t, "application/octet-stream", sent[5].ContentType)
}

func TestPublish_AnIDIsPublishedOnce(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	event := events.JSON("shop", "order.packed", 1)
	event.ID = uuid.Must(uuid.NewV7())
	require.NoError(t, outbox.Publish(t.Context(), s.Own(), event))
	require.NoError(t, outbox.Publish(t.Context(), s.Own(), event, events.JSON("shop", "order.packed", 2)))
	require.Equal(t, 2, number(t, conn, `SELECT count(*) FROM warren.events`))
	require.Equal(t, 2, number(t, conn, `SELECT count(*) FROM warren.outbox`))
	err := outbox.Publish(t.Context(), s.Own(), event, event)
	require.ErrorAs(t, err, new(jobs.FieldErrors))
}

func TestPublish_BadInputIsRefusedByFieldAndNotByTheDatabase(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	long := string(make([]byte, 300))
	for field, bad := range map[string]func(*events.Event){
		"id":           func(e *events.Event) { e.ID = uuid.New() },
		"exchange":     func(e *events.Event) { e.Exchange = "" },
		"key":          func(e *events.Event) { e.Key = long },
		"content_type": func(e *events.Event) { e.ContentType = "a\x00b" },
		"headers":      func(e *events.Event) { e.Headers = map[string]string{"warren-job": "1", "CC": "q", "x": "\xff"} },
		"body":         func(e *events.Event) { e.Body = []byte(`{"half": `) },
	} {
		event := events.JSON("shop", "k", 1)
		bad(&event)
		var wrong jobs.FieldErrors
		require.ErrorAs(t, outbox.Publish(t.Context(), s.Own(), event), &wrong, field)
		for _, w := range wrong {
			require.Equal(t, field, w.Field)
		}
	}
	large := events.Event{Exchange: "shop", Key: "k", Body: make([]byte, 2<<20+1)}
	require.ErrorContains(t, outbox.Publish(t.Context(), s.Own(), large), "2 MiB")
	require.ErrorContains(t, outbox.Publish(t.Context(), s.Own(), events.JSON("shop", "k", func() {})), "write the body of the event k")
	require.Zero(t, number(t, conn, `SELECT count(*) FROM warren.events`))
	require.NoError(t, outbox.Publish(t.Context(), s.Own()), "publishing nothing runs no statement")
	require.Error(t, outbox.Publish(t.Context(), outbox.Tx{}, events.JSON("shop", "k", 1)), "wants a transaction")
}
