package rabbit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/messages"
	"github.com/warrenjobs/warren/jobs/rabbit/management"
)

const confirmWithin = 8 * time.Second

// Publish implements messages.Broker. The queues are those of the bindings, if these are the same
// before and after: the broker itself says only whether there was any.
func (h *ByHand) Publish(ctx context.Context, m messages.Message) (answer messages.Answer, err error) {
	if wrong := m.Check(); len(wrong) > 0 {
		return answer, wrong
	}
	l, err := h.broker.connect(ctx, "publish by hand")
	if err != nil {
		return answer, err
	}
	defer func() { _ = l.close() }()
	before, known := h.destinations(ctx, m.Exchange, m.Key)
	if answer.Routed, err = h.send(ctx, l, m); err != nil || !answer.Routed || !known {
		return answer, err
	}
	if after, known := h.destinations(ctx, m.Exchange, m.Key); known && slices.Equal(before, after) {
		answer.Queues = after
	}
	return answer, nil
}

// send reports whether a queue took the message.
func (h *ByHand) send(ctx context.Context, l *link, m messages.Message) (routed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, confirmWithin)
	defer cancel()
	defer l.bounded().Stop()
	if m.Exchange != "" {
		if err := h.passive(l.ch, m.Exchange); err != nil {
			return false, err
		}
	}
	if err := l.ch.Confirm(false); err != nil {
		return false, fmt.Errorf("ask for confirms: %w", away(err))
	}
	returned, closed := l.ch.NotifyReturn(make(chan amqp.Return, 1)), l.ch.NotifyClose(make(chan *amqp.Error, 1))
	var blocked atomic.Value
	go func(events <-chan amqp.Blocking) {
		for b := range events {
			blocked.Store(b.Reason)
		}
	}(l.conn.NotifyBlocked(make(chan amqp.Blocking, 1)))
	publishing, err := byHand(m)
	if err != nil {
		return false, err
	}
	confirm, err := l.ch.PublishWithDeferredConfirm(m.Exchange, m.Key, true, false, publishing)
	if err != nil {
		return false, fmt.Errorf("publish: %w", h.refusal("exchange", err))
	}
	acked, err := confirm.WaitContext(ctx)
	switch {
	case err != nil:
		return false, notConfirmed(blocked.Load())
	case !acked && l.ch.IsClosed():
		return false, h.whyRefused(<-closed)
	case !acked:
		return false, jobs.FieldErrors{{Field: "exchange", Message: "is refused by the broker: a queue that the message was routed to " +
			"did not take it (nack); it may be full"}}
	}
	select { // a return comes before its confirm
	case _, was := <-returned:
		return !was, nil
	default:
		return true, nil
	}
}

func notConfirmed(blocked any) error {
	if reason, _ := blocked.(string); reason != "" {
		return fmt.Errorf("%w: the broker takes no messages at present (%s)", jobs.ErrUnavailable, reason)
	}
	return fmt.Errorf("%w: the broker did not confirm the message within %v: it may have it or not", jobs.ErrUnavailable, confirmWithin)
}

// whyRefused says which field the broker did not accept.
func (h *ByHand) whyRefused(err *amqp.Error) error {
	if err == nil {
		return fmt.Errorf("%w: the connection ended before the broker confirmed", jobs.ErrUnavailable)
	}
	field := "exchange"
	for reason, name := range map[string]string{"user_id": "user_id", "expiration": "expiration", "message size": "body", "'CC'": "headers",
		"'BCC'": "headers"} {
		if strings.Contains(err.Reason, reason) {
			field = name
		}
	}
	return h.refusal(field, err)
}

// byHand returns a message as the library sends it.
func byHand(m messages.Message) (amqp.Publishing, error) {
	at, err := m.Time()
	if err != nil {
		return amqp.Publishing{}, err
	}
	out := amqp.Publishing{ContentType: m.ContentType, ContentEncoding: m.ContentEncoding, DeliveryMode: uint8(m.DeliveryMode),
		Priority: uint8(m.Priority), CorrelationId: m.CorrelationID, ReplyTo: m.ReplyTo, Expiration: m.Expiration, MessageId: m.MessageID,
		Timestamp: at, Type: m.Type, UserId: m.UserID, AppId: m.AppID, Body: m.Body}
	if len(m.Headers) > 0 {
		out.Headers = amqp.Table(m.Headers)
	}
	if err := out.Headers.Validate(); err != nil {
		return out, jobs.FieldErrors{{Field: "headers", Message: "cannot be sent: " + err.Error()}}
	}
	return out, nil
}

// exchangesMax bounds how many exchanges a message is followed through.
const exchangesMax = 20

var errUntold = errors.New("the bindings do not tell")

// destinations returns, in order, the queues that the bindings lead a message to; ok is false where they do
// not tell: there is no management API, or an exchange decides by more than the routing key.
func (h *ByHand) destinations(ctx context.Context, exchange, key string) (queues []string, ok bool) {
	if exchange == "" {
		return []string{key}, true
	}
	if h.manage == nil {
		return nil, false
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	next, seen := []string{exchange}, map[string]bool{exchange: true}
	for len(next) > 0 {
		if len(seen) > exchangesMax {
			return nil, false
		}
		bindings, err := h.follow(ctx, next[0], key)
		if err != nil {
			return nil, false
		}
		next = next[1:]
		for _, b := range bindings {
			switch {
			case !b.ToExchange:
				queues = append(queues, b.Destination)
			case !seen[b.Destination]:
				next, seen[b.Destination] = append(next, b.Destination), true
			}
		}
	}
	slices.Sort(queues)
	return slices.Compact(queues), true
}

// follow returns the bindings of an exchange that a routing key matches, or that to its alternate
// exchange if it matches none.
func (h *ByHand) follow(ctx context.Context, exchange, key string) (matched []management.Binding, err error) {
	p, err := h.look(ctx, exchange)
	if err != nil {
		return nil, err
	}
	match, known := map[string]func(pattern, key string) bool{
		amqp.ExchangeDirect: func(pattern, key string) bool { return pattern == key },
		amqp.ExchangeFanout: func(string, string) bool { return true },
		amqp.ExchangeTopic:  messages.Matches,
	}[p.kind]
	if !known {
		return nil, errUntold
	}
	bindings, err := h.manage.BindingsFrom(ctx, h.broker.VHost(), exchange)
	if err != nil {
		return nil, err
	}
	for _, b := range bindings {
		if match(b.Key, key) {
			matched = append(matched, b)
		}
	}
	if len(matched) == 0 && p.alternate != "" {
		matched = []management.Binding{{Destination: p.alternate, ToExchange: true}}
	}
	return matched, nil
}
