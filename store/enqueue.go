package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/codes"
	"gorm.io/gorm"

	"github.com/warrenjobs/warren/jobs"
)

// Enqueued says what became of one new job: its id, or the id of the open job
// that holds its unique key.
type Enqueued struct {
	ID        uuid.UUID
	Duplicate bool
}

// openStates is the condition of the partial unique index: a key is taken while its job is open.
const openStates = `state IN ('scheduled', 'queued', 'running', 'retrying')`

// dispatched moves the rows of the CTE "moved" into the outbox. Every statement
// that sets queued raises dispatch and ends with it, so that neither can be forgotten.
const dispatched = `INSERT INTO outbox (job_id, dispatch, routing_key, type, headers, body)
	SELECT id, dispatch, queue, kind, trace, convert_to(args::text, 'UTF8') FROM moved WHERE state = 'queued'
	RETURNING job_id`

// enqueueSQL takes the jobs as one JSON text, so that any driver can carry it
// and thousands fit in one statement. The args in it are text: as part of the
// document PostgreSQL would refuse \u0000 and lone surrogates, and Go rewrite
// white space and "<". Keys are taken in sorted order: two callers with the
// same keys wait for each other instead of deadlocking.
const enqueueSQL = `
WITH input AS (
	SELECT * FROM json_to_recordset($1::json) AS x(
		id uuid, kind text, queue text, args text, run_at timestamptz, max_attempts int,
		unique_key text, tags text[], timeout_ms bigint, origin text, retry_of uuid, task_id uuid, trace json)
), moved AS (
	INSERT INTO jobs (id, kind, queue, args, run_at, max_attempts, unique_key, tags, timeout_ms, origin, retry_of, task_id, trace, state, dispatch, queued_at)
	SELECT id, kind, queue, args::json, coalesce(run_at, now()), max_attempts, unique_key, coalesce(tags, '{}'), timeout_ms, origin, retry_of, task_id, trace,
		CASE WHEN run_at > now() THEN 'scheduled' ELSE 'queued' END,
		CASE WHEN run_at > now() THEN 0 ELSE 1 END,
		CASE WHEN run_at > now() THEN NULL ELSE clock_timestamp() END
	FROM input ORDER BY unique_key NULLS LAST, id
	ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL AND ` + openStates + ` DO NOTHING
	RETURNING id, dispatch, queue, kind, args, state, trace
), sent AS (` + dispatched + `), wake AS (
	SELECT pg_notify('` + wakeChannel + `', '') WHERE NOT EXISTS (SELECT FROM relay_busy WHERE until > clock_timestamp())
)
SELECT moved.id::text FROM moved LEFT JOIN wake ON true`

// Enqueue adds jobs inside the caller's transaction, in one statement: they
// exist, with their outbox rows, if and only if tx commits. tx is a *gorm.DB, a
// *sql.Tx or a pgx.Tx. Args are checked for shape only; Registry.Check knows
// kinds. Errors: jobs.FieldErrors for bad input. PostgreSQL's 40P01 and 40001
// mean that the caller should run its transaction again.
func Enqueue(ctx context.Context, tx any, list ...jobs.NewJob) ([]Enqueued, error) {
	q, err := querierOf(tx)
	if err != nil {
		return nil, fmt.Errorf("enqueue: %w", err)
	}
	return enqueue(ctx, q, list)
}

// EnqueueMany is Enqueue for a slice: thousands of jobs are one statement. The
// answers are in the order of the list; of several jobs with one unique key in it
// one is added, and the others are told its id.
func EnqueueMany(ctx context.Context, tx any, list []jobs.NewJob) ([]Enqueued, error) {
	return Enqueue(ctx, tx, list...)
}

// Enqueue adds jobs in a transaction of its own.
func (s *Store) Enqueue(ctx context.Context, list ...jobs.NewJob) ([]Enqueued, error) {
	return enqueue(ctx, pgxQuerier{s.pool}, list)
}

func enqueue(ctx context.Context, q querier, list []jobs.NewJob) ([]Enqueued, error) {
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
	ctx, span := jobs.TraceEnqueue(ctx, rows[0].ID, rows[0].Kind, rows[0].Queue, len(rows))
	defer span.End()
	headers := jobs.TraceHeaders(ctx)
	for i := range rows {
		rows[i].Trace = headers
	}
	added, err := add(ctx, q, rows)
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	return added, err
}

// add inserts the rows and gives each its id, or that of the open job that
// holds its key. A holder that ended between the two statements has freed the
// key: the row is added after all.
func add(ctx context.Context, q querier, rows []enqueueRow) ([]Enqueued, error) {
	payload, err := json.Marshal(rows)
	if err != nil {
		return nil, fmt.Errorf("write jobs as JSON: %w", err)
	}
	added, err := q.strings(ctx, enqueueSQL, string(payload))
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
	holders, err := holdersOf(ctx, q, rows, taken)
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
	more, err := add(ctx, q, again)
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

	Trace json.RawMessage `json:"trace,omitempty"`
}

func newEnqueueRow(j jobs.NewJob) enqueueRow {
	row := enqueueRow{ID: j.ID, Kind: j.Kind, Queue: j.Queue, Args: string(j.Args), MaxAttempts: j.MaxAttempts,
		Tags: j.Tags, TimeoutMS: j.Timeout.Milliseconds(), Origin: j.Origin}
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
	return row
}

// missing lists the rows, by index, that were not added: their keys are taken.
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
func holdersOf(ctx context.Context, q querier, rows []enqueueRow, taken []int) (map[string]uuid.UUID, error) {
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
	found, err := q.strings(ctx, `
		SELECT id::text || unique_key FROM jobs WHERE unique_key IN (SELECT json_array_elements_text($1::json)) AND `+openStates, string(payload))
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

// querier is the one thing that Enqueue and CompleteTx need of the transactions they accept.
type querier interface {
	strings(ctx context.Context, sql string, args ...any) ([]string, error)
}

func querierOf(tx any) (querier, error) {
	switch tx := tx.(type) {
	case pgx.Tx:
		return pgxQuerier{tx}, nil
	case *sql.Tx:
		return sqlQuerier{tx}, nil
	case *gorm.DB:
		if _, open := tx.Statement.ConnPool.(gorm.TxCommitter); !open {
			return nil, errors.New("this *gorm.DB is in no transaction: what is written would outlive the caller's rollback; " +
				"pass the one that Transaction or Begin gives")
		}
		return sqlQuerier{tx.Statement.ConnPool}, nil
	}
	return nil, fmt.Errorf("%T is no transaction: pass a *gorm.DB, a *sql.Tx or a pgx.Tx", tx)
}

type pgxQuerier struct {
	db interface {
		Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	}
}

func (q pgxQuerier) strings(ctx context.Context, sql string, args ...any) ([]string, error) {
	rows, err := q.db.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

type sqlQuerier struct{ db gorm.ConnPool }

func (q sqlQuerier) strings(ctx context.Context, sql string, args ...any) ([]string, error) {
	rows, err := q.db.QueryContext(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		out = append(out, strings.Clone(s))
	}
	return out, rows.Err()
}
