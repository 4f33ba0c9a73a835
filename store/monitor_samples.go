package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs/monitor"
)

// resolution is a sample length in seconds, and the age up to which samples of that length are
// kept; older ones are merged into one per window of the next resolution.
type resolution struct {
	seconds int
	keep    time.Duration
}

// History goes back 90 days: each poll for 6 hours, minutes for a week, then ten minutes.
var resolutions = []resolution{
	{5, 6 * time.Hour},
	{60, 7 * 24 * time.Hour},
	{600, 90 * 24 * time.Hour},
}

const (
	thinBatch   = 10_000 // rows moved or deleted by one statement
	thinBatches = 20     // statements per resolution and call; the rest waits for the next
)

// addSamples extends each queue's last sample (until) if nothing has changed and no poll was
// missed, and inserts a new sample otherwise.
const addSamples = `
	WITH now AS (
		SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::float8[], $7::float8[], $8::float8[],
			$9::float8[])
			AS n (queue_id, ready, unacked, redelivered, consumers, publish_rate, deliver_rate, ack_rate, redeliver_rate)
	), same AS (
		SELECT last.ctid FROM now n CROSS JOIN LATERAL (
			SELECT ctid, * FROM warren.queue_samples s WHERE s.queue_id = n.queue_id AND s.resolution = 5 ORDER BY s.at DESC LIMIT 1
		) last
		WHERE last.until >= $10::timestamptz - $11::interval
			AND (last.ready, last.unacked, last.redelivered, last.consumers, last.publish_rate, last.deliver_rate, last.ack_rate,
				last.redeliver_rate)
				IS NOT DISTINCT FROM (n.ready, n.unacked, n.redelivered, n.consumers, n.publish_rate, n.deliver_rate, n.ack_rate,
					n.redeliver_rate)
	), extended AS (
		UPDATE warren.queue_samples s SET until = greatest(s.until, $10) FROM same WHERE s.ctid = same.ctid
		RETURNING s.queue_id
	)
	INSERT INTO warren.queue_samples (queue_id, resolution, at, until, ready, unacked, redelivered, consumers, publish_rate, deliver_rate,
		ack_rate, redeliver_rate)
	SELECT queue_id, 5, $10, $10, ready, unacked, redelivered, consumers, publish_rate, deliver_rate, ack_rate, redeliver_rate
	FROM now WHERE queue_id NOT IN (SELECT queue_id FROM extended)
	ON CONFLICT DO NOTHING`

func sampleRows(snap monitor.Snapshot) []any {
	type row struct {
		id int64
		monitor.Sample
	}
	rows := []row{{totalID, snap.Total}}
	for _, q := range snap.Queues {
		rows = append(rows, row{queueID(q.VHost, q.Name), q.Sample()})
	}
	return []any{
		column(rows, func(r row) int64 { return r.id }),
		column(rows, func(r row) *int64 { return r.Ready }),
		column(rows, func(r row) *int64 { return r.Unacked }),
		column(rows, func(r row) *int64 { return r.Redelivered }),
		column(rows, func(r row) *int64 { return r.Consumers }),
		column(rows, func(r row) *float64 { return r.Rates.Publish }),
		column(rows, func(r row) *float64 { return r.Rates.Deliver }),
		column(rows, func(r row) *float64 { return r.Rates.Ack }),
		column(rows, func(r row) *float64 { return r.Rates.Redeliver }),
	}
}

// Samples returns the history of a queue between from and to, in at most monitor.PointsMax points.
// The queue need not exist any more.
func (s *Store) Samples(ctx context.Context, vhost, name string, from, to time.Time) (monitor.Series, error) {
	return s.history(ctx, queueID(vhost, name), from, to)
}

// TotalSamples returns the history of the deployment's own queues together.
func (s *Store) TotalSamples(ctx context.Context, from, to time.Time) (monitor.Series, error) {
	return s.history(ctx, totalID, from, to)
}

func (s *Store) history(ctx context.Context, id int64, from, to time.Time) (monitor.Series, error) {
	step := monitor.Step(from, to)
	of, err := s.samples(ctx, []int64{id}, from, to, step)
	if err != nil {
		return monitor.Series{}, err
	}
	return monitor.NewSeries(of[id], from, to, step), nil
}

const (
	sparkSpan = 15 * time.Minute
	sparkStep = 30 * time.Second
)

// Sparklines returns, for each of the queues, ready over the 15 minutes before to in points of 30
// s; nil is a gap. It makes one query for all.
func (s *Store) Sparklines(ctx context.Context, queues []monitor.Queue, to time.Time) ([][]*int64, error) {
	from := to.Add(-sparkSpan)
	ids := column(queues, func(q monitor.Queue) int64 { return queueID(q.VHost, q.Name) })
	of, err := s.samples(ctx, ids, from, to, sparkStep)
	if err != nil {
		return nil, err
	}
	return column(ids, func(id int64) []*int64 { return monitor.NewSeries(of[id], from, to, sparkStep).Ready }), nil
}

// windows aggregates samples by the window of $1 in which they begin: the highest depth, the last
// (as it only grows, the highest) sum of redeliveries, the last number of consumers and the mean of
// the rates. A sample that outlasts its window stays alone, because its values held for longer.
const windows = `
	min(at), max(until), max(ready), max(unacked), max(redelivered), (array_agg(consumers ORDER BY at DESC))[1],
	avg(publish_rate), avg(deliver_rate), avg(ack_rate), avg(redeliver_rate)`

const byWindow = `date_bin($1::interval, at, '0001-01-01Z'), CASE WHEN until >= date_bin($1::interval, at, '0001-01-01Z') + $1::interval
	THEN at END`

// samples reads the samples that overlap the span, already thinned to about two rows per step: in
// each resolution those that begin in the span, and the last one before it.
func (s *Store) samples(ctx context.Context, ids []int64, from, to time.Time, step time.Duration) (map[int64][]monitor.Sample, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.pool.Query(ctx, `
		SELECT queue_id, `+windows+`
		FROM unnest($2::bigint[]) q (id) CROSS JOIN unnest('{5,60,600}'::int[]) r (seconds) CROSS JOIN LATERAL (
			SELECT * FROM warren.queue_samples s WHERE s.queue_id = q.id AND s.resolution = r.seconds AND s.at <= $4 AND s.at >= coalesce((
				SELECT max(at) FROM warren.queue_samples b WHERE b.queue_id = q.id AND b.resolution = r.seconds AND b.at <= $3), $3)
		) s
		WHERE until >= $3
		GROUP BY queue_id, `+byWindow+` ORDER BY queue_id, 2`, step, ids, from, to)
	if err != nil {
		return nil, fmt.Errorf("read samples: %w", err)
	}
	of := map[int64][]monitor.Sample{}
	var id int64
	var p monitor.Sample
	_, err = pgx.ForEachRow(rows, []any{&id, &p.At, &p.Until, &p.Ready, &p.Unacked, &p.Redelivered, &p.Consumers,
		&p.Rates.Publish, &p.Rates.Deliver, &p.Rates.Ack, &p.Rates.Redeliver}, func() error {
		of[id] = append(of[id], p)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read samples: %w", err)
	}
	return of, nil
}

// ThinSamples merges old samples into coarser ones and deletes those older than 90 days. Each
// statement is bounded and commits by itself; the next call continues where this one stops.
// Idempotent.
func (s *Store) ThinSamples(ctx context.Context, now time.Time) error {
	for i, r := range resolutions {
		thin := s.deleteSamples
		if i+1 < len(resolutions) {
			thin = func(ctx context.Context, r resolution, before time.Time) (int64, error) {
				return s.coarsenSamples(ctx, r, resolutions[i+1], before)
			}
		}
		if err := repeat(ctx, func() (int64, error) { return thin(ctx, r, now.Add(-r.keep)) }); err != nil {
			return fmt.Errorf("thin the samples of %d s: %w", r.seconds, err)
		}
	}
	return nil
}

// repeat calls do until it processes less than a full batch, at most thinBatches times.
func repeat(ctx context.Context, do func() (int64, error)) error {
	for range thinBatches {
		n, err := do()
		if err != nil || n < thinBatch || ctx.Err() != nil {
			return err
		}
	}
	return nil
}

// oldSamples selects a batch that ended before $2. It bounds at as well, because the index is on
// at.
const oldSamples = `
	SELECT ctid FROM warren.queue_samples WHERE resolution = $3 AND at < $2 AND until < $2 ORDER BY at LIMIT $4`

func (s *Store) coarsenSamples(ctx context.Context, fine, coarse resolution, before time.Time) (moved int64, err error) {
	err = s.pool.QueryRow(ctx, `
		WITH old AS (
			DELETE FROM warren.queue_samples WHERE ctid = ANY(ARRAY(`+oldSamples+`)) RETURNING *
		), coarse AS (
			INSERT INTO warren.queue_samples (queue_id, resolution, at, until, ready, unacked, redelivered, consumers, publish_rate,
				deliver_rate, ack_rate, redeliver_rate)
			SELECT queue_id, $5::int, `+windows+` FROM old GROUP BY queue_id, `+byWindow+`
			ON CONFLICT DO NOTHING
		)
		SELECT count(*) FROM old`,
		time.Duration(coarse.seconds)*time.Second, before, fine.seconds, thinBatch, coarse.seconds).Scan(&moved)
	return moved, err
}

func (s *Store) deleteSamples(ctx context.Context, r resolution, before time.Time) (int64, error) {
	tag, err := s.pool.Exec(ctx, `
		DELETE FROM warren.queue_samples WHERE ctid = ANY(ARRAY(
			SELECT ctid FROM warren.queue_samples WHERE resolution = $2 AND at < $1 AND until < $1 ORDER BY at LIMIT $3))`,
		before, r.seconds, thinBatch)
	return tag.RowsAffected(), err
}
