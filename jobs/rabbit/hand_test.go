package rabbit

import (
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/messages"
	"github.com/warrenjobs/warren/jobs/rabbit/management"
	"github.com/warrenjobs/warren/jobs/rabbit/rabbittest"
)

const soon = 60 * time.Second

// handOn returns what tails and publishes in a virtual host, and a channel beside it.
func handOn(t *testing.T, managed bool) (*ByHand, *amqp.Channel, rabbittest.VHost) {
	t.Helper()
	vhost := rabbittest.New(t)
	b := &Broker{URL: vhost.URL, Names: Names{Prefix: "warren"}, Process: "test/1", Log: slog.New(slog.DiscardHandler)}
	l, err := b.connect(t.Context(), "test")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.close() })
	var manage *management.Client
	if managed {
		manage = vhost.Management
	}
	return b.ByHand(manage), l.ch, vhost
}

func declare(t *testing.T, ch *amqp.Channel, queue string, args amqp.Table, bindings ...[2]string) {
	t.Helper()
	_, err := ch.QueueDeclare(queue, true, false, false, false, args)
	require.NoError(t, err)
	for _, b := range bindings {
		require.NoError(t, ch.QueueBind(queue, b[1], b[0], false, nil))
	}
}

func publish(t *testing.T, h *ByHand, exchange, key string, headers map[string]any) messages.Answer {
	t.Helper()
	answer, err := h.Publish(t.Context(), messages.Message{Exchange: exchange, Key: key, Body: []byte(key),
		Properties: messages.Properties{Headers: headers}})
	require.NoError(t, err)
	return answer
}

func next(t *testing.T, from messages.Tail) messages.Tailed {
	t.Helper()
	select {
	case m, more := <-from.C():
		require.True(t, more, "the tail ended: %v", from.Err())
		return m
	case <-time.After(soon):
		require.Fail(t, "no message")
		return messages.Tailed{}
	}
}

func field(t *testing.T, err error, name, says string) {
	t.Helper()
	var fields jobs.FieldErrors
	require.ErrorAs(t, err, &fields)
	require.Equal(t, name, fields[0].Field)
	require.Contains(t, fields[0].Message, says)
}

func TestTail_CopiesWhatItsPatternMatchesAndTakesNothingFromOthers(t *testing.T) {
	t.Parallel()
	h, ch, _ := handOn(t, true)
	declare(t, ch, "others", nil, [2]string{"amq.topic", "#"}, [2]string{"amq.direct", "a"}, [2]string{"amq.fanout", ""})
	require.NoError(t, ch.QueueBind("others", "", "amq.headers", false, amqp.Table{"x-match": "all"}))
	want := 0
	for _, c := range []struct {
		exchange, pattern string
		hits, misses      map[string]map[string]any // keys with headers
	}{
		{"amq.topic", "order.*", map[string]map[string]any{"order.paid": nil}, map[string]map[string]any{"order.paid.late": nil}},
		{"amq.topic", "#", map[string]map[string]any{"": nil, "x.y.z": nil}, nil},
		{"amq.direct", "a", map[string]map[string]any{"a": nil}, nil},
		{"amq.fanout", "", map[string]map[string]any{"any": nil}, nil},
		{"amq.fanout", "#", map[string]map[string]any{"any": nil}, nil},
		{"amq.headers", "n=7 ok=true", map[string]map[string]any{"hit": {"n": int64(7), "ok": true}}, map[string]map[string]any{
			"miss": {"n": int64(7)}}},
		{"amq.headers", "any n=7 ok=true", map[string]map[string]any{"hit": {"n": int64(7)}},
			map[string]map[string]any{"miss": {"n": "7"}}},
		{"amq.headers", "", map[string]map[string]any{"hit": nil}, nil},
	} {
		from, err := h.Tail(t.Context(), messages.Source{Exchange: c.exchange, Pattern: c.pattern})
		require.NoError(t, err, "%s %s", c.exchange, c.pattern)
		for key, headers := range c.misses {
			require.True(t, publish(t, h, c.exchange, key, headers).Routed)
			want++
		}
		for key, headers := range c.hits {
			require.True(t, publish(t, h, c.exchange, key, headers).Routed)
			want++
			require.Equal(t, key, next(t, from).Key, "%s %s", c.exchange, c.pattern)
		}
		from.Close()
	}
	for got := range want {
		_, ok, err := ch.Get("others", true)
		require.NoError(t, err)
		require.True(t, ok, "the queue beside the tails has %d of %d", got, want)
	}
}

func TestTail_ShowsEveryProperty(t *testing.T) {
	t.Parallel()
	h, _, _ := handOn(t, true)
	from, err := h.Tail(t.Context(), messages.Source{Exchange: "amq.topic", Pattern: "#"})
	require.NoError(t, err)
	defer from.Close()
	sent := messages.Message{Exchange: "amq.topic", Key: "k", Body: []byte(strings.Repeat("é", messages.BodyKept)),
		Properties: messages.Properties{ContentType: "text/plain", ContentEncoding: "utf-8", DeliveryMode: 2, Priority: 3,
			CorrelationID: "c", ReplyTo: "r", Expiration: "60000", MessageID: "m", Timestamp: "2026-11-30T10:00:00Z", Type: "t", AppID: "a",
			Headers: map[string]any{"n": int64(1) << 40, "f": 1.5, "b": true, "s": "x"}}}
	answer, err := h.Publish(t.Context(), sent)
	require.NoError(t, err)
	require.Len(t, answer.Queues, 1, "the tail's own")
	got := next(t, from)
	require.Equal(t, sent.Properties, got.Properties)
	require.Equal(t, []any{"amq.topic", "k", len(sent.Body), messages.BodyKept, true, false},
		[]any{got.Exchange, got.Key, got.Size, len(got.Body), got.Cut(), got.Redelivered})
	raw, err := json.Marshal(got)
	require.NoError(t, err)
	require.Contains(t, string(raw), `"body_cut":true`)
}

func TestTail_IsGoneFromTheBrokerWhenItIsClosedOrItsConnectionDies(t *testing.T) {
	t.Parallel()
	h, _, vhost := handOn(t, true)
	for _, end := range []func(*tail){func(from *tail) { from.Close() }, func(from *tail) { _ = from.wire.Close() }} {
		from, err := h.Tail(t.Context(), messages.Source{Exchange: "amq.topic", Pattern: "#"})
		require.NoError(t, err)
		exists := func() bool {
			_, err := vhost.Management.Queue(t.Context(), vhost.Name, from.(*tail).queue)
			return !management.IsNotFound(err)
		}
		require.True(t, exists())
		end(from.(*tail))
		require.Eventually(t, func() bool { return !exists() }, soon, 50*time.Millisecond)
		require.Eventually(t, func() bool { _, more := <-from.C(); return !more }, soon, time.Millisecond)
		from.Close()
	}
}

func TestTail_SaysWhatCannotBeTailedAndDeclaresNothing(t *testing.T) {
	t.Parallel()
	h, ch, vhost := handOn(t, true)
	require.NoError(t, ch.ExchangeDeclare("spare", "topic", true, false, false, false, amqp.Table{"alternate-exchange": "amq.fanout"}))
	for _, c := range []struct{ exchange, pattern, field, says string }{
		{"", "#", "exchange", "default exchange"},
		{"nowhere", "#", "exchange", `there is no "nowhere"`},
		{"spare", "#", "exchange", `goes to "amq.fanout"`},
		{"amq.direct", "#", "pattern", "direct exchange"},
		{"amq.fanout", "x", "pattern", "must be empty"},
		{"amq.headers", "x", "pattern", "header=value"},
		{"amq.topic", strings.Repeat("x", 256), "routing_key", "255 bytes"},
	} {
		_, err := h.Tail(t.Context(), messages.Source{Exchange: c.exchange, Pattern: c.pattern})
		field(t, err, c.field, c.says)
	}
	list, err := vhost.Management.Exchanges(t.Context(), vhost.Name)
	require.NoError(t, err)
	for _, e := range list {
		require.NotEqual(t, "nowhere", e.Name)
	}
	policy := management.Policy{Pattern: "^amq.topic$", ApplyTo: "exchanges",
		Definition: json.RawMessage(`{"alternate-exchange":"amq.fanout"}`)}
	require.NoError(t, vhost.Management.PutPolicy(t.Context(), vhost.Name, "spare", policy))
	require.Eventually(t, func() bool {
		_, err := h.Tail(t.Context(), messages.Source{Exchange: "amq.topic", Pattern: "#"})
		var fields jobs.FieldErrors
		return errors.As(err, &fields) && strings.Contains(fields[0].Message, `goes to "amq.fanout"`)
	}, soon, 100*time.Millisecond)
}

func TestTail_WithoutAManagementAPIOnlyExchangesOfAKnownKindAreTailed(t *testing.T) {
	t.Parallel()
	h, ch, _ := handOn(t, false)
	require.NoError(t, ch.ExchangeDeclare("orders", "topic", true, false, false, false, nil))
	_, err := h.Tail(t.Context(), messages.Source{Exchange: "orders", Pattern: "#"})
	field(t, err, "exchange", "RABBITMQ_MANAGEMENT_URL")
	_, err = h.Tail(t.Context(), messages.Source{Exchange: "warren.jobs", Pattern: "default"})
	field(t, err, "exchange", "does not exist")
	from, err := h.Tail(t.Context(), messages.Source{Exchange: "amq.topic", Pattern: "#"})
	require.NoError(t, err)
	from.Close()
	list, err := h.Exchanges(t.Context())
	require.NoError(t, err)
	require.Empty(t, list)
}

// A policy for all queues must not make a tail refuse messages, nor send to others what it drops.
func TestTail_IsOnlyACopyWhateverPolicyItsQueueGets(t *testing.T) {
	t.Parallel()
	h, ch, vhost := handOn(t, true)
	declare(t, ch, "dead", nil, [2]string{"amq.fanout", ""})
	require.NoError(t, vhost.Management.PutPolicy(t.Context(), vhost.Name, "all", management.Policy{Pattern: "tail", ApplyTo: "queues",
		Definition: json.RawMessage(`{"dead-letter-exchange":"amq.fanout","overflow":"reject-publish","max-length":1}`)}))
	from, err := h.Tail(t.Context(), messages.Source{Exchange: "amq.topic", Pattern: "#"})
	require.NoError(t, err)
	for range 3 * tailPrefetch { // nobody reads the tail: what exceeds its prefetch waits in its queue, of one message
		require.True(t, publish(t, h, "amq.topic", "k", nil).Routed)
	}
	from.Close()
	_, ok, err := ch.Get("dead", true)
	require.NoError(t, err)
	require.False(t, ok)
}

func TestTail_EndsWithAReasonWhenItsExchangeIsDeleted(t *testing.T) {
	t.Parallel()
	h, ch, _ := handOn(t, true)
	require.NoError(t, ch.ExchangeDeclare("orders", "topic", true, false, false, false, nil))
	from, err := h.Tail(t.Context(), messages.Source{Exchange: "orders", Pattern: "#"})
	require.NoError(t, err)
	defer from.Close()
	require.NoError(t, ch.ExchangeDelete("orders", false, false))
	select {
	case _, more := <-from.C():
		require.False(t, more)
	case <-time.After(soon):
		require.Fail(t, "the tail goes on")
	}
	require.ErrorContains(t, from.Err(), `the exchange "orders" was deleted`)
}

func TestPublish_AnswersToWhichQueuesTheBindingsLead(t *testing.T) {
	t.Parallel()
	h, ch, _ := handOn(t, true)
	require.NoError(t, ch.ExchangeDeclare("out", "fanout", true, false, false, false, nil))
	require.NoError(t, ch.ExchangeDeclare("in", "topic", true, false, false, false, amqp.Table{"alternate-exchange": "amq.fanout"}))
	require.NoError(t, ch.ExchangeBind("out", "order.#", "in", false, nil))
	require.NoError(t, ch.ExchangeBind("in", "", "out", false, nil)) // a circle
	declare(t, ch, "a", nil, [2]string{"in", "order.*"}, [2]string{"out", ""})
	declare(t, ch, "b", nil, [2]string{"out", ""}, [2]string{"amq.direct", "b"})
	declare(t, ch, "rest", nil, [2]string{"amq.fanout", ""})
	require.NoError(t, ch.QueueBind("a", "", "amq.headers", false, amqp.Table{"x-match": "all"}))
	for _, c := range []struct {
		exchange, key string
		want          messages.Answer
	}{
		{"in", "order.paid", messages.Answer{Routed: true, Queues: []string{"a", "b"}}},
		{"in", "other", messages.Answer{Routed: true, Queues: []string{"rest"}}},
		{"amq.direct", "b", messages.Answer{Routed: true, Queues: []string{"b"}}},
		{"amq.direct", "c", messages.Answer{}},
		{"amq.headers", "", messages.Answer{Routed: true}},
		{"", "b", messages.Answer{Routed: true, Queues: []string{"b"}}},
		{"", "nobody", messages.Answer{}},
	} {
		require.Equal(t, c.want, publish(t, h, c.exchange, c.key, nil), "%s %s", c.exchange, c.key)
	}
	without := h.broker.ByHand(nil)
	require.Equal(t, messages.Answer{Routed: true}, publish(t, without, "amq.direct", "b", nil))
	require.Equal(t, "Routed to 2 queues: a, b.", messages.Answer{Routed: true, Queues: []string{"a", "b"}}.String())
}

func TestPublish_SaysWhatTheBrokerRefused(t *testing.T) {
	t.Parallel()
	h, ch, vhost := handOn(t, true)
	require.NoError(t, ch.ExchangeDeclare("inner", "fanout", true, false, true, false, nil))
	declare(t, ch, "full", amqp.Table{"x-max-length": 1, "x-overflow": "reject-publish"})
	require.True(t, publish(t, h, "", "full", nil).Routed)
	for _, c := range []struct {
		m           messages.Message
		field, says string
	}{
		{messages.Message{Exchange: "nowhere"}, "exchange", `there is no "nowhere"`},
		{messages.Message{Exchange: "inner"}, "exchange", "internal"},
		{messages.Message{Exchange: "amq.topic", Properties: messages.Properties{UserID: "somebody"}}, "user_id", "somebody"},
		{messages.Message{Exchange: "amq.topic", Properties: messages.Properties{Expiration: "soon"}}, "expiration", "milliseconds"},
		{messages.Message{Exchange: "amq.topic", Key: strings.Repeat("k", 256)}, "routing_key", "255"},
		{messages.Message{Key: "full"}, "exchange", "nack"},
	} {
		_, err := h.Publish(t.Context(), c.m)
		field(t, err, c.field, c.says)
	}
	list, err := vhost.Management.Exchanges(t.Context(), vhost.Name)
	require.NoError(t, err)
	for _, e := range list {
		require.NotEqual(t, "nowhere", e.Name)
	}
	away := (&Broker{URL: "amqp://127.0.0.1:1", Log: h.broker.Log}).ByHand(nil)
	_, err = away.Publish(t.Context(), messages.Message{Exchange: "amq.topic"})
	require.ErrorIs(t, err, jobs.ErrUnavailable)
}

func TestByHand_TheListOfExchangesIsAskedForOnceAMinute(t *testing.T) {
	t.Parallel()
	h, ch, _ := handOn(t, true)
	before, err := h.Exchanges(t.Context())
	require.NoError(t, err)
	require.Contains(t, before, messages.Exchange{Name: "amq.topic", Kind: "topic"})
	require.NoError(t, ch.ExchangeDeclare("new", "topic", true, false, false, false, nil))
	after, err := h.Exchanges(t.Context())
	require.NoError(t, err)
	require.Equal(t, before, after)
}
