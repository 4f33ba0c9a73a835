package views_test

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
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
	require.NoError(t, views.JobBody(views.NewJobModel(d, nil, "/", "warren.jobs.")).Render(context.Background(), &b))
	return b.String()
}

func TestJob_ADeadJobWithoutAnAttemptSaysWhyItIsDead(t *testing.T) {
	now, reason := time.Now(), "unknown job kind \"x\": no worker here handles it"
	d := jobs.Detail{Job: jobs.Job{Kind: "x", Queue: "default", State: jobs.Dead, Origin: "broker", CreatedAt: now, FinishedAt: &now,
		LastError: &reason}}
	body := jobBody(t, d)
	require.Contains(t, body, "unknown job kind")
	require.NotContains(t, body, "yet", "nothing more will come")
}

func TestJob_OfATaskIsCreatedByIt(t *testing.T) {
	for origin, words := range map[string]string{"task": "by its task", "schedule": "by the schedule of its task",
		"app": "by the application"} {
		require.Contains(t, jobBody(t, jobs.Detail{Job: jobs.Job{State: jobs.Scheduled, Origin: origin}}), words)
	}
}

func TestJob_TheJobsPageSaysWhyItWasDispatchedAgain(t *testing.T) {
	now := time.Now()
	d := jobs.Detail{Job: jobs.Job{State: jobs.Queued, Dispatch: 3, CreatedAt: now, QueuedAt: &now},
		Drift: []jobs.Drift{{Dispatch: 3, At: now, Found: jobs.DriftEmpty}}}
	require.Contains(t, jobBody(t, d), "the broker no longer had its message: its queue was empty")
	for _, found := range []string{jobs.DriftGone, jobs.DriftOvertaken, jobs.DriftPurged, jobs.DriftHolder} {
		d.Drift[0].Found = found
		require.Regexp(t, `Re-sent</b>\s*<span class="text-muted break">[a-z ]{10}`, jobBody(t, d), found)
	}
}

func TestJob_OfAPausedQueueSaysWhatItWaitsFor(t *testing.T) {
	now := time.Now()
	d := jobs.Detail{Job: jobs.Job{State: jobs.Queued, Dispatch: 1, CreatedAt: now, QueuedAt: &now}, InOutbox: true, QueuePaused: true,
		Around: jobs.Around{Known: true, PausedAt: &now, PausedBy: "ada"}}
	body := jobBody(t, d)
	require.Contains(t, body, "was paused")
	require.Contains(t, body, "by ada")
}

func TestJob_AnAttemptShowsItsLogAndWhyItWasPutOff(t *testing.T) {
	start := time.Now()
	end := start.Add(time.Second)
	body := jobBody(t, jobs.Detail{Job: jobs.Job{State: jobs.Scheduled, CreatedAt: start}, Attempts: []jobs.Attempt{{
		Number: 1, StartedAt: start, FinishedAt: &end, Outcome: jobs.AttemptSnoozed, Error: "the bank is closed: snoozed for 1h0m0s",
		Log: []jobs.LogLine{{Time: start.Add(1500 * time.Millisecond), Message: "paid <b>", Attrs: []byte(`{"eur":12}`)}}, LogDropped: 7}}})
	for _, words := range []string{"Attempt 1 put off", "the bank is closed", "+1.500s INFO  paid &lt;b&gt; {&#34;eur&#34;:12}",
		"7 earlier lines"} {
		require.Contains(t, body, words)
	}
}

// past returns the time so many seconds after a fixed start.
func past(seconds int) time.Time {
	return time.Date(2026, 11, 30, 3, 0, 0, 0, time.UTC).Add(time.Duration(seconds) * time.Second)
}

func ending(seconds int) *time.Time { t := past(seconds); return &t }

func timeline(d jobs.Detail) (lines []string) {
	for _, s := range views.NewJobModel(d, nil, "/", "warren.jobs.").Steps {
		lines = append(lines, strings.TrimSpace(s.Title+" | "+s.Detail+" | "+s.Length()+s.Gap))
	}
	return lines
}

func TestJob_TheTimelineKeepsAllThatHappenedInOrder(t *testing.T) {
	t.Parallel()
	d := jobs.Detail{Job: jobs.Job{State: jobs.Completed, Origin: "cli", CreatedAt: past(0), Attempt: 4, MaxAttempts: 6, Dispatch: 4,
		Uncounted: 1},
		Attempts: []jobs.Attempt{
			{Number: 1, Lease: 1, Worker: "a", StartedAt: past(1), FinishedAt: ending(11), Outcome: jobs.AttemptCrashed, Error: "gone"},
			{Number: 2, Lease: 2, Worker: "b", StartedAt: past(11), FinishedAt: ending(13), Outcome: jobs.AttemptFailed, Error: "503",
				ErrorClass: "*errors.errorString"},
			{Number: 3, Lease: 3, Worker: "b", StartedAt: past(53), FinishedAt: ending(54), Outcome: jobs.AttemptFailed, Error: "no card",
				ErrorClass: "shop.CardError"},
			{Number: 4, Lease: 4, Worker: "b", StartedAt: past(3600), FinishedAt: ending(3601), Outcome: jobs.AttemptCompleted},
		},
		Deliveries: []jobs.DeliveryRecord{
			{At: past(1), Worker: "a", Lease: 1},
			{At: past(11), Worker: "b", FromWorker: &[]string{"a"}[0], Redelivered: true, DeliveryCount: 1, Lease: 2},
			{At: past(12), Worker: "c", Redelivered: true, Outcome: jobs.DeliveryStale},
		},
		Drift: []jobs.Drift{{At: past(11), Dispatch: 2, Found: jobs.DriftHolder}},
		People: []jobs.AuditEntry{{At: past(60), Action: "job.cancel", Actor: "ada", Reason: "testing"},
			{At: past(3590), Action: "job.retry", Actor: "bob"}},
	}
	require.Equal(t, []string{
		"Created | by the command line |",
		"Waited |  | 1 s",
		"Crash 1: worker lost | a was lost before the job finished | after at most 10 s",
		"Attempt 1 failed | 503 | 2 s",
		"Waited before retry |  | 40 s",
		"Re-sent | its worker was lost |",
		"Redelivered | to c: an outdated message, acknowledged and not run |",
		"Attempt 2 failed | no card | 1 s",
		"Waited before retry |  | 6 s",
		"Cancel requested | by ada: testing |",
		"Retried | by bob | 58 m 50 s",
		"Waited |  | 10 s",
		"Attempt 3 completed |  | 1 s",
	}, timeline(d))
	steps := views.NewJobModel(d, nil, "/", "warren.jobs.").Steps
	require.Equal(t, []string{"Requeued once; moved from a to b"}, steps[3].Run.Notes)
	require.Empty(t, steps[3].Run.Class, "a class that says nothing is not shown")
	require.Equal(t, "shop.CardError", steps[7].Run.Class)
	require.False(t, steps[3].Opens(), "its line says it all")
	require.False(t, steps[7].Opens(), "its line has the class, too")
}

func TestJob_TheWaitForTheNewestRunIsToldApartFromItsSchedule(t *testing.T) {
	t.Parallel()
	d := jobs.Detail{Job: jobs.Job{State: jobs.Completed, CreatedAt: past(0), QueuedAt: ending(60)}, Attempts: []jobs.Attempt{
		{Number: 1, Lease: 1, StartedAt: past(95), FinishedAt: ending(96), Outcome: jobs.AttemptCompleted}}}
	created := "Created | by the application |"
	require.Equal(t, []string{created, "Scheduled |  | 1 m", "Waited for a worker |  | 35 s", "Attempt 1 completed |  | 1 s"}, timeline(d))
	d.QueuedAt = ending(0)
	d.Attempts[0].StartedAt = past(0).Add(11 * time.Millisecond)
	require.Equal(t, []string{created, "Attempt 1 completed |  | 1 m 36 s"}, timeline(d), "a wait of milliseconds is none")
}

func TestJob_AWaitIsAStepWhileItLasts(t *testing.T) {
	t.Parallel()
	failed := jobs.Attempt{Number: 1, Lease: 1, StartedAt: past(1), FinishedAt: ending(2), Outcome: jobs.AttemptFailed, Error: "503"}
	job := func(state jobs.State) jobs.Detail {
		return jobs.Detail{Job: jobs.Job{State: state, CreatedAt: past(0), QueuedAt: ending(1), RunAt: past(60), StartedAt: ending(1),
			FinishedAt: ending(70)}}
	}
	for _, c := range []struct {
		want string
		job  jobs.Detail
	}{
		{"Scheduled |  | 1 m", job(jobs.Scheduled)},
		{"Waiting for a worker |  | 1 s", job(jobs.Queued)},
		{"Waiting in the outbox |  | 1 s", func() jobs.Detail { d := job(jobs.Queued); d.InOutbox = true; return d }()},
		{"Waiting to retry |  | 58 s", func() jobs.Detail { d := job(jobs.Retrying); d.Attempts = []jobs.Attempt{failed}; return d }()},
		{"Dead |  | 1 m 10 s", job(jobs.Dead)},
		{"Cancelled |  | 1 m 10 s", job(jobs.Cancelled)},
	} {
		lines := timeline(c.job)
		require.Equal(t, c.want, lines[len(lines)-1])
	}
}

func TestJob_AStackShowsTheFramesOfTheApplicationFirst(t *testing.T) {
	t.Parallel()
	const stack = "goroutine 7 [running]:\nruntime/debug.Stack()\n\t/go/src/runtime/debug/stack.go:26 +0x5e\n" +
		"panic({0x1, 0x2})\n\t/go/src/runtime/panic.go:787 +0x132\n" +
		"shop/till.(*Till).pay(0xc0, {0x1})\n\t/home/ada/shop/till/pay.go:12 +0x1f\n" +
		"main.handle(...)\n\t/home/ada/shop/main.go:8\n" +
		"github.com/warrenjobs/warren/jobs.Handle[...].func1()\n\t/m/jobs/kind.go:9 +0x2\n"
	at := past(1)
	d := jobs.Detail{Job: jobs.Job{State: jobs.Dead, CreatedAt: past(0)}, Attempts: []jobs.Attempt{{Number: 1, Lease: 1, StartedAt: past(0),
		FinishedAt: &at, Outcome: jobs.AttemptFailed, Error: "panic: no till", Stack: stack}}}
	s := views.NewJobModel(d, nil, "/", "").Steps[1].Run.Stack
	require.Equal(t, []string{"shop/till.(*Till).pay\n    /home/ada/shop/till/pay.go:12",
		"main.handle\n    /home/ada/shop/main.go:8"}, s.Own)
	require.Equal(t, 3, s.Rest)
	for _, text := range []string{"", "no stack at all", "goroutine 1:\n\t", "a\nb"} {
		d.Attempts[0].Stack = text
		require.Empty(t, views.NewJobModel(d, nil, "/", "").Steps[1].Run.Stack.Own, text)
	}
}

func TestJob_ATracebackOfPythonShowsTheFramesOfTheApplicationFirst(t *testing.T) {
	t.Parallel()
	const stack = "Traceback (most recent call last):\n" +
		"  File \"/srv/shop/warren.py\", line 79, in work\n    output = handler(self)\n" +
		"  File \"/usr/lib/python3.11/json/__init__.py\", line 346, in loads\n    return _default_decoder.decode(s)\n" +
		"  File \"/srv/shop/till.py\", line 12, in pay\n    raise ValueError(card)\nValueError: no card\n"
	at := past(1)
	d := jobs.Detail{Job: jobs.Job{State: jobs.Dead, CreatedAt: past(0)}, Attempts: []jobs.Attempt{{Number: 1, Lease: 1, StartedAt: past(0),
		FinishedAt: &at, Outcome: jobs.AttemptFailed, Error: "no card", Stack: stack}}}
	s := views.NewJobModel(d, nil, "/", "").Steps[1].Run.Stack
	require.Equal(t, []string{"pay\n    /srv/shop/till.py:12", "work\n    /srv/shop/warren.py:79"}, s.Own)
	require.Equal(t, 1, s.Rest)
	for _, text := range []string{"", "\n", "\n  File \"", "\n  File \"x\"", "\n  File \"/lib/python3/x.py\", line"} {
		d.Attempts[0].Stack = stack[:len("Traceback (most recent call last):")] + text
		require.NotPanics(t, func() { views.NewJobModel(d, nil, "/", "") })
	}
}

func TestJob_AtAWorkerOfAnotherProgramSaysWhatCancellingDoes(t *testing.T) {
	t.Parallel()
	worker, heard := "py-1", past(3)
	d := jobs.Detail{Job: jobs.Job{State: jobs.Running, CreatedAt: past(0), Worker: &worker}, Foreign: true,
		Around: jobs.Around{Known: true, Now: past(5), HeardAt: &heard, External: true}}
	var b strings.Builder
	require.NoError(t, views.JobActions(views.NewJobModel(d, nil, "/", "warren.jobs.")).Render(t.Context(), &b))
	require.Contains(t, b.String(), "Warren cannot stop a worker of another program")
	body := jobBody(t, d)
	require.Contains(t, body, "of another program")
	require.Contains(t, body, "Last report")
	require.NotContains(t, body, "/workers?", "it is not among Warren's processes")

	d.State, d.Deliveries = jobs.Completed, []jobs.DeliveryRecord{{At: past(4), Worker: "py-2", Outcome: jobs.DeliveryStaleReport}}
	require.Contains(t, timeline(d), "Report not counted | from py-2: its dispatch had ended, or is not the current one | 4 s")
}

func TestJob_ThePageOfAnEndedJobFollowsOnlyTheJob(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, s := range jobs.States {
		body := jobBody(t, jobs.Detail{Job: jobs.Job{State: s, CreatedAt: now, QueuedAt: &now, StartedAt: &now, FinishedAt: &now}})
		require.Equal(t, !s.Ended(), strings.Contains(body, views.TopicUnnamedJobs), s)
	}
}

func TestJob_OfAForeignMessageShowsItsBytesItsPropertiesAndItsRepeats(t *testing.T) {
	t.Parallel()
	again := time.Now()
	d := jobs.Detail{Job: jobs.Job{State: jobs.Dead, Origin: "broker", CreatedAt: again}, Raw: &jobs.RawMessage{Exchange: "orders",
		Body: []byte("Gr\xf6\xdfe\x00"), Size: 6, Properties: json.RawMessage(`{"reply_to":"answers","priority":7}`), Repeats: 2,
		RepeatedAt: &again}}
	body := html.UnescapeString(jobBody(t, d))
	for _, shown := range []string{"47 72 f6 df 65 00", "answers", "priority", "came 2 more times"} {
		require.Contains(t, body, shown)
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
	require.NotContains(t, body, "Attempt 20 ")
	require.Contains(t, body, "Steps in between are not shown")
	for _, part := range []string{"args", "output", "message"} {
		require.Contains(t, body, "/"+part+`" download`)
	}
	d.Output = json.RawMessage(`{"tasks":1,"download":"/files/1","errors":["cut he`)
	require.Equal(t, "/files/1", views.NewJobModel(d, nil, "/", "").Download)
	d.ArgsSize, d.OutputSize, d.Raw = 2, 2, nil
	d.Args, d.Output = json.RawMessage("{}"), json.RawMessage("{}")
	require.NotContains(t, jobBody(t, d), " download")
}

func TestJob_ACompletedOneIsRunAgainOnlyAfterAQuestion(t *testing.T) {
	for state, asks := range map[jobs.State]bool{jobs.Completed: true, jobs.Dead: false} {
		var b strings.Builder
		m := views.NewJobModel(jobs.Detail{Job: jobs.Job{State: state}}, nil, "/", "warren.jobs.")
		require.NoError(t, views.JobActions(m).Render(t.Context(), &b))
		require.Equal(t, asks, strings.Contains(b.String(), "Run this job again?"), state)
	}
}

func TestJob_AnErrorThatRepeatsIsShownOnceAndNamedAfterThat(t *testing.T) {
	const refused = "POST https://payments.example/v1/charges: upstream answered 503 Service Unavailable (request %s)"
	first := fmt.Sprintf(refused, "27dba85e-bb58-40ac-affd-1e728d2773cb")
	other := fmt.Sprintf(refused, "a590bb6e-ab33-43d2-8bb7-82a78b77b67b")
	now := time.Now()
	d := jobs.Detail{Job: jobs.Job{State: jobs.Dead, CreatedAt: now, StartedAt: &now, FinishedAt: &now, MaxAttempts: 4, Attempt: 4,
		LastError: &other}}
	for i, e := range []string{first, other, first, strings.Replace(other, "503", "502", 1)} {
		d.Attempts = append(d.Attempts, jobs.Attempt{Number: i + 1, Lease: i + 1, StartedAt: now, FinishedAt: &now,
			Outcome: jobs.AttemptFailed, Error: e})
	}
	var details []string
	steps := views.NewJobModel(d, nil, "/", "warren.jobs.").Steps
	for _, s := range steps {
		if s.Run != nil {
			details = append(details, s.Detail)
		}
	}
	require.Equal(t, []string{first, "same error as attempt 1, with other IDs", "same error as attempt 1", d.Attempts[3].Error}, details)
	require.True(t, steps[2].Opens(), "the whole error is in it")
	require.False(t, steps[2].Run.Opened)
}

func TestJob_TheVerdictStandsBeforeTheErrorWhichCanBeCopied(t *testing.T) {
	now, reason := time.Now(), "503 from payments"
	d := jobs.Detail{Job: jobs.Job{State: jobs.Dead, MaxAttempts: 1, Attempt: 1, FinishedAt: &now, StartedAt: &now, LastError: &reason},
		Attempts: []jobs.Attempt{{Number: 1, Lease: 1, StartedAt: now, FinishedAt: &now, Outcome: jobs.AttemptFailed, Error: reason}}}
	require.Regexp(t, `(?s)its only attempt failed\. Last error: </p>\s*<p class="mono">503 from payments\s*`+
		`<button[^>]*data-copy="503 from payments"`, jobBody(t, d))
}

func TestJob_TheRunTimeIsThatOfTheLastRunInTheTimeline(t *testing.T) {
	started, ended := time.Now().Add(-time.Minute), time.Now()
	finished := started.Add(2500 * time.Millisecond)
	d := jobs.Detail{Job: jobs.Job{State: jobs.Completed, Attempt: 1, MaxAttempts: 1, StartedAt: &started, FinishedAt: &finished},
		Attempts: []jobs.Attempt{{Number: 1, Lease: 1, StartedAt: started, FinishedAt: &ended, Outcome: jobs.AttemptCompleted}}}
	require.Contains(t, jobBody(t, d), "<dd>1 m</dd>")
}
