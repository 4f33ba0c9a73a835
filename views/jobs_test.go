package views_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/views"
	"github.com/warrenjobs/warren/views/ui"
)

func rowsOf(t *testing.T, list ...jobs.Job) string {
	t.Helper()
	rows := make([]views.JobRow, len(list))
	for i, j := range list {
		rows[i] = views.NewJobRow(j)
	}
	var b strings.Builder
	require.NoError(t, views.JobTable("Jobs", rows).Render(ui.WithNow(context.Background(), night), &b))
	return b.String()
}

func TestJobs_ARowSaysWhyADeadJobUsedNoAttempt(t *testing.T) {
	t.Parallel()
	dead := jobs.Job{State: jobs.Dead, MaxAttempts: 5, FinishedAt: &night}
	require.Contains(t, rowsOf(t, dead), ">not run<")
	dead.Attempt, dead.Uncounted, dead.MaxAttempts, dead.Crashes = 3, 3, 8, 3
	require.Contains(t, rowsOf(t, dead), ">3 crashes<")
}

func TestJobs_ARetryThatIsLateStandsOutAndSaysWhy(t *testing.T) {
	t.Parallel()
	require.NotContains(t, rowsOf(t, jobs.Job{State: jobs.Retrying, RunAt: ago(4 * time.Second)}), "not sent yet")
	late := rowsOf(t, jobs.Job{State: jobs.Retrying, RunAt: ago(10 * time.Second)})
	require.Contains(t, late, "not sent yet")
	require.Contains(t, late, "s-retrying state-word")
}

func TestJobs_TheLeadNamesTheOrderOfTheList(t *testing.T) {
	t.Parallel()
	require.Equal(t, "All jobs, newest created first", views.JobsLead(jobs.Filter{}))
	require.Equal(t, "Those that match the filters, newest created first", views.JobsLead(jobs.Filter{Kind: "mail"}))
	require.Equal(t, "Most recently ended first", views.JobsLead(jobs.Filter{State: jobs.Dead}))
}
