package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/rabbit"
)

// hop only sends jobs through the broker: from memory to a quorum queue, confirmed, delivered and
// acknowledged, with Warren's publisher and consumer. It is the upper limit for any engine that sends
// a message for every job.
type hop struct {
	broker *rabbit.Broker
	h      *handlers
	set    settings
	msgs   []engine.Message

	publisher *rabbit.Publisher
	session   engine.Subscription
	loops     sync.WaitGroup
	mu        sync.Mutex
	err       error
}

const (
	hopBatch  = 1000 // as in Warren's relay
	hopFlying = 4
)

func openHop(ctx context.Context, p place, h *handlers, set settings) (system, error) {
	b := &rabbit.Broker{URL: p.amqp, Names: rabbit.Names{Prefix: "warren"}, Process: "hop", Log: quietLog()}
	if _, err := b.ApplyPolicy(ctx, p.manage); err != nil {
		return nil, err
	}
	return &hop{broker: b, h: h, set: set}, nil
}

// Enqueue returns an error: the hop takes no part in the modes that call it.
func (p *hop) Enqueue(context.Context, pgx.Tx, []orderArgs) error {
	return errors.New("the hop has no database")
}

func (p *hop) Fill(_ context.Context, list []orderArgs) error {
	for _, args := range list {
		body, err := json.Marshal(args)
		if err != nil {
			return err
		}
		p.msgs = append(p.msgs, engine.Message{OutboxID: int64(len(p.msgs) + 1), JobID: uuid.Must(uuid.NewV7()), Dispatch: 1,
			RoutingKey: jobs.QueueDefault, MessageID: uuid.NewString(), Type: args.Kind(), Body: body})
	}
	return nil
}

func (p *hop) Start(ctx context.Context) (err error) {
	p.publisher = p.broker.NewPublisher()
	if p.session, err = p.broker.Consume(ctx, map[string]int{jobs.QueueDefault: p.set.concurrency}); err != nil {
		return err
	}
	p.loops.Go(func() {
		for in := range p.session.C() {
			p.fail(in.Ack())
			p.h.ran.Add(1)
		}
	})
	p.loops.Go(func() { p.fail(p.publish(ctx)) })
	return nil
}

// publish keeps several batches in flight while it waits for the confirms of the first.
func (p *hop) publish(ctx context.Context) error {
	var flying []engine.Receive
	finish := func() error {
		receipts, err := flying[0]()
		flying = flying[1:]
		for _, r := range receipts {
			if err == nil && r.Status != engine.Confirmed {
				err = fmt.Errorf("a message was not confirmed: %+v", r)
			}
		}
		return err
	}
	for from := 0; from < len(p.msgs); from += hopBatch {
		batch := p.msgs[from:min(from+hopBatch, len(p.msgs))]
		receive, err := p.publisher.Publish(ctx, batch, time.Minute, func([]int64) {})
		if err != nil {
			return err
		}
		if flying = append(flying, receive); len(flying) == hopFlying {
			if err := finish(); err != nil {
				return err
			}
		}
	}
	for len(flying) > 0 {
		if err := finish(); err != nil {
			return err
		}
	}
	return nil
}

func (p *hop) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = errors.Join(p.err, err)
}

// Stop returns when all messages are confirmed and acknowledged.
func (p *hop) Stop(context.Context) error {
	err := p.session.Close()
	p.loops.Wait()
	return errors.Join(err, p.publisher.Close(), p.err)
}

func (p *hop) Close()             {}
func (p *hop) Acknowledges() bool { return true }
func (p *hop) Table() string      { return "" }
func (p *hop) Unfinished() string { return "" }
