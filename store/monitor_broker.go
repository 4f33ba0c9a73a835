package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
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

// LastPoll returns all queues as last saved, and when the broker last answered; nil if it never
// did.
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

// QueueFilter selects and orders queues. The zero value selects all, by name.
type QueueFilter struct {
	Search string // part of the name, case-insensitive
	VHost  string // "" means all
	// Sort is name, ready, unacked, redelivered, consumers, publish, deliver, ack or redeliver; else name.
	Sort string
	Desc bool // unknown values come last either way
}

// queueSort is a column that queues can be ordered by; value returns nil if it is unknown.
type queueSort struct {
	column string
	value  func(monitor.Queue) *float64
}

var queueSorts = map[string]queueSort{
	"ready":       {"ready", func(q monitor.Queue) *float64 { return number(q.Ready) }},
	"unacked":     {"unacked", func(q monitor.Queue) *float64 { return number(q.Unacked) }},
	"redelivered": {"redelivered", func(q monitor.Queue) *float64 { return number(q.Redelivered) }},
	"consumers":   {"consumers", func(q monitor.Queue) *float64 { return number(q.Consumers) }},
	"publish":     {"publish_rate", func(q monitor.Queue) *float64 { return q.Rates.Publish }},
	"deliver":     {"deliver_rate", func(q monitor.Queue) *float64 { return q.Rates.Deliver }},
	"ack":         {"ack_rate", func(q monitor.Queue) *float64 { return q.Rates.Ack }},
	"redeliver":   {"redeliver_rate", func(q monitor.Queue) *float64 { return q.Rates.Redeliver }},
}

func number(n *int64) *float64 {
	if n == nil {
		return nil
	}
	f := float64(*n)
	return &f
}

// queueKey is the position of a queue in the order of a filter; all its parts ascend.
type queueKey struct {
	Unknown     bool
	Value       float64
	Name, VHost string
}

// order returns the SQL of queueKey's parts; descending applies to the order by name alone.
func (f QueueFilter) order() (parts []string, descending bool) {
	sort, known := queueSorts[f.Sort]
	if !known {
		return []string{"name IS NULL", "0::float8", "name", "vhost"}, f.Desc
	}
	value := "coalesce(" + sort.column + ", 0)::float8"
	if f.Desc {
		value = "-" + value
	}
	return []string{sort.column + " IS NULL", value, "name", "vhost"}, false
}

func (f QueueFilter) key(q monitor.Queue) any {
	key := queueKey{Name: q.Name, VHost: q.VHost}
	sort, known := queueSorts[f.Sort]
	if !known {
		return key
	}
	value := sort.value(q)
	if key.Unknown = value == nil; key.Unknown {
		return key
	}
	if key.Value = *value; f.Desc {
		key.Value = -key.Value
	}
	return key
}

// Queues reads a page of the broker's queues as last seen; all is how many the filter selects in
// total.
func (s *Store) Queues(ctx context.Context, f QueueFilter, c jobs.Cursor, limit int) (page jobs.Page[monitor.Queue], all int, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	key, first, err := keyOf[queueKey](c)
	if err != nil {
		return page, 0, err
	}
	key.Name, key.VHost = cleanText(key.Name), cleanText(key.VHost)
	const picked = `WHERE ($1 = '' OR position(lower($1) in lower(name)) > 0) AND ($2 = '' OR vhost = $2)`
	err = s.pool.QueryRow(ctx, `SELECT count(*) FROM warren.broker_queues `+picked, cleanText(f.Search), f.VHost).Scan(&all)
	if err != nil {
		return page, 0, fmt.Errorf("count the queues: %w", err)
	}
	parts, descending := f.order()
	comparison, direction := seek(c, descending)
	rows, err := s.pool.Query(ctx, selectQueue+picked+`
		AND ($3 OR (`+strings.Join(parts, ", ")+`) `+comparison+` ($4::boolean, $5::float8, $6::text, $7::text))
		ORDER BY `+strings.Join(parts, " "+direction+", ")+` `+direction+` LIMIT $8`,
		cleanText(f.Search), f.VHost, first, key.Unknown, key.Value, cleanText(key.Name), cleanText(key.VHost), limit+1)
	if err != nil {
		return page, 0, fmt.Errorf("list the queues: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanQueue)
	if err != nil {
		return page, 0, fmt.Errorf("list the queues: %w", err)
	}
	return pageOf(list, c, limit, f.key), all, nil
}

// Queue returns one queue as last seen, or jobs.ErrNotFound if the last poll did not see it.
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
