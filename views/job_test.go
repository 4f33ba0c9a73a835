package views_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/views"
)

func jobBody(t *testing.T, d jobs.Detail) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, views.JobBody(views.NewJobModel(d, "/", "warren.jobs.")).Render(context.Background(), &b))
	return b.String()
}

func TestJob_ADeadJobWithoutAnAttemptSaysWhyItIsDead(t *testing.T) {
	now, reason := time.Now(), "a message with the type \"x\", which is not a known kind of job"
	d := jobs.Detail{Job: jobs.Job{Kind: "x", Queue: "default", State: jobs.Dead, Origin: "broker", CreatedAt: now, FinishedAt: &now,
		LastError: &reason}}
	body := jobBody(t, d)
	require.Contains(t, body, "which is not a known kind of job")
	require.NotContains(t, body, "yet", "nothing more will come")
}

func TestJob_OfATaskIsCommittedByIt(t *testing.T) {
	for origin, words := range map[string]string{"task": "by its task", "schedule": "by the schedule of its task",
		"app": "by the application"} {
		require.Contains(t, jobBody(t, jobs.Detail{Job: jobs.Job{State: jobs.Scheduled, Origin: origin}}), words)
	}
}

func TestJob_TheJobsPageSaysWhyItWasDispatchedAgain(t *testing.T) {
	now := time.Now()
	d := jobs.Detail{Job: jobs.Job{State: jobs.Queued, Dispatch: 3, CreatedAt: now, QueuedAt: &now},
		Drift: []jobs.Drift{{Dispatch: 3, At: now, Found: jobs.DriftEmpty}}}
	require.Contains(t, jobBody(t, d), "the broker no longer had its message: its queue was empty · dispatch 3")
	for _, found := range []string{jobs.DriftGone, jobs.DriftOvertaken, jobs.DriftPurged, jobs.DriftHolder} {
		d.Drift[0].Found = found
		require.Regexp(t, `[a-z] · dispatch 3`, jobBody(t, d), found)
	}
}

func TestJob_OfAPausedQueueSaysWhatItWaitsFor(t *testing.T) {
	now := time.Now()
	d := jobs.Detail{Job: jobs.Job{State: jobs.Queued, Dispatch: 1, CreatedAt: now, QueuedAt: &now}, InOutbox: true, QueuePaused: true}
	require.Contains(t, jobBody(t, d), "its queue is paused")
}

func TestJob_WhatIsWrittenDownIsSaidInWords(t *testing.T) {
	for _, action := range []string{"job.run", "task.edit", "task.done", "task.reopen", "process.resume", "demo.remove", "failures.retry",
		"queue.pause", "queue.purge", "queue.resume", "queue.undo"} {
		m := views.NewAuditModel(jobs.Page[jobs.AuditEntry]{Items: []jobs.AuditEntry{{Action: action, Target: "failure:1"}}},
			jobs.AuditFilter{}, jobs.Cursor{}, nil, nil)
		require.Equal(t, action, m.Rows[0].Action, "words stand before it: %s", m.Rows[0].Words)
		require.Equal(t, "/failures/1", m.Rows[0].Href)
	}
}

func TestJob_AnAttemptShowsItsLogAndWhyItWasPutOff(t *testing.T) {
	start := time.Now()
	end := start.Add(time.Second)
	body := jobBody(t, jobs.Detail{Job: jobs.Job{State: jobs.Scheduled, CreatedAt: start}, Attempts: []jobs.Attempt{{
		Number: 1, StartedAt: start, FinishedAt: &end, Outcome: jobs.AttemptSnoozed, Error: "the bank is closed: snoozed for 1h0m0s",
		Log: []jobs.LogLine{{Time: start.Add(1500 * time.Millisecond), Message: "paid <b>", Attrs: []byte(`{"eur":12}`)}}, LogDropped: 7}}})
	for _, words := range []string{"Attempt 1: Snoozed", "the bank is closed", "+1.500s INFO  paid &lt;b&gt; {&#34;eur&#34;:12}",
		"7 earlier lines"} {
		require.Contains(t, body, words)
	}
}

func TestJob_ItsPageIsBoundedWhateverTheJobHasSeen(t *testing.T) {
	now := time.Now()
	document := json.RawMessage("[" + strings.Repeat(`"a<b",`, 3000) + "1]")
	d := jobs.Detail{Job: jobs.Job{State: jobs.Retrying, CreatedAt: now, Args: document, Output: document}, ArgsSize: 1 << 20,
		OutputSize: 39 << 20, Earlier: true, Raw: &jobs.RawMessage{Body: document, Properties: json.RawMessage(`{}`), Size: 1 << 20}}
	for i := range 60 {
		at := now.Add(time.Duration(i) * time.Minute)
		d.Attempts = append(d.Attempts, jobs.Attempt{Number: i, Worker: "w", StartedAt: at, FinishedAt: &at, Outcome: jobs.AttemptFailed,
			Error: strings.Repeat("no such host ", 1200), Stack: strings.Repeat("main.go:1\n", 800)})
		d.Deliveries = append(d.Deliveries, jobs.DeliveryRecord{At: at, Worker: "w", Redelivered: true})
		d.Drift = append(d.Drift, jobs.Drift{At: at, Found: jobs.DriftGone})
	}
	body := jobBody(t, d)
	require.Less(t, len(body), 200_000)
	require.Contains(t, body, "Attempt 59")
	require.NotContains(t, body, "Attempt 20<")
	require.Contains(t, body, "The newest 25 are shown.")
	for _, part := range []string{"args", "output", "message"} {
		require.Contains(t, body, "/"+part+`" download`)
	}
	d.Output = json.RawMessage(`{"tasks":1,"download":"/files/1","errors":["cut he`)
	require.Equal(t, "/files/1", views.NewJobModel(d, "/", "").Download)
	d.ArgsSize, d.OutputSize, d.Raw = 2, 2, nil
	d.Args, d.Output = json.RawMessage("{}"), json.RawMessage("{}")
	require.NotContains(t, jobBody(t, d), " download")
}

func TestJob_ACompletedOneIsRunAgainOnlyAfterAQuestion(t *testing.T) {
	for state, asks := range map[jobs.State]bool{jobs.Completed: true, jobs.Dead: false} {
		var b strings.Builder
		m := views.NewJobModel(jobs.Detail{Job: jobs.Job{State: state}}, "/", "warren.jobs.")
		require.NoError(t, views.JobActions(m).Render(t.Context(), &b))
		require.Equal(t, asks, strings.Contains(b.String(), "Run this job again?"), state)
	}
}
