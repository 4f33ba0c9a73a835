package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/schedule"
)

func scheduleTarget(id uuid.UUID) string { return "schedule:" + id.String() }

// CreateSchedule adds a schedule. The input must be prepared. Errors: jobs.FieldErrors if the name is taken.
func (s *Store) CreateSchedule(
	ctx context.Context, in schedule.Input, origin string, by jobs.Actor,
) (created schedule.Schedule, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		created, err = createSchedule(ctx, tx, in, origin, by)
		return err
	})
	return created, asNameTaken(in.Name, err)
}

func createSchedule(ctx context.Context, tx pgx.Tx, in schedule.Input, origin string, by jobs.Actor) (schedule.Schedule, error) {
	id := uuid.Must(uuid.NewV7())
	_, err := tx.Exec(ctx, `
		INSERT INTO warren.schedules (id, name, rule, zone, kind, args, queue, origin, version)
		VALUES ($1, $2, '', '', '', '{}', '', $3, 0)`,
		id, in.Name, origin)
	if err != nil {
		return schedule.Schedule{}, fmt.Errorf("add it: %w", err)
	}
	if err := writeSchedule(ctx, tx, schedule.Schedule{ID: id}, in); err != nil {
		return schedule.Schedule{}, err
	}
	if err := audit(ctx, tx, by, "schedule.create", scheduleTarget(id), map[string]any{"name": in.Name, "rule": in.Rule}); err != nil {
		return schedule.Schedule{}, err
	}
	return lockSchedule(ctx, tx, id)
}

func asNameTaken(name string, err error) error {
	if isCode(err, codeUniqueViolation) {
		return jobs.FieldErrors{{Field: "name",
			Message: fmt.Sprintf("a schedule named %q exists already: delete it, or choose another name", name)}}
	}
	if err != nil {
		return fmt.Errorf("write schedule %s: %w", name, err)
	}
	return nil
}

// EditSchedule changes a schedule that still has that version. Only another rule, zone, start or end moves its next time.
// Errors: jobs.ErrNotFound, jobs.FieldErrors if the name is taken, and a *schedule.ConflictError that holds the current one.
func (s *Store) EditSchedule(
	ctx context.Context, id uuid.UUID, version int, in schedule.Input, by jobs.Actor,
) (edited schedule.Schedule, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		before, err := lockSchedule(ctx, tx, id)
		if err != nil {
			return err
		}
		if before.Version != version {
			return &schedule.ConflictError{Current: before}
		}
		edited, err = editSchedule(ctx, tx, before, in, by)
		return err
	})
	return edited, asNameTaken(in.Name, err)
}

// editSchedule writes nothing if nothing changes.
func editSchedule(ctx context.Context, tx pgx.Tx, before schedule.Schedule, in schedule.Input, by jobs.Actor) (schedule.Schedule, error) {
	changed := changedFields(before.Input, in)
	if len(changed) == 0 {
		return before, nil
	}
	if err := writeSchedule(ctx, tx, before, in); err != nil {
		return before, err
	}
	if err := audit(ctx, tx, by, "schedule.edit", scheduleTarget(before.ID), changed); err != nil {
		return before, err
	}
	return lockSchedule(ctx, tx, before.ID)
}

// DeclareSchedules brings the schedules of these names in line with list, in one transaction: it adds those that are missing
// and changes those that differ. One that is paused stays paused. The input must be prepared. Idempotent; any number of
// processes may call it.
func (s *Store) DeclareSchedules(ctx context.Context, list []schedule.Input, by jobs.Actor) error {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b schedule.Input) int { return strings.Compare(a.Name, b.Name) }) // no two processes deadlock
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		// Otherwise two processes that start at once would both add the schedule.
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtext('warren.schedules'))`); err != nil {
			return err
		}
		for _, in := range list {
			if err := declareSchedule(ctx, tx, in, by); err != nil {
				return fmt.Errorf("schedule %s: %w", in.Name, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("declare %d schedules: %w", len(list), err)
	}
	return nil
}

func declareSchedule(ctx context.Context, tx pgx.Tx, in schedule.Input, by jobs.Actor) error {
	before, err := readSchedule(ctx, tx.Query, "s.name = $1 FOR UPDATE OF s", in.Name)
	if errors.Is(err, jobs.ErrNotFound) {
		_, err = createSchedule(ctx, tx, in, "app", by)
		return err
	}
	if err != nil {
		return err
	}
	_, err = editSchedule(ctx, tx, before, in, by)
	return err
}

// writeSchedule writes the input of a schedule as its next version. A schedule whose times change, or that is new, counts
// from now on.
func writeSchedule(ctx context.Context, tx pgx.Tx, before schedule.Schedule, in schedule.Input) error {
	now, err := clock(ctx, tx)
	if err != nil {
		return err
	}
	anchor, next, problem, sameTimes := before.Anchor, before.NextAt, before.Problem, sameTimes(before.Input, in)
	if !sameTimes {
		anchor = now.Truncate(time.Second) // intervals come at full seconds
	}
	if before.PausedAt == nil && (!sameTimes || problem != "") {
		next, problem = nextTime(in.Rule, in.Zone, anchor, in.StartsAt, in.EndsAt, anchor, now)
	}
	if before.PausedAt != nil {
		next, problem = nil, ""
	}
	j, e := schedule.Job{Args: []byte("{}")}, schedule.Event{}
	if in.Job != nil {
		j = *in.Job
	}
	if in.Event != nil {
		e = *in.Event
	}
	_, err = tx.Exec(ctx, `
		UPDATE warren.schedules SET version = version + 1, name = $2, rule = $3, zone = $4, kind = $5, args = $6::json, queue = $7,
			max_attempts = nullif($8, 0), timeout_ms = $9, tags = coalesce($10::text[], '{}'),
			exchange = nullif($11, ''), routing_key = nullif($12, ''),
			content_type = nullif($13, ''), body = nullif($14, '')::json, overlap = $15, catch_up = $16, starts_at = $17, ends_at = $18,
			anchor = $19, last_at = CASE WHEN $20 THEN last_at END, next_at = $21, problem = nullif($22, ''),
			updated_at = clock_timestamp()
		WHERE id = $1`,
		before.ID, in.Name, in.Rule, in.Zone, j.Kind, string(j.Args), j.Queue, j.MaxAttempts,
		time.Duration(j.Timeout).Milliseconds(), j.Tags,
		e.Exchange, e.Key, e.ContentType, string(e.Body), in.Overlap, in.CatchUp, in.StartsAt, in.EndsAt, anchor, sameTimes, next, problem)
	if err != nil {
		return fmt.Errorf("write it: %w", err)
	}
	return nil
}

func sameTimes(a, b schedule.Input) bool {
	same := func(x, y *time.Time) bool { return x == y || x != nil && y != nil && x.Equal(*y) }
	return a.Rule == b.Rule && a.Zone == b.Zone && same(a.StartsAt, b.StartsAt) && same(a.EndsAt, b.EndsAt)
}

// PauseSchedule keeps a schedule from firing until it is resumed. Errors: jobs.ErrNotFound, and *jobs.NotAllowedError if it is
// paused already.
func (s *Store) PauseSchedule(ctx context.Context, id uuid.UUID, by jobs.Actor) (schedule.Schedule, error) {
	return s.switchSchedule(ctx, id, by, "schedule.pause", func(tx pgx.Tx, before schedule.Schedule) error {
		if before.PausedAt != nil {
			return &jobs.NotAllowedError{Why: "The schedule is paused already."}
		}
		_, err := tx.Exec(ctx, `
			UPDATE warren.schedules SET paused_at = clock_timestamp(), paused_by = $2, paused_reason = nullif($3, ''), next_at = NULL,
				problem = NULL
			WHERE id = $1`, id, cleanText(by.Name), shortText(by.Reason, reasonMax))
		return err
	})
}

// ResumeSchedule lets a paused schedule fire again, from its next time on. The times that passed meanwhile are skipped,
// whatever its catch-up policy, and named in its history. Errors: jobs.ErrNotFound, and *jobs.NotAllowedError if it is not paused.
func (s *Store) ResumeSchedule(ctx context.Context, id uuid.UUID, by jobs.Actor) (schedule.Schedule, error) {
	return s.switchSchedule(ctx, id, by, "schedule.resume", func(tx pgx.Tx, before schedule.Schedule) error {
		if before.PausedAt == nil {
			return &jobs.NotAllowedError{Why: "The schedule is not paused."}
		}
		now, err := clock(ctx, tx)
		if err != nil {
			return err
		}
		if err := recordPause(ctx, tx, before, now); err != nil {
			return err
		}
		next, problem := nextTime(before.Rule, before.Zone, before.Anchor, before.StartsAt, before.EndsAt, now, now)
		_, err = tx.Exec(ctx, `
			UPDATE warren.schedules SET paused_at = NULL, paused_by = NULL, paused_reason = NULL, last_at = $2, next_at = $3,
				problem = nullif($4, '')
			WHERE id = $1`, id, now, next, problem)
		return err
	})
}

// recordPause names the times that passed while the schedule was paused, or shortly before.
func recordPause(ctx context.Context, tx pgx.Tx, s schedule.Schedule, now time.Time) error {
	times, err := s.Times()
	if err != nil {
		return nil //nolint:nilerr // the problem is written beside the next time
	}
	var since time.Time
	err = tx.QueryRow(ctx, `SELECT coalesce(last_at, anchor, created_at) FROM warren.schedules WHERE id = $1`, s.ID).Scan(&since)
	if err != nil {
		return fmt.Errorf("read when it fired last: %w", err)
	}
	passed := times.Between(since, now, schedule.CatchUpMost+2)
	if len(passed) == 0 {
		return nil
	}
	missed := missedOf(passed[1:], now)
	_, err = tx.Exec(ctx, `
		INSERT INTO warren.schedule_firings (schedule_id, planned_at, outcome, missed, missed_from, missed_to)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT DO NOTHING`, s.ID, passed[0], schedule.Paused, missed.n, missed.from, missed.to)
	if err != nil {
		return fmt.Errorf("record the missed times: %w", err)
	}
	return nil
}

// switchSchedule runs one transaction that changes the state of a schedule, as the next version.
func (s *Store) switchSchedule(
	ctx context.Context, id uuid.UUID, by jobs.Actor, action string, change func(pgx.Tx, schedule.Schedule) error,
) (after schedule.Schedule, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		before, err := lockSchedule(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := change(tx, before); err != nil {
			return err
		}
		if err := audit(ctx, tx, by, action, scheduleTarget(id), map[string]any{"name": before.Name}); err != nil {
			return err
		}
		after, err = lockSchedule(ctx, tx, id)
		return err
	})
	if err != nil {
		return after, fmt.Errorf("%s of %s: %w", action, id, err)
	}
	return after, nil
}

// DeleteSchedule removes a schedule with its history. Jobs that it has enqueued stay. Errors: jobs.ErrNotFound.
func (s *Store) DeleteSchedule(ctx context.Context, id uuid.UUID, by jobs.Actor) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		before, err := lockSchedule(ctx, tx, id)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM warren.schedules WHERE id = $1`, id); err != nil {
			return err
		}
		return audit(ctx, tx, by, "schedule.delete", scheduleTarget(id), map[string]any{"name": before.Name, "rule": before.Rule})
	})
	if err != nil {
		return fmt.Errorf("delete schedule %s: %w", id, err)
	}
	return nil
}

// RunSchedule enqueues the job or publishes the event of a schedule at once, in addition to its planned times, also while it
// is paused. Errors: jobs.ErrNotFound, and jobs.FieldErrors if the job or the event is not valid.
func (s *Store) RunSchedule(ctx context.Context, id uuid.UUID, by jobs.Actor) (firing schedule.Firing, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		before, err := lockSchedule(ctx, tx, id)
		if err != nil {
			return err
		}
		now, err := clock(ctx, tx)
		if err != nil {
			return err
		}
		before.Overlap = schedule.OverlapAllow
		made, err := fireAt(ctx, tx, before, []time.Time{now})
		if err != nil {
			return err
		}
		firing = made[0]
		firing.By = cleanText(by.Name)
		if err := recordFirings(ctx, tx, id, made[:1:1], firing.By); err != nil {
			return err
		}
		details := map[string]any{"name": before.Name}
		if firing.JobID != nil {
			details["job"] = firing.JobID
		}
		return audit(ctx, tx, by, "schedule.run", scheduleTarget(id), details)
	})
	if err != nil {
		return firing, fmt.Errorf("run schedule %s: %w", id, err)
	}
	return firing, nil
}
