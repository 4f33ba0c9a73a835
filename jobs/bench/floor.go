package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	amqp "github.com/rabbitmq/amqp091-go"
)

const floorQueue = "floor"

// floor does the minimum of any engine on a broker: one commit on disk, then one persistent message to
// a quorum queue, confirmed and delivered.
type floor struct {
	url       string
	h         *handlers
	publisher *amqp.Connection
	consumer  *amqp.Connection
	channel   *amqp.Channel

	mu        sync.Mutex
	delivered map[int64]chan struct{}
}

func openFloor(_ context.Context, p place, h *handlers, _ settings) (system, error) {
	return &floor{url: p.amqp, h: h, delivered: map[int64]chan struct{}{}}, nil
}

// Start opens two connections, as an engine does, so that publishing does not slow down deliveries.
func (f *floor) Start(context.Context) (err error) {
	if f.publisher, err = amqp.Dial(f.url); err != nil {
		return err
	}
	if f.channel, err = f.publisher.Channel(); err != nil {
		return err
	}
	if _, err = f.channel.QueueDeclare(floorQueue, true, false, false, false,
		amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum}); err != nil {
		return err
	}
	if err := f.channel.Confirm(false); err != nil {
		return err
	}
	if f.consumer, err = amqp.Dial(f.url); err != nil {
		return err
	}
	ch, err := f.consumer.Channel()
	if err != nil {
		return err
	}
	deliveries, err := ch.Consume(floorQueue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	go f.receive(deliveries)
	return nil
}

func (f *floor) receive(deliveries <-chan amqp.Delivery) {
	for d := range deliveries {
		order, _ := strconv.ParseInt(d.MessageId, 10, 64)
		close(f.delivery(order))
		_ = d.Ack(false)
	}
}

func (f *floor) delivery(order int64) chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.delivered[order] == nil {
		f.delivered[order] = make(chan struct{})
	}
	return f.delivered[order]
}

// send is called after the commit and returns when the message is confirmed and delivered.
func (f *floor) send(ctx context.Context, order int64) error {
	confirm, err := f.channel.PublishWithDeferredConfirmWithContext(ctx, "", floorQueue, true, false,
		amqp.Publishing{DeliveryMode: amqp.Persistent, MessageId: strconv.FormatInt(order, 10), Body: []byte(payload)})
	if err != nil {
		return err
	}
	if ok, err := confirm.WaitContext(ctx); err != nil || !ok {
		return fmt.Errorf("the broker did not confirm: %w", err)
	}
	select {
	case <-f.delivery(order):
	case <-ctx.Done():
		return ctx.Err()
	}
	f.h.began(order, time.Now())
	return nil
}

// Enqueue writes nothing: only the order is committed.
func (f *floor) Enqueue(context.Context, pgx.Tx, []orderArgs) error { return nil }
func (f *floor) Fill(context.Context, []orderArgs) error            { return nil }

// Stop closes both connections.
func (f *floor) Stop(context.Context) error {
	return errors.Join(f.publisher.Close(), f.consumer.Close())
}

func (f *floor) Close()             {}
func (f *floor) Acknowledges() bool { return true }
func (f *floor) Table() string      { return "" }
func (f *floor) Unfinished() string { return "" }
