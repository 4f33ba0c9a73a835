package outbox

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/events"
	"github.com/warrenjobs/warren/jobs/tracing"
	"github.com/warrenjobs/warren/store/internal/rules"
)

// publishSQL writes events and their outbox rows, in order. The bodies are text: PostgreSQL would
// refuse \u0000 and lone surrogates, which JSON may have, in a part of a document that it reads.
const publishSQL = `
WITH input AS (
	SELECT row_number() OVER () AS n, x.* FROM json_to_recordset($1::json) AS x(
		id uuid, exchange text, key text, content_type text, headers json, body text, raw text, required boolean, task uuid)
), kept AS (
	INSERT INTO warren.events (id, exchange, routing_key, content_type, headers, body, raw, required, task_id)
	SELECT id, exchange, key, content_type, headers, body::json, decode(raw, 'base64'), required, task FROM input
	ON CONFLICT (id) DO NOTHING RETURNING id
), sent AS (
	INSERT INTO warren.outbox (exchange, routing_key, message_id, type, content_type, headers, body, required)
	SELECT exchange, key, id, key, content_type, headers, coalesce(convert_to(body, 'UTF8'), decode(raw, 'base64')), required
	FROM input JOIN kept USING (id) ORDER BY n
	RETURNING message_id
), wake AS (
	SELECT pg_notify('` + rules.WakeChannel + `', '') WHERE NOT EXISTS (SELECT FROM warren.relay_busy WHERE until > clock_timestamp())
)
SELECT sent.message_id::text FROM sent LEFT JOIN wake ON true`

type eventRow struct {
	ID          uuid.UUID         `json:"id"`
	Exchange    string            `json:"exchange"`
	Key         string            `json:"key"`
	ContentType string            `json:"content_type"`
	Headers     map[string]string `json:"headers,omitempty"`
	Body        *string           `json:"body,omitempty"`
	Raw         *[]byte           `json:"raw,omitempty"` // in place of body, if that is not JSON
	Required    bool              `json:"required"`
	Task        *uuid.UUID        `json:"task,omitempty"`
}

// Publish writes events and their outbox rows inside the caller's transaction, in one statement:
// they are published, in order, if and only if tx commits. An event whose id was published before,
// and is still kept, is left out.
//
// Errors: jobs.FieldErrors for bad input, and those of the constructor of an event. PostgreSQL's
// 40P01 and 40001 mean that the caller should run its transaction again.
func Publish(ctx context.Context, tx Tx, list ...events.Event) error {
	if len(list) == 0 {
		return nil
	}
	rows := make([]eventRow, len(list))
	seen := make(map[uuid.UUID]bool, len(list))
	trace := tracing.Values(ctx)
	for i, e := range list {
		if err := e.Prepare(); err != nil {
			return fmt.Errorf("publish the event %.100q: %w", e.Key, err)
		}
		if seen[e.ID] {
			return jobs.FieldErrors{{Field: "id", Message: e.ID.String() + " is the id of two of the events"}}
		}
		seen[e.ID] = true
		rows[i] = newEventRow(e, trace)
	}
	payload, err := json.Marshal(rows)
	if err != nil {
		return fmt.Errorf("write events as JSON: %w", err)
	}
	if _, err := tx.texts(ctx, publishSQL, string(payload)); err != nil {
		return fmt.Errorf("publish %d events: %w", len(rows), err)
	}
	return nil
}

func newEventRow(e events.Event, trace map[string]string) eventRow {
	row := eventRow{ID: e.ID, Exchange: e.Exchange, Key: e.Key, ContentType: e.ContentType, Headers: e.Headers, Required: e.Required}
	if len(trace) > 0 {
		row.Headers = map[string]string{}
		maps.Copy(row.Headers, e.Headers)
		maps.Copy(row.Headers, trace)
	}
	if events.Inline(e.ContentType, e.Body) {
		body := string(e.Body)
		row.Body = &body
	} else {
		raw := append([]byte{}, e.Body...) // not nil, which would be no body
		row.Raw = &raw
	}
	if e.TaskID != uuid.Nil {
		row.Task = &e.TaskID
	}
	return row
}
