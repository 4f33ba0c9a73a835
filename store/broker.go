package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/monitor"
)

const (
	// queuesMax and channelsMax are how many rows one call returns at most.
	queuesMax   = 200
	channelsMax = 200
	// readTimeout ends a read that a page waits for; an earlier deadline of the caller counts.
	readTimeout = 5 * time.Second
)

// totalID is the queue_id of the history of the deployment's own queues together.
const totalID int64 = 0

// queueID is a number for the queue that is the same whenever the queue exists,
// so that its history outlives it.
func queueID(vhost, name string) int64 {
	sum := sha256.Sum256([]byte(vhost + "\x00" + name))
	return int64(binary.BigEndian.Uint64(sum[:8]))
}

// SaveBroker makes the snapshot what the broker is last known to be, removes
// queues that are not in it (their samples stay) and adds to the history what
// has changed. One transaction, a handful of statements for any number of queues.
func (s *Store) SaveBroker(ctx context.Context, snap monitor.Snapshot) error {
	var b pgx.Batch
	b.Queue(upsertQueues, queueRows(snap.Queues)...)
	b.Queue(`DELETE FROM warren.broker_queues WHERE sampled_at <> $1`, snap.At)
	b.Queue(addSamples, append(sampleRows(snap), snap.At, monitor.GapAfter)...)
	b.Queue(`
		DELETE FROM warren.broker_channels c WHERE vhost = ANY($1::text[])
			OR NOT EXISTS (SELECT FROM warren.broker_queues q WHERE q.vhost = c.vhost)`, snap.ChannelsOf)
	b.Queue(insertChannels, channelRows(snap.Channels)...)
	err := s.inTx(ctx, func(tx pgx.Tx) error { return tx.SendBatch(ctx, &b).Close() })
	if err != nil {
		return fmt.Errorf("save what the broker said of %d queues: %w", len(snap.Queues), err)
	}
	return nil
}

// column takes one value of each row, for unnest.
func column[R, V any](rows []R, of func(R) V) []V {
	values := make([]V, len(rows))
	for i, r := range rows {
		values[i] = of(r)
	}
	return values
}

const upsertQueues = `
	INSERT INTO warren.broker_queues (id, vhost, name, type, state, policy, arguments, ready, unacked, consumers,
		redeliver_raw, redelivered, counter_since, publish_raw, deliver_raw, ack_raw,
		publish_rate, deliver_rate, ack_rate, redeliver_rate, empty_since, sampled_at)
	SELECT q.id, q.vhost, q.name, q.type, q.state, q.policy, q.arguments::json, q.ready, q.unacked, q.consumers,
		q.redeliver_raw, q.redelivered, q.counter_since, q.publish_raw, q.deliver_raw, q.ack_raw,
		q.publish_rate, q.deliver_rate, q.ack_rate, q.redeliver_rate, q.empty_since, q.sampled_at
	FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::bigint[], $10::bigint[],
		$11::bigint[], $12::bigint[], $13::timestamptz[], $14::bigint[], $15::bigint[], $16::bigint[],
		$17::float8[], $18::float8[], $19::float8[], $20::float8[], $21::timestamptz[], $22::timestamptz[])
		AS q (id, vhost, name, type, state, policy, arguments, ready, unacked, consumers,
		redeliver_raw, redelivered, counter_since, publish_raw, deliver_raw, ack_raw,
		publish_rate, deliver_rate, ack_rate, redeliver_rate, empty_since, sampled_at)
	ON CONFLICT (id) DO UPDATE SET type = excluded.type, state = excluded.state, policy = excluded.policy, arguments = excluded.arguments,
		ready = excluded.ready, unacked = excluded.unacked, consumers = excluded.consumers,
		redeliver_raw = excluded.redeliver_raw, redelivered = excluded.redelivered, counter_since = excluded.counter_since,
		publish_raw = excluded.publish_raw, deliver_raw = excluded.deliver_raw, ack_raw = excluded.ack_raw,
		publish_rate = excluded.publish_rate, deliver_rate = excluded.deliver_rate, ack_rate = excluded.ack_rate, redeliver_rate = excluded.redeliver_rate,
		empty_since = excluded.empty_since, sampled_at = excluded.sampled_at`

func queueRows(queues []monitor.Queue) []any {
	type q = monitor.Queue
	return []any{
		column(queues, func(q q) int64 { return queueID(q.VHost, q.Name) }),
		column(queues, func(q q) string { return cleanText(q.VHost) }),
		column(queues, func(q q) string { return cleanText(q.Name) }),
		column(queues, func(q q) string { return cleanText(q.Type) }),
		column(queues, func(q q) string { return cleanText(q.State) }),
		column(queues, func(q q) string { return cleanText(q.Policy) }),
		column(queues, func(q q) *string { return jsonText(q.Arguments) }),
		column(queues, func(q q) *int64 { return q.Ready }),
		column(queues, func(q q) *int64 { return q.Unacked }),
		column(queues, func(q q) *int64 { return q.Consumers }),
		column(queues, func(q q) *int64 { return q.Counters.Redeliver }),
		column(queues, func(q q) *int64 { return q.Redelivered }),
		column(queues, func(q q) *time.Time { return q.CounterSince }),
		column(queues, func(q q) *int64 { return q.Counters.Publish }),
		column(queues, func(q q) *int64 { return q.Counters.Deliver }),
		column(queues, func(q q) *int64 { return q.Counters.Ack }),
		column(queues, func(q q) *float64 { return q.Rates.Publish }),
		column(queues, func(q q) *float64 { return q.Rates.Deliver }),
		column(queues, func(q q) *float64 { return q.Rates.Ack }),
		column(queues, func(q q) *float64 { return q.Rates.Redeliver }),
		column(queues, func(q q) *time.Time { return q.EmptySince }),
		column(queues, func(q q) time.Time { return q.SampledAt }),
	}
}

func jsonText(raw []byte) *string {
	if len(raw) == 0 {
		return nil
	}
	s := string(raw)
	return &s
}

const insertChannels = `
	INSERT INTO warren.broker_channels (vhost, queue, channel, connection, client, consumers, prefetch, unacked, holding_since, sampled_at)
	SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int[], $7::int[], $8::bigint[], $9::timestamptz[], $10::timestamptz[])
	ON CONFLICT DO NOTHING`

func channelRows(channels []monitor.Channel) []any {
	type c = monitor.Channel
	return []any{
		column(channels, func(c c) string { return cleanText(c.VHost) }),
		column(channels, func(c c) string { return cleanText(c.Queue) }),
		column(channels, func(c c) string { return cleanText(c.Channel) }),
		column(channels, func(c c) string { return cleanText(c.Connection) }),
		column(channels, func(c c) string { return cleanText(c.Client) }),
		column(channels, func(c c) int { return c.Consumers }),
		column(channels, func(c c) *int64 { return c.Prefetch }),
		column(channels, func(c c) *int64 { return c.Unacked }),
		column(channels, func(c c) *time.Time { return c.HoldingSince }),
		column(channels, func(c c) time.Time { return c.SampledAt }),
	}
}

const selectQueue = `
	SELECT vhost, name, type, state, policy, arguments, ready, unacked, consumers, redeliver_raw, redelivered, counter_since,
		publish_raw, deliver_raw, ack_raw, publish_rate, deliver_rate, ack_rate, redeliver_rate, empty_since, sampled_at
	FROM warren.broker_queues `

func scanQueue(row pgx.CollectableRow) (monitor.Queue, error) {
	var q monitor.Queue
	var arguments []byte
	err := row.Scan(&q.VHost, &q.Name, &q.Type, &q.State, &q.Policy, &arguments, &q.Ready, &q.Unacked, &q.Consumers,
		&q.Counters.Redeliver, &q.Redelivered, &q.CounterSince, &q.Counters.Publish, &q.Counters.Deliver, &q.Counters.Ack,
		&q.Rates.Publish, &q.Rates.Deliver, &q.Rates.Ack, &q.Rates.Redeliver, &q.EmptySince, &q.SampledAt)
	q.Arguments = arguments
	return q, err
}

// LastPoll gives all queues as last saved and when the broker last answered, nil if it never did.
func (s *Store) LastPoll(ctx context.Context) ([]monitor.Queue, *time.Time, error) {
	rows, err := s.pool.Query(ctx, selectQueue)
	if err != nil {
		return nil, nil, fmt.Errorf("read the queues of the last poll: %w", err)
	}
	queues, err := pgx.CollectRows(rows, scanQueue)
	if err != nil {
		return nil, nil, fmt.Errorf("read the queues of the last poll: %w", err)
	}
	var at *time.Time
	err = s.pool.QueryRow(ctx, `SELECT max(ok_at) FROM warren.health WHERE component = $1`, monitor.Component).Scan(&at)
	if err != nil {
		return nil, nil, fmt.Errorf("read the time of the last poll: %w", err)
	}
	return queues, at, nil
}

// QueueFilter picks and orders queues. The zero value is the first 200 by name.
type QueueFilter struct {
	Search string // a part of the name, in any case
	VHost  string // "" means all
	// Sort is name, ready, unacked, redelivered, consumers, publish, deliver, ack or redeliver; else name.
	Sort   string
	Desc   bool // unknown values come last either way
	Limit  int  // 0 or more than 200 means 200
	Offset int
}

var queueOrder = map[string]string{
	"ready": "ready", "unacked": "unacked", "redelivered": "redelivered", "consumers": "consumers",
	"publish": "publish_rate", "deliver": "deliver_rate", "ack": "ack_rate", "redeliver": "redeliver_rate",
}

func (f QueueFilter) orderBy() string {
	direction := " ASC"
	if f.Desc {
		direction = " DESC"
	}
	if column, known := queueOrder[f.Sort]; known {
		return column + direction + " NULLS LAST, name, vhost"
	}
	return "name" + direction + ", vhost"
}

func (f QueueFilter) limit() int {
	if f.Limit <= 0 {
		return queuesMax
	}
	return min(f.Limit, queuesMax)
}

// Queues lists the broker's queues as last seen, and how many the filter picks in all.
func (s *Store) Queues(ctx context.Context, f QueueFilter) ([]monitor.Queue, int, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	const picked = `WHERE ($1 = '' OR position(lower($1) in lower(name)) > 0) AND ($2 = '' OR vhost = $2)`
	var all int
	err := s.pool.QueryRow(ctx, `SELECT count(*) FROM warren.broker_queues `+picked, cleanText(f.Search), f.VHost).Scan(&all)
	if err != nil {
		return nil, 0, fmt.Errorf("count the queues: %w", err)
	}
	rows, err := s.pool.Query(ctx, selectQueue+picked+` ORDER BY `+f.orderBy()+` LIMIT $3 OFFSET $4`,
		cleanText(f.Search), f.VHost, f.limit(), max(0, f.Offset))
	if err != nil {
		return nil, 0, fmt.Errorf("list the queues: %w", err)
	}
	queues, err := pgx.CollectRows(rows, scanQueue)
	if err != nil {
		return nil, 0, fmt.Errorf("list the queues: %w", err)
	}
	return queues, all, nil
}

// Queue gives one queue as last seen; jobs.ErrNotFound if the last poll did not see it.
func (s *Store) Queue(ctx context.Context, vhost, name string) (monitor.Queue, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.pool.Query(ctx, selectQueue+`WHERE vhost = $1 AND name = $2`, cleanText(vhost), cleanText(name))
	if err != nil {
		return monitor.Queue{}, fmt.Errorf("read the queue %q: %w", name, err)
	}
	q, err := pgx.CollectExactlyOneRow(rows, scanQueue)
	if errors.Is(err, pgx.ErrNoRows) {
		err = jobs.ErrNotFound
	}
	if err != nil {
		return monitor.Queue{}, fmt.Errorf("read the queue %q: %w", name, err)
	}
	return q, nil
}

// Channels lists the channels that consume from the queue, or from any of the
// vhost if queue is "", those that hold most first; 200 at most.
func (s *Store) Channels(ctx context.Context, vhost, queue string) ([]monitor.Channel, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.pool.Query(ctx, `
		SELECT vhost, queue, channel, connection, client, consumers, prefetch, unacked, holding_since, sampled_at
		FROM warren.broker_channels WHERE vhost = $1 AND ($2 = '' OR queue = $2)
		ORDER BY unacked DESC NULLS LAST, client, channel LIMIT $3`, cleanText(vhost), cleanText(queue), channelsMax)
	if err != nil {
		return nil, fmt.Errorf("list the channels of %q: %w", queue, err)
	}
	channels, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c monitor.Channel, err error) {
		err = row.Scan(&c.VHost, &c.Queue, &c.Channel, &c.Connection, &c.Client, &c.Consumers, &c.Prefetch, &c.Unacked, &c.HoldingSince, &c.SampledAt)
		return c, err
	})
	if err != nil {
		return nil, fmt.Errorf("list the channels of %q: %w", queue, err)
	}
	return channels, nil
}
