package main

import (
	"context"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wamqp "github.com/ThreeDotsLabs/watermill-amqp/v3/pkg/amqp"
	wsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/components/forwarder"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
)

func (b *relayBench) fillExample(ctx context.Context, queue string) error {
	ch, err := b.admin.Channel()
	if err != nil {
		return err
	}
	defer ch.Close()
	if err := declareQueue(ch, queue, b.queue); err != nil {
		return err
	}
	if err := b.exec(ctx, `CREATE TABLE IF NOT EXISTS example_outbox (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), payload text NOT NULL, is_processed boolean NOT NULL DEFAULT false)`,
		`TRUNCATE example_outbox`); err != nil {
		return err
	}
	_, err = b.db.Exec(ctx, `INSERT INTO example_outbox (payload) SELECT $1 FROM generate_series(1, $2)`, string(b.body), b.jobs)
	return err
}

// exampleLoop is what a tick of the outbox example does, written anew: read all
// that is not processed, publish one by one without confirms and transient,
// mark them. The 10 s between ticks are off the clock.
func (b *relayBench) exampleLoop(ctx context.Context, queue string) error {
	type row struct {
		id      uuid.UUID
		payload []byte
	}
	rows, err := b.db.Query(ctx, `SELECT id, payload FROM example_outbox WHERE NOT is_processed`)
	if err != nil {
		return err
	}
	var list []row
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.id, &r.payload); err != nil {
			return err
		}
		list = append(list, r)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	conn, err := amqp.Dial(b.broker.URL)
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	sent := make([]uuid.UUID, 0, len(list))
	for _, r := range list {
		if err := ch.Publish("bench.jobs", queue, false, false, amqp.Publishing{ContentType: "application/json", Body: r.payload}); err != nil {
			continue
		}
		sent = append(sent, r.id)
	}
	_, err = b.db.Exec(ctx, `UPDATE example_outbox SET is_processed = true WHERE id = ANY($1)`, sent)
	return err
}

const forwarderTopic = "forward"

func (b *relayBench) outboxOfForwarder() (*wsql.Subscriber, error) {
	return wsql.NewSubscriber(wsql.BeginnerFromPgx(b.db), wsql.SubscriberConfig{
		SchemaAdapter: wsql.DefaultPostgreSQLSchema{}, OffsetsAdapter: wsql.DefaultPostgreSQLOffsetsAdapter{}, PollInterval: 10 * time.Millisecond,
	}, watermill.NopLogger{})
}

// fillForwarder writes the messages as Watermill's own publisher does.
func (b *relayBench) fillForwarder(ctx context.Context, queue string) error {
	if err := b.declareRaw(ctx, queue); err != nil {
		return err
	}
	if err := b.exec(ctx, `DROP TABLE IF EXISTS watermill_`+forwarderTopic+`, watermill_offsets_`+forwarderTopic); err != nil {
		return err
	}
	outbox, err := b.outboxOfForwarder()
	if err != nil {
		return err
	}
	defer outbox.Close()
	if err := outbox.SubscribeInitialize(forwarderTopic); err != nil {
		return err
	}
	tx, err := b.db.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	table, err := wsql.NewPublisher(wsql.TxFromPgx(tx), wsql.PublisherConfig{SchemaAdapter: wsql.DefaultPostgreSQLSchema{}}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	publisher := forwarder.NewPublisher(table, forwarder.PublisherConfig{ForwarderTopic: forwarderTopic})
	const chunk = 1000
	for from := 0; from < b.watermill; from += chunk {
		list := make([]*message.Message, min(chunk, b.watermill-from))
		for i := range list {
			list[i] = message.NewMessage(watermill.NewUUID(), message.Payload(b.body))
		}
		if err := publisher.Publish(queue, list...); err != nil {
			return err
		}
	}
	return tx.Commit(ctx)
}

// forward runs Watermill's forwarder until its offset has reached the last
// message, with confirms on and a channel that is used again: it waits for the
// confirm of each message, and handles them one by one in one transaction.
func (b *relayBench) forward(ctx context.Context, _ string) error {
	config := wamqp.NewDurableQueueConfig(b.broker.URL)
	config.Exchange.GenerateName = func(string) string { return "bench.jobs" }
	config.Exchange.Type, config.Exchange.Durable = amqp.ExchangeDirect, true
	config.Publish.ConfirmDelivery, config.Publish.ChannelPoolSize, config.Publish.Mandatory = true, 1, true
	publisher, err := wamqp.NewPublisher(config, watermill.NopLogger{})
	if err != nil {
		return err
	}
	defer publisher.Close()
	outbox, err := b.outboxOfForwarder()
	if err != nil {
		return err
	}
	f, err := forwarder.NewForwarder(outbox, publisher, watermill.NopLogger{}, forwarder.Config{ForwarderTopic: forwarderTopic})
	if err != nil {
		return err
	}
	defer f.Close()
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	deadline := time.After(3 * time.Minute)
	for {
		select {
		case err := <-ended:
			return fmt.Errorf("the forwarder ended: %w", err)
		case <-deadline:
			return fmt.Errorf("the forwarder has not forwarded %d messages after 3 minutes", b.watermill)
		case <-time.After(10 * time.Millisecond):
		}
		var done bool
		err := b.db.QueryRow(ctx, `SELECT coalesce((SELECT max(offset_acked) FROM watermill_offsets_`+forwarderTopic+`), 0) >= (SELECT max("offset") FROM watermill_`+forwarderTopic+`)`).Scan(&done)
		if err != nil || done {
			return err
		}
	}
}
