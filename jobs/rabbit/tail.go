package rabbit

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/messages"
)

// Bounds of the queue of a tail, which drops its oldest messages when it is not read fast enough.
const (
	tailLength   = 5000
	tailBytes    = 32 << 20
	tailTTL      = 30 * time.Second
	tailPrefetch = 64
	tailAckEvery = 16
	tailCheck    = 2 * time.Second // of how many messages wait, and whether the exchange is still there
)

// tailArguments bound the queue. A policy for all queues must not make it more than a copy: with a
// dead-letter exchange what it drops would go to others' queues, and with reject-publish it would refuse
// others' messages. Arguments win over policies, and nothing has the name of the routing key.
func tailArguments(name string) amqp.Table {
	return amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeClassic, amqp.QueueMaxLenArg: tailLength, amqp.QueueMaxLenBytesArg: tailBytes,
		amqp.QueueMessageTTLArg: tailTTL.Milliseconds(), amqp.QueueOverflowArg: amqp.QueueOverflowDropHead,
		"x-dead-letter-exchange": "", "x-dead-letter-routing-key": name + ".dropped"}
}

// Tail implements messages.Broker, by an exclusive queue that the broker deletes with its connection. Its name
// begins with Warren's prefix, so that an account with rights on Warren's names alone can tail its exchanges.
func (h *ByHand) Tail(ctx context.Context, s messages.Source) (messages.Tail, error) {
	if s.Exchange == "" {
		return nil, jobs.FieldErrors{{Field: "exchange", Message: "is required: the default exchange cannot be tailed, as no queue can " +
			"be bound to it"}}
	}
	if wrong := (messages.Message{Exchange: s.Exchange, Key: s.Pattern}).Check(); len(wrong) > 0 {
		return nil, wrong
	}
	p, err := h.look(ctx, s.Exchange)
	if err != nil {
		return nil, err
	}
	if p.alternate != "" {
		return nil, jobs.FieldErrors{{Field: "exchange", Message: fmt.Sprintf("cannot be tailed: what no queue takes from it goes to %q, "+
			"and a tail would take that away", p.alternate)}}
	}
	binding, err := messages.BindingOf(p.kind, s)
	if err != nil {
		return nil, err
	}
	l, err := h.broker.connect(ctx, "tail")
	if err != nil {
		return nil, err
	}
	t := &tail{hand: h, link: l, exchange: s.Exchange, queue: h.broker.Names.Prefix + ".tail." + uuid.NewString(),
		out: make(chan messages.Tailed), done: make(chan struct{}), ended: make(chan struct{}),
		closed: l.ch.NotifyClose(make(chan *amqp.Error, 1))}
	deliveries, err := t.consume(binding)
	if err != nil {
		_ = l.close()
		return nil, err
	}
	go t.feed(deliveries)
	go t.watch()
	return t, nil
}

// tail implements messages.Tail.
type tail struct {
	*link
	hand            *ByHand
	exchange, queue string
	out             chan messages.Tailed
	done            chan struct{} // closed by Close
	ended           chan struct{} // closed when no more deliveries come
	closed          <-chan *amqp.Error
	once            sync.Once
	behind          atomic.Bool

	mu  sync.Mutex
	err error
}

func (t *tail) consume(binding messages.Binding) (<-chan amqp.Delivery, error) {
	defer t.bounded().Stop()
	if err := t.hand.passive(t.ch, t.exchange); err != nil {
		return nil, err
	}
	if _, err := t.ch.QueueDeclare(t.queue, false, true, true, false, tailArguments(t.queue)); err != nil {
		return nil, t.hand.refusal("exchange", err)
	}
	if err := t.ch.QueueBind(t.queue, binding.Key, t.exchange, false, binding.Arguments); err != nil {
		return nil, t.hand.refusal("exchange", err)
	}
	if err := t.ch.Qos(tailPrefetch, 0, false); err != nil {
		return nil, fmt.Errorf("set the prefetch: %w", away(err))
	}
	deliveries, err := t.ch.Consume(t.queue, "", false, true, false, false, nil)
	if err != nil {
		return nil, t.hand.refusal("exchange", err)
	}
	return deliveries, nil
}

// feed passes the messages on, and acknowledges some at a time: what is not acknowledged when the tail
// ends goes with its queue.
func (t *tail) feed(deliveries <-chan amqp.Delivery) {
	defer close(t.out)
	defer close(t.ended)
	n := 0
	for d := range deliveries {
		select {
		case t.out <- tailed(d):
		case <-t.done:
			return
		}
		if n++; n%tailAckEvery == 0 {
			_ = d.Ack(true) // an error ends the deliveries
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = t.whyEnded()
}

func (t *tail) whyEnded() error {
	select {
	case err := <-t.closed: // nil where the connection was closed without one
		if err != nil && isNotFound(err) {
			return fmt.Errorf("the exchange %q was deleted", t.exchange)
		}
		if err != nil {
			return away(err)
		}
	case <-time.After(time.Second):
	}
	return errors.New("the connection to the broker was lost")
}

// watch notices that messages come too fast, and that the exchange has been deleted: of that nothing
// else tells.
func (t *tail) watch() {
	tick := time.NewTicker(tailCheck)
	defer tick.Stop()
	for {
		select {
		case <-t.done:
			return
		case <-t.ended:
			return
		case <-tick.C:
			t.check()
		}
	}
}

// check ends the channel if the exchange is gone.
func (t *tail) check() {
	defer t.bounded().Stop()
	if q, err := t.ch.QueueDeclarePassive(t.queue, false, true, true, false, nil); err == nil && q.Messages > tailLength/2 {
		t.behind.Store(true)
	}
	_ = t.hand.passive(t.ch, t.exchange)
}

// C implements messages.Tail.
func (t *tail) C() <-chan messages.Tailed { return t.out }

// Behind implements messages.Tail.
func (t *tail) Behind() bool { return t.behind.Load() }

// Err implements messages.Tail.
func (t *tail) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// Close implements messages.Tail. The broker deletes the queue with the connection.
func (t *tail) Close() {
	t.once.Do(func() {
		close(t.done)
		_ = t.close()
	})
}

// tailed copies what a tail keeps of a delivery.
func tailed(d amqp.Delivery) messages.Tailed {
	m := messages.Tailed{At: time.Now(), Exchange: d.Exchange, Key: d.RoutingKey, Redelivered: d.Redelivered, Size: len(d.Body),
		Body: bytes.Clone(d.Body[:min(len(d.Body), messages.BodyKept)]),
		Properties: messages.Properties{ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, DeliveryMode: int(d.DeliveryMode),
			Priority: int(d.Priority), CorrelationID: d.CorrelationId, ReplyTo: d.ReplyTo, Expiration: d.Expiration, MessageID: d.MessageId,
			Type: d.Type, UserID: d.UserId, AppID: d.AppId}}
	if !d.Timestamp.IsZero() {
		m.Timestamp = fmt.Sprint(d.Timestamp.Unix())
		if at, ok := timestamp(d.Timestamp.UTC()).(time.Time); ok {
			m.Timestamp = at.Format(time.RFC3339)
		}
	}
	if len(d.Headers) > 0 {
		m.Headers, _ = plain(d.Headers).(map[string]any)
	}
	return m
}

// plain returns a value of AMQP as one that JSON can represent.
func plain(v any) any {
	switch v := v.(type) {
	case amqp.Table:
		object := make(map[string]any, len(v))
		for name, value := range v {
			object[name] = plain(value)
		}
		return object
	case []any:
		list := make([]any, len(v))
		for i, value := range v {
			list[i] = plain(value)
		}
		return list
	case time.Time:
		return timestamp(v.UTC())
	case []byte:
		if utf8.Valid(v) {
			return string(v)
		}
		return "0x" + hex.EncodeToString(v)
	case amqp.Decimal:
		return fmt.Sprintf("%de-%d", v.Value, v.Scale)
	}
	if _, err := json.Marshal(v); err != nil { // such as NaN
		return fmt.Sprint(v)
	}
	return v
}
