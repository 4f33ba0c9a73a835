package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/schedule"
)

// scheduleColumns are the columns of scheduleTables that scanSchedule scans, in this order.
const (
	scheduleColumns = `s.id, s.version, s.origin, coalesce(s.name, ''), s.rule, s.zone, s.kind, s.args::text, s.queue,
		coalesce(s.max_attempts, 0), s.timeout_ms, s.tags,
		s.exchange, s.routing_key, s.content_type, s.body::text, s.overlap, s.catch_up, s.starts_at, s.ends_at,
		t.id, coalesce(t.description, ''), coalesce(s.anchor, s.created_at), s.created_at, s.updated_at, s.next_at, coalesce(s.problem, ''),
		s.paused_at, coalesce(s.paused_by, ''), coalesce(s.paused_reason, ''), ` + firingColumns
	scheduleTables = `warren.schedules s LEFT JOIN warren.tasks t ON t.id = s.task_id
		LEFT JOIN LATERAL (SELECT * FROM warren.schedule_firings WHERE schedule_id = s.id ORDER BY planned_at DESC LIMIT 1) f ON true
		LEFT JOIN warren.jobs j ON j.id = f.job_id`
	firingColumns = `f.planned_at, f.fired_at, coalesce(f.outcome, ''), coalesce(f.by_name, ''), f.job_id, coalesce(j.state, ''),
		f.event_id,
		coalesce(f.missed, 0), f.missed_from, f.missed_to`
)

// scannedFiring is where the columns of a firing are scanned to; planned_at is null where there is none.
type scannedFiring struct {
	schedule.Firing
	planned, fired *time.Time
}

func (f *scannedFiring) targets() []any {
	return []any{&f.planned, &f.fired, &f.Outcome, &f.By, &f.JobID, &f.JobState, &f.EventID, &f.Missed, &f.MissedFrom, &f.MissedTo}
}

func (f *scannedFiring) firing() *schedule.Firing {
	if f.planned == nil {
		return nil
	}
	f.PlannedAt, f.FiredAt = *f.planned, *f.fired
	return &f.Firing
}

func scanSchedule(row pgx.CollectableRow) (schedule.Schedule, error) {
	var s schedule.Schedule
	var job schedule.Job
	var args, description string
	var timeoutMS int64
	var exchange, key, contentType, body *string
	var task *uuid.UUID
	var last scannedFiring
	err := row.Scan(append([]any{&s.ID, &s.Version, &s.Origin, &s.Name, &s.Rule, &s.Zone, &job.Kind, &args, &job.Queue, &job.MaxAttempts,
		&timeoutMS, &job.Tags, &exchange, &key, &contentType, &body, &s.Overlap, &s.CatchUp, &s.StartsAt, &s.EndsAt,
		&task, &description, &s.Anchor, &s.CreatedAt, &s.UpdatedAt, &s.NextAt, &s.Problem, &s.PausedAt, &s.PausedBy, &s.PausedReason},
		last.targets()...)...)
	if err != nil {
		return s, err
	}
	if exchange != nil {
		s.Event = &schedule.Event{Exchange: *exchange, Key: *key, ContentType: *contentType, Body: json.RawMessage(*body)}
	} else {
		job.Args, job.Timeout = json.RawMessage(args), jobs.Duration(timeoutMS)*jobs.Duration(time.Millisecond)
		job.MaxAttempts = cmp.Or(job.MaxAttempts, jobs.MaxAttemptsDefault)
		s.Job = &job
	}
	if task != nil {
		s.Task = &schedule.Task{ID: *task, Description: description}
	}
	s.Last = last.firing()
	return s, nil
}

// Schedule reads a schedule. It returns jobs.ErrNotFound if there is none.
func (s *Store) Schedule(ctx context.Context, id uuid.UUID) (schedule.Schedule, error) {
	return readSchedule(ctx, s.pool.Query, "s.id = $1", id)
}

// ScheduleNamed is Schedule for the name of one that belongs to no task.
func (s *Store) ScheduleNamed(ctx context.Context, name string) (schedule.Schedule, error) {
	return readSchedule(ctx, s.pool.Query, "s.name = $1", name)
}

// lockSchedule reads a schedule of its own, and keeps schedulers from it until the transaction ends.
func lockSchedule(ctx context.Context, tx pgx.Tx, id uuid.UUID) (schedule.Schedule, error) {
	return readSchedule(ctx, tx.Query, "s.task_id IS NULL AND s.id = $1 FOR UPDATE OF s", id)
}

func readSchedule(
	ctx context.Context, query func(context.Context, string, ...any) (pgx.Rows, error), where string, key any,
) (found schedule.Schedule, err error) {
	rows, err := query(ctx, `SELECT `+scheduleColumns+` FROM `+scheduleTables+` WHERE `+where, key)
	if err == nil {
		found, err = pgx.CollectExactlyOneRow(rows, scanSchedule)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return found, fmt.Errorf("schedule %v: %w", key, jobs.ErrNotFound)
	}
	if err != nil {
		return found, fmt.Errorf("read schedule %v: %w", key, err)
	}
	return found, nil
}

// The order of the list of schedules is that of the index schedules_listed.
const (
	scheduleRank  = `(CASE WHEN s.problem IS NOT NULL THEN 0 WHEN s.paused_at IS NOT NULL THEN 1 ELSE 2 END)`
	scheduleTitle = `(coalesce(s.name, '~') COLLATE "C")`
	lastName      = "~" // of those of tasks, in that index
)

// scheduleCursor is the key of the list of schedules.
type scheduleCursor struct {
	Rank int
	Name string
	ID   uuid.UUID
}

func keyOfSchedule(s schedule.Schedule) any {
	key := scheduleCursor{2, cmp.Or(s.Name, lastName), s.ID}
	switch {
	case s.Problem != "":
		key.Rank = 0
	case s.PausedAt != nil:
		key.Rank = 1
	}
	return key
}

// Schedules reads one page of all schedules, also those of tasks, at most limit: those that cannot fire first, then those
// that are paused, then the others by name.
func (s *Store) Schedules(
	ctx context.Context, f schedule.Filter, c jobs.Cursor, limit int,
) (page jobs.Page[schedule.Schedule], err error) {
	key, first, err := keyOf[scheduleCursor](c)
	if err != nil {
		return page, err
	}
	comparison, direction := seek(c, false)
	const order = scheduleRank + " %[1]s, " + scheduleTitle + " %[1]s, s.id %[1]s"
	rows, err := s.pool.Query(ctx, `SELECT `+scheduleColumns+` FROM `+scheduleTables+`
		WHERE ($1 OR (`+scheduleRank+`, `+scheduleTitle+`, s.id) `+comparison+` ($2, $3 COLLATE "C", $4))
			AND ($5 = '' OR s.name ILIKE $6 OR t.description ILIKE $6 OR s.kind ILIKE $6 OR s.routing_key ILIKE $6)
		ORDER BY `+fmt.Sprintf(order, direction)+` LIMIT $7`,
		first, key.Rank, key.Name, key.ID, f.Text, "%"+likeEscaper.Replace(f.Text)+"%", limit+1)
	if err != nil {
		return page, fmt.Errorf("list schedules: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanSchedule)
	if err != nil {
		return page, fmt.Errorf("list schedules: %w", err)
	}
	return pageOf(list, c, limit, keyOfSchedule), nil
}

// Firings reads one page of the history of a schedule, newest first, at most limit.
func (s *Store) Firings(ctx context.Context, id uuid.UUID, c jobs.Cursor, limit int) (page jobs.Page[schedule.Firing], err error) {
	key, first, err := keyOf[time.Time](c)
	if err != nil {
		return page, err
	}
	comparison, direction := seek(c, true)
	rows, err := s.pool.Query(ctx, `SELECT `+firingColumns+` FROM warren.schedule_firings f LEFT JOIN warren.jobs j ON j.id = f.job_id
		WHERE f.schedule_id = $1 AND ($2 OR f.planned_at `+comparison+` $3) ORDER BY f.planned_at `+direction+` LIMIT $4`,
		id, first, key, limit+1)
	if err != nil {
		return page, fmt.Errorf("read the history of schedule %s: %w", id, err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (schedule.Firing, error) {
		var f scannedFiring
		if err := row.Scan(f.targets()...); err != nil {
			return f.Firing, err
		}
		return *f.firing(), nil
	})
	if err != nil {
		return page, fmt.Errorf("read the history of schedule %s: %w", id, err)
	}
	return pageOf(list, c, limit, func(f schedule.Firing) any { return f.PlannedAt }), nil
}

// ScheduleTrouble lists the schedules that cannot fire or are paused, at most limit, in the order of the list.
func (s *Store) ScheduleTrouble(ctx context.Context, limit int) ([]schedule.Schedule, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+scheduleColumns+` FROM `+scheduleTables+`
		WHERE `+scheduleRank+` < 2 ORDER BY `+scheduleRank+`, `+scheduleTitle+`, s.id LIMIT $1`, limit)
	if err != nil {
		return nil, fmt.Errorf("list schedules in trouble: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanSchedule)
	if err != nil {
		return nil, fmt.Errorf("list schedules in trouble: %w", err)
	}
	return list, nil
}

// StuckSchedules counts the schedules that cannot fire, and those that are paused.
func (s *Store) StuckSchedules(ctx context.Context) (stuck, paused int, err error) {
	err = s.pool.QueryRow(ctx, `SELECT count(*) FILTER (WHERE problem IS NOT NULL), count(*) FILTER (WHERE problem IS NULL)
		FROM warren.schedules s WHERE `+scheduleRank+` < 2`).Scan(&stuck, &paused)
	if err != nil {
		return 0, 0, fmt.Errorf("count schedules in trouble: %w", err)
	}
	return stuck, paused, nil
}
