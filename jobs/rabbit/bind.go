package rabbit

import (
	"context"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenjobs/warren/jobs/engine"
)

// Bind implements engine.EventBroker, on a connection of its own: a refusal ends it.
func (b *Broker) Bind(ctx context.Context, s engine.Subscriber, dropped []engine.Binding) error {
	l, err := b.connect(ctx, "bindings")
	if err != nil {
		return err
	}
	defer func() { _ = l.close() }()
	defer l.bounded().Stop()
	if err := b.declareBase(l.ch); err != nil {
		return err
	}
	if err := b.declareJobQueue(l.ch, s.Name); err != nil {
		return err
	}
	if err := l.ch.ExchangeDeclare(s.Exchange, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
		return b.declareError("exchange", s.Exchange, err)
	}
	queue := b.Names.Queue(s.Name)
	for _, pattern := range s.Patterns {
		if err := l.ch.QueueBind(queue, pattern, s.Exchange, false, nil); err != nil {
			return b.declareError("binding of queue", queue, err)
		}
	}
	for _, d := range dropped {
		if err := l.ch.QueueUnbind(queue, d.Pattern, d.Exchange, nil); err != nil {
			return b.declareError("binding of queue", queue, err)
		}
	}
	return nil
}
