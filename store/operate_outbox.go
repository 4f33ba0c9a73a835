package store

import (
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

var outboxWhere = map[engine.OutboxFilter]string{
	engine.OutboxAll: "true", engine.OutboxFailing: "tries > 0", engine.OutboxJobs: "job_id IS NOT NULL",
	engine.OutboxEvents: "job_id IS NULL",
}

const outboxColumns = `id, job_id, dispatch, type, exchange, routing_key, required, created_at,
	CASE WHEN tries > 0 THEN greatest(not_before, created_at) END, tries, last_error`

// OutboxRows reads a page of the outbox, oldest first, at most limit rows.
func (s *Store) OutboxRows(
	ctx context.Context, f engine.OutboxFilter, c jobs.Cursor, limit int,
) (jobs.Page[engine.OutboxRow], error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return outboxRows(ctx, s.pool, f, c, limit)
}

func outboxRows(
	ctx context.Context, db reader, f engine.OutboxFilter, c jobs.Cursor, limit int,
) (page jobs.Page[engine.OutboxRow], err error) {
	id, _, err := keyOf[int64](c) // 0, as on the first page, is before all ids
	if err != nil {
		return page, err
	}
	comparison, direction := seek(c, false)
	rows, err := db.Query(ctx, `SELECT `+outboxColumns+` FROM warren.outbox WHERE `+outboxWhere[f]+
		` AND id `+comparison+` $1 ORDER BY id `+direction+` LIMIT $2`, id, limit+1)
	if err != nil {
		return page, fmt.Errorf("list the outbox: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[engine.OutboxRow])
	if err != nil {
		return page, fmt.Errorf("list the outbox: %w", err)
	}
	return pageOf(list, c, limit, func(r engine.OutboxRow) any { return r.ID }), nil
}

// OutboxView is the outbox at one moment: what waits, what fails, and a page of the rows.
type OutboxView struct {
	OutboxStats
	Failures []engine.OutboxErrorGroup
	Page     jobs.Page[engine.OutboxRow]
}

// OutboxView reads the outbox in one snapshot: rows come and go within milliseconds, and its figures must agree with
// its rows.
func (s *Store) OutboxView(ctx context.Context, f engine.OutboxFilter, c jobs.Cursor, limit int) (v OutboxView, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	from, err := s.outboxFrom(ctx, 0)
	if err != nil {
		return v, fmt.Errorf("read the outbox: %w", err)
	}
	err = pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) (err error) {
		if v.OutboxStats, err = outboxStats(ctx, tx, from); err != nil {
			return err
		}
		if v.Failures, err = outboxErrorGroups(ctx, tx); err != nil {
			return err
		}
		v.Page, err = outboxRows(ctx, tx, f, c, limit)
		return err
	})
	if err != nil {
		return OutboxView{}, fmt.Errorf("read the outbox: %w", err)
	}
	return v, nil
}

// FailingOutbox counts the failing rows, up to jobs.CountCap + 1.
func (s *Store) FailingOutbox(ctx context.Context) (n jobs.Count, err error) {
	err = s.pool.QueryRow(ctx, `SELECT count(*) FROM (SELECT FROM warren.outbox WHERE tries > 0 LIMIT $1) x`, jobs.CountCap+1).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count the failing outbox rows: %w", err)
	}
	return n, nil
}

// RetryOutbox makes a row due at once, keeps its tries, and wakes a relay. Errors: jobs.ErrNotFound
// (it was sent, or discarded), engine.ErrSending.
func (s *Store) RetryOutbox(ctx context.Context, id int64, by jobs.Actor) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		row, err := lockOutbox(ctx, tx, id)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE warren.outbox SET not_before = clock_timestamp() WHERE id = $1`, id); err != nil {
			return err
		}
		if err := audit(ctx, tx, by, "outbox.retry", outboxTarget(row), outboxDetails(row)); err != nil {
			return err
		}
		return wakeRelay(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("retry outbox row %d: %w", id, err)
	}
	return nil
}

// retryAtOnce bounds the rows of one RetryFailingOutbox.
const retryAtOnce = 10_000

// RetryFailingOutbox makes the oldest 10,000 failing rows that no relay has locked due at once, and
// returns their number.
func (s *Store) RetryFailingOutbox(ctx context.Context, by jobs.Actor) (n int, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			UPDATE warren.outbox SET not_before = clock_timestamp() WHERE id IN (
				SELECT id FROM warren.outbox WHERE tries > 0 AND not_before > clock_timestamp() ORDER BY id
					LIMIT $1 FOR UPDATE SKIP LOCKED)`, retryAtOnce)
		if err != nil {
			return err
		}
		if n = int(tag.RowsAffected()); n == 0 {
			return nil
		}
		if err := audit(ctx, tx, by, "outbox.retry", "outbox:failing", map[string]any{"rows": n}); err != nil {
			return err
		}
		return wakeRelay(ctx, tx)
	})
	if err != nil {
		return 0, fmt.Errorf("retry the failing outbox rows: %w", err)
	}
	return n, nil
}

// DiscardOutbox drops a message that was not sent. A job that waits only for this message is
// cancelled with the reason given, its attempts unchanged, because it would be dispatched again if
// it stayed queued; cancelled is that job, or uuid.Nil. Errors as for RetryOutbox, and
// jobs.FieldErrors without a reason.
func (s *Store) DiscardOutbox(ctx context.Context, id int64, by jobs.Actor) (cancelled uuid.UUID, err error) {
	if by.Reason == "" {
		return cancelled, jobs.FieldErrors{{Field: "reason", Message: "is required: the message is dropped for good"}}
	}
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		// The job first: every dispatch locks the job before its outbox rows.
		var job heldJob
		var jobID *uuid.UUID
		err := tx.QueryRow(ctx, `SELECT job_id FROM warren.outbox WHERE id = $1`, id).Scan(&jobID)
		if errors.Is(err, pgx.ErrNoRows) {
			return jobs.ErrNotFound
		}
		if err == nil && jobID != nil {
			job, _, err = lockJob(ctx, tx, *jobID)
		}
		if err != nil {
			return err
		}
		row, err := lockOutbox(ctx, tx, id)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM warren.outbox WHERE id = $1`, id); err != nil {
			return err
		}
		details := outboxDetails(row)
		if row.JobID != nil && job.State == jobs.Queued && job.Dispatch == *row.Dispatch {
			cancelled, details["state"] = *row.JobID, job.State
			if err := endJob(ctx, tx, cancelled, jobs.Cancelled, cleanText("its message was discarded from the outbox: "+
				by.Reason)); err != nil {
				return err
			}
		}
		return audit(ctx, tx, by, "outbox.discard", outboxTarget(row), details)
	})
	if err != nil {
		return uuid.Nil, fmt.Errorf("discard outbox row %d: %w", id, err)
	}
	return cancelled, nil
}

// lockOutbox locks a row. It returns engine.ErrSending if a relay has locked it, jobs.ErrNotFound
// if there is none.
func lockOutbox(ctx context.Context, tx pgx.Tx, id int64) (row engine.OutboxRow, err error) {
	rows, err := tx.Query(ctx, `SELECT `+outboxColumns+` FROM warren.outbox WHERE id = $1 FOR UPDATE SKIP LOCKED`, id)
	if err != nil {
		return row, err
	}
	row, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[engine.OutboxRow])
	if !errors.Is(err, pgx.ErrNoRows) {
		return row, err
	}
	var there bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM warren.outbox WHERE id = $1)`, id).Scan(&there); err != nil {
		return row, err
	}
	if there {
		return row, engine.ErrSending
	}
	return row, jobs.ErrNotFound
}

// UnconfirmedQueues lists the job queues with messages that were sent and that the broker has not
// confirmed, among the oldest 1000 such rows.
func (s *Store) UnconfirmedQueues(ctx context.Context) ([]string, error) {
	return s.failingQueues(ctx, engine.OutboxUnconfirmed)
}

// RefusingQueues lists the job queues that refused messages which are still in the outbox, among the
// oldest 1000 such rows.
func (s *Store) RefusingQueues(ctx context.Context) ([]string, error) {
	return s.failingQueues(ctx, engine.OutboxRefused)
}

func (s *Store) failingQueues(ctx context.Context, reason string) ([]string, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT DISTINCT routing_key FROM (
			SELECT routing_key FROM warren.outbox WHERE job_id IS NOT NULL AND tries > 0 AND starts_with(last_error, $1) ORDER BY id
				LIMIT 1000
		) oldest`, reason)
	if err != nil {
		return nil, fmt.Errorf("list the queues with failing messages: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

func outboxTarget(r engine.OutboxRow) string {
	if r.JobID != nil {
		return "job:" + r.JobID.String()
	}
	return fmt.Sprintf("outbox:%d", r.ID)
}

func outboxDetails(r engine.OutboxRow) map[string]any {
	d := map[string]any{"outbox": r.ID, "type": r.Type, "key": r.Key, "tries": r.Tries}
	if r.Exchange != nil {
		d["exchange"] = *r.Exchange
	}
	return d
}

func wakeRelay(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `SELECT pg_notify($1, '')`, rules.WakeChannel)
	return err
}

// outboxErrorGroups groups the oldest thousand failing rows by destination and error, and returns at
// most five groups, the largest first.
func outboxErrorGroups(ctx context.Context, db reader) ([]engine.OutboxErrorGroup, error) {
	rows, err := db.Query(ctx, `
		SELECT job_id IS NOT NULL, coalesce(exchange, ''), routing_key, coalesce(last_error, ''), count(*), min(created_at)
		FROM (SELECT * FROM warren.outbox WHERE tries > 0 ORDER BY id LIMIT 1000) f
		GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC, 6 LIMIT 5`)
	if err != nil {
		return nil, fmt.Errorf("group the failing outbox rows: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[engine.OutboxErrorGroup])
	if err != nil {
		return nil, fmt.Errorf("group the failing outbox rows: %w", err)
	}
	return list, nil
}

// OpenTransactions lists the oldest five of this database's transactions that are older than age,
// as far as the account may see them. Messages that they enqueued are not sent before they commit,
// and vacuum cannot remove the rows of messages that were sent since.
func (s *Store) OpenTransactions(ctx context.Context, age time.Duration) ([]engine.OpenTransaction, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT pid, coalesce(usename, ''), coalesce(application_name, ''), coalesce(state, ''), xact_start, backend_xid IS NOT NULL
		FROM pg_stat_activity
		WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
			AND xact_start < clock_timestamp() - $1::interval AND (backend_xid IS NOT NULL OR backend_xmin IS NOT NULL)
		ORDER BY xact_start LIMIT 5`, age)
	if err != nil {
		return nil, fmt.Errorf("look for long transactions: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[engine.OpenTransaction])
	if err != nil {
		return nil, fmt.Errorf("look for long transactions: %w", err)
	}
	return list, nil
}
