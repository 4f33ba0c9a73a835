package rabbit

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenjobs/warren/jobs/engine"
)

// Send publishes one message to a job queue as a foreign program would, without the headers of a
// job, and waits for the confirm. It fails if there is no such queue.
func (b *Broker) Send(ctx context.Context, queue, app, kind string, body []byte) error {
	return b.direct(ctx, "send", func(ch *amqp.Channel) error {
		if err := ch.Confirm(false); err != nil {
			return err
		}
		returned := ch.NotifyReturn(make(chan amqp.Return, 1))
		c, err := ch.PublishWithDeferredConfirm("", b.Names.Queue(queue), true, false,
			amqp.Publishing{DeliveryMode: amqp.Persistent, Timestamp: time.Now(), ContentType: "application/json", AppId: app, Type: kind,
				Body: body})
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

// DeleteJobQueues deletes job queues from the broker, with their messages. A missing queue is not
// an error.
func (b *Broker) DeleteJobQueues(ctx context.Context, queues ...string) error {
	return b.direct(ctx, "delete queues", func(ch *amqp.Channel) error {
		for _, q := range queues {
			_, err := ch.QueueDelete(b.Names.Queue(q), false, false, false)
			if err != nil && !isNotFound(err) {
				return fmt.Errorf("delete queue %q: %w", b.Names.Queue(q), away(err))
			}
		}
		return nil
	})
}

// direct calls do with a channel on a connection of its own, which it closes afterwards.
func (b *Broker) direct(ctx context.Context, purpose string, do func(ch *amqp.Channel) error) error {
	l, err := b.connect(ctx, purpose)
	if err != nil {
		return err
	}
	defer func() { _ = l.close() }()
	return do(l.ch)
}

// PurgeJobQueue drops the ready messages of a job queue and returns how many there were. A missing
// queue has none.
func (b *Broker) PurgeJobQueue(ctx context.Context, queue string) (n int, err error) {
	err = b.direct(ctx, "purge", func(ch *amqp.Channel) error {
		n, err = ch.QueuePurge(b.Names.Queue(queue), false)
		if err != nil && !isNotFound(err) {
			return b.declareError("purge of queue", b.Names.Queue(queue), err)
		}
		return nil
	})
	return n, err
}

// Inspect returns whether a job queue exists, and how many messages are ready in it.
func (b *Broker) Inspect(ctx context.Context, queue string) (engine.Inspection, error) {
	return b.inspect(ctx, b.Names.Queue(queue))
}

// ReportsWait reports whether messages are ready in the queue of reports.
func (b *Broker) ReportsWait(ctx context.Context) (bool, error) {
	in, err := b.inspect(ctx, b.Names.Results())
	return in.Ready > 0, err
}

func (b *Broker) inspect(ctx context.Context, name string) (in engine.Inspection, err error) {
	err = b.direct(ctx, "reconciler", func(ch *amqp.Channel) error {
		q, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
		if isNotFound(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("look at queue %q: %w", name, away(err))
		}
		in = engine.Inspection{Exists: true, Ready: q.Messages}
		return nil
	})
	return in, err
}

func isNotFound(err error) bool {
	var refused *amqp.Error
	return errors.As(err, &refused) && refused.Code == amqp.NotFound
}
