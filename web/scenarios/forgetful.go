//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"
)

// forgetful is a consumer of its own, without Warren, that took a message and never acknowledges it.
type forgetful struct {
	world *world
	queue string
	conn  *amqp.Connection
}

// forgetfulName is the name that it gives its connection.
const forgetfulName = "forgetful"

// takeOne connects a forgetful consumer and returns when it has a message of the queue.
func takeOne(ctx context.Context, w *world, queue string) (*forgetful, error) {
	conn, err := amqp.DialConfig(w.urls.broker, amqp.Config{Properties: amqp.Table{"connection_name": forgetfulName}})
	if err != nil {
		return nil, fmt.Errorf("connect a forgetful consumer: %w", err)
	}
	c := &forgetful{world: w, queue: queue, conn: conn}
	if err := c.take(ctx); err != nil {
		c.close()
		return nil, fmt.Errorf("take a message and forget it: %w", err)
	}
	return c, nil
}

func (c *forgetful) take(ctx context.Context) error {
	channel, err := c.conn.Channel()
	if err != nil {
		return err
	}
	if err := channel.Qos(1, 0, false); err != nil {
		return err
	}
	messages, err := channel.ConsumeWithContext(context.WithoutCancel(ctx), c.queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	select {
	case _, ok := <-messages:
		if !ok {
			return errors.New("the broker closed the channel")
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// close closes the connection: the broker gives the message to another consumer. Idempotent.
func (c *forgetful) close() { _ = c.conn.Close() }
