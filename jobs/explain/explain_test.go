package explain_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/explain"
)

var now = time.Date(2026, 11, 30, 3, 12, 0, 0, time.UTC)

func at(seconds int) time.Time { return now.Add(time.Duration(seconds) * time.Second) }

func ptr[T any](v T) *T { return &v }

// job returns a job in a state that was read together with who could move it on.
func job(state jobs.State, changes ...func(*jobs.Detail)) jobs.Detail {
	d := jobs.Detail{Job: jobs.Job{Kind: "mail", Queue: "default", State: state, MaxAttempts: 5},
		Around: jobs.Around{Known: true, Relays: 1, Schedulers: 1, Workers: 2, Slots: 4, Now: now}}
	for _, change := range changes {
		change(&d)
	}
	return d
}

func runs(outcomes ...string) func(*jobs.Detail) {
	return func(d *jobs.Detail) {
		for i, o := range outcomes {
			d.Attempts = append(d.Attempts, jobs.Attempt{Number: i + 1, Lease: i + 1, Outcome: o})
			if d.Attempt++; o == jobs.AttemptCrashed || o == jobs.AttemptReleased {
				d.MaxAttempts, d.Uncounted = d.MaxAttempts+1, d.Uncounted+1
			}
			if o == jobs.AttemptCrashed {
				d.Crashes++
			}
		}
	}
}

func failedWith(text string) func(*jobs.Detail) { return func(d *jobs.Detail) { d.LastError = &text } }

func TestExplain_SaysWhyAJobIsInItsStateAndWhatComesNext(t *testing.T) {
	t.Parallel()
	type detail = *jobs.Detail
	queued := func(d detail) { d.QueuedAt = ptr(at(-60)) }
	outbox := func(d detail) { d.InOutbox = true }
	finished := func(d detail) { d.FinishedAt = ptr(at(-5)) }
	runsOn := func(d detail) {
		d.Worker, d.StartedAt, d.Around.HolderSeen = ptr("web-1/7"), ptr(at(-20)), ptr(at(-1))
	}
	unread := func(d detail) { d.Around = jobs.Around{} }
	foreign := func(d detail) {
		d.Around.External, d.Foreign, d.Around.ReportWithin, d.Around.HolderSeen = true, d.State == jobs.Running, time.Hour, nil
	}
	const waits = "Waiting since 2026-11-30 03:11:00 UTC"
	for _, c := range []struct {
		want string
		job  jobs.Detail
	}{
		{"Scheduled: runs at 2026-11-30 03:12:40 UTC.", job(jobs.Scheduled, func(d detail) { d.RunAt = at(40) })},
		{"Scheduled: runs at 2026-11-30 03:11:20 UTC.", job(jobs.Scheduled, unread, func(d detail) { d.RunAt = at(-40) })},
		{"Due since 2026-11-30 03:11:20 UTC: no scheduler is running, which would send it.",
			job(jobs.Scheduled, func(d detail) { d.RunAt, d.Around.Schedulers = at(-40), 0 })},
		{"Due since 2026-11-30 03:11:20 UTC: the scheduler has not sent it yet.", job(jobs.Retrying, func(d detail) { d.RunAt = at(-40) })},
		{"Put off by its handler: runs again at 2026-11-30 03:12:40 UTC: the bank is closed",
			job(jobs.Scheduled, runs(jobs.AttemptSnoozed), func(d detail) { d.RunAt, d.Attempts[0].Error = at(40), "the bank is closed" })},
		{"Retries at 2026-11-30 03:12:10 UTC (attempt 3 of 5) after: 503 from payments",
			job(jobs.Retrying, runs("failed", "failed"), failedWith("503 from\npayments"), func(d detail) { d.RunAt = at(10) })},
		{"Retries at 2026-11-30 03:12:10 UTC (attempt 2 of 5) after: 503",
			job(jobs.Retrying, runs("crashed", "released", "failed"), failedWith("503"), func(d detail) { d.RunAt = at(10) })},
		{"Retries at 2026-11-30 03:12:10 UTC (attempt 2 of 5).", job(jobs.Retrying, runs("failed"), func(d detail) { d.RunAt = at(10) })},

		{waits + ".", job(jobs.Queued, queued, unread)},
		{"Waiting.", job(jobs.Queued, unread)},
		{"Waiting: the queue default was paused at 2026-11-30 03:10:00 UTC by ada.", job(jobs.Queued, queued, outbox, func(d detail) {
			d.QueuePaused, d.Around.PausedAt, d.Around.PausedBy = true, ptr(at(-120)), "ada"
		})},
		{"Waiting: the queue default is being purged.", job(jobs.Queued, queued, outbox, func(d detail) { d.QueuePaused = true })},
		{waits + " in the outbox: no relay is running.", job(jobs.Queued, queued, outbox, func(d detail) { d.Around.Relays = 0 })},
		{"Waiting in the outbox; the next try to send it is at 2026-11-30 03:12:08 UTC. It failed: queue full",
			job(jobs.Queued, queued, outbox, func(d detail) { d.OutboxError, d.Around.NextTry = "queue full", ptr(at(8)) })},
		{"Waiting in the outbox: it could not be sent: queue full",
			job(jobs.Queued, queued, outbox, func(d detail) { d.OutboxError = "queue full" })},
		{waits + " in the outbox for the relay.", job(jobs.Queued, queued, outbox)},
		{waits + ": no worker consumes the queue default.", job(jobs.Queued, queued, func(d detail) { d.Around.Workers = 0 })},
		{waits + " for a worker of another program, as those work the queue default.",
			job(jobs.Queued, queued, foreign, func(d detail) { d.Around.Workers, d.Around.Unhandled = 0, true })},
		{waits + " in the queue default: a worker of another program seems to have it, and has not reported since " +
			"2026-11-30 03:11:30 UTC. Without a report its attempt fails at 2026-11-30 04:11:30 UTC.",
			job(jobs.Queued, queued, foreign, func(d detail) { d.Around.HeardAt = ptr(at(-30)) })},
		{waits + ": no worker of the queue default handles the kind mail.",
			job(jobs.Queued, queued, func(d detail) { d.Around.Unhandled = true })},
		{waits + ": the workers of the queue default are quiet or stopping and take no new jobs.",
			job(jobs.Queued, queued, func(d detail) { d.Around.Quiet, d.Around.Slots = 2, 0 })},
		{waits + ": all 4 slots of the queue default are busy.", job(jobs.Queued, queued, func(d detail) { d.Around.Busy = 4 })},
		{waits + " for a worker of the queue default.", job(jobs.Queued, queued, func(d detail) { d.Around.Busy = 3 })},

		{"Running on web-1/7 since 2026-11-30 03:11:40 UTC (attempt 1 of 5).", job(jobs.Running, runsOn, runs(""))},
		{"Running on web-1/7 since 2026-11-30 03:11:40 UTC (attempt 1 of 5, 2 crashes).",
			job(jobs.Running, runsOn, runs("crashed", "crashed", ""))},
		{"Running on web-1/7 since 2026-11-30 03:11:40 UTC (attempt 1 of 5).", job(jobs.Running, runsOn, runs(""), unread)},
		{"Its worker web-1/7 was last seen at 2026-11-30 03:11:48 UTC. If it stays silent, another worker takes over the job.",
			job(jobs.Running, runsOn, runs(""), func(d detail) { d.Around.HolderSeen = ptr(at(-12)) })},
		{"Its worker web-1/7 is gone: another worker will take over the job.",
			job(jobs.Running, runsOn, runs(""), func(d detail) { d.Around.HolderSeen = nil })},
		{"Running on web-1/7, a worker of another program, since 2026-11-30 03:11:40 UTC (attempt 1 of 5).",
			job(jobs.Running, runsOn, runs(""), foreign, func(d detail) { d.Around.HeardAt = ptr(at(-12)) })},
		{"Running on web-1/7, a worker of another program, since 2026-11-30 03:11:40 UTC (attempt 1 of 5), which has not reported since " +
			"2026-11-30 03:10:00 UTC. Without a report its attempt fails at 2026-11-30 04:10:00 UTC.",
			job(jobs.Running, runsOn, runs(""), foreign, func(d detail) { d.Around.HeardAt = ptr(at(-120)) })},
		{"Running on web-1/7, a worker of another program, since 2026-11-30 03:11:40 UTC (attempt 1 of 5), which has not reported since " +
			"2026-11-30 03:10:00 UTC.", job(jobs.Running, runsOn, runs(""), foreign, func(d detail) {
			d.Around.HeardAt, d.Around.ReportWithin = ptr(at(-120)), 0
		})},
		{"Asked to stop at 2026-11-30 03:11:57 UTC by ada; its handler has not stopped yet.",
			job(jobs.Running, runsOn, runs(""), func(d detail) {
				d.CancelRequestedAt, d.People = ptr(at(-3)), []jobs.AuditEntry{{Action: "job.cancel", Actor: "ada"}}
			})},

		{"Completed at 2026-11-30 03:11:55 UTC on attempt 2 of 5.", job(jobs.Completed, finished, runs("failed", "completed"))},
		{"Completed at 2026-11-30 03:11:55 UTC on attempt 1 of 5, after 2 crashes.",
			job(jobs.Completed, finished, runs("crashed", "crashed", "completed"))},

		{"Dead since 2026-11-30 03:11:55 UTC: its worker died 3 times while it ran. It won't be retried automatically.",
			job(jobs.Dead, finished, runs("crashed", "crashed", "crashed"), failedWith("its worker died 3 times while it ran"))},
		{"Dead since 2026-11-30 03:11:55 UTC: no attempt of 5 is left. Last error: 503",
			job(jobs.Dead, finished, runs("completed", "failed", "failed", "failed", "failed"), failedWith("503"))},
		{"Dead since 2026-11-30 03:11:55 UTC: all 5 attempts failed. Last error: 503",
			job(jobs.Dead, finished, runs("failed", "failed", "crashed", "failed", "failed", "failed"), failedWith("503"))},
		{"Dead since 2026-11-30 03:11:55 UTC: its only attempt failed. Last error: 503",
			job(jobs.Dead, finished, func(d detail) { d.MaxAttempts = 1 }, runs("failed"), failedWith("503"))},
		{"Dead since 2026-11-30 03:11:55 UTC: attempt 1 of 5 failed and is not retried: no such card",
			job(jobs.Dead, finished, runs("failed"), failedWith("no such card"))},
		{"Dead since 2026-11-30 03:11:55 UTC: a message without a type", job(jobs.Dead, finished, failedWith("a message without a type"))},
		{"Dead since 2026-11-30 03:11:55 UTC: the reason is not known.", job(jobs.Dead, finished)},

		{"Cancelled at 2026-11-30 03:11:55 UTC by ada: wrong customer", job(jobs.Cancelled, finished, func(d detail) {
			d.People = []jobs.AuditEntry{{Action: "job.retry", Actor: "bob"},
				{Action: "job.cancel", Actor: "ada", Reason: "wrong customer"}}
		})},
		{"Cancelled at 2026-11-30 03:11:55 UTC: its queue was purged", job(jobs.Cancelled, finished, failedWith("its queue was purged"),
			func(d detail) { d.People = []jobs.AuditEntry{{Action: "job.retry", Actor: "bob"}} })},
		{"Cancelled at 2026-11-30 03:11:55 UTC.", job(jobs.Cancelled, finished)},
	} {
		require.Equal(t, c.want, explain.Of(c.job).String())
	}
}

func TestExplain_CountsCrashesApart(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]jobs.Detail{
		"attempt 1 of 5":                  job(jobs.Running, runs("")),
		"attempt 1 of 5, 2 crashes":       job(jobs.Running, runs("crashed", "crashed", "")),
		"attempt 2 of 5, 1 crash":         job(jobs.Running, runs("failed", "crashed", "released", "")),
		"no attempt of 5 used, 3 crashes": job(jobs.Dead, runs("crashed", "crashed", "crashed")),
		"no attempt of 5 used":            job(jobs.Queued),
		"attempt 3 of 3":                  job(jobs.Dead, func(d *jobs.Detail) { d.Attempt, d.MaxAttempts = 3, 3 }),
	} {
		require.Equal(t, want, explain.TriesOf(d).String())
	}
}

func TestExplain_AListSaysInAFewWordsWhyAJobWaits(t *testing.T) {
	t.Parallel()
	type detail = *jobs.Detail
	for want, d := range map[string]jobs.Detail{
		"":                 job(jobs.Queued),
		"queue paused":     job(jobs.Queued, func(d detail) { d.InOutbox, d.QueuePaused, d.Around.PausedAt = true, true, ptr(at(-120)) }),
		"in the outbox":    job(jobs.Queued, func(d detail) { d.InOutbox = true }),
		"no relay running": job(jobs.Queued, func(d detail) { d.InOutbox, d.Around.Relays = true, 0 }),
		"can't be sent":    job(jobs.Queued, func(d detail) { d.InOutbox, d.OutboxError = true, "queue full" }),
		"no worker":        job(jobs.Queued, func(d detail) { d.Around.Workers = 0 }),
		"kind not handled": job(jobs.Queued, func(d detail) { d.Around.Unhandled = true }),
		"all slots busy":   job(jobs.Queued, func(d detail) { d.Around.Busy = 4 }),
	} {
		require.Equal(t, want, explain.Short(d))
	}
	require.Empty(t, explain.Short(job(jobs.Queued, func(d detail) { d.Around = jobs.Around{} })), "what was not read is not said")
	require.Empty(t, explain.Short(job(jobs.Running)))
}
