package views_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/tasks"
	"github.com/warrenjobs/warren/views"
)

func TestTask_SaysWhyItsScheduleDoesNotFire(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC)
	for want, job := range map[string]tasks.Job{
		"It cannot fire: its zone is gone. It is tried again every minute.": {Rule: "0 9 * * *", NextAt: &now, Problem: "its zone is gone"},
		"No date matches this rule: it never fires.":                        {Rule: "0 0 30 2 *"},
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

func TestTask_ItsEventsSayWhatTheyChanged(t *testing.T) {
	t.Parallel()
	var list []engine.Event
	for _, body := range []string{`{"description":"b","due_at":null,"version":3}`,
		`{"description":"a","due_at":"2026-11-30","version":2}`, `{"description":"a","due_at":"2026-11-30","version":1}`} {
		list = append(list, engine.Event{ID: uuid.New(), Key: "tasks.event.updated", Body: []byte(body)})
	}
	m := views.NewTaskModel(tasks.Task{ID: uuid.New()}, jobs.Page[jobs.Job]{}, jobs.Cursor{}, uuid.Nil, list, night)
	var page strings.Builder
	require.NoError(t, views.Task(views.Page{}, m).Render(t.Context(), &page))
	require.Equal(t, 1, strings.Count(page.String(), "description, due<"))
	require.Equal(t, 3, strings.Count(page.String(), ">updated<"))
}

func TestTask_DoesNotRepeatItsTitle(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("long ", 20)
	for description, rest := range map[string]string{"Call Ada": "", "Call Ada\n\nand Grace\n": "and Grace", long: long} {
		m := views.NewTaskModel(tasks.Task{Description: description}, jobs.Page[jobs.Job]{}, jobs.Cursor{}, uuid.Nil, nil, time.Now())
		require.Equal(t, rest, m.Rest)
	}
}

func TestTask_RunsThatAreToComeStandBeforeThoseThatWere(t *testing.T) {
	t.Parallel()
	now, key := time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC), "task:x:start:1"
	ended := now.Add(45 * time.Millisecond)
	args := []byte(`{"n":1}`)
	run := jobs.Job{ID: uuid.New(), Kind: "work", Args: args, State: jobs.Completed, StartedAt: &now, FinishedAt: &ended}
	planned := jobs.Job{ID: uuid.New(), Kind: "work", Args: args, State: jobs.Scheduled, RunAt: now.Add(time.Hour), UniqueKey: &key}
	other := jobs.Job{ID: uuid.New(), Kind: "work", Args: []byte(`{"n":2}`), State: jobs.Completed}
	task := tasks.Task{Job: &tasks.Job{Kind: "work", Args: args, Runs: tasks.RunsAtStart}}
	m := views.NewTaskModel(task, jobs.Page[jobs.Job]{Items: []jobs.Job{run, other, planned}}, jobs.Cursor{}, uuid.Nil, nil, now)
	var second []string
	for _, r := range m.Runs {
		second = append(second, r.Second)
	}
	require.Equal(t, []string{"planned", "run manually · took 45 ms", "n\u00a02"}, second, "arguments only where they are not the task's")
}

func TestTasks_ATaskWithoutADueTimeSaysWhenItRunsNext(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC)
	next := now.Add(time.Hour)
	atStart := views.NewTaskRow(tasks.Task{StartAt: &next, Job: &tasks.Job{Kind: "work", Runs: tasks.RunsAtStart}}, now)
	require.Equal(t, next, atStart.RunsAt)
	require.Equal(t, []string{"work"}, atStart.Job, "the time says the rest")
	ran := views.NewTaskRow(tasks.Task{StartAt: &now, Job: &tasks.Job{Kind: "work", Runs: tasks.RunsAtStart}}, now)
	require.Zero(t, ran.RunsAt)
	require.Equal(t, []string{"work", "once, at the start time"}, ran.Job)
	scheduled := tasks.Task{Job: &tasks.Job{Kind: "work", Runs: tasks.RunsSchedule, Rule: "every 1h", NextAt: &next}}
	require.Equal(t, next, views.NewTaskRow(scheduled, now).RunsAt)
	scheduled.Done = true
	require.Zero(t, views.NewTaskRow(scheduled, now).RunsAt)
}
