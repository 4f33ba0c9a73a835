package engine_test

import (
	"context"
	"math"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
)

// listed waits until there are n jobs and returns them, newest first.
func (b *bundle) listed(n int) []jobs.Detail {
	b.t.Helper()
	b.until(text("the jobs are there"), func() bool { return b.number(`SELECT count(*) FROM warren.jobs`) == n })
	page, err := b.store.Jobs(b.ctx, jobs.Filter{}, jobs.Cursor{}, 100)
	require.NoError(b.t, err)
	var list []jobs.Detail
	for _, j := range page.Items {
		list = append(list, b.job(j.ID))
	}
	return list
}

// receives starts a worker whose steps do nothing.
func (b *bundle) receives() (stop func()) {
	b.work = func(context.Context, *jobs.Run) error { return nil }
	b.topology()
	return b.worker("w")
}

func TestWorker_AdoptsAForeignMessageOncePerMessageID(t *testing.T) {
	b := setup(t)
	stop := b.receives()
	m := amqp.Publishing{Type: "step", MessageId: "m-1", Body: []byte(`{"text": "hello"}`)}
	b.publish("warren.jobs", "default", m)
	b.publish("warren.jobs", "default", m)
	b.publish("", "warren.jobs.default", m)
	b.relay()
	adopted := b.listed(1)[0]
	job := b.ended(adopted.ID, jobs.Completed)
	require.Equal(t, "broker", job.Origin)
	require.JSONEq(t, `{"text":"hello"}`, string(job.Args))

	m.Body = []byte(`{"text": "another"}`)
	b.publish("warren.jobs", "default", m)
	conflict := b.listed(2)[0]
	require.Equal(t, jobs.Dead, conflict.State)
	require.Contains(t, *conflict.LastError, "conflict")
	b.holds(0)
	stop()
	require.Zero(t, b.ready("warren.jobs.default"))
	require.Len(t, b.listed(2), 2)
}

func TestWorker_AMessageThatCannotRunIsKeptAsItCame(t *testing.T) {
	b := setup(t)
	stop := b.receives()
	deep := strings.Repeat(`{"a":`, 9000) + "1" + strings.Repeat("}", 9000)
	messages := []struct {
		says string
		amqp.Publishing
	}{
		{"unknown job kind", amqp.Publishing{Type: "nonsense", Body: []byte(`{}`)}},
		{"unknown job kind", amqp.Publishing{Body: nil}},
		{"unknown job kind", amqp.Publishing{Type: strings.Repeat("X", 255), Body: []byte("\xff\x00\x01")}},
		{"args.text", amqp.Publishing{Type: "step", Body: []byte(`{"text":5}`)}},
		{"args.text", amqp.Publishing{Type: "dots", Body: []byte(`{}`)}},
		{"not valid JSON", amqp.Publishing{Type: "step", Body: []byte("garbage")}},
		{"not valid JSON", amqp.Publishing{Type: "step", Body: []byte("\x00\xff\xfe binary")}},
		{"args", amqp.Publishing{Type: "step", Body: []byte(deep)}},
		{"args", amqp.Publishing{Type: "step", Body: []byte(strings.Repeat("[1e9999999,", 100))}},
		{"out of range", amqp.Publishing{Type: "step", Body: []byte(`{"text":1e9999999}`)}},
		{"larger than 1 MiB", amqp.Publishing{Type: "step", Body: []byte(`{"text":"` + strings.Repeat("x", 1<<20) + `"}`)}},
		{"unknown job kind", amqp.Publishing{Headers: amqp.Table{"warren-job": "not an id",
			"table": amqp.Table{"a": []any{"b", int64(1), nil, []byte("\xff")}}, "zero\x00": "a\x00b", "text": `\u0000`}}},
		{"another deployment", amqp.Publishing{Type: "step", AppId: "theirs", Body: []byte(`{}`),
			Headers: amqp.Table{"warren-job": uuid.NewString(), "warren-dispatch": int64(1)}}},
		{"another deployment", amqp.Publishing{Type: "step", Body: []byte(`{}`), Headers: amqp.Table{"warren-job": uuid.NewString()}}},
	}
	for i, m := range messages {
		m.MessageId, m.CorrelationId = uuid.NewString(), "my correlation"
		b.publish("warren.jobs", "default", m.Publishing)
		job := b.listed(i + 1)[0]
		require.Equal(t, jobs.Dead, job.State)
		require.Contains(t, *job.LastError, m.says)
		require.Equal(t, string(m.Body), string(job.Raw.Body))
		require.Equal(t, []string{"warren.jobs", "default", "default"}, []string{job.Raw.Exchange, job.Raw.RoutingKey, job.Queue})
		require.Contains(t, string(job.Raw.Properties), m.MessageId)
		require.Contains(t, string(job.Raw.Properties), "my correlation")
		require.Empty(t, job.Attempts)
	}
	b.holds(0)
	stop()
	require.Zero(t, b.ready("warren.jobs.default"), "each is acknowledged")
	require.Equal(t, 1, b.number(`SELECT count(*) FROM warren.raw_messages WHERE properties::jsonb #>> '{headers,text}' = '\u0000'`),
		"the properties of each can be read")
}

// What is not valid JSON is not read as empty args, also where it is too large to be shown whole.
func TestWorker_AMessageThatCannotRunIsDeadAgainAfterARetry(t *testing.T) {
	b := setup(t)
	b.receives()
	var ran atomic.Bool
	b.work = func(context.Context, *jobs.Run) error { ran.Store(true); return nil }
	b.relay()
	for i, body := range []string{`{"text":`, strings.Repeat("x", 100<<10), `{"text":"` + strings.Repeat("x", 1<<20) + `"}`} {
		b.publish("warren.jobs", "default", amqp.Publishing{Type: "step", MessageId: uuid.NewString(), Body: []byte(body)})
		id := b.listed(i + 1)[0].ID
		b.ended(id, jobs.Dead)
		require.NoError(t, b.store.Retry(b.ctx, id, jobs.Actor{}))
		job := b.eventually(id, "dead again", func(j jobs.Detail) bool { return j.State == jobs.Dead && len(j.Attempts) == 1 })
		require.Contains(t, *job.LastError, "args: must be an object")
	}
	require.False(t, ran.Load())
}

func TestWorker_OddNumbersInTheHeadersOfAMessageDoNoHarm(t *testing.T) {
	b := setup(t)
	b.policy()
	b.scheduler()
	stop := b.receives()
	for i, dispatch := range []any{int64(math.MaxInt64), "99999999999999999999", int64(math.MinInt64), "1", 1.5, nil, true} {
		m := b.message(uuid.New(), 1)
		m.Headers["warren-dispatch"], m.Headers["warren-sent"], m.Headers["x-delivery-count"] = dispatch, int64(math.MaxInt64),
			int64(math.MaxInt64)
		b.publish("warren.jobs", "default", m)
		require.Contains(t, *b.listed(i + 1)[0].LastError, "does not know")
	}
	b.relay()
	id := b.step()
	b.ended(id, jobs.Completed)
	for i, dispatch := range []any{int64(math.MinInt64), "1", 1.5, nil, true} { // of a job that exists
		m := b.message(id, 1)
		m.Headers["warren-dispatch"], m.Headers["warren-sent"] = dispatch, int64(math.MaxInt64)
		b.publish("warren.jobs", "default", m)
		b.eventually(id, "stale", func(j jobs.Detail) bool { return len(j.Deliveries) == i+2 })
	}
	late := b.step(jobs.OnQueue("other"))
	b.outboxIsEmpty()
	m := b.message(late, 1)
	m.Headers["warren-sent"] = int64(math.MaxInt64)
	b.publish("warren.jobs", "default", m)
	b.ended(late, jobs.Completed)
	stop()
	require.Zero(t, b.ready("warren.jobs.default"))
	require.Zero(t, b.ready("warren.dead"))
}
