package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/events"
	"github.com/warrenjobs/warren/jobs/tracing"
	"github.com/warrenjobs/warren/store/outbox"
)

// SaveBindings records the bindings of a subscriber. It returns those that are recorded and not
// wanted any more, which stay recorded until ForgetBindings: the caller may die before the broker
// has removed them.
func (s *Store) SaveBindings(ctx context.Context, sub engine.Subscriber) (dropped []engine.Binding, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			INSERT INTO warren.bindings AS b (subscriber, exchange, pattern) SELECT $1, $2, p FROM unnest($3::text[]) p ORDER BY p
			ON CONFLICT (subscriber, exchange, pattern) DO UPDATE SET dropped_at = NULL, bound_at = now() WHERE b.dropped_at IS NOT NULL`,
			sub.Name, sub.Exchange, sub.Patterns)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `
			UPDATE warren.bindings SET dropped_at = coalesce(dropped_at, now())
			WHERE subscriber = $1 AND NOT (exchange = $2 AND pattern = ANY($3)) RETURNING subscriber, exchange, pattern`,
			sub.Name, sub.Exchange, sub.Patterns)
		if err != nil {
			return err
		}
		dropped, err = pgx.CollectRows(rows, pgx.RowToStructByPos[engine.Binding])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("record the bindings of the subscriber %s: %w", sub.Name, err)
	}
	return dropped, nil
}

// ForgetBindings removes dropped bindings, unless they were recorded again meanwhile.
func (s *Store) ForgetBindings(ctx context.Context, dropped []engine.Binding) error {
	var batch pgx.Batch
	for _, b := range dropped {
		batch.Queue(`DELETE FROM warren.bindings WHERE subscriber = $1 AND exchange = $2 AND pattern = $3 AND dropped_at IS NOT NULL`,
			b.Subscriber, b.Exchange, b.Pattern)
	}
	if batch.Len() == 0 {
		return nil
	}
	if err := s.pool.SendBatch(ctx, &batch).Close(); err != nil {
		return fmt.Errorf("forget %d bindings: %w", len(dropped), err)
	}
	return nil
}

// received is an event and the job that handles it.
type received struct {
	engine.Delivery
	job      jobs.NewJob
	digest   [sha256.Size]byte
	conflict string // why the event is refused
}

// inboxKey identifies an event for one subscriber.
func (r received) inboxKey() []any {
	return []any{"adopt:" + r.Queue, cleanText(r.AppID), cleanText(r.MessageID), r.digest[:]}
}

// AdoptEvents makes a job of each event for the subscriber whose queue it is in, once per (queue,
// app id, message id): inbox rows, jobs and outbox rows are one transaction. prepare fills in the
// defaults of the subscriber's jobs and checks them. It returns the ids of the new jobs. An event
// that makes no job, or has the message id of another one, is kept as a dead job.
func (s *Store) AdoptEvents(
	ctx context.Context, in []engine.Delivery, prepare func(*jobs.NewJob) error,
) (ids []uuid.UUID, err error) {
	refused := map[int]string{}
	list := make([]received, 0, len(in))
	for i, d := range in {
		r := received{Delivery: d, digest: sha256.Sum256(d.Body)}
		if r.job, err = eventJob(d); err == nil {
			err = prepare(&r.job)
		}
		if err != nil {
			refused[i] = "the event does not make a job: " + err.Error()
			continue
		}
		list = append(list, r)
	}
	// In one order, whoever receives them: two workers with the same messages wait for each other.
	slices.SortFunc(list, func(a, b received) int {
		return cmp.Or(cmp.Compare(a.Queue, b.Queue), cmp.Compare(a.AppID, b.AppID), cmp.Compare(a.MessageID, b.MessageID))
	})
	var conflicts []received
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		fresh, err := rememberAll(ctx, tx, list)
		if err != nil {
			return err
		}
		conflicts, ids = nil, nil
		for _, r := range list {
			if fresh[r.job.ID] {
				ids = append(ids, r.job.ID)
				continue
			}
			before, err := rememberAgain(ctx, tx, r.inboxKey())
			if err != nil {
				return err
			}
			if !before.same {
				r.conflict = "conflict: an event with this id and another body was received before" + before.asJob()
				conflicts = append(conflicts, r)
			}
		}
		return addEventJobs(ctx, tx, slices.DeleteFunc(slices.Clone(list), func(r received) bool { return !fresh[r.job.ID] }))
	})
	if err != nil {
		return nil, fmt.Errorf("receive %d events: %w", len(in), err)
	}
	for i, why := range refused {
		if err := s.refuseEvent(ctx, in[i], why, &ids); err != nil {
			return nil, err
		}
	}
	for _, r := range conflicts {
		if err := s.refuseEvent(ctx, r.Delivery, r.conflict, &ids); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

func (s *Store) refuseEvent(ctx context.Context, in engine.Delivery, why string, ids *[]uuid.UUID) error {
	in.Type = in.Queue // the kind of the subscriber's jobs
	id, err := s.RefuseForeign(ctx, in, why)
	*ids = append(*ids, id)
	return err
}

// eventJob returns the job that handles an event.
func eventJob(in engine.Delivery) (job jobs.NewJob, err error) {
	e := events.Envelope{ID: cleanText(in.MessageID), Exchange: cleanText(in.Exchange), Key: cleanText(in.RoutingKey),
		ContentType: cleanText(in.ContentType), Headers: in.Headers}
	if at := in.Timestamp.UTC(); !in.Timestamp.IsZero() && at.Year() < 10000 {
		e.PublishedAt = &at
	}
	return newEventJob(e.WithBody(in.Body), in.Queue)
}

// newEventJob returns the job by which a subscriber handles an event.
func newEventJob(e events.Envelope, subscriber string) (job jobs.NewJob, err error) {
	job = jobs.NewJob{ID: uuid.Must(uuid.NewV7()), Kind: subscriber, Queue: subscriber, Origin: jobs.OriginEvent}
	if job.Args, err = e.Args(); err != nil {
		return job, err
	}
	if e.ID == "" {
		job.Tags = []string{"no-message-id"}
	}
	if id, err := uuid.Parse(e.ID); err == nil {
		job.EventID = id
	}
	return job, nil
}

// rememberAll writes the inbox rows of the events, and returns the ids of the jobs whose events had
// none before. An event without a message id has none.
func rememberAll(ctx context.Context, tx pgx.Tx, list []received) (fresh map[uuid.UUID]bool, err error) {
	fresh = map[uuid.UUID]bool{}
	var consumers, apps, messages []string
	var digests [][]byte
	var ids []uuid.UUID
	for _, r := range list {
		if r.MessageID == "" {
			fresh[r.job.ID] = true
			continue
		}
		consumers, apps = append(consumers, "adopt:"+r.Queue), append(apps, cleanText(r.AppID))
		messages = append(messages, cleanText(r.MessageID))
		digests, ids = append(digests, r.digest[:]), append(ids, r.job.ID)
	}
	rows, err := tx.Query(ctx, `
		INSERT INTO warren.inbox (consumer, app_id, message_id, digest, job_id)
		SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::uuid[]) ON CONFLICT DO NOTHING RETURNING job_id`,
		consumers, apps, messages, digests, ids)
	if err != nil {
		return nil, err
	}
	added, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	for _, id := range added {
		fresh[id] = true
	}
	return fresh, err
}

// addEventJobs enqueues the jobs, and keeps the messages of events that Warren has not stored.
func addEventJobs(ctx context.Context, tx pgx.Tx, list []received) error {
	var untraced []jobs.NewJob
	for _, r := range list {
		if !r.Trace.IsValid() {
			untraced = append(untraced, r.job)
			continue
		}
		if _, err := outbox.Enqueue(tracing.Continue(ctx, r.Trace), outbox.Pgx(tx), r.job); err != nil {
			return err
		}
	}
	if _, err := outbox.Enqueue(ctx, outbox.Pgx(tx), untraced...); err != nil {
		return err
	}
	return keepForeignEvents(ctx, tx, list)
}

// keepForeignEvents keeps the messages of events that Warren has not published, as they came.
func keepForeignEvents(ctx context.Context, tx pgx.Tx, list []received) error {
	var ids, stored []uuid.UUID
	var exchanges, keys, properties []string
	for _, r := range list {
		if r.Properties != nil {
			ids, stored = append(ids, r.job.ID), append(stored, r.job.EventID)
			exchanges, keys = append(exchanges, cleanText(r.Exchange)), append(keys, cleanText(r.RoutingKey))
			properties = append(properties, cleanText(string(r.Properties())))
		}
	}
	if len(ids) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO warren.raw_messages (job_id, exchange, routing_key, properties)
		SELECT job, exchange, key, properties::json FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[])
			AS x(job, event, exchange, key, properties)
		WHERE NOT EXISTS (SELECT FROM warren.events WHERE id = x.event)`, ids, stored, exchanges, keys, properties)
	return err
}
