package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/monitor"
)

// queueColumns are the columns of a queue as last polled.
const queueColumns = `vhost, name, type, state, policy, arguments, ready, unacked, consumers, redeliver_raw, redelivered, counter_since,
	publish_raw, deliver_raw, ack_raw, publish_rate, deliver_rate, ack_rate, redeliver_rate, empty_since, sampled_at`

func polledFields(q *monitor.Queue) []any {
	return []any{&q.VHost, &q.Name, &q.Type, &q.State, &q.Policy, &q.Arguments, &q.Ready, &q.Unacked, &q.Consumers,
		&q.Counters.Redeliver, &q.Redelivered, &q.CounterSince, &q.Counters.Publish, &q.Counters.Deliver, &q.Counters.Ack,
		&q.Rates.Publish, &q.Rates.Deliver, &q.Rates.Ack, &q.Rates.Redeliver, &q.EmptySince, &q.SampledAt}
}

// LastPoll returns all queues as last saved, and when the broker last answered; nil if it never
// did.
func (s *Store) LastPoll(ctx context.Context) ([]monitor.Queue, *time.Time, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+queueColumns+` FROM warren.broker_queues`)
	if err != nil {
		return nil, nil, fmt.Errorf("read the queues of the last poll: %w", err)
	}
	queues, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (q monitor.Queue, err error) {
		return q, row.Scan(polledFields(&q)...)
	})
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

// LastSample returns when the broker was last sampled; zero if no queue is known.
func (s *Store) LastSample(ctx context.Context) (at time.Time, err error) {
	err = s.pool.QueryRow(ctx, `SELECT sampled_at FROM warren.broker_queues LIMIT 1`).Scan(&at) // all rows are of one sample
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return at, fmt.Errorf("read the time of the last sample: %w", err)
	}
	return at, nil
}

// Unconsumed returns the job queues in which messages wait, by the last sample, and which nobody consumes or has paused;
// by name, at most limit.
func (s *Store) Unconsumed(ctx context.Context, own OwnQueues, limit int) ([]string, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT q.name FROM (
			SELECT substr(name, length($2) + 1) AS name FROM warren.broker_queues
			WHERE vhost = $1 AND starts_with(name, $2) AND ready > 0 AND consumers = 0
		) q LEFT JOIN warren.job_queues j ON j.name = q.name
		WHERE j.paused_at IS NULL ORDER BY q.name LIMIT $3`, own.VHost, own.Prefix, limit)
	if err != nil {
		return nil, fmt.Errorf("read which queues nobody consumes: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("read which queues nobody consumes: %w", err)
	}
	return list, nil
}

// OwnQueues says which queues of the broker are the deployment's.
type OwnQueues struct {
	VHost  string
	Prefix string // of the names of job queues
	Dead   string // name of the dead-letter queue
}

// QueueFilter selects and orders queues. The zero value selects all, by name.
type QueueFilter struct {
	Own    OwnQueues
	Search string // part of the name, case-insensitive
	VHost  string // "" means all
	// Sort is trouble (the worst first), name, ready, unacked, redelivered, consumers, publish, deliver,
	// ack or redeliver; else name.
	Sort string
	Desc bool // unknown values come last either way
}

// queueSort is a column that queues can be ordered by; value returns nil if it is unknown.
type queueSort struct {
	column string
	value  func(monitor.Queue) *float64
}

var queueSorts = map[string]queueSort{
	"trouble":     {"-trouble", func(q monitor.Queue) *float64 { return new(-float64(q.Trouble)) }},
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

// readyBefore is the number of ready messages of the queue b that long before its last poll; null
// if nobody looked then.
func readyBefore(interval string) string {
	at := `b.sampled_at - interval '` + interval + `'`
	return fmt.Sprintf(`(SELECT CASE WHEN until >= %[1]s - interval '%[2]g seconds' THEN ready END FROM warren.queue_samples
		WHERE queue_id = b.id AND resolution = 5 AND at <= %[1]s ORDER BY at DESC LIMIT 1)`, at, monitor.GapAfter.Seconds())
}

// queueTrend is a monitor.Trend: ready moved one way in the last minute as in the minutes before, by at
// least 10 and by a tenth.
var queueTrend = `CASE
	WHEN earlier IS NULL OR before IS NULL THEN ''
	WHEN ready > before AND before >= earlier AND ready - earlier >= greatest(10, ready / 10) THEN 'growing'
	WHEN ready < before AND before <= earlier AND earlier - ready >= greatest(10, earlier / 10) THEN 'shrinking'
	ELSE 'steady' END`

// queueTrouble is a monitor.Trouble.
var queueTrouble = fmt.Sprintf(`CASE
	WHEN state IN ('down', 'minority', 'crashed') THEN %d
	WHEN name = $3 AND vhost = $1 AND ready > 0 THEN %d
	WHEN consumers = 0 AND ready > 0 THEN %d
	WHEN id = ANY($4::bigint[]) THEN %d
	WHEN trend = 'growing' THEN %d
	WHEN drifted > 0 THEN %d
	WHEN paused_at IS NOT NULL THEN %d
	ELSE 0 END`, monitor.BrokenQueue, monitor.DeadLetters, monitor.NoConsumers, monitor.StuckUnacked, monitor.GrowingQueue,
	monitor.Drifted, monitor.Paused)

var recentDrift = fmt.Sprintf(`SELECT queue FROM warren.drift WHERE at > now() - interval '1 hour' LIMIT %d`, jobs.CountCap)

// conditionedQueues are the broker's queues with their condition. $1, $2 and $3 are the fields of
// OwnQueues, $4 the queues of channels that acknowledge nothing.
var conditionedQueues = `
	SELECT *, ` + queueTrouble + ` AS trouble FROM (
		SELECT b.*, ` + queueTrend + ` AS trend FROM (
			SELECT b.*, job_queue, paused_at, nullif(CASE WHEN paused_at IS NOT NULL THEN paused_by END, '') AS paused_by,
				coalesce(external, false) AS external,
				coalesce(drifted, 0) AS drifted,
				CASE WHEN ready > 0 THEN ` + readyBefore("1 minute") + ` END AS before,
				CASE WHEN ready > 0 THEN ` + readyBefore("5 minutes") + ` END AS earlier
			FROM warren.broker_queues b
			CROSS JOIN LATERAL (
				SELECT CASE WHEN b.vhost = $1 AND starts_with(b.name, $2) THEN substr(b.name, length($2) + 1) END) own (job_queue)
			LEFT JOIN warren.job_queues j ON j.name = own.job_queue AND (j.paused_at IS NOT NULL OR j.external)
			LEFT JOIN (SELECT queue, count(*) AS drifted FROM (` + recentDrift + `) r GROUP BY queue) d ON d.queue = own.job_queue
		) b
	) b`

func scanQueue(row pgx.CollectableRow) (q monitor.Queue, err error) {
	return q, row.Scan(append(polledFields(&q), &q.JobQueue, &q.PausedAt, &q.PausedBy, &q.External, &q.Drifted, &q.Trend, &q.Trouble)...)
}

// selectQueues reads queues with their condition; rest follows on FROM, and its parameters begin at $5.
func (s *Store) selectQueues(ctx context.Context, own OwnQueues, rest string, args ...any) ([]monitor.Queue, error) {
	stuck, err := s.ForgottenAcks(ctx, time.Now())
	if err != nil {
		return nil, err
	}
	ids := column(stuck, func(c monitor.Channel) int64 { return queueID(c.VHost, c.Queue) })
	rows, err := s.pool.Query(ctx, `SELECT `+queueColumns+`, job_queue, paused_at, paused_by, external, drifted, trend, trouble
		FROM (`+conditionedQueues+`) q `+rest, append([]any{own.VHost, own.Prefix, own.Dead, ids}, args...)...)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, scanQueue)
	if err != nil {
		return nil, err
	}
	return list, s.addOldest(ctx, list)
}

// addOldest adds the time since which the oldest job of each job queue has waited.
func (s *Store) addOldest(ctx context.Context, list []monitor.Queue) error {
	g, err := s.scanStart(ctx, 0)
	if err != nil {
		return err
	}
	var of []int
	var names []string
	var after []time.Time
	for i, q := range list {
		if q.JobQueue != nil {
			of, names, after = append(of, i), append(names, *q.JobQueue), append(after, g.queued[*q.JobQueue])
		}
	}
	return s.byIndex(ctx, func(rows pgx.Rows) error {
		var i int
		var at *time.Time
		_, err := pgx.ForEachRow(rows, []any{&i, &at}, func() error {
			list[of[i-1]].OldestAt = at
			return nil
		})
		return err
	}, `
		SELECT n, (SELECT queued_at FROM warren.jobs j WHERE state = 'queued' AND j.queue = q.name AND queued_at > q.after
			ORDER BY queued_at LIMIT 1)
		FROM unnest($1::text[], $2::timestamptz[]) WITH ORDINALITY q (name, after, n)`, names, after)
}

// Queues reads a page of the broker's queues as last seen, and the totals of all that the filter selects.
func (s *Store) Queues(
	ctx context.Context, f QueueFilter, c jobs.Cursor, limit int,
) (page jobs.Page[monitor.Queue], all monitor.Totals, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	key, first, err := keyOf[queueKey](c)
	if err != nil {
		return page, all, err
	}
	search := cleanText(f.Search)
	err = s.pool.QueryRow(ctx, `
		SELECT count(*), sum(ready)::bigint, sum(unacked)::bigint, sum(consumers)::bigint, sum(publish_rate), sum(deliver_rate),
			sum(ack_rate), sum(redeliver_rate)
		FROM warren.broker_queues WHERE ($1 = '' OR position(lower($1) in lower(name)) > 0) AND ($2 = '' OR vhost = $2)`, search, f.VHost).
		Scan(&all.Queues, &all.Ready, &all.Unacked, &all.Consumers, &all.Rates.Publish, &all.Rates.Deliver, &all.Rates.Ack,
			&all.Rates.Redeliver)
	if err != nil {
		return page, all, fmt.Errorf("add up the queues: %w", err)
	}
	parts, descending := f.order()
	comparison, direction := seek(c, descending)
	list, err := s.selectQueues(ctx, f.Own, `
		WHERE ($5 = '' OR position(lower($5) in lower(name)) > 0) AND ($6 = '' OR vhost = $6)
			AND ($7 OR (`+strings.Join(parts, ", ")+`) `+comparison+` ($8::boolean, $9::float8, $10::text, $11::text))
		ORDER BY `+strings.Join(parts, " "+direction+", ")+` `+direction+` LIMIT $12`,
		search, f.VHost, first, key.Unknown, key.Value, cleanText(key.Name), cleanText(key.VHost), limit+1)
	if err != nil {
		return page, all, fmt.Errorf("list the queues: %w", err)
	}
	return pageOf(list, c, limit, f.key), all, nil
}

// Queue returns one queue as last seen, or jobs.ErrNotFound if the last poll did not see it.
func (s *Store) Queue(ctx context.Context, own OwnQueues, vhost, name string) (monitor.Queue, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	list, err := s.selectQueues(ctx, own, `WHERE vhost = $5 AND name = $6`, cleanText(vhost), cleanText(name))
	if err == nil && len(list) == 0 {
		err = jobs.ErrNotFound
	}
	if err != nil {
		return monitor.Queue{}, fmt.Errorf("read the queue %q: %w", name, err)
	}
	return list[0], nil
}
