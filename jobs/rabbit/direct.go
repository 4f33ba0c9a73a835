package rabbit

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Send publishes one message to a job queue as a stranger would, who knows
// nothing of jobs, and waits until the broker has it. An error if there is no such queue.
func (b *Broker) Send(ctx context.Context, queue, app, kind string, body []byte) error {
	return b.direct(ctx, "send", func(ch *amqp.Channel) error {
		if err := ch.Confirm(false); err != nil {
			return err
		}
		returned := ch.NotifyReturn(make(chan amqp.Return, 1))
		c, err := ch.PublishWithDeferredConfirm("", b.Names.Queue(queue), true, false,
			amqp.Publishing{DeliveryMode: amqp.Persistent, Timestamp: time.Now(), ContentType: "application/json", AppId: app, Type: kind, Body: body})
		if err != nil {
			return fmt.Errorf("publish: %w", away(err))
		}
		if _, err = c.WaitContext(ctx); err != nil {
			return fmt.Errorf("wait for the confirm: %w", err)
		}
		select {
		case r, open := <-returned:
			if open {
				return fmt.Errorf("queue %q: %s", b.Names.Queue(queue), r.ReplyText)
			}
		default:
		}
		return nil
	})
}

// DeleteJobQueues removes job queues from the broker, with the messages in
// them. One that is not there is no error.
func (b *Broker) DeleteJobQueues(ctx context.Context, queues ...string) error {
	return b.direct(ctx, "delete queues", func(ch *amqp.Channel) error {
		for _, q := range queues {
			var refused *amqp.Error
			_, err := ch.QueueDelete(b.Names.Queue(q), false, false, false)
			if err != nil && (!errors.As(err, &refused) || refused.Code != amqp.NotFound) {
				return fmt.Errorf("delete queue %q: %w", b.Names.Queue(q), away(err))
			}
		}
		return nil
	})
}

// direct lends a channel of its own to do.
func (b *Broker) direct(ctx context.Context, purpose string, do func(ch *amqp.Channel) error) error {
	l, err := b.connect(ctx, purpose)
	if err != nil {
		return err
	}
	defer func() { _ = l.close() }()
	return do(l.ch)
}
