package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/tasks"
	"github.com/warrenjobs/warren/store/internal/rules"
	"github.com/warrenjobs/warren/store/outbox"
)

// armJob brings the schedule and the start run of a task's job in line with the task, in the
// transaction of the change.
func armJob(ctx context.Context, tx pgx.Tx, id uuid.UUID, c change) error {
	isNew, j := c.before.Version == 0, c.after.Job
	if !isNew && c.before.Done == c.after.Done && sameJob(c.before.Input(), c.after) {
		return nil
	}
	waited, err := cancelStart(ctx, tx, c.before)
	if err != nil {
		return err
	}
	now, err := clock(ctx, tx)
	if err != nil {
		return err
	}
	if err := setSchedule(ctx, tx, id, c.after, now); err != nil {
		return err
	}
	switch {
	case j == nil || c.after.Done:
	case j.Runs == tasks.RunsNow && isNew:
		return enqueueTaskJob(ctx, tx, id, *j, time.Time{}, "")
	// If not, the start has passed and has had its run.
	case j.Runs == tasks.RunsAtStart && (isNew || waited || c.after.StartAt.After(now)):
		return enqueueTaskJob(ctx, tx, id, *j, *c.after.StartAt, startKey(id, *c.after.StartAt))
	}
	return nil
}

func sameJob(a, b tasks.Input) bool {
	if a.Job == nil || b.Job == nil {
		return a.Job == b.Job
	}
	x, y := *a.Job, *b.Job
	same := x.Kind == y.Kind && x.Queue == y.Queue && x.Runs == y.Runs && x.Rule == y.Rule && x.Zone == y.Zone &&
		bytes.Equal(x.Args, y.Args)
	return same && (x.Runs != tasks.RunsAtStart || a.StartAt.Equal(*b.StartAt))
}

// startKey returns the unique key of the run at a task's start. Another start has another key,
// because the run of the former start may still be at work.
func startKey(task uuid.UUID, start time.Time) string {
	return fmt.Sprintf("task:%s:start:%d", task, start.UnixMicro()) // the database's precision
}

// cancelStart cancels the run at the task's start if it has not begun, and reports whether there
// was one.
func cancelStart(ctx context.Context, tx pgx.Tx, task tasks.Task) (waited bool, err error) {
	if task.StartAt == nil {
		return false, nil
	}
	tag, err := tx.Exec(ctx, `
		UPDATE warren.jobs SET state = 'cancelled', finished_at = clock_timestamp() WHERE unique_key = $1
			AND state `+rules.From(jobs.EngineWithdraw), startKey(task.ID, *task.StartAt))
	if err != nil {
		return false, fmt.Errorf("cancel the scheduled run of task %s: %w", task.ID, err)
	}
	return tag.RowsAffected() > 0, nil
}

// clock reads the database's clock, which decides what is due.
func clock(ctx context.Context, tx pgx.Tx) (now time.Time, err error) {
	if err := tx.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&now); err != nil {
		return now, fmt.Errorf("read the database's clock: %w", err)
	}
	return now, nil
}

// setSchedule writes the task's schedule, or removes it while the task is done. Only another rule
// or zone moves its next time: an interval counts from that change.
func setSchedule(ctx context.Context, tx pgx.Tx, task uuid.UUID, in tasks.Input, now time.Time) error {
	j, none := in.Job, in.Job == nil || in.Job.Runs != tasks.RunsSchedule || in.Done
	if none {
		j = &tasks.Job{}
	}
	_, err := tx.Exec(ctx, `DELETE FROM warren.schedules WHERE task_id = $1 AND ($2 OR (rule, zone) <> ($3, $4))`,
		task, none, j.Rule, j.Zone)
	if err != nil {
		return fmt.Errorf("remove its schedule: %w", err)
	}
	if none {
		return nil
	}
	next, problem := nextTime(j.Rule, j.Zone, now, nil, nil, now, now)
	_, err = tx.Exec(ctx, `
		INSERT INTO warren.schedules (id, task_id, rule, zone, kind, args, queue, created_at, next_at, problem)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, nullif($10, ''))
		ON CONFLICT (task_id) DO UPDATE SET kind = excluded.kind, args = excluded.args, queue = excluded.queue`,
		uuid.Must(uuid.NewV7()), task, j.Rule, j.Zone, j.Kind, string(j.Args), j.Queue, now, next, problem)
	if err != nil {
		return fmt.Errorf("write its schedule: %w", err)
	}
	return nil
}

func enqueueTaskJob(ctx context.Context, tx pgx.Tx, task uuid.UUID, j tasks.Job, at time.Time, key string) error {
	_, err := outbox.Enqueue(ctx, outbox.Pgx(tx), jobs.NewJob{Kind: j.Kind, Args: j.Args, Queue: j.Queue, RunAt: at, UniqueKey: key,
		Origin: "task", TaskID: task})
	return err
}

// RunTask enqueues the task's job at once, in addition to planned runs. Errors: jobs.ErrNotFound,
// jobs.ErrNoJob.
func (s *Store) RunTask(ctx context.Context, id uuid.UUID, by jobs.Actor) (job uuid.UUID, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		task, err := lockTask(ctx, tx, id)
		if err != nil {
			return err
		}
		if task.Job == nil {
			return jobs.ErrNoJob
		}
		added, err := outbox.Enqueue(ctx, outbox.Pgx(tx), jobs.NewJob{Kind: task.Job.Kind, Args: task.Job.Args, Queue: task.Job.Queue,
			Origin: "task", TaskID: id})
		if err != nil {
			return err
		}
		job = added[0].ID
		return audit(ctx, tx, by, "task.run", taskTarget(id), map[string]any{"job": job})
	})
	if err != nil && !errors.Is(err, jobs.ErrNotFound) && !errors.Is(err, jobs.ErrNoJob) {
		err = fmt.Errorf("run task %s: %w", id, err)
	}
	return job, err
}

// TaskRuns reads one page of the jobs of a task, newest first, at most limit.
func (s *Store) TaskRuns(ctx context.Context, task uuid.UUID, c jobs.Cursor, limit int) (page jobs.Page[jobs.Job], err error) {
	q := s.orm.WithContext(ctx).Table("warren.jobs").Select(listColumns).Where("task_id = ?", task)
	if q, err = seekID[uuid.UUID](q, "id", c, limit); err != nil {
		return page, err
	}
	list, err := collect(q, scanJobRow)
	if err != nil {
		return page, fmt.Errorf("read the runs of task %s: %w", task, err)
	}
	return pageOf(list, c, limit, func(j jobs.Job) any { return j.ID }), nil
}

// OpenScheduledRun reads the id of the job of a task's schedule that has not ended, for which the schedule
// waits; the zero id if there is none.
func (s *Store) OpenScheduledRun(ctx context.Context, task uuid.UUID) (id uuid.UUID, err error) {
	err = s.pool.QueryRow(ctx, `
		SELECT id FROM warren.jobs WHERE unique_key = $1 AND state IN ('scheduled', 'queued', 'running', 'retrying')`,
		taskScheduleKey(task)).Scan(&id)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return id, fmt.Errorf("read the open run of the schedule of task %s: %w", task, err)
	}
	return id, nil
}

// taskScheduleKey returns the unique key of the runs of a task's schedule. A changed schedule has a new id.
func taskScheduleKey(task uuid.UUID) string { return "task:" + task.String() + ":schedule" }
