package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store/internal/rules"
)

// claimSQL claims the queued jobs of a batch in one statement and records the redeliveries among
// them.
//   - Rows that another transaction has locked are skipped: one locked row must not hold up the
//     others (seen: 7 s for a batch of 100).
//   - Rows are found by id alone, hence the state in a form that no index has: the partial indexes
//     of queued and running jobs look small to the planner and are full of dead row versions (seen:
//     three times the work).
//   - The session's expiry is checked by the database: a machine that was suspended does not know
//     that its session has expired.
var claimSQL = `
WITH d AS (
	SELECT * FROM unnest($1::uuid[], $2::int[], $3::timestamptz[], $4::bool[], $5::int[])
		AS d(id, dispatch, sent_at, redelivered, delivery_count)
), free AS (
	SELECT id FROM warren.jobs WHERE id = ANY($1) AND state || '' ` + rules.From(jobs.EngineClaim) + `
		AND EXISTS (SELECT FROM warren.sessions WHERE id = $6 AND expires_at > clock_timestamp())
	ORDER BY id FOR UPDATE SKIP LOCKED
), claimed AS (
	UPDATE warren.jobs j SET state = 'running', lease = lease + 1, attempt = attempt + 1, worker_id = $6, worker = $7,
		sent_at = d.sent_at, started_at = clock_timestamp(), finished_at = NULL, progress = NULL
	FROM d JOIN free USING (id)
	WHERE j.id = d.id AND j.state || '' ` + rules.From(jobs.EngineClaim) + ` AND j.dispatch = d.dispatch
	RETURNING j.id, j.lease, j.attempt, j.max_attempts, j.timeout_ms, j.queue, j.dispatch, j.kind,
		j.args::text, j.checked, d.redelivered, d.delivery_count
), noted AS (
	INSERT INTO warren.deliveries (job_id, dispatch, lease, queue, worker, redelivered, delivery_count, outcome)
	SELECT id, dispatch, lease, queue, $7, true, delivery_count, 'claimed' FROM claimed WHERE redelivered
)
SELECT id, dispatch, lease, attempt, max_attempts, timeout_ms, kind, args, coalesce(checked, 0) FROM claimed`

// Claim claims the deliveries whose jobs are queued with exactly that dispatch; in must hold each
// dispatch at most once. A delivery that is missing in the result is for ClaimOne.
func (s *Store) Claim(ctx context.Context, holder engine.Holder, in []engine.Delivery) (map[engine.DispatchKey]engine.Claim, error) {
	ctx, cancel := brief(ctx)
	defer cancel()
	n := len(in)
	ids, dispatches, sent := make(uuids, n), make([]int, n), make([]*time.Time, n)
	redelivered, counts := make([]bool, n), make([]int, n)
	for i, d := range in {
		ids[i], dispatches[i], sent[i] = d.JobID, d.Dispatch, timeOrNil(d.SentAt)
		redelivered[i], counts[i] = d.Redelivered, d.DeliveryCount
	}
	claims := make(map[engine.DispatchKey]engine.Claim, n)
	var key engine.DispatchKey
	var c engine.Claim
	var timeoutMS int64
	err := s.byIndex(ctx, func(rows pgx.Rows) error {
		into := []any{&key.JobID, &key.Dispatch, &c.Lease, &c.Attempt, &c.MaxAttempts, &timeoutMS, &c.Kind, &c.Args, &c.Checked}
		_, err := pgx.ForEachRow(rows, into, func() error {
			c.Timeout = time.Duration(timeoutMS) * time.Millisecond
			claims[key] = c
			c.Args = nil
			return nil
		})
		return err
	}, claimSQL, ids, dispatches, sent, redelivered, counts, holder.Session, holder.Name)
	if err != nil {
		return nil, fmt.Errorf("claim %d jobs: %w", n, err)
	}
	return claims, nil
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// heldJob is the locked row of a delivered job.
type heldJob struct {
	State       jobs.State
	Dispatch    int
	Lease       int
	Attempt     int
	MaxAttempts int
	Crashes     int
	TimeoutMS   int64
	Queue       string
	Kind        string
	Args        []byte
	Checked     int64
	WorkerID    *uuid.UUID
	Worker      *string
	StartedAt   *time.Time
	SentAt      *time.Time
	Cancel      bool
}

// ClaimOne decides about one delivery with the job's row locked, and acts on it: it claims, takes
// over, or only records. If the row stays locked for 100 ms, the decision is DecisionWait. The
// error is jobs.ErrLost if holder's session has expired.
func (s *Store) ClaimOne(ctx context.Context, holder engine.Holder, d engine.Delivery) (engine.Claim, error) {
	ctx, cancel := brief(ctx)
	defer cancel()
	var claim engine.Claim
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		var err error
		claim, err = claimOne(ctx, tx, holder, d)
		return err
	})
	if isCode(err, codeLockNotAvailable) {
		return engine.Claim{Decision: engine.DecisionWait}, nil
	}
	if err != nil {
		return claim, fmt.Errorf("claim job %s: %w", d.JobID, err)
	}
	return claim, nil
}

func claimOne(ctx context.Context, tx pgx.Tx, holder engine.Holder, d engine.Delivery) (engine.Claim, error) {
	if _, err := tx.Exec(ctx, lockBriefly); err != nil {
		return engine.Claim{}, err
	}
	if lives, err := sessionLives(ctx, tx, holder.Session); err != nil || !lives {
		return engine.Claim{}, cmp.Or(err, jobs.ErrLost)
	}
	row, found, err := lockJob(ctx, tx, d.JobID)
	if err != nil {
		return engine.Claim{}, err
	}
	p := engine.Position{Found: found, State: row.State, Dispatch: row.Dispatch}
	if found && row.State == jobs.Running {
		if p.HolderGone, err = holderGone(ctx, tx, row, d); err != nil {
			return engine.Claim{}, err
		}
	}
	if !found {
		if deleted, err := wasDeleted(ctx, tx, d.JobID); err != nil || deleted {
			return engine.Claim{Decision: engine.DecisionStale}, err
		}
	}
	if found && row.State == jobs.Running && row.Dispatch == d.Dispatch && row.WorkerID != nil && *row.WorkerID == holder.Session {
		return reclaim(ctx, tx, holder, d, row)
	}
	switch v := engine.Decide(p, d.Dispatch); v {
	case engine.DecisionClaim:
		return take(ctx, tx, holder, d, row, jobs.DeliveryClaimed)
	case engine.DecisionTakeOver:
		return takeOver(ctx, tx, holder, d, row)
	case engine.DecisionStale:
		return engine.Claim{Decision: v}, recordDelivery(ctx, tx, holder, d, nil, row.Worker, jobs.DeliveryStale)
	default:
		return engine.Claim{Decision: v}, nil
	}
}

// lockBriefly bounds how long a transaction waits for a row that another one has locked.
const lockBriefly = `SET LOCAL lock_timeout = '100ms'`

func lockJob(ctx context.Context, tx pgx.Tx, id uuid.UUID) (row heldJob, found bool, err error) {
	err = tx.QueryRow(ctx, `
		SELECT state, dispatch, lease, attempt, max_attempts, crashes, timeout_ms, queue, kind, args::text, coalesce(checked, 0),
			worker_id, worker, started_at, sent_at, cancel_requested_at IS NOT NULL
		FROM warren.jobs WHERE id = $1 FOR UPDATE`, id,
	).Scan(&row.State, &row.Dispatch, &row.Lease, &row.Attempt, &row.MaxAttempts, &row.Crashes, &row.TimeoutMS, &row.Queue, &row.Kind,
		&row.Args, &row.Checked, &row.WorkerID, &row.Worker, &row.StartedAt, &row.SentAt, &row.Cancel)
	if errors.Is(err, pgx.ErrNoRows) {
		return row, false, nil
	}
	return row, err == nil, err
}

// holderGone reports whether the holder of a running job is gone:
//   - its session has been removed,
//   - it is a worker of another program, which has no session, and the broker redelivered its message, or
//   - the broker redelivered its message (a restart of PostgreSQL frees every lock while workers
//     live), its advisory lock is free, and it has stopped renewing (a network failure ends the
//     lock's connection and the broker's together, but a live worker has renewed recently).
//
// An expired session alone is left to the scheduler.
func holderGone(ctx context.Context, tx pgx.Tx, row heldJob, d engine.Delivery) (bool, error) {
	if row.WorkerID == nil {
		return d.Redelivered, nil
	}
	var key int64
	var silent bool
	err := tx.QueryRow(ctx, `SELECT lock_key, renewed_at < clock_timestamp() - $2::interval FROM warren.sessions WHERE id = $1`,
		*row.WorkerID, engine.SessionSilent).Scan(&key, &silent)
	if errors.Is(err, pgx.ErrNoRows) {
		return true, nil
	}
	if err != nil || !silent {
		return false, err
	}
	if taken, err := takenFromHolder(ctx, tx, row, d); err != nil || !taken {
		return false, err
	}
	var free bool
	err = tx.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock($1, $2::int)`, sessionLockSpace, key).Scan(&free)
	return free, err
}

// takenFromHolder reports whether the broker took the message from the holder and gave it to this
// worker. It rules out two other deliveries:
//   - one of the dispatch's other message, if a relay died between confirm and delete and the
//     dispatch was sent twice; the two differ in the time of sending, and
//   - an earlier delivery of the holder's message, to a worker that has since lost it and claims
//     late; in a quorum queue the later delivery has the higher count.
func takenFromHolder(ctx context.Context, tx pgx.Tx, row heldJob, d engine.Delivery) (bool, error) {
	if !d.Redelivered || row.SentAt == nil || !row.SentAt.Equal(d.SentAt) {
		return false, nil
	}
	var count int
	err := tx.QueryRow(ctx, `SELECT coalesce(max(delivery_count), 0) FROM warren.deliveries WHERE job_id = $1 AND lease = $2`,
		d.JobID, row.Lease).Scan(&count)
	return d.DeliveryCount > count, err
}

func sessionLives(ctx context.Context, tx pgx.Tx, id uuid.UUID) (lives bool, err error) {
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM warren.sessions WHERE id = $1 AND expires_at > clock_timestamp())`, id).Scan(&lives)
	return lives, err
}

func wasDeleted(ctx context.Context, tx pgx.Tx, id uuid.UUID) (deleted bool, err error) {
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM warren.deleted_jobs WHERE id = $1)`, id).Scan(&deleted)
	return deleted, err
}

// reclaim returns again a claim that was committed but whose answer never arrived: the caller is
// not running this dispatch. No run of it has started, so lease and attempt stay. A redelivery is
// recorded, unless it is the one that was claimed.
func reclaim(ctx context.Context, tx pgx.Tx, holder engine.Holder, d engine.Delivery, row heldJob) (engine.Claim, error) {
	c := engine.Claim{Lease: row.Lease, Attempt: row.Attempt, MaxAttempts: row.MaxAttempts, Kind: row.Kind, Args: row.Args,
		Checked: row.Checked, Timeout: time.Duration(row.TimeoutMS) * time.Millisecond}
	_, err := tx.Exec(ctx, `UPDATE warren.jobs SET started_at = clock_timestamp(), sent_at = $2
		WHERE id = $1`, d.JobID, timeOrNil(d.SentAt))
	if err != nil || !d.Redelivered {
		return c, err
	}
	d.ClaimUnknown = true
	return c, recordDelivery(ctx, tx, holder, d, &row.Lease, row.Worker, jobs.DeliverySame)
}

// take gives the job to holder, which has no session if it is a worker of another program: lease and
// attempt rise.
func take(ctx context.Context, tx pgx.Tx, holder engine.Holder, d engine.Delivery, row heldJob, outcome string) (engine.Claim, error) {
	c := engine.Claim{Lease: row.Lease + 1, Attempt: row.Attempt + 1, Kind: row.Kind, Args: row.Args, Checked: row.Checked,
		Timeout: time.Duration(row.TimeoutMS) * time.Millisecond}
	if outcome == jobs.DeliveryTakenOver {
		c.Decision = engine.DecisionTakeOver
	}
	err := tx.QueryRow(ctx, `
		UPDATE warren.jobs SET state = 'running', lease = lease + 1, attempt = attempt + 1, worker_id = $2, worker = $3,
			sent_at = $4, started_at = clock_timestamp(), finished_at = NULL, progress = NULL
		WHERE id = $1 RETURNING max_attempts`, d.JobID, uuid.NullUUID{UUID: holder.Session, Valid: holder.Session != uuid.Nil},
		cleanText(holder.Name), timeOrNil(d.SentAt)).Scan(&c.MaxAttempts)
	if err != nil {
		return c, err
	}
	if !d.Redelivered && outcome == jobs.DeliveryClaimed {
		return c, nil
	}
	return c, recordDelivery(ctx, tx, holder, d, &c.Lease, row.Worker, outcome)
}

// takeOver ends the run of a holder that is gone, and starts another unless the job has killed too
// many workers or its cancellation was requested.
func takeOver(ctx context.Context, tx pgx.Tx, holder engine.Holder, d engine.Delivery, row heldJob) (engine.Claim, error) {
	if err := recordCrash(ctx, tx, d.JobID, row); err != nil {
		return engine.Claim{}, err
	}
	if end, why := endAfterCrash(row); end != "" {
		if err := endJob(ctx, tx, d.JobID, end, why); err != nil {
			return engine.Claim{}, err
		}
		return engine.Claim{Decision: engine.DecisionEnded}, recordDelivery(ctx, tx, holder, d, nil, row.Worker, string(end))
	}
	return take(ctx, tx, holder, d, row, jobs.DeliveryTakenOver)
}

// endAfterCrash returns the state in which the job ends, and why, or "" if it runs again.
func endAfterCrash(row heldJob) (jobs.State, string) {
	switch {
	case row.Cancel:
		return jobs.Cancelled, "cancelled while its worker was gone"
	case row.Crashes+1 >= engine.CrashesMax:
		return jobs.Dead, fmt.Sprintf("worker died %d times running this job; it won't be retried automatically", row.Crashes+1)
	}
	return "", ""
}

// recordCrash writes the attempt that ended with its worker. The handler did not fail, so the job
// gets one more attempt.
func recordCrash(ctx context.Context, tx pgx.Tx, id uuid.UUID, row heldJob) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO warren.attempts (job_id, lease, number, dispatch, worker, started_at, finished_at, outcome, error, error_class)
		VALUES ($1, $2, $3, $4, coalesce($5, ''), coalesce($6, clock_timestamp()), clock_timestamp(), 'crashed', $7, 'crash')
		ON CONFLICT DO NOTHING`,
		id, row.Lease, row.Attempt, row.Dispatch, row.Worker, row.StartedAt, "the worker was lost before it finished")
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE warren.jobs SET crashes = crashes + 1, max_attempts = max_attempts + 1 WHERE id = $1`, id)
	return err
}

func endJob(ctx context.Context, tx pgx.Tx, id uuid.UUID, state jobs.State, why string) error {
	_, err := tx.Exec(ctx, `UPDATE warren.jobs SET state = $2, finished_at = clock_timestamp(), last_error = $3
		WHERE id = $1`, id, state, why)
	return err
}

// recordDelivery records a delivery other than a plain first one: once, even if the answer to the
// first call was lost.
func recordDelivery(
	ctx context.Context, tx pgx.Tx, holder engine.Holder, d engine.Delivery, lease *int, from *string, outcome string,
) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO warren.deliveries (job_id, dispatch, lease, queue, worker, from_worker, redelivered, delivery_count, outcome)
		SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9
		WHERE NOT ($10 AND EXISTS (
			SELECT FROM warren.deliveries WHERE job_id = $1 AND dispatch = $2 AND worker = $5 AND redelivered = $7
				AND delivery_count = $8))`,
		d.JobID, d.Dispatch, lease, d.Queue, holder.Name, from, d.Redelivered, d.DeliveryCount, outcome, d.ClaimUnknown)
	return err
}

// RecordSameRun records a redelivery of a job that this very process runs.
func (s *Store) RecordSameRun(ctx context.Context, holder engine.Holder, d engine.Delivery, lease int) error {
	ctx, cancel := brief(ctx)
	defer cancel()
	return s.inTx(ctx, func(tx pgx.Tx) error {
		return recordDelivery(ctx, tx, holder, d, &lease, &holder.Name, jobs.DeliverySame)
	})
}
