package views_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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
		"at 0 9 * * * (UTC)":                                                {Rule: "0 9 * * *", NextAt: &now},
		"@daily (Europe/Berlin)":                                            {Rule: "@daily", Zone: "Europe/Berlin", NextAt: &now},
		`datetime="2026-12-01T08:00:00.000Z"`:                               {Rule: "0 9 * * *", Zone: "Europe/Berlin", NextAt: &now},
	} {
		job.Runs = tasks.RunsSchedule
		var page strings.Builder
		require.NoError(t, views.TaskBody(views.NewTaskModel(tasks.Task{Job: &job}, nil, nil, now)).Render(context.Background(), &page))
		require.Contains(t, page.String(), want)
	}
}
