package rabbit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenjobs/warren/jobs"
)

// Headers of a job message (design.md §4).
const (
	headerJob      = "warren-job"
	headerDispatch = "warren-dispatch"
	headerSent     = "warren-sent" // ms since 1970
)

// returnsBuffer is above what one Publish may send: a returned message must
// never wait for us. With a buffer of 1 the library drops a return after 5 s
// while the confirm says ack (engine.md, "Relay"): a lost message.
const returnsBuffer = 4096

// Publisher publishes with confirms and mandatory. For one goroutine, except Blocked.
type Publisher struct {
	broker   *Broker
	conn     *amqp.Connection
	ch       *amqp.Channel
	returned *returned
	closed   chan *amqp.Error
	declared map[string]bool
	opened   time.Time

	mu      sync.Mutex
	blocked string
}

// NewPublisher returns a publisher that connects when it is first used.
func (b *Broker) NewPublisher() *Publisher { return &Publisher{broker: b} }

// Blocked is the broker's reason to take no messages now, or "".
func (p *Publisher) Blocked() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.blocked
}

// Close drops the connection. Idempotent.
func (p *Publisher) Close() error {
	if p.conn == nil {
		return nil
	}
	conn := p.conn
	p.conn, p.ch = nil, nil
	p.setBlocked("")
	return conn.CloseDeadline(time.Now().Add(time.Second)) // a blocked connection would hang
}

func (p *Publisher) setBlocked(why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blocked = why
}

// Publish is jobs.Publisher's. A job goes to the jobs exchange; its queue is
// declared first, as it may be the first job of that queue.
func (p *Publisher) Publish(ctx context.Context, msgs []jobs.Message, wait time.Duration, late func([]int64)) ([]jobs.Receipt, error) {
	if err := p.open(ctx); err != nil {
		return nil, err
	}
	receipts, err := p.publish(ctx, msgs, wait, late)
	if err == nil && refused(receipts) && time.Since(p.opened) > refusedMax {
		_ = p.Close()
	}
	if err != nil {
		_ = p.Close() // nothing is known of this channel any more
		if errors.Is(err, jobs.ErrUnavailable) {
			// The broker was there a moment ago: one of the messages may be why it is not.
			err = errors.New("the connection ended while sending: " + err.Error())
		}
	}
	return receipts, err
}

// refusedMax is how long a connection is kept on which the broker refuses
// messages. It goes on refusing there what it would take on a new one: seen with
// 3.10, after the limit of a full quorum queue was lifted by policy.
const refusedMax = 5 * time.Second

func refused(receipts []jobs.Receipt) bool {
	return slices.ContainsFunc(receipts, func(r jobs.Receipt) bool { return r.Status == jobs.Nacked })
}

func (p *Publisher) open(ctx context.Context) error {
	if p.conn != nil && !p.conn.IsClosed() && !p.ch.IsClosed() {
		return nil
	}
	_ = p.Close()
	conn, ch, err := p.broker.connect(ctx, "relay")
	if err != nil {
		return err
	}
	if err = p.broker.declareBase(ch); err == nil {
		err = ch.Confirm(false)
	}
	if err != nil {
		_ = conn.CloseDeadline(time.Now().Add(time.Second))
		return unready{err} // no message is the reason: they wait
	}
	p.conn, p.ch = conn, ch
	p.returned = &returned{from: ch.NotifyReturn(make(chan amqp.Return, returnsBuffer)), why: map[string]string{}}
	p.closed = ch.NotifyClose(make(chan *amqp.Error, 1))
	p.declared, p.opened = map[string]bool{}, time.Now()
	go p.watchBlocked(conn.NotifyBlocked(make(chan amqp.Blocking, 1)))
	return nil
}

func (p *Publisher) watchBlocked(events <-chan amqp.Blocking) {
	for b := range events {
		why := ""
		if b.Active {
			why = "connection blocked: " + b.Reason
		}
		p.setBlocked(why)
	}
	p.setBlocked("")
}

func (p *Publisher) publish(ctx context.Context, msgs []jobs.Message, wait time.Duration, late func([]int64)) ([]jobs.Receipt, error) {
	without, err := p.declare(msgs)
	if err != nil {
		return nil, err
	}
	flying := make([]flight, len(msgs))
	for i, m := range msgs {
		if why := without[placeOf(m)]; why != "" {
			flying[i].without = why
			continue
		}
		flying[i].sent = time.Now()
		flying[i].confirm, err = p.ch.PublishWithDeferredConfirm(p.exchange(m), m.RoutingKey, true, false, p.publishing(m))
		if err != nil {
			return nil, fmt.Errorf("publish: %w", away(err))
		}
	}
	jobs.CrashAt(jobs.CrashRelayPublished)
	return p.await(ctx, msgs, flying, wait, late)
}

// flight is a message on its way; without says why it was not sent.
type flight struct {
	sent    time.Time
	confirm *amqp.DeferredConfirmation
	without string
}

func (p *Publisher) exchange(m jobs.Message) string {
	if m.IsJob() {
		return p.broker.Names.JobsExchange()
	}
	return m.Exchange
}

// declare makes the queues and exchanges that the messages need, and says what
// the broker refuses to make, and why. That concerns only the messages for it:
// any number of them must not hold up the others.
func (p *Publisher) declare(msgs []jobs.Message) (without map[string]string, err error) {
	without = map[string]string{}
	for _, m := range msgs {
		place := placeOf(m)
		if p.declared[place] || without[place] != "" {
			continue
		}
		err := p.declarePlace(m)
		var refused *amqp.Error
		switch {
		case err == nil:
			p.declared[place] = true
		case errors.As(err, &refused) && refused.Server && !p.conn.IsClosed():
			without[place] = err.Error()
		default:
			return nil, err
		}
	}
	return without, nil
}

// declarePlace works on a channel of its own: a refusal ends it.
func (p *Publisher) declarePlace(m jobs.Message) error {
	ch, err := p.conn.Channel()
	if err != nil {
		return fmt.Errorf("open a channel: %w", away(err))
	}
	defer func() { _ = ch.Close() }()
	if m.IsJob() {
		return p.broker.declareJobQueue(ch, m.RoutingKey)
	}
	if err := ch.ExchangeDeclare(m.Exchange, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
		return p.broker.declareError("exchange", m.Exchange, err)
	}
	return nil
}

// placeOf names the queue or exchange that a message needs.
func placeOf(m jobs.Message) string {
	if m.IsJob() {
		return "queue " + m.RoutingKey
	}
	return "exchange " + m.Exchange
}

func (p *Publisher) publishing(m jobs.Message) amqp.Publishing {
	now := time.Now()
	out := amqp.Publishing{
		ContentType: "application/json", DeliveryMode: amqp.Persistent, Timestamp: now,
		MessageId: m.MessageID, Type: m.Type, AppId: p.broker.Deployment, Body: m.Body, Headers: amqp.Table{},
	}
	var extra map[string]string
	if json.Unmarshal(m.Headers, &extra) == nil {
		for k, v := range extra {
			out.Headers[k] = v
		}
	}
	if m.IsJob() {
		out.CorrelationId = fmt.Sprintf("%s.%d", m.JobID, m.Dispatch)
		out.Headers[headerJob] = m.JobID.String()
		out.Headers[headerDispatch] = int64(m.Dispatch)
		out.Headers[headerSent] = now.UnixMilli()
	}
	return out
}

// await waits for the confirms. When one resolves, the return of its message, if
// there is one, is already in our buffer: the broker sends it first, and the
// library hands both over in that order (seen 7,200 of 7,200).
func (p *Publisher) await(ctx context.Context, msgs []jobs.Message, flying []flight, wait time.Duration, late func([]int64)) ([]jobs.Receipt, error) {
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait)
	defer cancel()
	receipts := make([]jobs.Receipt, len(msgs))
	for i, f := range flying {
		if f.without != "" {
			receipts[i] = jobs.Receipt{Status: jobs.NotSent, Detail: f.without}
			continue
		}
		acked, err := f.confirm.WaitContext(deadline)
		switch {
		case err != nil:
			receipts[i] = jobs.Receipt{Status: jobs.Pending}
			go awaitLate(f.confirm, msgs[i], p.returned, late)
		case p.ch.IsClosed() && !acked:
			// The library resolves what was pending as not acknowledged when the channel ends.
			return nil, p.whyClosed()
		case !acked:
			receipts[i] = jobs.Receipt{Status: jobs.Nacked, Detail: "negative confirm (is the queue full?)", Took: time.Since(f.sent)}
		default:
			receipts[i] = jobs.Receipt{Status: jobs.Confirmed, Took: time.Since(f.sent)}
		}
	}
	for i, m := range msgs {
		if receipts[i].Status != jobs.Confirmed {
			continue
		}
		if why, ok := p.returned.take(m.MessageID); ok {
			delete(p.declared, placeOf(m)) // somebody deleted the queue: the next try makes it again
			receipts[i].Status, receipts[i].Detail = jobs.Unroutable, why
		}
	}
	return receipts, nil
}

// whyClosed tells a broken connection from a message that the broker cannot take.
func (p *Publisher) whyClosed() error {
	select {
	case err := <-p.closed:
		if refused := p.broker.refusedRight(err); refused != nil {
			return refused
		}
		if err != nil {
			return fmt.Errorf("the channel ended before the broker confirmed: %w", away(err))
		}
	case <-time.After(time.Second):
	}
	return fmt.Errorf("the channel ended before the broker confirmed: %w", jobs.ErrUnavailable)
}

// returned are the messages of one channel that no queue wanted.
type returned struct {
	from <-chan amqp.Return
	mu   sync.Mutex
	why  map[string]string // by message id
}

// take says whether a message that was confirmed had been returned, and why. It does not block.
func (r *returned) take(messageID string) (why string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		select {
		case ret, open := <-r.from:
			if open {
				r.why[ret.MessageId] = fmt.Sprintf("%s (exchange %q, routing key %q)", ret.ReplyText, ret.Exchange, ret.RoutingKey)
				continue
			}
		default:
		}
		why, ok = r.why[messageID]
		delete(r.why, messageID)
		return why, ok
	}
}

// awaitLate keeps listening for a slow broker's confirm. A late message that was
// returned is left to the outbox: it is sent again when its backoff ends.
func awaitLate(c *amqp.DeferredConfirmation, m jobs.Message, r *returned, late func([]int64)) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if acked, err := c.WaitContext(ctx); err != nil || !acked {
		return
	}
	if _, back := r.take(m.MessageID); !back {
		late([]int64{m.OutboxID})
	}
}
