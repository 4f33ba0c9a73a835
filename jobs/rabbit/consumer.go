package rabbit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/tracing"
)

// Consume opens a subscription to the job queues in prefetch, with a prefetch count for each.
// Queues that are missing are declared.
func (b *Broker) Consume(ctx context.Context, prefetch map[string]int) (engine.Subscription, error) {
	l, err := b.connect(ctx, "worker")
	if err != nil {
		return nil, err
	}
	all := 0
	for _, n := range prefetch {
		all += n
	}
	s := newSubscription(b, l, all)
	if err := s.startJobs(prefetch); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// ConsumeDead opens a subscription to the dead-letter queue.
func (b *Broker) ConsumeDead(ctx context.Context) (engine.Subscription, error) {
	return b.consumeOwn(ctx, "dead letters", b.Names.Dead())
}

// ConsumeResults opens a subscription to the queue to which workers of other programs report.
func (b *Broker) ConsumeResults(ctx context.Context) (engine.Subscription, error) {
	return b.consumeOwn(ctx, "results", b.Names.Results())
}

// consumeOwn opens a subscription to one of the queues that schedulers consume.
func (b *Broker) consumeOwn(ctx context.Context, purpose, queue string) (engine.Subscription, error) {
	l, err := b.connect(ctx, purpose)
	if err != nil {
		return nil, err
	}
	const prefetch = 50
	s := newSubscription(b, l, prefetch)
	err = b.declareBase(l.ch)
	if err == nil {
		err = l.ch.Qos(prefetch, 0, false)
	}
	if err == nil {
		err = s.start(&consumer{queue: queue, prefetch: prefetch})
	}
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	s.watch()
	return s, nil
}

// subscription implements engine.Subscription with one connection and one channel.
type subscription struct {
	*link
	broker *Broker
	out    chan engine.Delivery
	acks   *acks
	done   chan struct{} // closed by Close
	lost   chan struct{} // closed when the channel has ended
	closed <-chan *amqp.Error
	feeds  sync.WaitGroup

	once      sync.Once
	cancelled sync.Mutex // held while the consumers are cancelled
	mu        sync.Mutex
	tags      []string
	consuming []*consumer
	err       error
}

// consumer is the consumer of one queue in a subscription.
type consumer struct {
	queue    string // its name in the broker
	name     string // Warren's name of the queue; "" for one that schedulers consume
	prefetch int
	// subscriber says that its foreign messages are events.
	subscriber bool
	heard      atomic.Int64 // deliveries received
	open       atomic.Int64 // deliveries neither acknowledged nor returned
	stall      stallDetector
}

// newSubscription returns a subscription that buffers as many deliveries as the broker may send:
// a worker claims all that are buffered in one statement.
func newSubscription(b *Broker, l *link, prefetch int) *subscription {
	s := &subscription{link: l, broker: b, out: make(chan engine.Delivery, prefetch), acks: newAcks(l), done: make(chan struct{}),
		lost: make(chan struct{}), closed: l.ch.NotifyClose(make(chan *amqp.Error, 1))}
	ended := l.ch.NotifyClose(make(chan *amqp.Error, 1))
	go func() {
		defer close(s.lost)
		for range ended { // closed with the channel, with or without an error
		}
	}()
	go s.acks.run(s.done)
	return s
}

func (s *subscription) startJobs(prefetch map[string]int) error {
	queues := slices.Sorted(maps.Keys(prefetch))
	if err := s.broker.declareBase(s.ch); err != nil {
		return err
	}
	for _, q := range queues {
		if err := s.broker.declareJobQueue(s.ch, q); err != nil {
			return err
		}
	}
	for _, q := range queues {
		// Per consumer, so that each queue gets its share; without a prefetch the library's buffer is unbounded.
		if err := s.ch.Qos(prefetch[q], 0, false); err != nil {
			return fmt.Errorf("set the prefetch: %w", away(err))
		}
		if err := s.start(s.consumerOf(q, prefetch[q])); err != nil {
			return err
		}
	}
	s.watch()
	return nil
}

func (s *subscription) consumerOf(queue string, prefetch int) *consumer {
	return &consumer{queue: s.broker.Names.Queue(queue), name: queue, prefetch: prefetch, subscriber: s.broker.subscribes(queue)}
}

// watch ends the subscription when its last consumer has ended, or when the broker has forgotten one.
func (s *subscription) watch() {
	if s.broker.has(losesConsumers) {
		go s.watchForStalls()
	}
	go func() {
		s.feeds.Wait()
		s.fail(errors.New("the broker cancelled the consumer"))
		close(s.out)
	}()
}

// fail records why the subscription ends. Only the first reason is kept.
func (s *subscription) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

// consumers returns the consumers, or nil once they are cancelled.
func (s *subscription) consumers() []*consumer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tags == nil {
		return nil
	}
	return s.consuming
}

// start starts consuming one queue.
func (s *subscription) start(f *consumer) error {
	tag := "warren-" + uuid.NewString()
	late := s.bounded() // a leaderless queue never answers
	deliveries, err := s.ch.Consume(f.queue, tag, false, false, false, false, nil)
	if !late.Stop() {
		return fmt.Errorf("consume queue %q: %w: the queue did not answer for %v, as one does that has no leader", f.queue,
			jobs.ErrUnavailable, answerMax)
	}
	if refused := s.broker.refusedRight(err); refused != nil {
		return refused
	}
	if err != nil {
		return fmt.Errorf("consume queue %q: %w", f.queue, away(err))
	}
	s.mu.Lock()
	s.tags, s.consuming = append(s.tags, tag), append(s.consuming, f)
	s.mu.Unlock()
	s.feeds.Go(func() { s.feed(deliveries, f) })
	return nil
}

func (s *subscription) feed(deliveries <-chan amqp.Delivery, f *consumer) {
	for d := range deliveries {
		f.open.Add(1)
		f.heard.Add(1)
		select {
		case s.out <- s.incoming(d, f):
		case <-s.done:
			return
		}
	}
	select { // the reason why the channel ended, if it did
	case err := <-s.closed:
		if err != nil {
			s.fail(err)
		}
	default:
	}
	// If the queue was deleted, its consumer ended with it. End the others too, so that the next
	// subscription declares the queue again.
	_ = s.Cancel()
}

// C implements engine.Subscription.
func (s *subscription) C() <-chan engine.Delivery { return s.out }

// Err implements engine.Subscription.
func (s *subscription) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Lost implements engine.Subscription.
func (s *subscription) Lost() <-chan struct{} { return s.lost }

// cancelWait is how long Cancel waits for the broker's answer.
const cancelWait = 3 * time.Second

// Cancel implements engine.Subscription. It waits for the broker's answer: otherwise the library
// would drop deliveries in flight, which would then be neither acknowledged nor returned. If the
// broker does not answer in time, the subscription is closed.
func (s *subscription) Cancel() error {
	s.cancelled.Lock()
	defer s.cancelled.Unlock()
	s.mu.Lock()
	tags := s.tags
	s.tags = nil
	s.mu.Unlock()
	late := time.AfterFunc(cancelWait, func() { _ = s.Close() })
	defer late.Stop()
	for _, tag := range tags {
		if err := s.ch.Cancel(tag, false); err != nil {
			return fmt.Errorf("cancel the consumer: %w", away(err))
		}
	}
	return nil
}

// giveBack returns a message to its queue, after cancelling the consumers of this subscription.
func (s *subscription) giveBack(d amqp.Delivery) error {
	if err := s.Cancel(); err != nil {
		return err // the subscription has ended: the broker redelivers by itself
	}
	return s.acks.giveBack(d.DeliveryTag)
}

// Close implements engine.Subscription. It sends the pending acknowledgements first.
func (s *subscription) Close() error {
	var err error
	s.once.Do(func() {
		stuck := time.AfterFunc(time.Second, func() { _ = s.wire.Close() })
		s.acks.flush(true)
		stuck.Stop()
		close(s.done)
		err = s.close()
	})
	return err
}

func (s *subscription) incoming(d amqp.Delivery, f *consumer) engine.Delivery {
	in := engine.Delivery{
		Queue: f.name, Exchange: d.Exchange, RoutingKey: d.RoutingKey, Redelivered: d.Redelivered,
		DeliveryCount: count(d.Headers["x-delivery-count"]),
		AppID:         d.AppId, MessageID: d.MessageId, CorrelationID: d.CorrelationId, Type: d.Type, ContentType: d.ContentType,
		Body: d.Body, Timestamp: d.Timestamp,
		Properties: func() json.RawMessage { return properties(d) },
		Ack:        func() error { f.open.Add(-1); s.acks.add(d.DeliveryTag); return nil },
		Return:     func() error { f.open.Add(-1); return s.giveBack(d) },
	}
	if id, err := uuid.Parse(text(d.Headers[headerJob])); err == nil {
		in.JobID, in.Dispatch = id, count(d.Headers[headerDispatch])
	}
	if ms := number(d.Headers[headerSent]); ms > 0 && ms < sentMax {
		in.SentAt = time.UnixMilli(ms).UTC()
	}
	if text(d.Headers["traceparent"]) != "" {
		in.Trace = tracing.Parse(headers(d.Headers))
	}
	in.Event = f.subscriber && in.Foreign() && s.broker.Names.fromOutside(d.Exchange)
	if in.Event {
		in.Headers = d.Headers
		if d.AppId == s.broker.Deployment { // it is in the database
			in.Properties = nil
		}
	}
	if f.name == "" { // of a dead letter: the broker has written its queue into the headers
		in.Queue = s.deadFrom(d)
	}
	return in
}

func (s *subscription) deadFrom(d amqp.Delivery) string {
	if q, ok := s.broker.Names.JobQueue(text(d.Headers["x-first-death-queue"])); ok {
		return q
	}
	return jobs.QueueDefault
}

// count converts a header to an int in the range that the database stores. A dispatch out of range
// becomes the maximum, which is newer than any.
func count(v any) int { return int(min(max(number(v), 0), math.MaxInt32)) }

// sentMax is the year 10000, in milliseconds: the database cannot store later times.
const sentMax = 253402300800000

// number converts AMQP's integer types and strings of digits: foreign clients send either.
func number(v any) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case int32:
		return int64(v)
	case int16:
		return int64(v)
	case int8:
		return int64(v)
	case uint8:
		return int64(v)
	case uint16:
		return int64(v)
	case uint32:
		return int64(v)
	case int:
		return int64(v)
	case string:
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return 0
		}
		return n
	}
	return 0
}

// headers is the table of a message's headers as a propagation.TextMapCarrier.
type headers amqp.Table

func (h headers) Get(key string) string { return text(h[key]) }
func (h headers) Set(key, value string) { h[key] = value }
func (h headers) Keys() []string        { return slices.Collect(maps.Keys(h)) }

func text(v any) string {
	s, _ := v.(string)
	return s
}

// properties returns all properties and headers of a message as JSON, for people to read.
func properties(d amqp.Delivery) json.RawMessage {
	all := map[string]any{
		"content_type": d.ContentType, "content_encoding": d.ContentEncoding, "delivery_mode": d.DeliveryMode, "priority": d.Priority,
		"correlation_id": d.CorrelationId, "reply_to": d.ReplyTo, "expiration": d.Expiration, "message_id": d.MessageId,
		"type": d.Type, "user_id": d.UserId, "app_id": d.AppId, "headers": d.Headers, "redelivered": d.Redelivered,
	}
	if !d.Timestamp.IsZero() {
		all["timestamp"] = timestamp(d.Timestamp.UTC())
	}
	raw, err := json.Marshal(all)
	if err != nil { // a header that JSON cannot represent, such as NaN
		all["headers"] = fmt.Sprint(d.Headers)
		raw, _ = json.Marshal(all)
	}
	return json.RawMessage(withoutZero.Replace(string(raw)))
}

// timestamp returns t for JSON, which has no years above 9999. Clients that send milliseconds instead of
// seconds get there: then it is the number that was sent.
func timestamp(t time.Time) any {
	if t.Year() < 0 || t.Year() > 9999 {
		return t.Unix()
	}
	return t
}

// withoutZero replaces, in JSON, the zero character, which PostgreSQL stores and then cannot read as
// text. It steps over an escaped backslash: what follows that is no escape.
var withoutZero = strings.NewReplacer(`\\`, `\\`, `\u0000`, `\ufffd`)
