package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/events"
	"github.com/warrenjobs/warren/jobs/schedule"
	"github.com/warrenjobs/warren/store/outbox"
)

// Bounds of one transaction of FireSchedules: the next one goes on.
const (
	firedPerSchedule = 100
	firedAtOnce      = 500
)

// tryAgain is after how long a schedule is tried again that cannot fire.
const tryAgain = time.Minute

// dueSchedule is a schedule that is due, or, if it has a problem, due to be tried again.
type dueSchedule struct {
	schedule.Schedule
	since time.Time // times up to it have been dealt with
}

// FireSchedules fires up to limit schedules that are due, by their policies for missed times and for jobs that are still open,
// writes their histories and sets their next times, in one transaction. A schedule that cannot fire says why, is tried again
// every minute and holds up no other: it is in the error, beside what was fired. Any number of processes may call it: no time
// fires twice.
func (s *Store) FireSchedules(ctx context.Context, limit int) (fired engine.Fired, err error) {
	var stuck []error
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		due, err := dueSchedules(ctx, tx, limit)
		if err != nil {
			return err
		}
		for n := 0; n < firedAtOnce && len(due) > 0; due = due[1:] {
			made, problem, err := due[0].fire(ctx, tx)
			if err != nil {
				return fmt.Errorf("schedule %s: %w", due[0].ID, err)
			}
			if problem != "" {
				stuck = append(stuck, fmt.Errorf("the schedule %s cannot fire: %s", due[0].title(), problem))
			}
			n += len(made)
			due[0].note(&fired, made)
		}
		return nil
	})
	if err != nil {
		return engine.Fired{}, fmt.Errorf("fire schedules: %w", err)
	}
	if len(stuck) > 0 {
		err = fmt.Errorf("%d tried again in a minute: %w", len(stuck), stuck[0])
	}
	return fired, err
}

func (d dueSchedule) title() string {
	if d.Task != nil {
		return "of task " + d.Task.ID.String()
	}
	return d.Name
}

// note adds what the schedule did to what all did.
func (d dueSchedule) note(all *engine.Fired, made []schedule.Firing) {
	all.Schedules = append(all.Schedules, d.ID.String())
	all.Tasks = all.Tasks || d.Task != nil
	for _, f := range made {
		if f.Outcome == schedule.Enqueued {
			all.Jobs = append(all.Jobs, *f.JobID)
		}
	}
}

func dueSchedules(ctx context.Context, tx pgx.Tx, limit int) ([]dueSchedule, error) {
	rows, err := tx.Query(ctx, `SELECT coalesce(s.last_at, s.anchor, s.created_at), `+scheduleColumns+`
		FROM (SELECT * FROM warren.schedules WHERE next_at <= now() ORDER BY next_at LIMIT $1 FOR UPDATE SKIP LOCKED) s
			LEFT JOIN warren.tasks t ON t.id = s.task_id
			CROSS JOIN (SELECT `+noFiring+`) f CROSS JOIN (SELECT NULL::text AS state) j`, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (d dueSchedule, err error) {
		d.Schedule, err = scanSchedule(rowAfter{row, &d.since})
		return d, err
	})
}

// noFiring are the columns of a firing where none is read.
const noFiring = `NULL::timestamptz AS planned_at, NULL::timestamptz AS fired_at, NULL::text AS outcome, NULL::text AS by_name,
	NULL::uuid AS job_id, NULL::uuid AS event_id, NULL::int AS missed, NULL::timestamptz AS missed_from, NULL::timestamptz AS missed_to`

// rowAfter is a row whose first column is scanned to first.
type rowAfter struct {
	pgx.CollectableRow
	first any
}

func (r rowAfter) Scan(dest ...any) error {
	return r.CollectableRow.Scan(append([]any{r.first}, dest...)...)
}

// plan is what a due schedule does now.
type plan struct {
	fire    []time.Time // planned times, the oldest first
	missed  missed      // times that are skipped
	since   time.Time   // times up to it have been dealt with then
	next    *time.Time
	problem string
}

// missed is a span of times that were skipped.
type missed struct {
	n        int
	from, to *time.Time
}

// missedOf is the span of times that were skipped, of which list has the first; up to end, if list is cut off.
func missedOf(list []time.Time, end time.Time) missed {
	switch {
	case len(list) == 0:
		return missed{}
	case len(list) > schedule.CatchUpMost:
		return missed{schedule.CatchUpMost + 1, &list[0], &end}
	}
	return missed{len(list), &list[0], &list[len(list)-1]}
}

func (d dueSchedule) plan(now time.Time) plan {
	times, err := d.Times()
	if err != nil {
		return d.planUnread(now, err)
	}
	first := *d.NextAt
	if d.Problem != "" { // NextAt is when to try again
		first = times.Next(d.since)
	}
	p := plan{since: d.since}
	switch {
	case first.IsZero() || first.After(now):
	case d.CatchUp == schedule.CatchUpAll:
		from := times.Newest(first, now, schedule.CatchUpMost)
		p.missed = missedOf(times.Between(first.Add(-1), from.Add(-1), schedule.CatchUpMost+1), from)
		p.fire = append([]time.Time{from}, times.Between(from, now, firedPerSchedule-1)...)
		p.since = p.fire[len(p.fire)-1]
	default:
		p.fire, p.since = []time.Time{first}, now
		p.missed = missedOf(times.Between(first, now, schedule.CatchUpMost+1), now)
	}
	if next := times.Next(p.since); !next.IsZero() {
		p.next = &next
	}
	return p
}

// planUnread is the plan of a schedule whose rule cannot be read any more: what was due still fires.
func (d dueSchedule) planUnread(now time.Time, err error) plan {
	again := now.Add(tryAgain)
	p := plan{since: d.since, next: &again, problem: err.Error()}
	if d.Problem != "" {
		return p
	}
	p.fire, p.since = []time.Time{*d.NextAt}, now
	if d.CatchUp == schedule.CatchUpAll {
		p.since = *d.NextAt
	}
	return p
}

// fire does what is planned and sets the schedule's next time. It returns the problem that keeps the schedule from firing.
func (d dueSchedule) fire(ctx context.Context, tx pgx.Tx) (made []schedule.Firing, problem string, err error) {
	now, err := clock(ctx, tx)
	if err != nil {
		return nil, "", err
	}
	p := d.plan(now)
	if p.fire, err = withoutFired(ctx, tx, d.ID, p.fire); err != nil {
		return nil, "", err
	}
	if len(p.fire) > 0 {
		made, err = fireAt(ctx, tx, d.Schedule, p.fire)
		var unfit jobs.FieldErrors
		if errors.As(err, &unfit) { // nothing was sent to the database
			again := now.Add(tryAgain)
			return nil, unfit.Error(), d.set(ctx, tx, plan{since: d.since, next: &again, problem: unfit.Error()})
		}
		if err != nil {
			return nil, "", err
		}
		made[0].Missed, made[0].MissedFrom, made[0].MissedTo = p.missed.n, p.missed.from, p.missed.to
		if err := recordFirings(ctx, tx, d.ID, made, ""); err != nil {
			return nil, "", err
		}
	}
	return made, p.problem, d.set(ctx, tx, p)
}

// withoutFired leaves out the times that have fired: next_at may have been set back by hand. The caller has locked the schedule.
func withoutFired(ctx context.Context, tx pgx.Tx, id uuid.UUID, times []time.Time) ([]time.Time, error) {
	rows, err := tx.Query(ctx, `SELECT planned_at FROM warren.schedule_firings WHERE schedule_id = $1 AND planned_at = ANY($2)`, id, times)
	if err != nil {
		return nil, fmt.Errorf("look for firings: %w", err)
	}
	fired, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
	if err != nil {
		return nil, fmt.Errorf("look for firings: %w", err)
	}
	return slices.DeleteFunc(times, func(t time.Time) bool { return slices.ContainsFunc(fired, t.Equal) }), nil
}

// fireAt enqueues a job or publishes an event for each of the times, and returns what became of them. Error:
// jobs.FieldErrors, before anything was sent to the database, if the job or the event is not valid.
func fireAt(ctx context.Context, tx pgx.Tx, s schedule.Schedule, times []time.Time) ([]schedule.Firing, error) {
	if s.Event != nil {
		return publishAt(ctx, tx, *s.Event, times)
	}
	list := make([]jobs.NewJob, len(times))
	for i := range list {
		list[i] = s.Job.New()
		if s.Task != nil {
			list[i].TaskID = s.Task.ID
		}
		if s.Overlap == schedule.OverlapSkip {
			list[i].UniqueKey = openKey(s)
		}
	}
	added, err := outbox.Enqueue(ctx, outbox.Pgx(tx), list...)
	if err != nil {
		return nil, err
	}
	made := make([]schedule.Firing, len(times))
	for i, job := range added {
		made[i] = schedule.Firing{PlannedAt: times[i], Outcome: schedule.Enqueued, JobID: &job.ID}
		if job.Duplicate {
			made[i].Outcome = schedule.StillOpen
		}
	}
	return made, nil
}

// openKey is the unique key of the jobs of a schedule that may not overlap.
func openKey(s schedule.Schedule) string {
	if s.Task != nil {
		return taskScheduleKey(s.Task.ID)
	}
	return "schedule:" + s.ID.String()
}

// recordFirings writes the history, and sets when each fired. by is who ran it by hand.
func recordFirings(ctx context.Context, tx pgx.Tx, id uuid.UUID, made []schedule.Firing, by string) error {
	var batch pgx.Batch
	for i := range made {
		f := &made[i]
		batch.Queue(`
			INSERT INTO warren.schedule_firings (schedule_id, planned_at, outcome, by_name, job_id, event_id, missed, missed_from,
				missed_to)
			VALUES ($1, $2, $3, nullif($4, ''), $5, $6, $7, $8, $9) RETURNING fired_at`,
			id, f.PlannedAt, f.Outcome, by, f.JobID, f.EventID, f.Missed, f.MissedFrom, f.MissedTo).
			QueryRow(func(row pgx.Row) error { return row.Scan(&f.FiredAt) })
	}
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return fmt.Errorf("write the history: %w", err)
	}
	return nil
}

func (d dueSchedule) set(ctx context.Context, tx pgx.Tx, p plan) error {
	_, err := tx.Exec(ctx, `
		UPDATE warren.schedules SET last_at = nullif($2, coalesce(anchor, created_at)), next_at = $3, problem = nullif($4, '')
		WHERE id = $1`,
		d.ID, p.since, p.next, p.problem)
	if err != nil {
		return fmt.Errorf("set the next time of schedule %s: %w", d.ID, err)
	}
	return nil
}

// nextTime returns when a rule is due next after since, nil if never. A rule that was valid once may no longer
// be: its zone may be unknown to this process. Then the time is when to try again, with the problem.
func nextTime(rule, zone string, anchor time.Time, starts, ends *time.Time, since, now time.Time) (next *time.Time, problem string) {
	times, err := schedule.NewTimes(rule, zone, anchor, starts, ends)
	if err != nil {
		again := now.Add(tryAgain)
		return &again, err.Error()
	}
	if at := times.Next(since); !at.IsZero() {
		next = &at
	}
	return next, ""
}

func publishAt(ctx context.Context, tx pgx.Tx, e schedule.Event, times []time.Time) ([]schedule.Firing, error) {
	made, list := make([]schedule.Firing, len(times)), make([]events.Event, len(times))
	for i := range list {
		list[i] = e.New()
		list[i].ID = uuid.Must(uuid.NewV7())
		made[i] = schedule.Firing{PlannedAt: times[i], Outcome: schedule.Published, EventID: &list[i].ID}
	}
	return made, outbox.Publish(ctx, outbox.Pgx(tx), list...)
}
