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
	"github.com/jackc/pgx/v5"
	amqp "github.com/rabbitmq/amqp091-go"
)

func (b *relayBench) fillExample(ctx context.Context, g *fixture) error {
	if err := b.declare(ctx, g); err != nil {
		return err
	}
	_, err := g.db.Exec(ctx, `CREATE TABLE example_outbox (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), payload text NOT NULL,
		is_processed boolean NOT NULL DEFAULT false)`)
	if err != nil {
		return err
	}
	_, err = g.db.Exec(ctx, `INSERT INTO example_outbox (payload) SELECT $1 FROM generate_series(1, $2)`, string(b.body), g.n)
	return err
}

// exampleLoop reimplements one tick of the outbox example: read all unprocessed rows, publish them one
// by one as transient messages without confirms, and mark those written to the socket. The 10 s between
// ticks are off the clock.
func (b *relayBench) exampleLoop(ctx context.Context, g *fixture) error {
	type row struct {
		ID      uuid.UUID
		Payload []byte
	}
	rows, err := g.db.Query(ctx, `SELECT id, payload FROM example_outbox WHERE NOT is_processed`)
	if err != nil {
		return err
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
	if err != nil {
		return err
	}
	conn, err := amqp.Dial(g.amqp)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	var sent []uuid.UUID
	for _, r := range list {
		if ch.PublishWithContext(ctx, benchExchange, g.queue, false, false, amqp.Publishing{ContentType: "application/json",
			Body: r.Payload}) == nil {
			sent = append(sent, r.ID)
		}
	}
	_, err = g.db.Exec(ctx, `UPDATE example_outbox SET is_processed = true WHERE id = ANY($1)`, sent)
	return err
}

const forwarderTopic = "forward"

// forwarderOutbox returns a subscriber of Watermill's outbox with its defaults, except for a poll
// interval that does not idle in the measured time.
func forwarderOutbox(g *fixture) (*wsql.Subscriber, error) {
	return wsql.NewSubscriber(wsql.BeginnerFromPgx(g.db), wsql.SubscriberConfig{
		SchemaAdapter: wsql.DefaultPostgreSQLSchema{}, OffsetsAdapter: wsql.DefaultPostgreSQLOffsetsAdapter{},
		PollInterval: 10 * time.Millisecond,
	}, watermill.NopLogger{})
}

// fillForwarder writes the messages as Watermill's own publisher does.
func (b *relayBench) fillForwarder(ctx context.Context, g *fixture) error {
	if err := b.declare(ctx, g); err != nil {
		return err
	}
	outbox, err := forwarderOutbox(g)
	if err != nil {
		return err
	}
	defer func() { _ = outbox.Close() }()
	if err := outbox.SubscribeInitialize(forwarderTopic); err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, g.db, func(tx pgx.Tx) error {
		table, err := wsql.NewPublisher(wsql.TxFromPgx(tx), wsql.PublisherConfig{SchemaAdapter: wsql.DefaultPostgreSQLSchema{}},
			watermill.NopLogger{})
		if err != nil {
			return err
		}
		publisher := forwarder.NewPublisher(table, forwarder.PublisherConfig{ForwarderTopic: forwarderTopic})
		const chunk = 1000 // of PostgreSQL's 65,535 parameters
		for from := 0; from < g.n; from += chunk {
			list := make([]*message.Message, min(chunk, g.n-from))
			for i := range list {
				list[i] = message.NewMessage(watermill.NewUUID(), message.Payload(b.body))
			}
			if err := publisher.Publish(g.queue, list...); err != nil {
				return err
			}
		}
		return nil
	})
}

// forward runs Watermill's forwarder until its offset has reached the last message. It uses the safe
// settings: confirms are on, and channels are reused.
func (b *relayBench) forward(ctx context.Context, g *fixture) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	config := wamqp.NewDurableQueueConfig(g.amqp)
	config.Exchange = wamqp.ExchangeConfig{GenerateName: wamqp.GenerateExchangeNameConstant(benchExchange), Type: amqp.ExchangeDirect,
		Durable: true}
	config.Publish.ConfirmDelivery, config.Publish.ChannelPoolSize, config.Publish.Mandatory = true, 1, true
	publisher, err := wamqp.NewPublisher(config, watermill.NopLogger{})
	if err != nil {
		return err
	}
	defer func() { _ = publisher.Close() }()
	outbox, err := forwarderOutbox(g)
	if err != nil {
		return err
	}
	f, err := forwarder.NewForwarder(outbox, publisher, watermill.NopLogger{}, forwarder.Config{ForwarderTopic: forwarderTopic})
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	go func() { _ = f.Run(ctx) }() // if it fails, the offset never reaches the end
	for done := false; !done; time.Sleep(5 * time.Millisecond) {
		err := g.db.QueryRow(ctx, `SELECT coalesce((SELECT max(offset_acked) FROM watermill_offsets_`+forwarderTopic+`), 0)
			>= (SELECT max("offset") FROM watermill_`+forwarderTopic+`)`).Scan(&done)
		if err != nil {
			return fmt.Errorf("wait for the forwarder: %w", err)
		}
	}
	return nil
}
