package outbox

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/codes"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/tracing"
	"github.com/warrenjobs/warren/store/internal/rules"
)

// Enqueued is the result of one new job: its id, or the id of the open job that holds its unique
// key.
type Enqueued struct {
	ID        uuid.UUID
	Duplicate bool
}

// enqueueSQL takes the jobs as one JSON text, so that any driver can carry it and thousands fit in
// one statement. The args in it are text: if they were part of the document, PostgreSQL would
// refuse \u0000 and lone surrogates, and Go would rewrite white space and "<". Keys are taken in
// sorted order: two callers with the same keys wait for each other instead of deadlocking.
const enqueueSQL = `
WITH input AS (
	SELECT * FROM json_to_recordset($1::json) AS x(
		id uuid, kind text, queue text, args text, run_at timestamptz, max_attempts int,
		unique_key text, tags text[], timeout_ms bigint, origin text, retry_of uuid, task_id uuid, event_id uuid, trace json,
		checked bigint)
), moved AS (
	INSERT INTO warren.jobs (id, kind, queue, args, run_at, max_attempts, unique_key, tags, timeout_ms, origin, retry_of,
		task_id, event_id, trace, checked, state, dispatch, queued_at)
	SELECT id, kind, queue, args::json, coalesce(run_at, now()), max_attempts, unique_key, coalesce(tags, '{}'), timeout_ms, origin,
		retry_of, task_id, event_id, trace, checked,
		CASE WHEN run_at > now() THEN 'scheduled' ELSE 'queued' END,
		CASE WHEN run_at > now() THEN 0 ELSE 1 END,
		CASE WHEN run_at > now() THEN NULL ELSE clock_timestamp() END
	FROM input ORDER BY unique_key NULLS LAST, id
	ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL AND ` + rules.Open + ` DO NOTHING
	RETURNING id, dispatch, queue, kind, args, state, trace
), sent AS (` + rules.Dispatched + `), wake AS (
	SELECT pg_notify('` + rules.WakeChannel + `', '') WHERE NOT EXISTS (SELECT FROM warren.relay_busy WHERE until > clock_timestamp())
)
SELECT moved.id::text FROM moved LEFT JOIN wake ON true`

// Enqueue adds jobs inside the caller's transaction, in one statement even for thousands: they
// exist, with their outbox rows, if and only if tx commits. The results are in the order of the
// jobs; of several jobs with one unique key one is added, and the others get its id.
//
// Args are checked for shape only: warren.Client's EnqueueTx and jobs.Registry know kinds. Errors:
// jobs.FieldErrors for bad input. PostgreSQL's 40P01 and 40001 mean that the caller should run its
// transaction again.
func Enqueue(ctx context.Context, tx Tx, list ...jobs.NewJob) ([]Enqueued, error) {
	if len(list) == 0 {
		return nil, nil
	}
	rows := make([]enqueueRow, len(list))
	for i := range list {
		job := list[i]
		if err := job.Prepare(); err != nil {
			return nil, err
		}
		rows[i] = newEnqueueRow(job)
	}
	ctx, span := tracing.Enqueue(ctx, rows[0].ID, rows[0].Kind, rows[0].Queue, len(rows))
	defer span.End()
	headers := tracing.Headers(ctx)
	for i := range rows {
		rows[i].Trace = headers
	}
	added, err := add(ctx, tx, rows)
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	return added, err
}

// add inserts the rows and returns for each its id, or that of the open job that holds its key. If
// that job ended between the two statements, the key is free and the row is added after all.
func add(ctx context.Context, tx Tx, rows []enqueueRow) ([]Enqueued, error) {
	payload, err := json.Marshal(rows)
	if err != nil {
		return nil, fmt.Errorf("write jobs as JSON: %w", err)
	}
	added, err := tx.texts(ctx, enqueueSQL, string(payload))
	if err != nil {
		return nil, fmt.Errorf("enqueue %d jobs: %w", len(rows), err)
	}
	out := make([]Enqueued, len(rows))
	for i, row := range rows {
		out[i] = Enqueued{ID: row.ID}
	}
	taken := missing(rows, added)
	if len(taken) == 0 {
		return out, nil
	}
	holders, err := holdersOf(ctx, tx, rows, taken)
	if err != nil {
		return nil, err
	}
	var freed []int
	var again []enqueueRow
	for _, i := range taken {
		if id, ok := holders[*rows[i].UniqueKey]; ok {
			out[i] = Enqueued{ID: id, Duplicate: true}
			continue
		}
		freed, again = append(freed, i), append(again, rows[i])
	}
	if len(again) == 0 {
		return out, nil
	}
	more, err := add(ctx, tx, again)
	for n, e := range more {
		out[freed[n]] = e
	}
	return out, err
}

type enqueueRow struct {
	ID          uuid.UUID  `json:"id"`
	Kind        string     `json:"kind"`
	Queue       string     `json:"queue"`
	Args        string     `json:"args"`
	RunAt       *time.Time `json:"run_at"`
	MaxAttempts int        `json:"max_attempts"`
	UniqueKey   *string    `json:"unique_key"`
	Tags        []string   `json:"tags"`
	TimeoutMS   int64      `json:"timeout_ms"`
	Origin      string     `json:"origin"`
	RetryOf     *uuid.UUID `json:"retry_of"`
	TaskID      *uuid.UUID `json:"task_id"`
	EventID     *uuid.UUID `json:"event_id,omitempty"`
	Checked     int64      `json:"checked,omitempty"`

	Trace json.RawMessage `json:"trace,omitempty"`
}

func newEnqueueRow(j jobs.NewJob) enqueueRow {
	row := enqueueRow{ID: j.ID, Kind: j.Kind, Queue: j.Queue, Args: string(j.Args), MaxAttempts: j.MaxAttempts,
		Tags: j.Tags, TimeoutMS: j.Timeout.Milliseconds(), Origin: j.Origin, Checked: j.Checked}
	if !j.RunAt.IsZero() {
		at := j.RunAt.UTC() // in another zone its year may not fit JSON
		row.RunAt = &at
	}
	if j.UniqueKey != "" {
		row.UniqueKey = &j.UniqueKey
	}
	if j.TaskID != uuid.Nil {
		row.TaskID = &j.TaskID
	}
	if j.EventID != uuid.Nil {
		row.EventID = &j.EventID
	}
	if j.RetryOf != uuid.Nil {
		row.RetryOf = &j.RetryOf
	}
	return row
}

// missing lists, by index, the rows that were not added because their keys are taken.
func missing(rows []enqueueRow, added []string) []int {
	if len(added) == len(rows) {
		return nil
	}
	slices.Sort(added)
	var out []int
	for i, row := range rows {
		if _, ok := slices.BinarySearch(added, row.ID.String()); !ok {
			out = append(out, i)
		}
	}
	return out
}

// holdersOf finds the open jobs that hold the keys of the taken rows.
func holdersOf(ctx context.Context, tx Tx, rows []enqueueRow, taken []int) (map[string]uuid.UUID, error) {
	keys := make([]string, len(taken))
	for n, i := range taken {
		if rows[i].UniqueKey == nil {
			return nil, fmt.Errorf("enqueue job %s: it was not added", rows[i].ID)
		}
		keys[n] = *rows[i].UniqueKey
	}
	payload, err := json.Marshal(keys)
	if err != nil {
		return nil, fmt.Errorf("write unique keys as JSON: %w", err)
	}
	found, err := tx.texts(ctx, `
		SELECT id::text || unique_key FROM warren.jobs WHERE unique_key IN (SELECT json_array_elements_text($1::json))
			AND `+rules.Open, string(payload))
	if err != nil {
		return nil, fmt.Errorf("find the open jobs of %d unique keys: %w", len(keys), err)
	}
	holders := make(map[string]uuid.UUID, len(found))
	for _, f := range found {
		const idLen = 36
		holders[f[idLen:]] = uuid.MustParse(f[:idLen])
	}
	return holders, nil
}

// Written lists the args of the jobs of a kind that this transaction has enqueued. For tests.
func Written(ctx context.Context, tx Tx, kind string) ([]json.RawMessage, error) {
	// created_at is the time at which the transaction began, for every job that it adds.
	found, err := tx.texts(ctx, `SELECT args::text FROM warren.jobs WHERE kind = $1 AND created_at = now() ORDER BY id LIMIT 1000`, kind)
	if err != nil {
		return nil, fmt.Errorf("look what the transaction has enqueued: %w", err)
	}
	list := make([]json.RawMessage, len(found))
	for i, args := range found {
		list[i] = json.RawMessage(args)
	}
	return list, nil
}
