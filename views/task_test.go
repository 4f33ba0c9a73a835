package views_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/tasks"
	"github.com/warrenjobs/warren/views"
)

func TestTask_SaysWhyItsScheduleDoesNotFire(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC)
	for want, job := range map[string]tasks.Job{
		"It cannot fire: its zone is gone. It is tried again every minute.": {Rule: "0 9 * * *", NextAt: &now, Problem: "its zone is gone"},
		"This rule never comes true.":                                       {Rule: "0 0 30 2 *"},
		"&#34;Mars/Base&#34; is not a known time zone":                      {Rule: "0 9 * * *", Zone: "Mars/Base", NextAt: &now},
		"every day at 09:00 (UTC)":                                          {Rule: "0 9 * * *", NextAt: &now},
		"every day at 00:00 (Europe/Berlin)":                                {Rule: "@daily", Zone: "Europe/Berlin", NextAt: &now},
		`datetime="2026-12-01T08:00:00.000Z"`:                               {Rule: "0 9 * * *", Zone: "Europe/Berlin", NextAt: &now},
	} {
		job.Runs = tasks.RunsSchedule
		model := views.NewTaskModel(tasks.Task{Job: &job}, jobs.Page[jobs.Job]{}, jobs.Cursor{}, uuid.Nil, nil, now)
		var page strings.Builder
		require.NoError(t, views.TaskBody(model).Render(context.Background(), &page))
		require.Contains(t, page.String(), want)
	}
}

func TestTask_SaysThatItsScheduleWaitsForTheRunThatIsOpen(t *testing.T) {
	t.Parallel()
	now, run := time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC), uuid.New()
	next := now.Add(13 * time.Second)
	job := tasks.Job{Runs: tasks.RunsSchedule, Rule: "every 20s", NextAt: &next}
	for open, waits := range map[uuid.UUID]bool{run: true, uuid.Nil: false} {
		m := views.NewTaskModel(tasks.Task{Job: &job}, jobs.Page[jobs.Job]{}, jobs.Cursor{}, open, nil, now)
		var page strings.Builder
		require.NoError(t, views.TaskBody(m).Render(context.Background(), &page))
		require.Equal(t, waits, strings.Contains(page.String(), "is still open. Times that come before it ends are skipped."))
		require.Equal(t, waits, strings.Contains(page.String(), "/jobs/"+run.String()))
	}
}

func TestTask_DoesNotRepeatItsTitle(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("long ", 20)
	for description, rest := range map[string]string{"Call Ada": "", "Call Ada\n\nand Grace\n": "and Grace", long: long} {
		m := views.NewTaskModel(tasks.Task{Description: description}, jobs.Page[jobs.Job]{}, jobs.Cursor{}, uuid.Nil, nil, time.Now())
		require.Equal(t, rest, m.Rest)
	}
}
