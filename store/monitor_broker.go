package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs/monitor"
)

const (
	// channelsMax is the maximum number of rows that one call returns.
	channelsMax = 200
	// readTimeout bounds a read that a page waits for; an earlier deadline of the caller takes
	// precedence.
	readTimeout = 5 * time.Second
)

// totalID is the queue_id of the history of the deployment's own queues together.
const totalID int64 = 0

// queueID returns a number for the queue that is the same whenever the queue exists, so that its
// history outlives it.
func queueID(vhost, name string) int64 {
	sum := sha256.Sum256([]byte(vhost + "\x00" + name))
	return int64(binary.BigEndian.Uint64(sum[:8]))
}

// SaveBroker saves the snapshot as the last known state of the broker, removes queues that are not
// in it (their samples stay) and adds changes to the history. It is one transaction, with a handful
// of statements for any number of queues.
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

// column returns one value of each row, for unnest.
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
	FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::bigint[],
		$10::bigint[],
		$11::bigint[], $12::bigint[], $13::timestamptz[], $14::bigint[], $15::bigint[], $16::bigint[],
		$17::float8[], $18::float8[], $19::float8[], $20::float8[], $21::timestamptz[], $22::timestamptz[])
		AS q (id, vhost, name, type, state, policy, arguments, ready, unacked, consumers,
		redeliver_raw, redelivered, counter_since, publish_raw, deliver_raw, ack_raw,
		publish_rate, deliver_rate, ack_rate, redeliver_rate, empty_since, sampled_at)
	ON CONFLICT (id) DO UPDATE SET type = excluded.type, state = excluded.state, policy = excluded.policy, arguments = excluded.arguments,
		ready = excluded.ready, unacked = excluded.unacked, consumers = excluded.consumers,
		redeliver_raw = excluded.redeliver_raw, redelivered = excluded.redelivered, counter_since = excluded.counter_since,
		publish_raw = excluded.publish_raw, deliver_raw = excluded.deliver_raw, ack_raw = excluded.ack_raw,
		publish_rate = excluded.publish_rate, deliver_rate = excluded.deliver_rate,
		ack_rate = excluded.ack_rate, redeliver_rate = excluded.redeliver_rate,
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
	SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int[], $7::int[], $8::bigint[], $9::timestamptz[],
		$10::timestamptz[])
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

// Channels lists the channels that consume from the queue, or from any queue of the vhost if queue
// is "": at most 200, those with the most unacked messages first.
func (s *Store) Channels(ctx context.Context, vhost, queue string) ([]monitor.Channel, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	list, err := s.channels(ctx, `WHERE vhost = $1 AND ($2 = '' OR queue = $2) ORDER BY unacked DESC NULLS LAST, client, channel LIMIT $3`,
		cleanText(vhost), cleanText(queue), channelsMax)
	if err != nil {
		return nil, fmt.Errorf("list the channels of %q: %w", queue, err)
	}
	return list, nil
}

// ForgottenAcks lists the channels in which an acknowledgement seems to be forgotten at that time, the
// longest first. It leaves out Warren's own workers, which hold the message of a long job.
func (s *Store) ForgottenAcks(ctx context.Context, now time.Time) ([]monitor.Channel, error) {
	list, err := s.channels(ctx, `
		c WHERE unacked > 0 AND holding_since IS NOT NULL
			AND NOT EXISTS (SELECT FROM warren.processes p WHERE starts_with(c.client, p.name || ' '))
		ORDER BY holding_since LIMIT $1`, channelsMax)
	if err != nil {
		return nil, fmt.Errorf("look for forgotten acknowledgements: %w", err)
	}
	return slices.DeleteFunc(list, func(c monitor.Channel) bool { return !c.Forgets(now) }), nil
}

func (s *Store) channels(ctx context.Context, which string, args ...any) ([]monitor.Channel, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT vhost, queue, channel, connection, client, consumers, prefetch, unacked, holding_since, sampled_at
		FROM warren.broker_channels `+which, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c monitor.Channel, err error) {
		err = row.Scan(&c.VHost, &c.Queue, &c.Channel, &c.Connection, &c.Client, &c.Consumers, &c.Prefetch, &c.Unacked, &c.HoldingSince,
			&c.SampledAt)
		return c, err
	})
}
