package store_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/schedule"
	"github.com/warrenjobs/warren/jobs/tasks"
	"github.com/warrenjobs/warren/store"
)

// addSchedule adds a schedule that is not due yet.
func addSchedule(t *testing.T, s *store.Store, in schedule.Input) schedule.Schedule {
	t.Helper()
	require.NoError(t, in.Prepare())
	added, err := s.CreateSchedule(t.Context(), in, "api", somebody)
	require.NoError(t, err)
	return added
}

func ping(name string) schedule.Input {
	return schedule.Input{Name: name, Rule: "every 1s", CatchUp: schedule.CatchUpAll,
		Event: &schedule.Event{Exchange: "ticks", Key: "ping", Body: json.RawMessage(`7`)}}
}

func workEvery(name, rule string) schedule.Input {
	return schedule.Input{Name: name, Rule: rule, Job: &schedule.Job{Kind: "work"}}
}

// history reads the firings of a schedule, oldest first.
func history(t *testing.T, s *store.Store, id uuid.UUID) (all []schedule.Firing) {
	t.Helper()
	var place jobs.Cursor
	for {
		page, err := s.Firings(t.Context(), id, place, 50)
		require.NoError(t, err)
		for _, f := range page.Items {
			all = append([]schedule.Firing{f}, all...)
		}
		if place = page.Next; place.Key == "" {
			return all
		}
	}
}

// away moves everything that a schedule knows of time back, as if no scheduler had run since.
func away(t *testing.T, conn *pgx.Conn, id uuid.UUID, by string) {
	t.Helper()
	execute(t, conn, `UPDATE warren.schedules SET created_at = created_at - $2::interval, anchor = anchor - $2::interval,
		next_at = next_at - $2::interval, last_at = last_at - $2::interval WHERE id = $1`, id, by)
	execute(t, conn, `UPDATE warren.schedule_firings SET planned_at = planned_at - $2::interval WHERE schedule_id = $1`, id, by)
}

func TestSchedules_CatchUpAllFiresForEachMissedTimeOnceWhateverSchedulersDie(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	made := addSchedule(t, s, ping("tick"))
	away(t, conn, made.ID, "250 seconds")
	ctx, stop := context.WithCancel(t.Context())
	var schedulers sync.WaitGroup
	for range 3 {
		schedulers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				// Most are cut off somewhere: the transaction is all or nothing.
				// On a busy machine they get longer, so that some commit.
				limited, cancel := context.WithTimeout(ctx, time.Duration((1+n%40)*(1+n/40))*time.Millisecond)
				_, _ = s.FireSchedules(limited, 10)
				cancel()
			}
		})
	}
	require.Eventually(t, func() bool {
		return number(t, conn, `SELECT count(*) FROM warren.schedule_firings`) >= 252
	}, time.Minute, 50*time.Millisecond)
	stop()
	schedulers.Wait()
	fired := history(t, s, made.ID)
	for i, f := range fired {
		require.Equal(t, made.Anchor.Add(-250*time.Second).Add(time.Duration(i+1)*time.Second), f.PlannedAt,
			"no second is missed or doubled")
		require.Equal(t, schedule.Published, f.Outcome)
		require.Zero(t, f.Missed)
	}
	require.Equal(t, len(fired), number(t, conn,
		`SELECT count(*) FROM warren.events WHERE exchange = 'ticks' AND routing_key = 'ping'`))
	require.Equal(t, len(fired), number(t, conn, `SELECT count(*) FROM warren.outbox WHERE convert_from(body, 'UTF8') = '7'`))
}

func TestSchedules_CatchUpAllIsBoundedAndNamesWhatItSkips(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	made := addSchedule(t, s, ping("tick"))
	away(t, conn, made.ID, "12000 seconds")
	_, err := s.FireSchedules(t.Context(), 10)
	require.NoError(t, err)
	first := history(t, s, made.ID)[0]
	require.InDelta(t, 2000, first.Missed, 60)
	require.Equal(t, first.PlannedAt, first.MissedTo.Add(time.Second), "the newest ones are caught up")
	require.WithinDuration(t, made.Anchor.Add(-11999*time.Second), *first.MissedFrom, time.Second)
}

func TestSchedules_CatchUpOnceFiresOnceAndNamesTheOthers(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	made := addSchedule(t, s, workEvery("report", "every 10m"))
	away(t, conn, made.ID, "45 minutes")
	fired, err := s.FireSchedules(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, fired.Jobs, 1)
	all := history(t, s, made.ID)
	require.Len(t, all, 1)
	anchor := made.Anchor.Add(-45 * time.Minute)
	require.Equal(t, anchor.Add(10*time.Minute), all[0].PlannedAt)
	require.Equal(t, 3, all[0].Missed)
	require.Equal(t, anchor.Add(20*time.Minute), *all[0].MissedFrom)
	require.Equal(t, anchor.Add(40*time.Minute), *all[0].MissedTo)
	require.Equal(t, fired.Jobs[0], *all[0].JobID)
	require.Equal(t, jobs.Queued, all[0].JobState)
	now, err := s.Schedule(t.Context(), made.ID)
	require.NoError(t, err)
	require.Equal(t, anchor.Add(50*time.Minute), *now.NextAt)
	require.Equal(t, all[0].PlannedAt, now.Last.PlannedAt)
}

func TestSchedules_OneJobIsOpenUnlessTheyMayOverlap(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	one, many := addSchedule(t, s, workEvery("one", "every 1m")), workEvery("many", "every 1m")
	many.Overlap, many.CatchUp = schedule.OverlapAllow, schedule.CatchUpAll
	several := addSchedule(t, s, many)
	for range 2 {
		away(t, conn, one.ID, "61 seconds")
		away(t, conn, several.ID, "61 seconds")
		_, err := s.FireSchedules(t.Context(), 10)
		require.NoError(t, err)
	}
	all := history(t, s, one.ID)
	require.Equal(t, []schedule.Outcome{schedule.Enqueued, schedule.StillOpen}, []schedule.Outcome{all[0].Outcome, all[1].Outcome})
	require.Equal(t, *all[0].JobID, *all[1].JobID, "the history links the job that was open")
	all = history(t, s, several.ID)
	require.NotEqual(t, *all[0].JobID, *all[1].JobID)
	require.Equal(t, 3, number(t, conn, `SELECT count(*) FROM warren.jobs`))
}

func TestSchedules_PausedOnesDoNotFireAndNameWhatPassed(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	made := addSchedule(t, s, ping("tick"))
	by := somebody
	by.Reason = "the receiver is away"
	paused, err := s.PauseSchedule(t.Context(), made.ID, by)
	require.NoError(t, err)
	require.Equal(t, "the receiver is away", paused.PausedReason)
	require.Nil(t, paused.NextAt)
	_, err = s.PauseSchedule(t.Context(), made.ID, by)
	var refused *jobs.NotAllowedError
	require.ErrorAs(t, err, &refused)
	away(t, conn, made.ID, "30 seconds")
	fired, err := s.FireSchedules(t.Context(), 10)
	require.NoError(t, err)
	require.Empty(t, fired.Schedules)

	resumed, err := s.ResumeSchedule(t.Context(), made.ID, by)
	require.NoError(t, err)
	require.NotNil(t, resumed.NextAt)
	require.Nil(t, resumed.PausedAt)
	all := history(t, s, made.ID)
	require.Len(t, all, 1)
	require.Equal(t, schedule.Paused, all[0].Outcome)
	require.GreaterOrEqual(t, all[0].Missed, 28)
	require.Zero(t, number(t, conn, `SELECT count(*) FROM warren.events`), "a pause is never caught up")
}

func TestSchedules_ADeclaredOneIsAddedOnceAndStaysPaused(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	in := workEvery("nightly", "0 2 * * *")
	require.NoError(t, in.Prepare())
	var starting sync.WaitGroup
	for range 4 {
		starting.Go(func() {
			if err := s.DeclareSchedules(t.Context(), []schedule.Input{in}, somebody); err != nil {
				t.Error(err)
			}
		})
	}
	starting.Wait()
	require.Equal(t, 1, number(t, conn, `SELECT count(*) FROM warren.audit`), "nothing changed after the first")
	first, err := s.ScheduleNamed(t.Context(), "nightly")
	require.NoError(t, err)
	_, err = s.PauseSchedule(t.Context(), first.ID, somebody)
	require.NoError(t, err)
	in.Rule = "0 3 * * *"
	require.NoError(t, s.DeclareSchedules(t.Context(), []schedule.Input{in}, somebody))
	now, err := s.ScheduleNamed(t.Context(), "nightly")
	require.NoError(t, err)
	require.Equal(t, "0 3 * * *", now.Rule)
	require.NotNil(t, now.PausedAt, "what an operator paused stays paused")
	require.Nil(t, now.NextAt)
}

func TestSchedules_AnEditMovesTheNextTimeOnlyWithItsRule(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	made := addSchedule(t, s, workEvery("report", "every 1h"))
	away(t, conn, made.ID, "61 minutes") // a run is due
	due, err := s.Schedule(t.Context(), made.ID)
	require.NoError(t, err)
	in := due.Input
	in.Job = &schedule.Job{Kind: "work", Queue: "other"}
	require.NoError(t, in.Prepare())
	edited, err := s.EditSchedule(t.Context(), made.ID, due.Version, in, somebody)
	require.NoError(t, err)
	require.Equal(t, *due.NextAt, *edited.NextAt, "what is due still comes")
	in.Rule = "every 2h"
	_, err = s.EditSchedule(t.Context(), made.ID, due.Version, in, somebody)
	var conflict *schedule.ConflictError
	require.ErrorAs(t, err, &conflict)
	edited, err = s.EditSchedule(t.Context(), made.ID, edited.Version, in, somebody)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(2*time.Hour), *edited.NextAt, time.Minute)

	taken := workEvery("taken", "every 1h")
	other := addSchedule(t, s, taken)
	in.Name = other.Name
	_, err = s.EditSchedule(t.Context(), made.ID, edited.Version, in, somebody)
	var wrong jobs.FieldErrors
	require.ErrorAs(t, err, &wrong)
	require.Equal(t, "name", wrong[0].Field)
}

func TestSchedules_RunNowIsInAdditionAndNamesWho(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	made := addSchedule(t, s, workEvery("report", "every 1h"))
	for range 2 {
		firing, err := s.RunSchedule(t.Context(), made.ID, somebody)
		require.NoError(t, err)
		require.Equal(t, schedule.Enqueued, firing.Outcome)
	}
	all := history(t, s, made.ID)
	require.Len(t, all, 2)
	require.Equal(t, somebody.Name, all[0].By)
	now, err := s.Schedule(t.Context(), made.ID)
	require.NoError(t, err)
	require.Equal(t, *made.NextAt, *now.NextAt)
	require.NoError(t, s.DeleteSchedule(t.Context(), made.ID, somebody))
	require.ErrorIs(t, s.DeleteSchedule(t.Context(), made.ID, somebody), jobs.ErrNotFound)
	require.Equal(t, 2, number(t, conn, `SELECT count(*) FROM warren.jobs`), "its jobs stay")
}

func TestSchedules_AreListedTroubleFirstThenByName(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	for _, name := range []string{"c", "a", "b", "z paused", "y stuck"} {
		addSchedule(t, s, workEvery(name, "every 1h"))
	}
	task(t, s, tasks.Input{Description: "mine", Job: &tasks.Job{Kind: "work", Runs: tasks.RunsSchedule, Rule: "0 9 * * *"}})
	paused, err := s.ScheduleNamed(t.Context(), "z paused")
	require.NoError(t, err)
	_, err = s.PauseSchedule(t.Context(), paused.ID, somebody)
	require.NoError(t, err)
	execute(t, conn, `UPDATE warren.schedules SET zone = 'Mars/Base', next_at = now() WHERE name = 'y stuck'`)
	_, err = s.FireSchedules(t.Context(), 10)
	require.ErrorContains(t, err, "the schedule y stuck cannot fire")
	var names []string
	var place jobs.Cursor
	for {
		page, err := s.Schedules(t.Context(), schedule.Filter{}, place, 2)
		require.NoError(t, err)
		for _, one := range page.Items {
			names = append(names, one.Name)
		}
		if place = page.Next; place.Key == "" {
			break
		}
	}
	require.Equal(t, []string{"y stuck", "z paused", "a", "b", "c", ""}, names)
	stuck, halted, err := s.StuckSchedules(t.Context())
	require.NoError(t, err)
	require.Equal(t, [2]int{1, 1}, [2]int{stuck, halted})
}

func TestSchedules_TheNewestFiringsAreKept(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	made := addSchedule(t, s, ping("tick"))
	execute(t, conn, `INSERT INTO warren.schedule_firings (schedule_id, planned_at, fired_at, outcome)
		SELECT $1, at, at, 'published'
		FROM generate_series(now() - interval '1300 seconds', now() - interval '100 seconds', '1 second') at`, made.ID)
	var newest time.Time
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT max(planned_at) FROM warren.schedule_firings`).Scan(&newest))
	_, err := s.Sweep(t.Context(), engine.RetentionDefault)
	require.NoError(t, err)
	require.Equal(t, 1000, number(t, conn, `SELECT count(*) FROM warren.schedule_firings`))
	require.Equal(t, 999, number(t, conn,
		`SELECT round(extract(epoch FROM $1::timestamptz - min(planned_at)))::int FROM warren.schedule_firings`, newest))
}
