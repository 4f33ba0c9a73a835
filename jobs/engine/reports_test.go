package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
)

// external marks the queue default and starts relay, scheduler and the taker of reports.
func (b *bundle) external(within time.Duration) {
	b.t.Helper()
	b.topology()
	set := engine.ExternalQueue{External: true, ReportWithin: jobs.Duration(within)}
	require.NoError(b.t, b.store.SetExternal(b.ctx, "default", set, jobs.Actor{Name: "ann"}))
	b.relay()
	b.scheduler()
	b.reports()
}

func (b *bundle) reports() {
	r := &engine.Reports{Store: b.store, Results: b.broker, Announce: silent, Log: b.log, Every: 50 * time.Millisecond,
		Overtaken: 100 * time.Millisecond}
	b.background(r.Run)
}

// report publishes a report about a dispatch of a job, as a worker of another program does.
func (b *bundle) report(id uuid.UUID, dispatch int, kind, body string) {
	b.t.Helper()
	b.publish("", "warren.results", amqp.Publishing{Type: kind, CorrelationId: fmt.Sprintf("%s.%d", id, dispatch), Body: []byte(body)})
}

func TestReports_EndARunByTheRulesOfGoHandlers(t *testing.T) {
	b := setup(t)
	b.external(time.Hour)
	ids := b.steps(4, jobs.MaxAttempts(2))
	done, failed, permanent, retried := ids[0], ids[1], ids[2], ids[3]

	b.report(done, 1, "started", `{"worker":"py-1"}`)
	job := b.eventually(done, "started", in(jobs.Running))
	require.True(t, job.Foreign)
	require.Equal(t, "py-1", *job.Worker)
	b.report(done, 1, "progress", `{"worker":"py-1","progress":{"done":3,"total":10}}`)
	b.eventually(done, "progress", func(j jobs.Detail) bool { return j.Progress != nil && j.Progress.Done == 0.3 })
	b.report(done, 1, "completed", `{"worker":"py-1","output":{"sum":7}}`)
	b.report(done, 1, "completed", `{"worker":"py-1","output":{"sum":7}}`) // reports may come twice
	job = b.ended(done, jobs.Completed)
	require.JSONEq(t, `{"sum":7}`, string(job.Output))
	require.Equal(t, []int{1, 1, 1}, []int{job.Attempt, job.Dispatch, job.Lease})

	b.report(failed, 1, "failed", `{"worker":"py-1","error":"boom","class":"ValueError","stack":"Traceback"}`)
	b.report(failed, 1, "failed", `{"worker":"py-1","error":"boom","class":"ValueError","stack":"Traceback"}`)
	job = b.eventually(failed, "is tried again", in(jobs.Retrying))
	require.Len(t, job.Attempts, 1)
	require.Equal(t, []string{"boom", "ValueError", "Traceback", "py-1"},
		[]string{job.Attempts[0].Error, job.Attempts[0].ErrorClass, job.Attempts[0].Stack, job.Attempts[0].Worker})
	require.Greater(t, time.Until(job.RunAt), time.Second, "after a backoff")
	require.NoError(t, b.store.RunNow(b.ctx, failed, jobs.Actor{}))
	b.report(failed, 2, "failed", `{"worker":"py-2","error":"boom"}`)
	require.Len(t, b.ended(failed, jobs.Dead).Attempts, 2)

	b.report(permanent, 1, "failed", `{"error":"no such card","permanent":true}`)
	require.Equal(t, 1, b.ended(permanent, jobs.Dead).Attempt)

	b.report(retried, 1, "failed", `{"error":"once"}`)
	b.eventually(retried, "failed once", in(jobs.Retrying))
	require.NoError(t, b.store.RunNow(b.ctx, retried, jobs.Actor{}))
	b.report(retried, 2, "completed", ``)
	b.ended(retried, jobs.Completed)
	for _, id := range ids {
		for _, d := range b.job(id).Deliveries {
			require.NotEqual(t, jobs.DeliveryStaleReport, d.Outcome, "no report was stale")
		}
	}
	require.Zero(t, b.number(`SELECT count(*) FROM warren.awaited_reports`))
}

func TestReports_CountForTheCurrentDispatchAlone(t *testing.T) {
	b := setup(t)
	b.external(time.Hour)
	id := b.step()
	b.report(id, 1, "started", `{"worker":"slow"}`)
	b.eventually(id, "started", in(jobs.Running))
	require.NoError(t, b.store.Cancel(b.ctx, id, jobs.Actor{}))
	job := b.job(id)
	require.Equal(t, jobs.Cancelled, job.State, "Warren cannot stop the worker, and does not wait for it")
	require.Equal(t, jobs.AttemptCancelled, job.Attempts[0].Outcome)
	b.report(id, 1, "completed", `{"worker":"slow","output":1}`)
	stale := func(n int) func(jobs.Detail) bool {
		return func(j jobs.Detail) bool {
			found := 0
			for _, d := range j.Deliveries {
				if d.Outcome == jobs.DeliveryStaleReport {
					found++
				}
			}
			return found == n
		}
	}
	b.eventually(id, "has a stale report", stale(1))
	require.NoError(t, b.store.Retry(b.ctx, id, jobs.Actor{}))
	b.report(id, 1, "failed", `{"worker":"other","error":"late"}`)
	b.eventually(id, "has another stale report", stale(2))
	b.report(id, 2, "completed", `{"worker":"quick","output":2}`)
	job = b.ended(id, jobs.Completed)
	require.JSONEq(t, `2`, string(job.Output))
}

func TestReports_OfAJobAtAGoWorkerAreStale(t *testing.T) {
	b := setup(t)
	release := make(chan struct{})
	b.work = func(context.Context, *jobs.Run) error { <-release; return nil }
	b.topology()
	b.relay()
	b.reports()
	b.worker("w")
	id := b.step()
	b.eventually(id, "runs", in(jobs.Running))
	b.report(id, 1, "failed", `{"error":"not mine"}`)
	b.eventually(id, "stale", func(j jobs.Detail) bool {
		return j.Deliveries[len(j.Deliveries)-1].Outcome == jobs.DeliveryStaleReport
	})
	close(release)
	b.ended(id, jobs.Completed)
}

func TestReports_ThatCannotBeReadAreKeptAsTheyCame(t *testing.T) {
	b := setup(t)
	b.external(time.Hour)
	job := b.step()
	b.outboxIsEmpty()
	own := job.String() + ".1"
	for i, m := range []struct {
		says string
		amqp.Publishing
	}{
		{"correlation_id", amqp.Publishing{Type: "completed"}},
		{"correlation_id", amqp.Publishing{Type: "completed", CorrelationId: job.String()}},
		{"correlation_id", amqp.Publishing{Type: "completed", CorrelationId: job.String() + ".0"}},
		{"must be started, progress, completed or failed", amqp.Publishing{Type: "done", CorrelationId: own}},
		{"cannot be read", amqp.Publishing{Type: "completed", CorrelationId: own, Body: []byte("\xff")}},
		{"cannot be read", amqp.Publishing{Type: "completed", CorrelationId: own, Body: []byte(`{"worker":7}`)}},
		{"no error", amqp.Publishing{Type: "failed", CorrelationId: own, Body: []byte(`{"error":"  "}`)}},
		{"no progress", amqp.Publishing{Type: "progress", CorrelationId: own, Body: []byte(`{}`)}},
		{"total, more than 0", amqp.Publishing{Type: "progress", CorrelationId: own, Body: []byte(`{"progress":{"done":1,"total":0}}`)}},
		{"larger than 1 MiB", amqp.Publishing{Type: "completed", CorrelationId: own,
			Body: []byte(`{"output":"` + strings.Repeat("x", 1<<20) + `"}`)}},
		{"does not know", amqp.Publishing{Type: "completed", CorrelationId: uuid.NewString() + ".1"}},
		{"does not know", amqp.Publishing{Type: "completed", CorrelationId: job.String() + ".2"}},
	} {
		b.publish("", "warren.results", m.Publishing)
		kept := b.listed(i + 2)[0]
		require.Equal(t, jobs.Dead, kept.State)
		require.Equal(t, engine.KindReport, kept.Kind)
		require.Contains(t, *kept.LastError, m.says)
		require.Equal(t, string(m.Body), string(kept.Raw.Body))
		require.Contains(t, string(kept.Raw.Properties), `"type":"`+m.Type)
	}
	require.Equal(t, jobs.Queued, b.job(job).State)
	b.unacked("warren.results", 0)
	require.Zero(t, b.ready("warren.results"))
}

func TestReports_AWorkerThatDoesNotReportIsNoticed(t *testing.T) {
	b := setup(t)
	b.external(time.Hour)
	ids := b.steps(3, jobs.MaxAttempts(1))
	silent, overtaken, waits := ids[0], ids[1], ids[2]
	b.outboxIsEmpty()
	b.exec(`UPDATE warren.jobs SET queued_at = queued_at - interval '1 minute' WHERE id = '` + overtaken.String() + `'`)
	b.report(silent, 1, "started", `{"worker":"py-1"}`)
	b.eventually(silent, "started", in(jobs.Running))
	b.eventually(overtaken, "its report is awaited", func(j jobs.Detail) bool { return j.Around.HeardAt != nil })
	require.Nil(t, b.job(waits).Around.HeardAt, "it was dispatched at about the same time as the started one")
	set := engine.ExternalQueue{External: true, ReportWithin: jobs.Duration(time.Second)} // counts for those that run, too
	require.NoError(t, b.store.SetExternal(b.ctx, "default", set, jobs.Actor{}))
	for id, worker := range map[uuid.UUID]string{silent: "py-1", overtaken: ""} {
		job := b.ended(id, jobs.Dead)
		require.Equal(t, "no report within 1s", *job.LastError)
		require.Equal(t, []string{"no report", worker}, []string{job.Attempts[0].ErrorClass, job.Attempts[0].Worker})
	}
	require.Equal(t, jobs.Queued, b.job(waits).State)
	require.Equal(t, 1, b.job(overtaken).Dispatch, "it was not dispatched again as if it were lost")
}

func TestReports_ADyingWorkersMessageGoesOnInTheSameAttempt(t *testing.T) {
	b := setup(t)
	b.external(time.Hour)
	id := b.step()
	b.report(id, 1, "started", `{"worker":"py-1"}`)
	b.report(id, 1, "started", `{"worker":"py-2"}`) // the broker redelivered the message
	job := b.eventually(id, "goes on", func(j jobs.Detail) bool { return j.Worker != nil && *j.Worker == "py-2" })
	require.Equal(t, []int{1, 1, 0}, []int{job.Attempt, job.Lease, job.Crashes})
	last := job.Deliveries[len(job.Deliveries)-1]
	require.True(t, last.Redelivered)
	require.Equal(t, []string{"py-1", "py-2"}, []string{*last.FromWorker, last.Worker})
	b.report(id, 1, "completed", `{"worker":"py-2"}`)
	require.Len(t, b.ended(id, jobs.Completed).Attempts, 1)
}

func TestReports_ARejectedMessageOfAnExternalQueueIsAFailedAttempt(t *testing.T) {
	b := setup(t)
	b.policy() // dead letters
	b.external(time.Hour)
	ids := b.steps(2)
	b.outboxIsEmpty()
	b.report(ids[0], 1, "started", `{"worker":"node-1"}`)
	b.eventually(ids[0], "started", in(jobs.Running))
	b.reject(2)
	for _, id := range ids {
		job := b.eventually(id, "is tried again", in(jobs.Retrying))
		require.Equal(t, "rejected", job.Attempts[0].ErrorClass)
	}
}

// A queue that both consume: a message that the broker took from another program's worker goes on at
// Warren's.
func TestReports_AGoWorkerTakesOverFromAWorkerThatDied(t *testing.T) {
	b := setup(t)
	b.work = func(context.Context, *jobs.Run) error { return nil }
	b.external(time.Hour)
	id := b.step()
	b.outboxIsEmpty()
	ch := b.amqp()
	b.until(text("taken"), func() bool {
		_, ok, err := ch.Get("warren.jobs.default", false)
		require.NoError(t, err)
		return ok
	})
	b.report(id, 1, "started", `{"worker":"py-1"}`)
	b.eventually(id, "started", in(jobs.Running))
	b.worker("w")
	require.NoError(t, ch.Close())
	job := b.ended(id, jobs.Completed)
	require.Equal(t, []int{2, 1}, []int{job.Lease, job.Crashes})
	require.Equal(t, "w", *job.Worker)
}
