package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/events"
)

// eventsSearched bounds the events that one page of a filtered list reads.
const eventsSearched = 100_000

const eventColumns = `e.id, e.exchange, e.routing_key, e.content_type, e.headers::text, e.body::text, e.raw, e.required, e.task_id,
	e.created_at,
	EXISTS (SELECT FROM warren.outbox o WHERE o.message_id = e.id AND o.job_id IS NULL), e.unheard_at`

func scanEvent(row pgx.CollectableRow) (e engine.Event, err error) {
	var headers, body *string
	err = row.Scan(&e.ID, &e.Exchange, &e.Key, &e.ContentType, &headers, &body, &e.Raw, &e.Required, &e.TaskID, &e.CreatedAt, &e.Waiting,
		&e.UnheardAt)
	if headers != nil {
		e.Headers = []byte(*headers)
	}
	if body != nil {
		e.Body = []byte(*body)
	}
	return e, err
}

// Events reads a page of the stored events, newest first, with who received each, at most limit. A
// filter looks at the 100,000 events before the cursor.
func (s *Store) Events(
	ctx context.Context, f engine.EventFilter, c jobs.Cursor, limit int,
) (page jobs.Page[engine.Event], err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	id, first, err := keyOf[uuid.UUID](c)
	if err != nil {
		return page, err
	}
	where, args := []string{"true"}, []any{limit + 1, eventsSearched}
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args))
	}
	comparison, direction := seek(c, true)
	if !first {
		where = append(where, "id "+comparison+" "+arg(id))
	}
	if f.Exchange != "" {
		where = append(where, "exchange = "+arg(f.Exchange))
	}
	if f.Within > 0 {
		where = append(where, "id >= "+arg(firstID(time.Now().Add(-f.Within))))
	}
	if f.Outcome == engine.EventsUnheard {
		where = append(where, "unheard_at IS NOT NULL")
	}
	also := eventConditions(f, arg)
	rows, err := s.pool.Query(ctx, `
		SELECT `+eventColumns+` FROM (
			SELECT * FROM warren.events WHERE `+strings.Join(where, " AND ")+` ORDER BY id `+direction+` LIMIT $2
		) e WHERE `+strings.Join(also, " AND ")+` ORDER BY id `+direction+` LIMIT $1`, args...)
	if err != nil {
		return page, fmt.Errorf("list the events: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanEvent)
	if err != nil {
		return page, fmt.Errorf("list the events: %w", err)
	}
	page = pageOf(list, c, limit, func(e engine.Event) any { return e.ID })
	return page, s.readReceipts(ctx, page.Items)
}

// eventConditions returns the conditions that no index serves.
func eventConditions(f engine.EventFilter, arg func(any) string) []string {
	list := []string{"true"}
	if f.Key != "" {
		list = append(list, "(e.routing_key || '.') ~ "+arg(events.Regexp(f.Key)))
	}
	if f.Subscriber != "" {
		list = append(list, "EXISTS (SELECT FROM warren.jobs j WHERE j.event_id = e.id AND j.kind = "+arg(f.Subscriber)+")")
	}
	switch f.Outcome {
	case engine.EventsWaiting:
		list = append(list, "EXISTS (SELECT FROM warren.outbox o WHERE o.message_id = e.id AND o.job_id IS NULL)")
	case engine.EventsDead:
		list = append(list, "EXISTS (SELECT FROM warren.jobs j WHERE j.event_id = e.id AND j.state = 'dead')")
	}
	return list
}

// EventCounts counts the stored events by what became of them, each up to jobs.CountCap + 1. Dead is nil where there are
// more dead jobs than that: they are not all looked through.
func (s *Store) EventCounts(ctx context.Context) (n engine.EventCounts, err error) {
	var waiting, unheard, dead, read jobs.Count
	err = s.pool.QueryRow(ctx, `
		SELECT (SELECT count(*) FROM (SELECT FROM warren.outbox WHERE job_id IS NULL LIMIT $1) x),
			(SELECT count(*) FROM (SELECT FROM warren.events WHERE unheard_at IS NOT NULL LIMIT $1) x), d.events, d.jobs
		FROM (
			SELECT count(DISTINCT e.id) AS events, count(*) AS jobs
			FROM (SELECT event_id FROM warren.jobs WHERE state = 'dead' LIMIT $1) j LEFT JOIN warren.events e ON e.id = j.event_id
		) d`, jobs.CountCap+1).Scan(&waiting, &unheard, &dead, &read)
	if err != nil {
		return n, fmt.Errorf("count the events: %w", err)
	}
	n.Waiting, n.Unheard = &waiting, &unheard
	if !read.Capped() {
		n.Dead = &dead
	}
	return n, nil
}

// Event reads one event with who received it. Errors: jobs.ErrNotFound.
func (s *Store) Event(ctx context.Context, id uuid.UUID) (e engine.Event, err error) {
	rows, err := s.pool.Query(ctx, `SELECT `+eventColumns+` FROM warren.events e WHERE id = $1`, id)
	if err == nil {
		e, err = pgx.CollectExactlyOneRow(rows, scanEvent)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return e, jobs.ErrNotFound
	}
	if err != nil {
		return e, fmt.Errorf("read event %s: %w", id, err)
	}
	list := []engine.Event{e}
	err = s.readReceipts(ctx, list)
	return list[0], err
}

// receiptsMax bounds the receipts of a page of events: replays add some.
const receiptsMax = 2000

func (s *Store) readReceipts(ctx context.Context, list []engine.Event) error {
	ids, at := make([]uuid.UUID, len(list)), map[uuid.UUID]int{}
	for i, e := range list {
		ids[i], at[e.ID] = e.ID, i
	}
	rows, err := s.pool.Query(ctx, `
		SELECT event_id, kind, id, state, attempt, created_at, finished_at, coalesce(left(last_error, 300), '')
		FROM warren.jobs WHERE event_id = ANY($1) ORDER BY kind, id LIMIT $2`, ids, receiptsMax)
	if err != nil {
		return fmt.Errorf("read who received %d events: %w", len(list), err)
	}
	receipts, err := pgx.CollectRows(rows, pgx.RowToStructByPos[engine.EventReceipt])
	if err != nil {
		return fmt.Errorf("read who received %d events: %w", len(list), err)
	}
	for _, r := range receipts {
		e := &list[at[r.Event]]
		e.Receipts = append(e.Receipts, r)
	}
	return nil
}

// Subscribers lists the subscribers that workers have bound, by name, at most 200.
func (s *Store) Subscribers(ctx context.Context) ([]engine.EventSubscriber, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.pool.Query(ctx, `
		SELECT b.subscriber, min(b.exchange), array_agg(b.pattern ORDER BY b.pattern),
			(SELECT count(*) FROM (SELECT FROM warren.jobs j WHERE j.queue = b.subscriber AND j.state = 'queued' LIMIT $1) x),
			(SELECT count(*) FROM (SELECT FROM warren.jobs j WHERE j.kind = b.subscriber AND j.state = 'retrying' LIMIT $1) x),
			(SELECT queued_at FROM warren.jobs j WHERE j.queue = b.subscriber AND j.state = 'queued' ORDER BY queued_at LIMIT 1),
			(SELECT count(*) FROM (SELECT FROM warren.jobs j WHERE j.kind = b.subscriber AND j.state = 'dead' LIMIT $1) x),
			(SELECT created_at FROM warren.jobs j WHERE j.kind = b.subscriber ORDER BY id DESC LIMIT 1),
			(SELECT count(*) FROM (SELECT FROM warren.jobs j WHERE j.kind = b.subscriber AND j.id >= $2 LIMIT $1) x)
		FROM warren.bindings b WHERE b.dropped_at IS NULL GROUP BY b.subscriber ORDER BY b.subscriber LIMIT 200`,
		jobs.CountCap+1, firstID(time.Now().Add(-time.Hour)))
	if err != nil {
		return nil, fmt.Errorf("list the subscribers: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e engine.EventSubscriber, err error) {
		var retrying jobs.Count
		err = row.Scan(&e.Name, &e.Exchange, &e.Patterns, &e.Queued, &retrying, &e.OldestAt, &e.Dead, &e.ReceivedAt, &e.Received)
		e.Waiting = e.Queued + retrying
		return e, err
	})
	if err != nil {
		return nil, fmt.Errorf("list the subscribers: %w", err)
	}
	return list, s.aroundSubscribers(ctx, list)
}

// aroundSubscribers reads who consumes the queue of each subscriber.
func (s *Store) aroundSubscribers(ctx context.Context, list []engine.EventSubscriber) error {
	names := make([]string, len(list))
	for i, e := range list {
		names[i] = e.Name
	}
	around, err := s.AroundQueues(ctx, names)
	if err != nil {
		return err
	}
	for i, name := range names {
		list[i].Around = around[name]
		list[i].Worked = !around[name].Unworked()
	}
	return nil
}

// firstID returns the lowest id that an event published at t can have.
func firstID(t time.Time) (id uuid.UUID) {
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(max(t.UnixMilli(), 0))) //nolint:gosec // not negative
	copy(id[:6], ms[2:])
	return id
}

// subscription reads exchange and patterns of a subscriber. Errors: jobs.ErrNotFound.
func (s *Store) subscription(ctx context.Context, name string) (sub engine.Subscriber, err error) {
	sub.Name = name
	err = s.pool.QueryRow(ctx, `
		SELECT min(exchange), array_agg(pattern) FROM warren.bindings WHERE subscriber = $1 AND dropped_at IS NULL HAVING count(*) > 0`,
		name).Scan(&sub.Exchange, &sub.Patterns)
	if errors.Is(err, pgx.ErrNoRows) {
		return sub, jobs.ErrNotFound
	}
	if err != nil {
		return sub, fmt.Errorf("read the subscriber %s: %w", name, err)
	}
	return sub, nil
}

// Replayable counts the stored events from since until then that match the patterns of the subscriber, among the newest
// 100,000 of its exchange and up to jobs.CountCap + 1, and returns the newest of them, at most limit. Errors: jobs.ErrNotFound.
func (s *Store) Replayable(ctx context.Context, subscriber string, since, until time.Time, limit int) (
	n jobs.Count, newest []engine.Event, err error,
) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	sub, err := s.subscription(ctx, subscriber)
	if err != nil {
		return 0, nil, err
	}
	matching := events.Regexp(sub.Patterns...)
	err = s.pool.QueryRow(ctx, `
		SELECT count(*) FROM (
			SELECT FROM (SELECT routing_key FROM warren.events WHERE exchange = $1 AND id >= $2 AND id < $3 ORDER BY id DESC LIMIT $4) e
			WHERE (routing_key || '.') ~ $5 LIMIT $6
		) x`, sub.Exchange, firstID(since), firstID(until), eventsSearched, matching, jobs.CountCap+1).Scan(&n)
	if err != nil {
		return 0, nil, fmt.Errorf("count the events for %s: %w", subscriber, err)
	}
	if n == 0 || limit == 0 {
		return n, nil, nil
	}
	rows, err := s.pool.Query(ctx, `
		SELECT `+eventColumns+` FROM (
			SELECT * FROM warren.events WHERE exchange = $1 AND id >= $2 AND id < $3 ORDER BY id DESC LIMIT $4
		) e WHERE (routing_key || '.') ~ $5 ORDER BY id DESC LIMIT $6`,
		sub.Exchange, firstID(since), firstID(until), eventsSearched, matching, limit)
	if err == nil {
		newest, err = pgx.CollectRows(rows, scanEvent)
	}
	if err != nil {
		return n, nil, fmt.Errorf("list the events for %s: %w", subscriber, err)
	}
	return n, newest, s.readReceipts(ctx, newest)
}
