package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/tasks"
	"github.com/warrenjobs/warren/jobs/tracing"
	"github.com/warrenjobs/warren/store/internal/rules"
)

// taskEvent is an event of a task on its way into the outbox. The body is text: PostgreSQL would
// refuse \u0000 and lone surrogates, which args may have, in a part of a document that it reads.
type taskEvent struct {
	ID   uuid.UUID `json:"id"`
	Key  string    `json:"key"`
	Task uuid.UUID `json:"task"`
	Body string    `json:"body"`
}

// deletedTask is the body of tasks.EventDeleted.
type deletedTask struct {
	ID      uuid.UUID `json:"id"`
	Version int       `json:"version"`
}

func newTaskEvent(key string, task uuid.UUID, body any) (taskEvent, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return taskEvent{}, fmt.Errorf("write the event %s of task %s: %w", key, task, err)
	}
	return taskEvent{ID: uuid.Must(uuid.NewV7()), Key: key, Task: task, Body: string(raw)}, nil
}

// publish writes events and their outbox rows, in order, in the transaction of the changes that
// they report. The events need no subscriber.
func publish(ctx context.Context, tx pgx.Tx, events ...taskEvent) error {
	raw, err := json.Marshal(events)
	if err != nil {
		return fmt.Errorf("write events as JSON: %w", err)
	}
	_, err = tx.Exec(ctx, `
		WITH input AS (
			SELECT row_number() OVER () AS n, x.* FROM json_to_recordset($1::json) AS x(id uuid, key text, task uuid, body text)
		), kept AS (
			INSERT INTO warren.events (id, exchange, routing_key, body, task_id) SELECT id, $2, key, body::json, task FROM input
		), sent AS (
			INSERT INTO warren.outbox (exchange, routing_key, message_id, type, headers, body, required)
			SELECT $2, key, id, key, $3, convert_to(body, 'UTF8'), false FROM input ORDER BY n
		)
		SELECT pg_notify('`+rules.WakeChannel+`', '') WHERE NOT EXISTS (SELECT FROM warren.relay_busy WHERE until > clock_timestamp())`,
		string(raw), tasks.Exchange, tracing.Headers(ctx))
	if err != nil {
		return fmt.Errorf("write %d events: %w", len(events), err)
	}
	return nil
}

// TaskEvents reads the newest events of a task, at most limit.
func (s *Store) TaskEvents(ctx context.Context, task uuid.UUID, limit int) ([]engine.Event, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT id, exchange, routing_key, body, created_at,
			EXISTS (SELECT FROM warren.outbox o WHERE o.message_id = e.id AND o.job_id IS NULL), unheard_at
		FROM warren.events e WHERE task_id = $1 ORDER BY id DESC LIMIT $2`, task, limit)
	if err != nil {
		return nil, fmt.Errorf("read the events of task %s: %w", task, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[engine.Event])
	if err != nil {
		return nil, fmt.Errorf("read the events of task %s: %w", task, err)
	}
	return list, nil
}
