package views_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/schedule"
	"github.com/warrenjobs/warren/views"
	"github.com/warrenjobs/warren/views/ui"
)

func TestSchedule_NamesTheTimesThatWereMissed(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC)
	next, paused, from, to := now.Add(time.Minute), now.Add(-3*time.Hour), now.Add(-7*time.Hour), now.Add(-7*time.Hour+10*time.Minute)
	job := uuid.New()
	base := schedule.Schedule{ID: uuid.New(), Anchor: paused, Input: schedule.Input{Name: "nightly",
		Rule: "0 * * * *", Zone: "Europe/Berlin",
		Job: &schedule.Job{Kind: "report", Queue: "default"}}}
	missed := schedule.Firing{PlannedAt: from, FiredAt: to, Outcome: schedule.Enqueued, JobID: &job, JobState: jobs.Dead, Missed: 3,
		MissedFrom: &from, MissedTo: &to}
	for want, change := range map[string]func(s *schedule.Schedule, f *schedule.Firing){
		"3 more times passed from 03:00 CET to 03:10 CET while no scheduler ran": func(
			*schedule.Schedule, *schedule.Firing) {
		},
		"10,000+ more times passed": func(_ *schedule.Schedule, f *schedule.Firing) { f.Missed = schedule.CatchUpMost + 1 },
		"1 more time passed at 03:00 CET while it was paused.": func(_ *schedule.Schedule, f *schedule.Firing) {
			f.Missed, f.Outcome = 1, schedule.Paused
		},
		"It does not fire while it is paused. If it is resumed now, its next times are:": func(s *schedule.Schedule, _ *schedule.Firing) {
			s.PausedAt = &paused
		},
		"Its zone is gone. It is tried again every minute.": func(s *schedule.Schedule, _ *schedule.Firing) {
			s.Problem, s.NextAt = "its zone is gone", &next
		},
		"/jobs/" + job.String():                      func(*schedule.Schedule, *schedule.Firing) {},
		"No date matches this rule: it never fires.": func(s *schedule.Schedule, _ *schedule.Firing) { s.Rule = "0 0 30 2 *" },
		"It has ended.":                              func(s *schedule.Schedule, _ *schedule.Firing) { s.EndsAt = &paused },
		"<td>10:01 CET</td>":                         func(s *schedule.Schedule, _ *schedule.Firing) { s.NextAt = &next },
		"By hand, by ada":                            func(_ *schedule.Schedule, f *schedule.Firing) { f.By = "ada" },
		"skips a time while its last job has not ended": func(s *schedule.Schedule, _ *schedule.Firing) {
			s.Overlap = schedule.OverlapSkip
		},
		`<span class="s-retrying state-word">10 m</span>`: func(*schedule.Schedule, *schedule.Firing) {},
	} {
		s, f := base, missed
		change(&s, &f)
		m := views.NewScheduleModel(s, jobs.Page[schedule.Firing]{Items: []schedule.Firing{f}}, nil, jobs.Cursor{}, now)
		var page strings.Builder
		require.NoError(t, views.ScheduleBody(m).Render(ui.WithNow(context.Background(), now), &page))
		require.Contains(t, page.String(), want)
	}
}

func TestSchedule_ResumingSaysWhatBecomesOfWhatPassed(t *testing.T) {
	t.Parallel()
	now := time.Now()
	paused := now.Add(-3 * time.Hour)
	s := schedule.Schedule{ID: uuid.New(), Anchor: paused, PausedAt: &paused, Input: schedule.Input{Name: "a", Rule: "every 59m",
		Event: &schedule.Event{}}}
	m := views.NewScheduleModel(s, jobs.Page[schedule.Firing]{}, nil, jobs.Cursor{}, now)
	var page strings.Builder
	require.NoError(t, views.ScheduleButtons(m).Render(context.Background(), &page))
	require.Contains(t, page.String(), "3 times have passed since it was paused, and will not be made up. It fires next at ")
}
