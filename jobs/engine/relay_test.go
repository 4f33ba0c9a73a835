package engine_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/rabbit/management"
	"github.com/warrenjobs/warren/store/outbox"
)

// event writes an event to the outbox and returns the id of its row.
func (b *bundle) event(exchange, key string, required bool, headers map[string]string) (id int64) {
	b.t.Helper()
	raw, err := json.Marshal(headers)
	require.NoError(b.t, err)
	require.NoError(b.t, b.db.QueryRow(b.ctx, `
		INSERT INTO warren.outbox (exchange, routing_key, type, body, required, headers) VALUES ($1, $2, 'happened', '{}', $3, $4)
			RETURNING id`,
		exchange, key, required, string(raw)).Scan(&id))
	return id
}

// failing waits until the row is in the outbox with an error and waits for its backoff.
func (b *bundle) failing(id int64) (why string) {
	b.t.Helper()
	b.until(text("the row has failed"), func() bool {
		return b.number(`SELECT count(*) FROM warren.outbox WHERE id = $1 AND tries > 0 AND last_error IS NOT NULL
			AND not_before > created_at`, id) == 1
	})
	require.NoError(b.t, b.db.QueryRow(b.ctx, `SELECT last_error FROM warren.outbox WHERE id = $1`, id).Scan(&why))
	return why
}

// drain consumes the messages of n jobs from the queue and returns how often each job's message came.
func (b *bundle) drain(queue string, n int) map[string]int {
	b.t.Helper()
	got, ids := map[string]int{}, map[string]string{}
	take := func(d amqp.Delivery) {
		job := d.Headers["warren-job"].(string)
		got[job]++
		if got[job] == 1 {
			ids[job] = d.MessageId
		}
		require.Equal(b.t, ids[job], d.MessageId, "a row that is sent again is the same message")
	}
	ch := b.amqp()
	deliveries, err := ch.Consume(queue, "", true, false, false, false, nil)
	require.NoError(b.t, err)
	for len(got) < n {
		take(await(b, "a message", deliveries))
	}
	require.NoError(b.t, ch.Close())
	for d := range deliveries {
		take(d)
	}
	return got
}

func TestRelay_TwoRelaysSendEachRowOnce(t *testing.T) {
	b := setup(t)
	ids := b.steps(3000)
	b.relay()
	b.relay()
	b.outboxIsEmpty()
	require.Equal(t, len(ids), b.ready("warren.jobs.default"))
	require.Len(t, b.drain("warren.jobs.default", len(ids)), len(ids))
}

func TestRelay_AJobMessageSaysWhatDesignMdSays(t *testing.T) {
	b := setup(t)
	b.relay()
	id := b.step()
	b.outboxIsEmpty()
	d, ok, err := b.amqp().Get("warren.jobs.default", true)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "warren.jobs", d.Exchange)
	require.Equal(t, "default", d.RoutingKey)
	require.Equal(t, "step", d.Type)
	require.Equal(t, b.id, d.AppId)
	require.Equal(t, id.String()+".1", d.CorrelationId)
	require.Equal(t, "application/json", d.ContentType)
	require.Equal(t, amqp.Persistent, d.DeliveryMode)
	require.NotEmpty(t, d.MessageId)
	require.False(t, d.Timestamp.IsZero())
	require.Equal(t, id.String(), d.Headers["warren-job"])
	require.EqualValues(t, 1, d.Headers["warren-dispatch"])
	require.NotZero(t, d.Headers["warren-sent"])
}

func TestRelay_AJobWaitsInTheBrokerBeforeAnyWorkerRuns(t *testing.T) {
	b := setup(t)
	b.work = func(context.Context, *jobs.Run) error { return nil }
	b.relay()
	id := b.step()
	b.outboxIsEmpty()
	b.worker("w")
	b.ended(id, jobs.Completed)
}

func TestRelay_AnEventWithoutSubscriberIsSentUnlessItIsRequired(t *testing.T) {
	b := setup(t)
	required := b.event("orders", "order.created", true, nil)
	b.event("orders", "order.created", false, nil)
	b.relay()
	require.Contains(t, b.failing(required), "no queue takes this message")
	b.until(text("only the required one is left"), func() bool { return b.number(`SELECT count(*) FROM warren.outbox`) == 1 })

	ch := b.amqp()
	q, err := ch.QueueDeclare("", false, true, false, false, nil)
	require.NoError(t, err)
	require.NoError(t, ch.QueueBind(q.Name, "order.*", "orders", false, nil))
	b.outboxIsEmpty()
	d, ok, err := ch.Get(q.Name, true)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "happened", d.Type)
}

func TestRelay_AJobQueueThatSomebodyDeletedIsDeclaredAgain(t *testing.T) {
	b := setup(t)
	b.relay()
	b.step()
	b.outboxIsEmpty()
	_, err := b.amqp().QueueDelete("warren.jobs.default", false, false, false)
	require.NoError(t, err)
	b.step()
	b.outboxIsEmpty()
	require.Equal(t, 1, b.ready("warren.jobs.default"))
}

func TestRelay_AFullQueueKeepsItsRowsInTheOutboxAndOthersGo(t *testing.T) {
	b := setup(t)
	ch := b.amqp()
	_, err := ch.QueueDeclare("warren.jobs.full", true, false, false, false, amqp.Table{"x-queue-type": "quorum"})
	require.NoError(t, err)
	require.NoError(t, b.vhost.Management.PutPolicy(b.ctx, b.vhost.Name, "full", management.Policy{Pattern: "^warren.jobs.full$",
		ApplyTo: "queues", Priority: 9,
		Definition: json.RawMessage(`{"max-length":1,"overflow":"reject-publish"}`)}))
	b.until(text("the policy is in effect"), func() bool {
		q, err := b.vhost.Management.Queue(b.ctx, b.vhost.Name, "warren.jobs.full")
		return err == nil && q.Policy == "full"
	})
	b.relay()
	refused := func() int {
		return b.number(`SELECT count(*) FROM warren.outbox WHERE routing_key = 'full' AND last_error LIKE '%refused%'`)
	}
	full := func(n int) {
		for range n {
			b.step(jobs.OnQueue("full"))
		}
	}
	for refused() == 0 { // a quorum queue takes some more than its max-length
		full(3)
		b.until(text("they are gone, or one has been refused"), func() bool {
			return refused() > 0 || b.number(`SELECT count(*) FROM warren.outbox`) == 0
		})
	}
	full(300)
	free := b.steps(20)
	b.until(text("the others go"), func() bool { return b.number(`SELECT count(*) FROM warren.outbox WHERE routing_key = 'default'`) == 0 })
	require.Equal(t, len(free), b.ready("warren.jobs.default"))
	require.Positive(t, b.number(`SELECT count(*) FROM warren.outbox WHERE routing_key = 'full'
		AND tries = 0`), "the queue waits, its rows are not tried one by one")
	st, err := b.store.Outbox(b.ctx)
	require.NoError(t, err)
	require.Positive(t, st.Failing)
	require.Contains(t, st.LastError, "is the queue full?")

	_, err = ch.Consume("warren.jobs.full", "", true, false, false, false, nil)
	require.NoError(t, err)
	b.outboxIsEmpty()
}

func TestRelay_AMessageThatBreaksTheChannelEndsUpAlone(t *testing.T) {
	for name, bad := range map[string]func(b *bundle) int64{
		"an exchange of another type": func(b *bundle) int64 {
			require.NoError(b.t, b.amqp().ExchangeDeclare("odd", "fanout", true, false, false, false, nil))
			return b.event("odd", "k", true, nil)
		},
		"an exchange that nobody may declare": func(b *bundle) int64 { return b.event("amq.mine", "k", true, nil) },
		"an internal exchange": func(b *bundle) int64 {
			require.NoError(b.t, b.amqp().ExchangeDeclare("inside", "topic", true, false, true, false, nil))
			return b.event("inside", "k", true, nil)
		},
		"headers that fit no frame": func(b *bundle) int64 {
			return b.event("orders", "k", true, map[string]string{"big": strings.Repeat("x", 200_000)})
		},
		"a routing key that fits no frame": func(b *bundle) int64 { return b.event("orders", strings.Repeat("k", 300), true, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			before := b.steps(30)
			id := bad(b)
			after := b.steps(30)
			b.relay()
			b.until(text("the neighbours go"), func() bool { return b.number(`SELECT count(*) FROM warren.outbox`) == 1 })
			t.Log(b.failing(id))
			require.Len(t, b.drain("warren.jobs.default", len(before)+len(after)), len(before)+len(after))
			later := b.step()
			b.until(text("a later one goes"), func() bool {
				return b.number(`SELECT count(*) FROM warren.outbox WHERE job_id = $1`,
					later) == 0
			})
			require.Equal(t, 1, b.number(`SELECT count(*) FROM warren.outbox`), "the bad one is never dropped")
		})
	}
}

func TestRelay_NothingIsLostWhenTheConnectionIsCutInTheMiddle(t *testing.T) {
	b := setup(t)
	slow := b.link()
	slow.cuts.Store(6)
	broker := *b.broker
	broker.URL = slow.url
	ids := b.steps(3000)
	b.relayTo(&broker)
	b.relayTo(&broker)
	b.outboxIsEmpty()
	got := b.drain("warren.jobs.default", len(ids))
	require.Len(t, got, len(ids))
	for _, id := range ids {
		require.Contains(t, got, id.String())
	}
	require.Negative(t, slow.cuts.Load(), "six connections were cut while they sent")
}

// link is a proxy between a client and the broker. The broker's answers pass only while the link is
// not locked, and the first connections are cut in the middle of what the client sends.
type link struct {
	sync.RWMutex
	url  string
	cuts atomic.Int64
}

// cutAfter is how many bytes of the client pass before a cut: some 100 messages.
const cutAfter = 64 << 10

func (b *bundle) link() *link {
	b.t.Helper()
	target, err := url.Parse(b.vhost.URL)
	require.NoError(b.t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b.t, err)
	l := &link{}
	host := target.Host
	target.Host = listener.Addr().String()
	l.url = target.String()
	b.t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			broker, err := net.Dial("tcp", host)
			if err != nil {
				_ = client.Close()
				return
			}
			go l.sends(broker, client)
			go l.answers(client, broker)
		}
	}()
	return l
}

func (l *link) sends(broker, client net.Conn) {
	defer func() { _, _ = broker.Close(), client.Close() }()
	if l.cuts.Add(-1) >= 0 {
		_, _ = io.CopyN(broker, client, cutAfter)
		return
	}
	_, _ = io.Copy(broker, client)
}

func (l *link) answers(client, broker net.Conn) {
	defer func() { _, _ = broker.Close(), client.Close() }()
	buf := make([]byte, 4096)
	for {
		n, err := broker.Read(buf)
		if err != nil {
			return
		}
		l.RLock()
		_, err = client.Write(buf[:n])
		l.RUnlock()
		if err != nil {
			return
		}
	}
}

// onceADay backs rows off for a day, so that only a late confirm can remove them.
type onceADay struct{ engine.Outbox }

type onceADayClaim struct{ engine.OutboxClaim }

func (o onceADay) ClaimOutbox(ctx context.Context, pick engine.OutboxPick, limit int, after int64) (engine.OutboxClaim, error) {
	c, err := o.Outbox.ClaimOutbox(ctx, pick, limit, after)
	if err != nil {
		return nil, err
	}
	return onceADayClaim{c}, nil
}

func (c onceADayClaim) Settle(ctx context.Context, sent []int64, unheard []string, failed []engine.OutboxBackoff) error {
	for i := range failed {
		failed[i].Wait = 24 * time.Hour
	}
	return c.OutboxClaim.Settle(ctx, sent, unheard, failed)
}

func TestRelay_ALateConfirmRemovesTheRow(t *testing.T) {
	b := setup(t)
	slow := b.link()
	broker := *b.broker
	broker.URL = slow.url
	r := &engine.Relay{Outbox: onceADay{b.store}, Publisher: broker.NewPublisher(), Announce: silent, ReportHealth: unwritten, Log: b.log}
	b.background(r.Run)
	b.step()
	b.outboxIsEmpty()
	slow.Lock()
	id := b.step()
	b.eventually(id, "not confirmed", func(j jobs.Detail) bool { return strings.Contains(j.OutboxError, "not confirmed") })
	slow.Unlock()
	b.outboxIsEmpty()
	require.Equal(t, 2, b.ready("warren.jobs.default"))
}

func TestRelay_ALateReturnKeepsTheRow(t *testing.T) {
	b := setup(t)
	slow := b.link()
	broker := *b.broker
	broker.URL = slow.url
	b.relayBy(broker.NewPublisher())
	b.step()
	b.outboxIsEmpty()
	_, err := b.amqp().QueueDelete("warren.jobs.default", false, false, false)
	require.NoError(t, err)
	slow.Lock()
	id := b.step()
	b.eventually(id, "not confirmed", func(j jobs.Detail) bool { return strings.Contains(j.OutboxError, "not confirmed") })
	slow.Unlock()
	b.outboxIsEmpty()
	require.Equal(t, 1, b.ready("warren.jobs.default"), "it was returned, so it is sent again")
}

func TestRelay_TheOutboxWaitsWhileTheBrokerIsAway(t *testing.T) {
	b := setup(t)
	away := *b.broker
	away.URL = "amqp://guest:guest@127.0.0.1:1/"
	stop := b.relayTo(&away)
	ids := b.steps(10)
	health := b.number(`SELECT count(*) FROM warren.outbox WHERE tries > 0`)
	stop()
	require.Zero(t, health, "a broker that is away is no fault of a message")
	require.Equal(t, len(ids), b.number(`SELECT count(*) FROM warren.outbox`))
	b.relay()
	b.outboxIsEmpty()
	require.Equal(t, len(ids), b.ready("warren.jobs.default"))
}

func TestRelay_AnyNumberOfMessagesForAPlaceOfAnotherShapeHoldsUpNoOthers(t *testing.T) {
	b := setup(t)
	ch := b.amqp()
	require.NoError(t, ch.ExchangeDeclare("tasks", "fanout", true, false, false, false, nil))
	_, err := ch.QueueDeclare("warren.jobs.odd", false, false, false, false, nil)
	require.NoError(t, err)
	for range 100 {
		b.event("tasks", "tasks.event.created", false, nil)
	}
	b.steps(100, jobs.OnQueue("odd"))
	free := b.steps(20)
	b.relay()
	within, cancel := context.WithTimeout(b.ctx, 20*time.Second) // when sent one after the other they took two seconds each
	defer cancel()
	b.until(text("the others go, and these fail"), func() bool {
		require.NoError(t, within.Err())
		return b.number(`SELECT count(*) FROM warren.outbox WHERE routing_key = 'default'`) == 0 &&
			b.number(`SELECT count(*) FROM warren.outbox WHERE tries > 0`) == 200
	})
	require.Len(t, b.drain("warren.jobs.default", len(free)), len(free))
	require.Equal(t, 200, b.number(`SELECT count(*) FROM warren.outbox WHERE last_error LIKE '%exists with another shape%'`))
	require.Equal(t, 100, b.number(`SELECT count(*) FROM warren.outbox WHERE exchange = 'tasks'
		AND last_error LIKE '%events need a topic exchange%'`))
	require.NoError(t, ch.ExchangeDelete("tasks", false, false))
	b.exec(`UPDATE warren.outbox SET not_before = now() WHERE exchange = 'tasks'`)
	b.until(text("the events go once the exchange can be had"),
		func() bool { return b.number(`SELECT count(*) FROM warren.outbox WHERE exchange = 'tasks'`) == 0 })
}

func TestRelay_ARowThatIsCommittedAfterLaterOnesIsSent(t *testing.T) {
	b := setup(t)
	b.relay()
	other, err := pgx.Connect(b.ctx, b.db.Config().ConnString())
	require.NoError(t, err)
	t.Cleanup(func() { _ = other.Close(context.Background()) })
	tx, err := other.Begin(b.ctx)
	require.NoError(t, err)
	late, err := outbox.Enqueue(b.ctx, outbox.Pgx(tx), jobs.New(step{}))
	require.NoError(t, err)
	b.steps(3000)
	b.outboxIsEmpty()
	require.NoError(t, tx.Commit(b.ctx))
	b.outboxIsEmpty()
	require.Contains(t, b.drain("warren.jobs.default", 3001), late[0].ID.String())
}

// claims records where the claims of jobs, or of all rows, start and what they find.
type claims struct {
	engine.Outbox
	mu   sync.Mutex
	list []claimed
}

type claimed struct {
	at          time.Time
	after, next int64
	full        bool
}

func (c *claims) ClaimOutbox(ctx context.Context, pick engine.OutboxPick, limit int, after int64) (engine.OutboxClaim, error) {
	claim, err := c.Outbox.ClaimOutbox(ctx, pick, limit, after)
	if err == nil && pick.Rows != engine.OutboxEvents {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.list = append(c.list, claimed{time.Now(), after, claim.Next(), len(claim.Messages()) == limit})
	}
	return claim, err
}

// passed reports whether the rescans of recent ids start behind the rows that were there, too.
func (c *claims) passed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.list)
	return n > 1 && c.list[n-1].after > 0 && c.list[n-1].at.Sub(c.list[n-2].at) > 50*time.Millisecond
}

// All rows below the cursor are rescanned once a second: many of them must not be sent at one batch
// a second.
func TestRelay_TheJobsOfAQueueThatIsResumedGoAsFastAsAny(t *testing.T) {
	b := setup(t)
	watched := &claims{Outbox: b.store}
	r := &engine.Relay{Outbox: watched, Publisher: b.broker.NewPublisher(), Announce: silent, ReportHealth: unwritten, Log: b.log}
	stop := b.background(r.Run)
	b.steps(1, jobs.OnQueue("held"))
	require.NoError(t, b.store.PauseQueue(b.ctx, "held", jobs.Actor{Name: "t"}))
	b.steps(3500, jobs.OnQueue("held"))
	later := b.step()
	b.until(text("a later one goes"), func() bool { return b.number(`SELECT count(*) FROM warren.outbox WHERE job_id = $1`, later) == 0 })
	b.until(text("the held ones are passed"), watched.passed)
	require.NoError(t, b.store.ResumeQueue(b.ctx, "held", jobs.Actor{Name: "t"}))
	b.outboxIsEmpty()
	stop()
	full := 0
	for i, c := range watched.list[1:] {
		if before := watched.list[i]; before.full {
			full++
			require.LessOrEqual(t, c.after, before.next, "the next claim goes on where a full one ended")
		}
	}
	require.GreaterOrEqual(t, full, 3)
}

func TestRelay_AJobDoesNotWaitBehindTheEvents(t *testing.T) {
	b := setup(t)
	b.exec(`INSERT INTO warren.outbox (exchange, routing_key, type, body, required) SELECT 'tasks', 'tasks.event.created', 'happened', '{}',
		false FROM generate_series(1, 6000)`)
	b.step()
	sent := &firstJob{Publisher: b.broker.NewPublisher()}
	b.relayBy(sent)
	b.outboxIsEmpty()
	require.LessOrEqual(t, sent.before, 2_000, "of 6,000 events")
}

// firstJob counts the messages that are published before the first job.
type firstJob struct {
	engine.Publisher
	before int
	job    bool
}

func (o *firstJob) Publish(ctx context.Context, msgs []engine.Message, wait time.Duration, late func([]int64)) (engine.Receive, error) {
	for _, m := range msgs {
		if o.job = o.job || m.IsJob(); !o.job {
			o.before++
		}
	}
	return o.Publisher.Publish(ctx, msgs, wait, late)
}

// A broker in trouble stops reading. The relay must report that, and be able to stop.
func TestRelay_DoesNotHangInABrokerThatStopsReading(t *testing.T) {
	b := setup(t)
	target, err := url.Parse(b.vhost.URL)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	broker := *b.broker
	broker.URL = strings.Replace(b.vhost.URL, target.Host, listener.Addr().String(), 1)
	go func() {
		for n := 0; ; n++ {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target.Host)
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(client, server) }()
			go func() {
				if n == 0 {
					_, _ = io.CopyN(server, client, 1<<20)
					return // and reads no more
				}
				_, _ = io.Copy(server, client)
			}()
		}
	}()
	b.exec(`INSERT INTO warren.outbox (exchange, routing_key, type, body, required)
		SELECT 'tasks', 'tasks.event.created', 'happened', convert_to(repeat('x', 100000), 'UTF8'), false FROM generate_series(1, 400)`)
	b.relayTo(&broker)
	b.outboxIsEmpty()
}
