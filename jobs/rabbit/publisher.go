package rabbit

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
)

// Headers of a job message (design.md §4).
const (
	headerJob      = "warren-job"
	headerDispatch = "warren-dispatch"
	headerSent     = "warren-sent" // ms since 1970
)

// returnsBuffer exceeds the number of messages that may be unconfirmed at once, so that a returned
// message never waits for us. With a buffer of 1 the library drops a return after 5 s while the
// confirm is positive (engine.md, "Relay"): the message is lost.
const returnsBuffer = 16384

// Publisher publishes messages as mandatory and with confirms. Publish and Close must be called
// from one goroutine; Blocked, and the functions that Publish returns, may be called from any.
type Publisher struct {
	broker *Broker
	sender *sender // nil while not connected

	mu      sync.Mutex
	heard   *sender // the sender that sets blocked: one that is being replaced may end late
	blocked string
	// When messages were last refused, when a connection was last replaced for it, and how long the new one is kept.
	refused, replaced time.Time
	keeps             time.Duration
}

// NewPublisher returns a publisher that connects when it is first used.
func (b *Broker) NewPublisher() *Publisher { return &Publisher{broker: b} }

// Blocked returns why the broker has blocked the connection, or "" if it has not.
func (p *Publisher) Blocked() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.blocked
}

// Close closes the connection: unconfirmed messages end with an error. It is idempotent.
func (p *Publisher) Close() error {
	if p.sender == nil {
		return nil
	}
	s := p.sender
	p.sender = nil
	p.hear(nil)
	return s.close()
}

// hear makes s the only sender whose blocked state counts.
func (p *Publisher) hear(s *sender) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard, p.blocked = s, ""
}

func (p *Publisher) setBlocked(s *sender, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.heard == s {
		p.blocked = why
	}
}

// Publish implements engine.Publisher. Jobs are published to the jobs exchange; their queues are
// declared first, as a job may be the first of its queue.
func (p *Publisher) Publish(ctx context.Context, msgs []engine.Message, wait time.Duration, late func([]int64)) (engine.Receive, error) {
	if err := p.open(ctx); err != nil {
		return nil, err
	}
	s := p.sender
	s.flying.Add(1)
	flying, err := s.send(msgs)
	if err != nil {
		s.flying.Done()
		_ = p.Close() // the state of this channel is unknown
		return nil, sending(err)
	}
	engine.CrashAt(engine.CrashRelayPublished)
	return func() ([]engine.Receipt, error) {
		defer s.flying.Done()
		receipts, err := s.await(ctx, msgs, flying, wait, late)
		if err != nil {
			_ = s.close()
			return nil, sending(err)
		}
		if refused(receipts) && p.broker.has(keepsRefusing) && p.replaces(s, time.Now()) {
			s.stale.Store(true)
		}
		return receipts, nil
	}, nil
}

// sending converts an unavailable broker to another error: the connection was open a moment ago, so
// one of the messages may be why it ended.
func sending(err error) error {
	if errors.Is(err, jobs.ErrUnavailable) {
		return errors.New("the connection ended while sending: " + err.Error())
	}
	return err
}

// A connection on which the broker refuses messages is replaced by a new one, because the broker
// may keep refusing on it what it accepts on others: after a full queue's limit was lifted
// (keepsRefusing), and on each connection whose first message was sent while the queue's leader was
// being elected. The latter must be replaced quickly; the former can wait.
const (
	refusedFirst = 500 * time.Millisecond
	refusedMax   = 5 * time.Second
	refusedAnew  = time.Minute // without a refusal, after which the backoff starts over
)

// replaces reports whether to replace the connection of s, on which messages were refused: the
// first one at once, later ones with backoff.
func (p *Publisher) replaces(s *sender, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.refused) > refusedAnew {
		p.keeps = 0
	}
	p.refused = now
	if p.heard != s || now.Sub(p.replaced) < p.keeps {
		return false
	}
	p.replaced, p.keeps = now, min(max(2*p.keeps, refusedFirst), refusedMax)
	return true
}

func refused(receipts []engine.Receipt) bool {
	return slices.ContainsFunc(receipts, func(r engine.Receipt) bool { return r.Status == engine.Nacked })
}

func (p *Publisher) open(ctx context.Context) error {
	if s := p.sender; s != nil && s.stale.Load() {
		p.sender = nil
		go func() { // the confirms of its messages in flight are still received
			s.flying.Wait()
			_ = s.close()
		}()
	}
	if p.sender != nil && !p.sender.ended() {
		return nil
	}
	_ = p.Close()
	l, err := p.broker.connect(ctx, "relay")
	if err != nil {
		return err
	}
	if err = p.broker.declareBase(l.ch); err == nil {
		err = l.ch.Confirm(false)
	}
	if err != nil {
		_ = l.close()
		return unready{error: err, mend: true} // not caused by any message: they stay in the outbox
	}
	p.sender = newSender(p.broker, l)
	p.hear(p.sender)
	go p.watchBlocked(p.sender, l.conn.NotifyBlocked(make(chan amqp.Blocking, 1)))
	return nil
}

func (p *Publisher) watchBlocked(s *sender, events <-chan amqp.Blocking) {
	for b := range events {
		why := ""
		if b.Active {
			why = "connection blocked: " + b.Reason
		}
		p.setBlocked(s, why)
	}
	p.setBlocked(s, "")
}

// sender is one connection and channel of a publisher.
type sender struct {
	*link
	broker   *Broker
	returned *returned
	closed   <-chan *amqp.Error
	flying   sync.WaitGroup // batches whose confirms are awaited
	stale    atomic.Bool    // to be replaced by a new sender

	mu       sync.Mutex
	declared map[place]bool
	why      error // why the channel ended, once known
}

func newSender(b *Broker, l *link) *sender {
	return &sender{link: l, broker: b, declared: map[place]bool{},
		returned: &returned{from: l.ch.NotifyReturn(make(chan amqp.Return, returnsBuffer)), why: map[string][]string{}},
		closed:   l.ch.NotifyClose(make(chan *amqp.Error, 1))}
}

func (s *sender) ended() bool { return s.conn.IsClosed() || s.ch.IsClosed() }

// send publishes the messages with as few system calls as possible.
func (s *sender) send(msgs []engine.Message) ([]flight, error) {
	without, err := s.declare(msgs)
	if err != nil {
		return nil, err
	}
	flying := make([]flight, len(msgs))
	now := time.Now()
	defer s.bounded().Stop()
	return flying, s.wire.together(func() error {
		for i, m := range msgs {
			if why := without[placeOf(m)]; why != "" {
				flying[i].without = why
				continue
			}
			flying[i].sent = now
			flying[i].confirm, err = s.ch.PublishWithDeferredConfirm(s.exchange(m), m.RoutingKey, true, false, s.publishing(m, now))
			if err != nil {
				return fmt.Errorf("publish: %w", away(err))
			}
		}
		return nil
	})
}

// flight is a message in flight; without is why it was not sent, if it was not.
type flight struct {
	sent    time.Time
	confirm *amqp.DeferredConfirmation
	without string
}

func (s *sender) exchange(m engine.Message) string {
	if m.IsJob() {
		return s.broker.Names.JobsExchange()
	}
	return m.Exchange
}

// declare declares the queues and exchanges that the messages need. It returns those that the
// broker refuses to declare, with the reasons: their messages must not hold up the others.
func (s *sender) declare(msgs []engine.Message) (without map[place]string, err error) {
	for _, m := range msgs {
		at := placeOf(m)
		if s.isDeclared(at) || without[at] != "" {
			continue
		}
		err := s.declarePlace(m)
		var refused *amqp.Error
		switch {
		case err == nil:
			s.setDeclared(at, true)
		case errors.As(err, &refused) && refused.Server && !s.conn.IsClosed():
			if without == nil {
				without = map[place]string{}
			}
			without[at] = err.Error()
		default:
			return nil, err
		}
	}
	return without, nil
}

func (s *sender) isDeclared(at place) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.declared[at]
}

func (s *sender) setDeclared(at place, is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.declared[at] = is
}

// declarePlace declares what m needs, on a separate channel because a refusal closes it.
func (s *sender) declarePlace(m engine.Message) error {
	defer s.bounded().Stop()
	ch, err := s.conn.Channel()
	if err != nil {
		return fmt.Errorf("open a channel: %w", away(err))
	}
	defer func() { _ = ch.Close() }()
	if m.IsJob() {
		return s.broker.declareJobQueue(ch, m.RoutingKey)
	}
	if err := ch.ExchangeDeclare(m.Exchange, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
		return s.broker.declareError("exchange", m.Exchange, err)
	}
	return nil
}

// place is what a message needs to be declared: the queue, by Warren's name, of a job, or else the
// exchange.
type place struct{ queue, exchange string }

func placeOf(m engine.Message) place {
	if m.IsJob() {
		return place{queue: m.RoutingKey}
	}
	return place{exchange: m.Exchange}
}

func (s *sender) publishing(m engine.Message, now time.Time) amqp.Publishing {
	out := amqp.Publishing{
		ContentType: cmp.Or(m.ContentType, "application/json"), DeliveryMode: amqp.Persistent, Timestamp: now,
		MessageId: m.MessageID, Type: m.Type, AppId: s.broker.Deployment, Body: m.Body, Headers: amqp.Table{},
	}
	var extra map[string]string
	if len(m.Headers) > 0 && json.Unmarshal(m.Headers, &extra) == nil {
		for k, v := range extra {
			out.Headers[k] = v
		}
	}
	if m.IsJob() {
		id := m.JobID.String()
		out.CorrelationId = id + "." + strconv.Itoa(m.Dispatch)
		out.ReplyTo = s.broker.Names.Results()
		out.Headers[headerJob] = id
		out.Headers[headerDispatch] = int64(m.Dispatch)
		out.Headers[headerSent] = now.UnixMilli()
	}
	return out
}

// await waits for the confirms. When a confirm resolves, the return of its message, if any, is
// already in our buffer: the broker sends the return first, and the library delivers both in that
// order (seen 7,200 of 7,200).
func (s *sender) await(
	ctx context.Context, msgs []engine.Message, flying []flight, wait time.Duration, late func([]int64),
) ([]engine.Receipt, error) {
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait)
	defer cancel()
	receipts := make([]engine.Receipt, len(msgs))
	for i, f := range flying {
		if f.without != "" {
			receipts[i] = engine.Receipt{Status: engine.NotSent, Detail: f.without}
			continue
		}
		acked, err := f.confirm.WaitContext(deadline)
		switch {
		case err != nil:
			receipts[i] = engine.Receipt{Status: engine.Pending}
			go awaitLate(f.confirm, msgs[i], s.returned, late)
		case s.ch.IsClosed() && !acked:
			// When the channel ends, the library resolves pending confirms as not acknowledged.
			return nil, s.whyClosed()
		case !acked:
			receipts[i] = engine.Receipt{Status: engine.Nacked, Detail: "negative confirm (is the queue full?)", Took: time.Since(f.sent)}
		default:
			receipts[i] = engine.Receipt{Status: engine.Confirmed, Took: time.Since(f.sent)}
		}
	}
	for i, m := range msgs {
		if receipts[i].Status != engine.Confirmed {
			continue
		}
		if why, ok := s.returned.take(m.MessageID); ok {
			s.setDeclared(placeOf(m), false) // the queue was deleted: the next attempt declares it again
			receipts[i].Status, receipts[i].Detail = engine.Unroutable, why
		}
	}
	return receipts, nil
}

// whyClosed returns why the channel ended: a lost connection, or a message that the broker does not
// accept. All callers get the same error.
func (s *sender) whyClosed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why != nil {
		return s.why
	}
	s.why = fmt.Errorf("the channel ended before the broker confirmed: %w", jobs.ErrUnavailable)
	select {
	case err := <-s.closed:
		if refused := s.broker.refusedRight(err); refused != nil {
			s.why = refused
		} else if err != nil {
			s.why = fmt.Errorf("the channel ended before the broker confirmed: %w", away(err))
		}
	case <-time.After(time.Second):
	}
	return s.why
}

// returned holds the messages of one channel that the broker returned as unroutable.
type returned struct {
	from <-chan amqp.Return
	mu   sync.Mutex
	why  map[string][]string // by message id; a message may have been sent twice
}

// take reports whether a confirmed message was returned, and why. It does not block.
func (r *returned) take(messageID string) (why string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		select {
		case ret, open := <-r.from:
			if open {
				r.why[ret.MessageId] = append(r.why[ret.MessageId], fmt.Sprintf("%s (exchange %q, routing key %q)", ret.ReplyText,
					ret.Exchange, ret.RoutingKey))
				continue
			}
		default:
		}
		list := r.why[messageID]
		if len(list) == 0 {
			return "", false
		}
		if r.why[messageID] = list[1:]; len(list) == 1 {
			delete(r.why, messageID)
		}
		return list[0], true
	}
}

// awaitLate waits for the confirm of a slow broker. A late message that was returned stays in the
// outbox and is sent again when its backoff ends.
func awaitLate(c *amqp.DeferredConfirmation, m engine.Message, r *returned, late func([]int64)) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if acked, err := c.WaitContext(ctx); err != nil || !acked {
		return
	}
	if _, back := r.take(m.MessageID); !back {
		late([]int64{m.OutboxID})
	}
}
