package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
)

// jobColumns are the columns that scanJob scans, in this order. Lists leave out large args and
// output, as a page of 50 must not take 100 MB, and the page of a job reads the beginning of them.
var (
	jobColumns   = jobColumnsWith(whole)
	listColumns  = jobColumnsWith(small)
	shownColumns = jobColumnsWith(beginning)
)

func whole(column string) string { return column + "::text" }

func small(column string) string {
	return fmt.Sprintf("CASE WHEN octet_length(%[1]s::text) <= %[2]d THEN %[1]s::text END", column, jobs.ListedBytesMax)
}

// beginning reads no more of a large value than it returns.
func beginning(column string) string { return fmt.Sprintf("left(%s::text, %d)", column, shownChars) }

const shownChars = 16 << 10

func jobColumnsWith(document func(column string) string) string {
	return `id, kind, queue, ` + document("args") + `, state, attempt, max_attempts, run_at, created_at, started_at, finished_at,
	progress::text, ` + document("output") + `, last_error, unique_key, to_json(tags)::text, timeout_ms, origin, dispatch, lease, crashes,
	queued_at, sent_at,
	worker, cancel_requested_at, task_id, nullif(split_part(trace->>'traceparent', '-', 2), ''), ` + uncounted
}

// uncounted counts the runs of a job that cost no attempt, although each raised attempt and
// max_attempts: see jobs.Job.Uncounted.
const uncounted = `CASE WHEN attempt > 0 THEN (
		SELECT count(*) FROM warren.attempts a WHERE a.job_id = jobs.id AND a.outcome IN ('crashed', 'released')) ELSE 0 END`

func scanJob(row pgx.CollectableRow) (jobs.Job, error) { return scanJobRow(row) }

// scanJobRow scans a row of either driver: pgx on the hot paths, gorm in lists.
func scanJobRow(row scanner) (jobs.Job, error) {
	var j jobs.Job
	var tags string
	var args, progress, output *string
	var timeoutMS int64
	err := row.Scan(&j.ID, &j.Kind, &j.Queue, &args, &j.State, &j.Attempt, &j.MaxAttempts, &j.RunAt, &j.CreatedAt, &j.StartedAt,
		&j.FinishedAt,
		&progress, &output, &j.LastError, &j.UniqueKey, &tags, &timeoutMS, &j.Origin, &j.Dispatch, &j.Lease, &j.Crashes, &j.QueuedAt,
		&j.SentAt,
		&j.Worker, &j.CancelRequestedAt, &j.TaskID, &j.TraceID, &j.Uncounted)
	if err != nil {
		return j, err
	}
	if args != nil {
		j.Args = json.RawMessage(*args)
	}
	if err := json.Unmarshal([]byte(tags), &j.Tags); err != nil {
		return j, fmt.Errorf("read the tags of job %s: %w", j.ID, err)
	}
	j.Timeout = jobs.Duration(time.Duration(timeoutMS) * time.Millisecond)
	if output != nil {
		j.Output = json.RawMessage(*output)
	}
	if progress != nil {
		j.Progress = &jobs.Progress{}
		if err := json.Unmarshal([]byte(*progress), j.Progress); err != nil {
			return j, fmt.Errorf("read the progress of job %s: %w", j.ID, err)
		}
	}
	return j, nil
}

// Job reads a job with the newest 500 rows of each history, oldest first. It returns
// jobs.ErrNotFound if there is none.
func (s *Store) Job(ctx context.Context, id uuid.UUID) (jobs.Detail, error) {
	return s.detail(ctx, id, bounds{jobColumns, 1 << 30, 500})
}

// ShownJob is Job for a page: of args, output and message it reads only the beginning and the size,
// whatever they weigh, and less history.
func (s *Store) ShownJob(ctx context.Context, id uuid.UUID) (jobs.Detail, error) {
	return s.detail(ctx, id, bounds{shownColumns, shownChars, 60})
}

// bounds are how much of a job is read.
type bounds struct {
	columns string
	message int // bytes of a foreign message
	history int // rows of each history; no job has 500 attempts unless something is very wrong
}

func (s *Store) detail(ctx context.Context, id uuid.UUID, b bounds) (jobs.Detail, error) {
	var d jobs.Detail
	var logs []attemptLog
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		for _, read := range []func() error{
			func() error { return readRow(ctx, tx, id, b.columns, &d) },
			func() error { return readHistory(ctx, tx, id, b.history, &d) },
			func() (err error) { d.People, err = readPeople(ctx, tx, id); return err },
			func() error { return readSurroundings(ctx, tx, &d) },
			func() error { return readRaw(ctx, tx, id, b.message, &d) },
			func() (err error) { logs, err = readLogs(ctx, tx, id); return err },
		} {
			if err := read(); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return d, fmt.Errorf("job %s: %w", id, jobs.ErrNotFound)
	}
	if err != nil {
		return d, fmt.Errorf("read job %s: %w", id, err)
	}
	d.Attempts = withCurrent(d.Job, d.Attempts)
	if err := withLogs(d.Attempts, logs); err != nil {
		return d, fmt.Errorf("read job %s: %w", id, err)
	}
	d.Deliveries = withPlain(d.Attempts, d.Deliveries)
	return d, nil
}

func readRow(ctx context.Context, tx pgx.Tx, id uuid.UUID, columns string, d *jobs.Detail) error {
	rows, err := tx.Query(ctx, `SELECT `+columns+` FROM warren.jobs WHERE id = $1`, id)
	if err != nil {
		return err
	}
	if d.Job, err = pgx.CollectExactlyOneRow(rows, scanJob); err != nil {
		return err
	}
	return tx.QueryRow(ctx, `
		SELECT octet_length(args::text), coalesce(octet_length(output::text), 0), retry_of, lease > 0 AND worker_id IS NULL
		FROM warren.jobs WHERE id = $1`, id).
		Scan(&d.ArgsSize, &d.OutputSize, &d.RetryOf, &d.Foreign)
}

// readHistory reads the newest rows of each history.
func readHistory(ctx context.Context, tx pgx.Tx, id uuid.UUID, most int, d *jobs.Detail) error {
	rows, err := tx.Query(ctx, `
		SELECT number, worker, started_at, finished_at, outcome, error, error_class, stack, dispatch, lease
		FROM warren.attempts WHERE job_id = $1 ORDER BY lease DESC LIMIT $2`, id, most)
	if err != nil {
		return err
	}
	if d.Attempts, err = pgx.CollectRows(rows, scanAttempt); err != nil {
		return err
	}
	rows, err = tx.Query(ctx, `
		SELECT dispatch, at, worker, redelivered, delivery_count, outcome, nullif(from_worker, ''), coalesce(lease, 0)
		FROM warren.deliveries WHERE job_id = $1 ORDER BY id DESC LIMIT $2`, id, most)
	if err != nil {
		return err
	}
	if d.Deliveries, err = pgx.CollectRows(rows, pgx.RowToStructByPos[jobs.DeliveryRecord]); err != nil {
		return err
	}
	rows, err = tx.Query(ctx, `SELECT dispatch, at, found FROM warren.drift WHERE job_id = $1 ORDER BY id DESC LIMIT $2`, id, most)
	if err != nil {
		return err
	}
	if d.Drift, err = pgx.CollectRows(rows, pgx.RowToStructByPos[jobs.Drift]); err != nil {
		return err
	}
	d.Earlier = max(len(d.Attempts), len(d.Deliveries), len(d.Drift)) == most
	slices.Reverse(d.Attempts)
	slices.Reverse(d.Deliveries)
	slices.Reverse(d.Drift)
	return nil
}

// readRaw reads the foreign message that the job was made of, if there is one.
func readRaw(ctx context.Context, tx pgx.Tx, id uuid.UUID, most int, d *jobs.Detail) error {
	var raw jobs.RawMessage
	err := tx.QueryRow(ctx, `
		SELECT exchange, routing_key, left(properties::text, $2), substring(body FROM 1 FOR $2), coalesce(octet_length(body), 0),
			repeats, repeated_at
		FROM warren.raw_messages WHERE job_id = $1`, id, most).
		Scan(&raw.Exchange, &raw.RoutingKey, &raw.Properties, &raw.Body, &raw.Size, &raw.Repeats, &raw.RepeatedAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	d.Raw = &raw
	return err
}

// peopleMax bounds the audit entries of one job that are read.
const peopleMax = 100

// readPeople reads what operators did to a job, oldest first. What they last did to all that matched a filter
// is read as if it had been done to the job alone.
func readPeople(ctx context.Context, tx pgx.Tx, id uuid.UUID) ([]jobs.AuditEntry, error) {
	rows, err := tx.Query(ctx, `
		SELECT id, at, actor, regexp_replace(action, '^jobs[.]', 'job.'), reason FROM warren.audit
		WHERE target IN ('job:' || $1::uuid, (SELECT 'operation:' || operation FROM warren.jobs WHERE id = $1))
		ORDER BY id DESC LIMIT $2`, id, peopleMax)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e jobs.AuditEntry, err error) {
		return e, row.Scan(&e.ID, &e.At, &e.Actor, &e.Action, &e.Reason)
	})
	slices.Reverse(list)
	return list, err
}

func scanAttempt(row pgx.CollectableRow) (a jobs.Attempt, err error) {
	err = row.Scan(&a.Number, &a.Worker, &a.StartedAt, &a.FinishedAt, &a.Outcome, &a.Error, &a.ErrorClass, &a.Stack, &a.Dispatch, &a.Lease)
	return a, err
}

// withCurrent adds the run that is recorded only on the job's row: the running one, or the one that
// completed the job.
func withCurrent(j jobs.Job, attempts []jobs.Attempt) []jobs.Attempt {
	ended := slices.ContainsFunc(attempts, func(a jobs.Attempt) bool { return a.Lease == j.Lease })
	if j.Lease == 0 || ended || j.StartedAt == nil || (j.State != jobs.Running && j.State != jobs.Completed) {
		return attempts
	}
	a := jobs.Attempt{Number: j.Attempt, StartedAt: *j.StartedAt, FinishedAt: j.FinishedAt, Dispatch: j.Dispatch, Lease: j.Lease}
	if j.Worker != nil {
		a.Worker = *j.Worker
	}
	if j.State == jobs.Completed {
		a.Outcome = jobs.AttemptCompleted
	}
	return append(attempts, a)
}

// withPlain adds the first deliveries, which are recorded only as the attempts that they started,
// and gives every delivery that started a run the outcome of that run.
func withPlain(attempts []jobs.Attempt, noted []jobs.DeliveryRecord) []jobs.DeliveryRecord {
	all := make([]jobs.DeliveryRecord, 0, len(attempts)+len(noted))
	recorded := map[int]bool{}
	outcome := map[int]string{}
	for _, a := range attempts {
		outcome[a.Lease] = a.Outcome
		if a.Outcome == "" {
			outcome[a.Lease] = string(jobs.Running)
		}
	}
	for _, d := range noted {
		if o, ok := outcome[d.Lease]; ok && d.Outcome != jobs.DeliverySame {
			recorded[d.Lease] = true
			d.Outcome = o
		}
		all = append(all, d)
	}
	for _, a := range attempts {
		if !recorded[a.Lease] {
			all = append(all, jobs.DeliveryRecord{Dispatch: a.Dispatch, At: a.StartedAt, Worker: a.Worker, Outcome: outcome[a.Lease],
				Lease: a.Lease})
		}
	}
	slices.SortStableFunc(all, func(a, b jobs.DeliveryRecord) int { return a.At.Compare(b.At) })
	return all
}
