package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/events"
	"github.com/warrenjobs/warren/store/outbox"
)

// StartReplay enqueues the job that gives a subscriber stored events again, and writes the audit log. Errors: jobs.ErrNotFound.
func (s *Store) StartReplay(ctx context.Context, replay events.ReplayArgs, by jobs.Actor) (id uuid.UUID, err error) {
	subscriber := replay.Subscriber
	if _, err := s.subscription(ctx, subscriber); err != nil {
		return id, err
	}
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		added, err := outbox.Enqueue(ctx, outbox.Pgx(tx), jobs.New(replay))
		if err != nil {
			return err
		}
		id = added[0].ID
		return audit(ctx, tx, by, "events.replay", "subscriber:"+subscriber,
			map[string]any{"since": replay.Since.UTC(), "until": replay.Until.UTC(), "job": id})
	})
	if err != nil {
		return id, fmt.Errorf("replay events to %s: %w", subscriber, err)
	}
	return id, nil
}

// Replay does the next step of the replay that a job does: it enqueues jobs for at most limit stored
// events after those of the steps before, in one transaction with how far it is. It ends at until.
func (s *Store) Replay(ctx context.Context, job uuid.UUID, subscriber string, since, until time.Time, limit int) (
	done engine.ReplayBatch, err error,
) {
	sub, err := s.subscription(ctx, subscriber)
	if err != nil {
		return done, err
	}
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		start := firstID(since)
		_, err := tx.Exec(ctx, `INSERT INTO warren.event_replays (job_id, after) VALUES ($1, $2) ON CONFLICT DO NOTHING`, job, start)
		if err != nil {
			return err
		}
		err = tx.QueryRow(ctx, `SELECT after, added FROM warren.event_replays WHERE job_id = $1 FOR UPDATE`, job).Scan(&done.After,
			&done.Added)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT `+eventColumns+` FROM warren.events e WHERE exchange = $1 AND id > $2 AND id < $3
			ORDER BY id LIMIT $4`, sub.Exchange, done.After, firstID(until), limit)
		if err != nil {
			return err
		}
		list, err := pgx.CollectRows(rows, scanEvent)
		if err != nil || len(list) == 0 {
			return err
		}
		again, err := replayJobs(list, sub)
		if err != nil {
			return err
		}
		if _, err := outbox.Enqueue(ctx, outbox.Pgx(tx), again...); err != nil {
			return err
		}
		done.After, done.Added, done.More = list[len(list)-1].ID, done.Added+int64(len(again)), len(list) == limit
		_, err = tx.Exec(ctx, `UPDATE warren.event_replays SET after = $2, added = $3, at = now() WHERE job_id = $1`, job, done.After,
			done.Added)
		return err
	})
	if err != nil {
		return done, fmt.Errorf("replay events to %s: %w", subscriber, err)
	}
	return done, nil
}

// replayJobs returns the jobs of the events that match the patterns of the subscriber.
func replayJobs(list []engine.Event, sub engine.Subscriber) (again []jobs.NewJob, err error) {
	for _, e := range list {
		if !matchesAny(sub.Patterns, e.Key) {
			continue
		}
		envelope := events.Envelope{ID: e.ID.String(), Exchange: e.Exchange, Key: e.Key, ContentType: e.ContentType,
			PublishedAt: &e.CreatedAt, Body: e.Body, Base64: e.Raw}
		if e.Headers != nil {
			if err := json.Unmarshal(e.Headers, &envelope.Headers); err != nil {
				return nil, fmt.Errorf("read the headers of the event %s: %w", e.ID, err)
			}
		}
		job, err := newEventJob(envelope, sub.Name)
		if err != nil {
			return nil, err
		}
		job.Tags = []string{"replay"}
		again = append(again, job)
	}
	return again, nil
}

func matchesAny(patterns []string, key string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return events.Match(p, key) })
}
