package rabbit

import (
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

// returnsBuffer is above what may be unconfirmed at once: a returned message must
// never wait for us. With a buffer of 1 the library drops a return after 5 s
// while the confirm says ack (engine.md, "Relay"): a lost message.
const returnsBuffer = 16384

// Publisher publishes with confirms and mandatory. Publish and Close are for one
// goroutine; Blocked, and the functions that Publish returns, for any.
type Publisher struct {
	broker *Broker
	sender *sender // nil while not connected

	mu      sync.Mutex
	heard   *sender // whose word blocked is: one that is being replaced may end late
	blocked string
	// When messages were refused last, and a connection replaced for it; for how long the next is kept.
	refused, replaced time.Time
	keeps             time.Duration
}

// NewPublisher returns a publisher that connects when it is first used.
func (b *Broker) NewPublisher() *Publisher { return &Publisher{broker: b} }

// Blocked is the broker's reason to take no messages now, or "".
func (p *Publisher) Blocked() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.blocked
}

// Close drops the connection: what is unconfirmed ends with an error. Idempotent.
func (p *Publisher) Close() error {
	if p.sender == nil {
		return nil
	}
	s := p.sender
	p.sender = nil
	p.hear(nil)
	return s.close()
}

// hear listens to s alone from now on.
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

// Publish is engine.Publisher's. A job goes to the jobs exchange; its queue is
// declared first, as it may be the first job of that queue.
func (p *Publisher) Publish(ctx context.Context, msgs []engine.Message, wait time.Duration, late func([]int64)) (engine.Receive, error) {
	if err := p.open(ctx); err != nil {
		return nil, err
	}
	s := p.sender
	s.flying.Add(1)
	flying, err := s.send(msgs)
	if err != nil {
		s.flying.Done()
		_ = p.Close() // nothing is known of this channel any more
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

// sending: the broker was there a moment ago, so one of the messages may be why it is not.
func sending(err error) error {
	if errors.Is(err, jobs.ErrUnavailable) {
		return errors.New("the connection ended while sending: " + err.Error())
	}
	return err
}

// A connection on which the broker refuses messages gives way to a new one, as it may
// go on refusing there what it takes elsewhere (keepsRefusing). So does a broker on each
// connection that first sent while the queue's leader was being elected. The second must
// not last; the first has time.
const (
	refusedFirst = 500 * time.Millisecond
	refusedMax   = 5 * time.Second
	refusedAnew  = time.Minute // without a refusal: the next is another story
)

// replaces says whether a new connection takes the place of s, on which messages
// were refused: the first at once, later ones less often.
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
		go func() { // what is on its way there is still heard of
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
		return unready{err} // no message is the reason: they wait
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
	flying   sync.WaitGroup // what was sent and is waited for
	stale    atomic.Bool    // a new one is to take its place

	mu       sync.Mutex
	declared map[place]bool
	why      error // that the channel ended, once it is known
}

func newSender(b *Broker, l *link) *sender {
	return &sender{link: l, broker: b, declared: map[place]bool{},
		returned: &returned{from: l.ch.NotifyReturn(make(chan amqp.Return, returnsBuffer)), why: map[string][]string{}},
		closed:   l.ch.NotifyClose(make(chan *amqp.Error, 1))}
}

func (s *sender) ended() bool { return s.conn.IsClosed() || s.ch.IsClosed() }

// send writes the messages, all in as few system calls as they fit in.
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

// flight is a message on its way; without says why it was not sent.
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

// declare makes the queues and exchanges that the messages need, and says what
// the broker refuses to make, and why. That concerns only the messages for it:
// any number of them must not hold up the others.
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

// declarePlace works on a channel of its own: a refusal ends it.
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

// place is the queue, by Warren's name, or else the exchange that a message needs.
type place struct{ queue, exchange string }

func placeOf(m engine.Message) place {
	if m.IsJob() {
		return place{queue: m.RoutingKey}
	}
	return place{exchange: m.Exchange}
}

func (s *sender) publishing(m engine.Message, now time.Time) amqp.Publishing {
	out := amqp.Publishing{
		ContentType: "application/json", DeliveryMode: amqp.Persistent, Timestamp: now,
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
		out.Headers[headerJob] = id
		out.Headers[headerDispatch] = int64(m.Dispatch)
		out.Headers[headerSent] = now.UnixMilli()
	}
	return out
}

// await waits for the confirms. When one resolves, the return of its message, if
// there is one, is already in our buffer: the broker sends it first, and the
// library hands both over in that order (seen 7,200 of 7,200).
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
			// The library resolves what was pending as not acknowledged when the channel ends.
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
			s.setDeclared(placeOf(m), false) // somebody deleted the queue: the next try makes it again
			receipts[i].Status, receipts[i].Detail = engine.Unroutable, why
		}
	}
	return receipts, nil
}

// whyClosed tells a broken connection from a message that the broker cannot
// take. All who wait for the channel are told the same.
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

// returned are the messages of one channel that no queue wanted.
type returned struct {
	from <-chan amqp.Return
	mu   sync.Mutex
	why  map[string][]string // by message id, which may have been sent twice
}

// take says whether a message that was confirmed had been returned, and why. It does not block.
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

// awaitLate keeps listening for a slow broker's confirm. A late message that was
// returned is left to the outbox: it is sent again when its backoff ends.
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
