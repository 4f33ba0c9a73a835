package store

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store/outbox"
)

// AdoptForeign makes a job of a foreign message, once per (queue, app id, message id): it writes
// inbox row, job and outbox row in one transaction, and the job runs from its own dispatch. It
// returns the id of the new job, or the zero id if the message already had one. The same message id
// with another body becomes a dead job; a message without an id is adopted each time it comes, and
// tagged so.
func (s *Store) AdoptForeign(ctx context.Context, in engine.Delivery) (uuid.UUID, error) {
	job := jobs.NewJob{Kind: in.Type, Args: in.Body, Queue: in.Queue, Origin: "broker"}
	if in.MessageID == "" {
		job.Tags = []string{"no-message-id"}
	}
	if err := job.Prepare(); err != nil { // sets the id, too
		return s.RefuseForeign(ctx, in, "the message does not make a job: "+err.Error())
	}
	var before adopted
	err := s.inTx(ctx, func(tx pgx.Tx) (err error) {
		if before, err = remember(ctx, tx, in, job.ID); err != nil || before.found {
			return err
		}
		if _, err = outbox.Enqueue(ctx, outbox.Pgx(tx), job); err != nil {
			return err
		}
		return keepMessage(ctx, tx, job.ID, in, nil) // its body is the args of the job
	})
	switch {
	case err != nil:
		return uuid.Nil, fmt.Errorf("adopt message %q: %w", in.MessageID, err)
	case !before.found:
		return job.ID, nil
	case before.same:
		return uuid.Nil, nil
	}
	return s.RefuseForeign(ctx, in, "conflict: a message with this id and another body was adopted before"+before.asJob())
}

// adopted is what the inbox says of a message id: whether it was adopted before, by which job, and
// whether that message had the same body.
type adopted struct {
	found, same bool
	job         *uuid.UUID
}

func (a adopted) asJob() string {
	if a.job == nil { // a version before adopted it
		return ""
	}
	return ", as job " + a.job.String()
}

// remember writes the inbox row of the message that becomes the job. A message that came before is
// counted with the job that it became.
func remember(ctx context.Context, tx pgx.Tx, in engine.Delivery, job uuid.UUID) (before adopted, err error) {
	if in.MessageID == "" {
		return before, nil
	}
	digest := sha256.Sum256(in.Body)
	key := []any{"adopt:" + in.Queue, cleanText(in.AppID), cleanText(in.MessageID), digest[:]}
	tag, err := tx.Exec(ctx, `
		INSERT INTO warren.inbox (consumer, app_id, message_id, digest, job_id) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
		append(key, job)...)
	if err != nil || tag.RowsAffected() == 1 {
		return before, err
	}
	return rememberAgain(ctx, tx, key)
}

// rememberAgain counts a message that came before with the job that it became; key is that of the
// inbox and the digest of the body.
func rememberAgain(ctx context.Context, tx pgx.Tx, key []any) (before adopted, err error) {
	before.found = true
	err = tx.QueryRow(ctx, `SELECT digest = $4, job_id FROM warren.inbox WHERE consumer = $1 AND app_id = $2 AND message_id = $3`,
		key...).Scan(&before.same, &before.job)
	if err != nil || before.job == nil {
		return before, err
	}
	_, err = tx.Exec(ctx, `UPDATE warren.raw_messages SET repeats = repeats + 1, repeated_at = clock_timestamp() WHERE job_id = $1`,
		before.job)
	return before, err
}

// keepMessage keeps the message of a job as it came.
func keepMessage(ctx context.Context, tx pgx.Tx, job uuid.UUID, in engine.Delivery, body []byte) error {
	props := json.RawMessage(`{}`)
	if in.Properties != nil {
		props = in.Properties()
	}
	_, err := tx.Exec(ctx, `INSERT INTO warren.raw_messages (job_id, exchange, routing_key, properties, body) VALUES ($1, $2, $3, $4, $5)`,
		job, cleanText(in.Exchange), cleanText(in.RoutingKey), cleanText(string(props)), body)
	return err
}

const refusalMax = 16 << 10 // bytes of why a message is refused: it may name what is in it

// RefuseForeign keeps a message that cannot be run as a dead job, with the reason and the raw
// message, and returns the job's id. No message is ever dropped.
func (s *Store) RefuseForeign(ctx context.Context, in engine.Delivery, why string) (uuid.UUID, error) {
	job := writable(in)
	body := append([]byte{}, in.Body...) // not nil, which says that the args of the job are the body
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			INSERT INTO warren.jobs (id, kind, queue, args, state, max_attempts, origin, finished_at, last_error)
			VALUES ($1, $2, $3, $4, 'dead', $5, 'broker', clock_timestamp(), $6)`,
			job.ID, job.Kind, job.Queue, cleanText(string(job.Args)), job.MaxAttempts, shortText(why, refusalMax))
		if err != nil {
			return err
		}
		return keepMessage(ctx, tx, job.ID, in, body)
	})
	if err != nil {
		return uuid.Nil, fmt.Errorf("keep a message that cannot be run: %w", err)
	}
	return job.ID, nil
}

// writable returns a job for a message that cannot be run: invalid fields are replaced, so that the
// row can be written in any case.
func writable(in engine.Delivery) jobs.NewJob {
	job := jobs.NewJob{Kind: in.Type, Queue: in.Queue, Args: in.Body, Origin: "broker"}
	var bad jobs.FieldErrors
	errors.As(job.Prepare(), &bad)
	for _, field := range bad {
		switch field.Field {
		case "kind":
			job.Kind = "unknown"
		case "queue":
			job.Queue = jobs.QueueDefault
		case "args":
			job.Args = asText(in.Body)
		}
	}
	return job
}

// asText makes args of a body that is not JSON, or too large: the beginning of it as a text, which is
// no object, so that no kind takes it, and a retry does not run. The raw message keeps the whole body.
func asText(body []byte) json.RawMessage {
	const shown = 64 << 10
	raw, err := json.Marshal(string(body[:min(len(body), shown)]))
	if err != nil { // a string: cannot happen
		return json.RawMessage(`""`)
	}
	return raw
}
