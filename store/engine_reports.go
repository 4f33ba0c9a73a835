package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store/internal/rules"
)

// atForeign reports whether the job is, or may be, at a worker of another program. Such a worker has
// no session, so that the job has no holder.
func (row heldJob) atForeign() bool {
	return row.State == jobs.Queued || row.State == jobs.Running && row.WorkerID == nil
}

// ApplyReport implements engine.ReportStore, in one transaction. A report counts only for the current
// dispatch of a job that is queued, or that runs at a worker of another program.
func (s *Store) ApplyReport(ctx context.Context, r engine.Report) (outcome engine.ReportOutcome, err error) {
	err = s.withJob(ctx, r.Key.JobID, func(ctx context.Context, tx pgx.Tx, row heldJob, found bool) error {
		outcome, err = applyReport(ctx, tx, r, row, found)
		return err
	})
	if err != nil {
		return outcome, fmt.Errorf("write a report about job %s: %w", r.Key.JobID, err)
	}
	return outcome, nil
}

// withJob calls do with the job's row locked, in a transaction. It returns jobs.ErrHeld if the row
// stays locked for 100 ms.
func (s *Store) withJob(
	ctx context.Context, id uuid.UUID, do func(ctx context.Context, tx pgx.Tx, row heldJob, found bool) error,
) error {
	ctx, cancel := brief(ctx)
	defer cancel()
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockBriefly); err != nil {
			return err
		}
		row, found, err := lockJob(ctx, tx, id)
		if err != nil {
			return err
		}
		return do(ctx, tx, row, found)
	})
	if isCode(err, codeLockNotAvailable) {
		return jobs.ErrHeld
	}
	return err
}

func applyReport(ctx context.Context, tx pgx.Tx, r engine.Report, row heldJob, found bool) (engine.ReportOutcome, error) {
	if !found {
		deleted, err := wasDeleted(ctx, tx, r.Key.JobID)
		if deleted {
			return engine.ReportStale, err
		}
		return engine.ReportUnknown, err
	}
	switch {
	case r.Key.Dispatch > row.Dispatch:
		return engine.ReportUnknown, nil
	case r.Key.Dispatch < row.Dispatch || !row.atForeign():
		return staleReport(ctx, tx, r, row)
	}
	return engine.ReportCounted, countReport(ctx, tx, r, row)
}

// countReport starts the run if it is the first report of the dispatch, and ends it if the report
// does.
func countReport(ctx context.Context, tx pgx.Tx, r engine.Report, row heldJob) error {
	run := engine.Claim{Lease: row.Lease, Attempt: row.Attempt, MaxAttempts: row.MaxAttempts}
	var err error
	if row.State == jobs.Queued {
		run, err = startForeign(ctx, tx, r, row)
	} else if r.Type == engine.ReportStarted && row.Worker != nil && *row.Worker != r.Worker {
		err = passOn(ctx, tx, r, row)
	}
	if err != nil {
		return err
	}
	if r.Ends() {
		return endForeign(ctx, tx, r.Result(run))
	}
	return hear(ctx, tx, r)
}

// startForeign claims the job for a worker of another program, and notes how far the queue is.
func startForeign(ctx context.Context, tx pgx.Tx, r engine.Report, row heldJob) (engine.Claim, error) {
	in := engine.Delivery{JobID: r.Key.JobID, Dispatch: r.Key.Dispatch, Queue: row.Queue}
	run, err := take(ctx, tx, engine.Holder{Name: r.Worker}, in, row, jobs.DeliveryClaimed)
	if err != nil {
		return run, err
	}
	_, err = tx.Exec(ctx, reachedSQL, []uuid.UUID{r.Key.JobID}, []int{r.Key.Dispatch})
	return run, err
}

// passOn notes that the broker gave the message to another worker: the one before has died, or has
// given it back. It goes on with the same attempt.
func passOn(ctx context.Context, tx pgx.Tx, r engine.Report, row heldJob) error {
	_, err := tx.Exec(ctx, `UPDATE warren.jobs SET worker = $2, progress = NULL WHERE id = $1`, r.Key.JobID, cleanText(r.Worker))
	if err != nil {
		return err
	}
	in := engine.Delivery{JobID: r.Key.JobID, Dispatch: r.Key.Dispatch, Queue: row.Queue, Redelivered: true}
	return recordDelivery(ctx, tx, engine.Holder{Name: cleanText(r.Worker)}, in, &row.Lease, row.Worker, jobs.DeliveryTakenOver)
}

// hear notes that the worker has the job, and how far it is.
func hear(ctx context.Context, tx pgx.Tx, r engine.Report) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO warren.awaited_reports (job_id, queue, dispatch) SELECT id, queue, dispatch FROM warren.jobs WHERE id = $1
		ON CONFLICT (job_id) DO UPDATE SET queue = excluded.queue, dispatch = excluded.dispatch, heard_at = excluded.heard_at`,
		r.Key.JobID)
	if err != nil || r.Progress == nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE warren.jobs SET progress = $2::json WHERE id = $1`, r.Key.JobID, cleanText(*progressText(r.Progress)))
	return err
}

// endForeign ends a run by the rules for those of Warren's workers.
func endForeign(ctx context.Context, tx pgx.Tx, result engine.Result) error {
	tag, err := tx.Exec(ctx, completeEnd.sql, endArgs([]engine.Result{result})...)
	if err != nil {
		return err
	}
	if tag.RowsAffected() != 1 {
		return fmt.Errorf("end the run %d: its row is locked, and was not found", result.Lease)
	}
	_, err = tx.Exec(ctx, `DELETE FROM warren.awaited_reports WHERE job_id = $1`, result.JobID)
	return err
}

// staleReport records a report that does not count, once for each worker and dispatch, unless it is
// one that was counted before.
func staleReport(ctx context.Context, tx pgx.Tx, r engine.Report, row heldJob) (engine.ReportOutcome, error) {
	if repeated, err := isRepeated(ctx, tx, r, row); err != nil || repeated {
		return engine.ReportRepeated, err
	}
	in := engine.Delivery{JobID: r.Key.JobID, Dispatch: r.Key.Dispatch, Queue: row.Queue, ClaimUnknown: true}
	return engine.ReportStale, recordDelivery(ctx, tx, engine.Holder{Name: cleanText(r.Worker)}, in, nil, nil, jobs.DeliveryStaleReport)
}

// isRepeated reports whether the report was counted before: it is of the run that ended the current
// dispatch.
func isRepeated(ctx context.Context, tx pgx.Tx, r engine.Report, row heldJob) (same bool, err error) {
	own := r.Key.Dispatch == row.Dispatch && row.WorkerID == nil && row.Worker != nil && *row.Worker == cleanText(r.Worker)
	switch {
	case !own || row.State == jobs.Cancelled:
		return false, nil
	case !r.Ends():
		return true, nil
	case r.Type == engine.ReportCompleted:
		return row.State == jobs.Completed, nil
	}
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM warren.attempts WHERE job_id = $1 AND lease = $2 AND error = $3)`,
		r.Key.JobID, row.Lease, cleanText(r.Failure.Error)).Scan(&same)
	return same, err
}

// overtakenMost is how many overtaken jobs of a queue one AwaitOvertaken notes.
const overtakenMost = 1000

// AwaitOvertaken implements engine.ReportStore.
func (s *Store) AwaitOvertaken(ctx context.Context, by time.Duration) error {
	_, err := s.pool.Exec(ctx, `
		INSERT INTO warren.awaited_reports AS a (job_id, queue, dispatch)
		SELECT old.id, old.queue, old.dispatch
		FROM warren.job_queues q JOIN warren.queue_reached r ON r.queue = q.name CROSS JOIN LATERAL (
			SELECT j.id, j.queue, j.dispatch FROM warren.jobs j
			WHERE j.state `+rules.From(jobs.EngineRedispatch)+` AND j.queue = q.name AND j.queued_at < r.dispatched_at - $1::interval
				AND NOT EXISTS (SELECT FROM warren.outbox o WHERE o.job_id = j.id AND o.dispatch = j.dispatch)
				AND NOT EXISTS (SELECT FROM warren.awaited_reports b WHERE b.job_id = j.id AND b.dispatch = j.dispatch)
			ORDER BY j.queued_at LIMIT $2) old
		WHERE q.external
		ON CONFLICT (job_id) DO UPDATE SET queue = excluded.queue, dispatch = excluded.dispatch, heard_at = excluded.heard_at
		WHERE a.dispatch < excluded.dispatch`, by, overtakenMost)
	if err != nil {
		return fmt.Errorf("look for overtaken jobs of external queues: %w", err)
	}
	return nil
}

// missingReport is a dispatch of which no report came in time.
type missingReport struct {
	key    engine.DispatchKey
	within time.Duration
}

// FailUnreported implements engine.ReportStore. Each job is a transaction of its own; locked ones
// are left for the next call.
func (s *Store) FailUnreported(ctx context.Context, limit int) ([]uuid.UUID, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT a.job_id, a.dispatch, q.report_within_ms FROM warren.job_queues q CROSS JOIN LATERAL (
			SELECT job_id, dispatch FROM warren.awaited_reports
			WHERE queue = q.name AND heard_at < now() - q.report_within_ms * interval '1 ms' ORDER BY heard_at LIMIT $1) a
		WHERE q.external AND q.report_within_ms > 0 LIMIT $1`, limit)
	if err != nil {
		return nil, fmt.Errorf("look for missing reports: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (m missingReport, err error) {
		var ms int64
		err = row.Scan(&m.key.JobID, &m.key.Dispatch, &ms)
		m.within = time.Duration(ms) * time.Millisecond
		return m, err
	})
	if err != nil {
		return nil, fmt.Errorf("look for missing reports: %w", err)
	}
	var failed []uuid.UUID
	for _, m := range list {
		ended, err := s.failUnreported(ctx, m)
		if err != nil {
			return failed, fmt.Errorf("end an attempt without a report: %w", err)
		}
		if ended {
			failed = append(failed, m.key.JobID)
		}
	}
	return failed, nil
}

// failUnreported ends the attempt unless a report has come meanwhile, or the job has moved on.
func (s *Store) failUnreported(ctx context.Context, m missingReport) (ended bool, err error) {
	err = s.withJob(ctx, m.key.JobID, func(ctx context.Context, tx pgx.Tx, row heldJob, found bool) error {
		tag, err := tx.Exec(ctx, `
			DELETE FROM warren.awaited_reports WHERE job_id = $1 AND dispatch = $2 AND heard_at < now() - $3::interval`,
			m.key.JobID, m.key.Dispatch, m.within)
		if err != nil || tag.RowsAffected() == 0 || !found || row.Dispatch != m.key.Dispatch || !row.atForeign() {
			return err
		}
		ended = true
		return countReport(ctx, tx, engine.NoReport(m.key, row.workerName(), m.within), row)
	})
	if err == jobs.ErrHeld { //nolint:errorlint // withJob returns it unwrapped
		return false, nil
	}
	return ended && err == nil, err
}

// workerName returns the name of the worker that runs the job, "" if it is queued.
func (row heldJob) workerName() string {
	if row.State != jobs.Running || row.Worker == nil {
		return ""
	}
	return *row.Worker
}

// FailRejected implements engine.SchedulerStore: the message of a job at a worker of another program
// became a dead letter.
func (s *Store) FailRejected(ctx context.Context, id uuid.UUID, dispatch int) (failed bool, err error) {
	err = s.withJob(ctx, id, func(ctx context.Context, tx pgx.Tx, row heldJob, found bool) error {
		if !found || row.Dispatch != dispatch || !row.atForeign() {
			return nil
		}
		if row.State == jobs.Queued {
			external, err := isExternal(ctx, tx, row.Queue)
			if err != nil || !external {
				return err
			}
		}
		failed = true
		return countReport(ctx, tx, engine.Rejected(engine.DispatchKey{JobID: id, Dispatch: dispatch}, row.workerName()), row)
	})
	if err != nil {
		return false, fmt.Errorf("end the attempt of a rejected message: %w", err)
	}
	return failed, nil
}
