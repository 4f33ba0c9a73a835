package store

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
)

// Bounds of an action on all jobs of a selection: jobs per transaction, and jobs per call.
const (
	bulkBatch = 500
	bulkMost  = 10_000
)

// OperateAll carries out an operator's action on the jobs that match the filter and are in a state that
// allows it, at most 10,000 per call. It leaves out jobs that came later than until: with a state in the
// filter those that have entered it since, else open jobs that were submitted and others that have ended
// since; a zero until is now. It skips a job whose unique key is taken. It works in small transactions, so that an
// interrupted call keeps what it has done, and writes one audit row for all. The jobs have the result's Operation
// until they are retried once more.
func (s *Store) OperateAll(
	ctx context.Context, action jobs.Action, f jobs.Filter, until time.Time, by jobs.Actor,
) (jobs.BulkResult, error) {
	if until.IsZero() {
		var err error
		if until, err = s.Now(ctx); err != nil {
			return jobs.BulkResult{}, err
		}
	}
	operation := uuid.New()
	run := bulkRun{action: action, by: by, operation: operation, name: "jobs." + string(action), target: "operation:" + operation.String(),
		about: map[string]any{"filter": f.Words(), "until": until}}
	var parts []selection
	for _, state := range bulkStates(action, f.State) {
		parts = append(parts, s.matching(ctx, action, f, state, until))
	}
	return s.operateOn(ctx, run, parts)
}

// Now returns the time by the database's clock, by which jobs are queued, started and ended.
func (s *Store) Now(ctx context.Context) (now time.Time, err error) {
	if err = s.pool.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&now); err != nil {
		return now, fmt.Errorf("read the database's clock: %w", err)
	}
	return now, nil
}

// bulkStates returns the states in which an action looks for jobs, in this order. Open jobs go on while
// others are cancelled: those that have moved to a state that was looked through are found in it the second time.
func bulkStates(action jobs.Action, only jobs.State) (list []jobs.State) {
	list = action.ForMany(only)
	if only == "" && action == jobs.ActionCancel {
		list = append(list, list...)
	}
	return list
}

// selection is some of the jobs that an action is for, all in states that allow it.
type selection struct {
	where  string // SELECT id, finished_at FROM warren.jobs WHERE …
	args   []any
	byTime bool // read in the order of finished_at, as its index has them; else by id
}

// matching selects the jobs in a state that match the other fields of the filter and had come by until.
func (s *Store) matching(ctx context.Context, action jobs.Action, f jobs.Filter, state jobs.State, until time.Time) selection {
	came, wasState := cameSQL[state], f.State != ""
	if !wasState && !state.Ended() {
		came = `created_at <= ?`
	}
	f.State = ""
	q := s.filtered(ctx, f).Where("state = '"+string(state)+"'").Where(came, until) // a partial index is used only for a constant
	if action == jobs.ActionCancel {
		q = q.Where("cancel_requested_at IS NULL")
	}
	return selectionOf(q)
}

// cameSQL says for each state that a job has been in it since a time. A job that waits for its time
// has come with its last run, or else with its submission.
var cameSQL = map[jobs.State]string{
	jobs.Scheduled: waitsSince, jobs.Retrying: waitsSince,
	jobs.Queued: `queued_at <= ?`, jobs.Running: `started_at <= ?`,
	jobs.Completed: `finished_at <= ?`, jobs.Dead: `finished_at <= ?`, jobs.Cancelled: `finished_at <= ?`,
}

const waitsSince = `greatest(created_at, (SELECT max(a.finished_at) FROM warren.attempts a WHERE a.job_id = jobs.id)) <= ?`

// selectionOf takes the statement that gorm would send, for a transaction of pgx.
func selectionOf(q *gorm.DB) selection {
	statement := q.Session(&gorm.Session{DryRun: true}).Select("id, finished_at").Find(&[]map[string]any{}).Statement
	return selection{where: statement.SQL.String(), args: statement.Vars}
}

// next returns the statement of the next jobs after a place.
func (sel selection) next(after timeKey) (sql string, args []any) {
	if sel.byTime {
		return sel.and("(finished_at, id) > ($%d, $%d) ORDER BY finished_at, id LIMIT $%d", after.At, after.ID, bulkBatch)
	}
	return sel.and("id > $%d ORDER BY id LIMIT $%d", after.ID, bulkBatch)
}

// lock returns the statement that locks those of the jobs that still are in the selection.
func (sel selection) lock(ids []uuid.UUID, waiting string) (sql string, args []any) {
	return sel.and("id = ANY($%d) ORDER BY id FOR UPDATE "+waiting, ids)
}

// and appends to the statement; the verbs of its text number the values.
func (sel selection) and(text string, values ...any) (sql string, args []any) {
	numbers := make([]any, len(values))
	for i := range values {
		numbers[i] = len(sel.args) + i + 1
	}
	return sel.where + " AND " + fmt.Sprintf(text, numbers...), append(sel.args[:len(sel.args):len(sel.args)], values...)
}

// bulkRun is one action on many jobs, with its progress. A transaction works on a copy, which is kept
// once it is committed.
type bulkRun struct {
	action       jobs.Action
	by           jobs.Actor
	name, target string         // of its audit row
	about        map[string]any // what the audit row says besides the totals
	operation    uuid.UUID
	after        timeKey     // the last job of the selection that was read
	busy         []uuid.UUID // jobs of the selection that other transactions have locked
	audited      int64       // id of its audit row
	total        jobs.BulkResult
}

// operateOn carries out the action on the selections one by one.
func (s *Store) operateOn(ctx context.Context, run bulkRun, parts []selection) (jobs.BulkResult, error) {
	if run.action != jobs.ActionDelete {
		run.total.Operation = &run.operation
	}
	for _, sel := range parts {
		err := s.operateOnOne(ctx, &run, sel)
		switch {
		case err != nil && ctx.Err() != nil && run.total.Done > 0:
			run.total.Left = true
		case err != nil:
			return run.total, fmt.Errorf("%s of %s, after %d jobs: %w", run.name, run.target, run.total.Done, err)
		}
		if run.total.Left {
			break
		}
	}
	return run.total, nil
}

// isOver reports whether the call has done as much as it may, or has no time for more.
func (r *bulkRun) isOver(ctx context.Context) bool {
	end, bounded := ctx.Deadline()
	return r.total.Left || r.total.Done+r.total.Skipped >= bulkMost || bounded && time.Until(end) < time.Second
}

func (s *Store) operateOnOne(ctx context.Context, run *bulkRun, sel selection) error {
	run.after, run.busy = timeKey{}, nil
	for {
		if run.isOver(ctx) {
			run.total.Left = true
			return nil
		}
		var read int
		err := s.bulkStep(ctx, run, func(next *bulkRun, tx pgx.Tx) (err error) {
			read, err = next.batch(ctx, tx, sel)
			return err
		})
		if err != nil {
			return err
		}
		if read < bulkBatch {
			return s.operateOnBusy(ctx, run, sel)
		}
	}
}

// operateOnBusy waits for the jobs that were locked, one after the other, and no longer than for the first
// that stays so.
func (s *Store) operateOnBusy(ctx context.Context, run *bulkRun, sel selection) error {
	for i := range run.busy {
		if run.isOver(ctx) {
			run.total.Left = true
			return nil
		}
		err := s.bulkStep(ctx, run, func(next *bulkRun, tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, lockBriefly); err != nil {
				return err
			}
			locked, err := lockSelected(ctx, tx, sel, run.busy[i:i+1], "")
			if err != nil {
				return err
			}
			return next.apply(ctx, tx, locked)
		})
		switch {
		case isCode(err, codeLockNotAvailable):
			run.total.Left = true
			return nil
		case err != nil:
			return err
		}
	}
	return nil
}

func (s *Store) bulkStep(ctx context.Context, run *bulkRun, do func(next *bulkRun, tx pgx.Tx) error) error {
	var next bulkRun
	err := s.inTxAgain(ctx, func(tx pgx.Tx) error {
		next = *run
		return do(&next, tx)
	})
	if err == nil {
		*run = next
	}
	return err
}

// batch processes the next jobs of the selection, and returns how many it has read.
func (r *bulkRun) batch(ctx context.Context, tx pgx.Tx, sel selection) (read int, err error) {
	sql, args := sel.next(r.after)
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return 0, err
	}
	var ids []uuid.UUID
	var at *time.Time
	_, err = pgx.ForEachRow(rows, []any{&r.after.ID, &at}, func() error {
		ids = append(ids, r.after.ID)
		if at != nil {
			r.after.At = *at
		}
		return nil
	})
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	locked, err := lockSelected(ctx, tx, sel, ids, "SKIP LOCKED")
	if err != nil {
		return 0, err
	}
	r.busy = append(r.busy[:len(r.busy):len(r.busy)], without(ids, locked)...)
	return len(ids), r.apply(ctx, tx, locked)
}

func lockSelected(ctx context.Context, tx pgx.Tx, sel selection, ids []uuid.UUID, waiting string) ([]uuid.UUID, error) {
	sql, args := sel.lock(ids, waiting)
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (id uuid.UUID, err error) {
		return id, row.Scan(&id, nil)
	})
}

// without returns the ids that are not among the others.
func without(ids, others []uuid.UUID) (rest []uuid.UUID) {
	known := make(map[uuid.UUID]bool, len(others))
	for _, id := range others {
		known[id] = true
	}
	for _, id := range ids {
		if !known[id] {
			rest = append(rest, id)
		}
	}
	return rest
}

// apply makes the change on locked jobs, notifies the workers that run them, and brings the audit row up to date.
func (r *bulkRun) apply(ctx context.Context, tx pgx.Tx, locked []uuid.UUID) (err error) {
	if len(locked) == 0 {
		return nil
	}
	free := locked
	if r.action == jobs.ActionRetry {
		if free, err = withFreeKey(ctx, tx, locked); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, together[r.action], r.args(free)...); err != nil {
		return err
	}
	if r.action == jobs.ActionCancel {
		stopping, err := tx.Exec(ctx, `SELECT pg_notify($1, id::text) FROM warren.jobs WHERE id = ANY($2) AND state = 'running'`,
			cancelChannel, free)
		if err != nil {
			return err
		}
		r.total.Stopping += int(stopping.RowsAffected())
	}
	r.total.Done += len(free)
	r.total.Skipped += len(locked) - len(free)
	return r.audit(ctx, tx)
}

func (r *bulkRun) args(ids []uuid.UUID) []any {
	if r.action == jobs.ActionDelete {
		return []any{ids}
	}
	return []any{ids, r.operation}
}

// audit writes the action's one audit row with the first batch, and updates its totals with each
// later one.
func (r *bulkRun) audit(ctx context.Context, tx pgx.Tx) error {
	details := maps.Clone(r.about)
	details["done"], details["skipped"] = r.total.Done, r.total.Skipped
	if r.total.Operation != nil {
		details["operation"] = r.operation
	}
	if r.audited != 0 {
		if _, err := tx.Exec(ctx, `UPDATE warren.audit SET details = $2 WHERE id = $1`, r.audited, details); err != nil {
			return err
		}
		return notify(ctx, tx, Change{Topic: engine.TopicJobs}, Change{Topic: engine.TopicFailures})
	}
	if err := audit(ctx, tx, r.by, r.name, r.target, details); err != nil {
		return err
	}
	return tx.QueryRow(ctx, `SELECT currval(pg_get_serial_sequence('warren.audit', 'id'))`).Scan(&r.audited)
}
