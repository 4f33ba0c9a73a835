//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// stranger is a program that knows nothing of Warren.
type stranger struct {
	conn    *amqp.Connection
	channel *amqp.Channel
	returns chan amqp.Return
	user    string
}

func newStranger(w *world) (*stranger, error) {
	broker, err := url.Parse(w.urls.broker)
	if err != nil {
		return nil, fmt.Errorf("read the broker's URL: %w", err)
	}
	s := &stranger{user: broker.User.Username(), returns: make(chan amqp.Return, 1)}
	if s.conn, err = amqp.Dial(w.urls.broker); err != nil {
		return nil, fmt.Errorf("connect a program without Warren: %w", err)
	}
	if s.channel, err = s.conn.Channel(); err == nil {
		err = s.channel.Confirm(false)
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("open a channel: %w", err)
	}
	s.channel.NotifyReturn(s.returns)
	return s, nil
}

func (s *stranger) close() { _ = s.conn.Close() }

// message is a message with every property that a publisher sets. Only its own user_id is accepted of a stranger.
func (s *stranger) message(id, body string) amqp.Publishing {
	return amqp.Publishing{AppId: "shop", ContentType: "application/json", CorrelationId: "order-7", DeliveryMode: amqp.Persistent,
		Headers: amqp.Table{"format": "pdf"}, MessageId: id, Priority: 3, Timestamp: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		Type: "dots", UserId: s.user, Body: []byte(body)}
}

// publish sends a message, mandatory, and waits for its confirm. It returns false if no queue took it.
func (s *stranger) publish(ctx context.Context, exchange, key string, m amqp.Publishing) (routed bool, err error) {
	confirm, err := s.channel.PublishWithDeferredConfirmWithContext(ctx, exchange, key, true, false, m)
	if err != nil {
		return false, fmt.Errorf("publish a message: %w", err)
	}
	if acked, err := confirm.WaitContext(ctx); err != nil || !acked {
		return false, errors.Join(errors.New("the broker did not confirm a message"), err)
	}
	select { // a return comes before its confirm
	case <-s.returns:
		return false, nil
	default:
		return true, nil
	}
}

// property is one of a message, or its header.
type property struct {
	name  string
	value any // a text or a number
}

func properties(m amqp.Publishing) []property {
	return []property{{"app_id", m.AppId}, {"content_type", m.ContentType}, {"correlation_id", m.CorrelationId},
		{"delivery_mode", m.DeliveryMode}, {"format", m.Headers["format"]}, {"message_id", m.MessageId}, {"priority", m.Priority},
		{"timestamp", m.Timestamp.Format(time.RFC3339)}, {"type", m.Type}, {"user_id", m.UserId}}
}

// asJSON returns the properties as they are in JSON, each with its name.
func asJSON(m amqp.Publishing, colon string) (list []string) {
	for _, p := range properties(m) {
		value := fmt.Sprint(p.value)
		if text, ok := p.value.(string); ok {
			value = strconv.Quote(text)
		}
		list = append(list, strconv.Quote(p.name)+colon+value)
	}
	return list
}

// asTail returns the properties as the page of a tail shows a message that is opened.
func asTail(m amqp.Publishing) []string {
	return []string{"App ID" + m.AppId, "Content type" + m.ContentType, "Correlation ID" + m.CorrelationId, "Delivery mode2 (persistent)",
		fmt.Sprintf(`"format": %q`, m.Headers["format"]), "Message ID" + m.MessageId, fmt.Sprintf("Priority%d", m.Priority),
		"Timestamp" + m.Timestamp.Format(time.RFC3339), "Type" + m.Type, "User ID" + m.UserId, string(m.Body)}
}

// asPython returns the properties as examples/python/consume.py prints them.
func asPython(m amqp.Publishing) []string {
	return []string{"app_id: " + m.AppId, "content_type: " + m.ContentType, "correlation_id: " + m.CorrelationId,
		fmt.Sprintf("delivery_mode: %d", m.DeliveryMode), fmt.Sprintf("headers: {'format': '%s'}", m.Headers["format"]),
		"message_id: " + m.MessageId, fmt.Sprintf("priority: %d", m.Priority), fmt.Sprintf("timestamp: %d", m.Timestamp.Unix()),
		"type: " + m.Type, "user_id: " + m.UserId, "body: " + string(m.Body)}
}

// asForm returns the message as the form of the page Publish sends it.
func asForm(m amqp.Publishing, exchange, key string) url.Values {
	return url.Values{"exchange": {exchange}, "routing_key": {key}, "body": {string(m.Body)}, "persistent": {"true"}, "app_id": {m.AppId},
		"content_type": {m.ContentType}, "correlation_id": {m.CorrelationId}, "headers": {fmt.Sprintf("format=%s", m.Headers["format"])},
		"message_id": {m.MessageId}, "priority": {fmt.Sprint(m.Priority)}, "timestamp": {m.Timestamp.Format(time.RFC3339)},
		"type": {m.Type}, "user_id": {m.UserId}}
}

// declareDefault declares the queue of Warren's jobs, as docs/protocol.md says.
func (s *stranger) declareDefault() error {
	const queue = "warren.jobs.default"
	if _, err := s.channel.QueueDeclare(queue, true, false, false, false, amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum}); err != nil {
		return fmt.Errorf("declare the queue %s again: %w", queue, err)
	}
	return nil
}

// exchangeTest is the fanout exchange that examples/python/consume.py declares.
const exchangeTest = "test_exchange"

// listen declares the exchange once more and binds a queue to it, twice, for as long as the stranger is connected.
func (s *stranger) listen(queue string) error {
	for range 2 {
		err := s.channel.ExchangeDeclare(exchangeTest, amqp.ExchangeFanout, false, false, false, false, nil)
		if err == nil {
			_, err = s.channel.QueueDeclare(queue, false, false, true, false, nil)
		}
		if err == nil {
			err = s.channel.QueueBind(queue, "", exchangeTest, false, nil)
		}
		if err != nil {
			return fmt.Errorf("bind a queue to %s: %w", exchangeTest, err)
		}
	}
	return nil
}
