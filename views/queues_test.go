package views_test

import (
	"context"
	"html"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/monitor"
	"github.com/warrenjobs/warren/views"
	"github.com/warrenjobs/warren/views/ui"
)

func queuePage(t *testing.T, m views.QueueModel) string {
	t.Helper()
	m.Base, m.JobQueue, m.Now = "/queues/%2F/warren.jobs.mail", "mail", time.Now()
	var b strings.Builder
	require.NoError(t, views.QueueUpdate(m).Render(context.Background(), &b))
	return b.String()
}

func TestQueues_AQueuesPageSaysThatItIsPausedAndWhatHasDrifted(t *testing.T) {
	page := queuePage(t, views.QueueModel{})
	require.Contains(t, page, "/queues/%2F/warren.jobs.mail/pause")
	require.NotContains(t, page, "lost")

	operation, since := uuid.New(), time.Now()
	page = queuePage(t, views.QueueModel{Around: jobs.Around{PausedAt: &since, PausedBy: "anna"}, Drift: engine.DriftStats{Repaired: 2,
		Suspects: 1},
		Purge: &engine.Purge{Operation: operation}, PurgeLeft: 7})
	require.Contains(t, page, "by anna")
	require.Contains(t, page, "2 jobs were re-sent in the last hour")
	require.Contains(t, page, "1 job looks lost and is being watched")
	require.Contains(t, page, "/queues/%2F/warren.jobs.mail/resume")
	require.Contains(t, page, "Retry 7 purged jobs")
	require.Contains(t, page, "/purges/"+operation.String()+"/undo")
	require.Contains(t, page, `name="confirm"`, "the name must be typed")
}

func TestQueues_AnExternalQueuesPageSaysWhoWorksItAndWarnsOfWarrensOwnWorkers(t *testing.T) {
	page := queuePage(t, views.QueueModel{})
	require.Contains(t, page, "/queues/%2F/warren.jobs.mail/external")
	require.Contains(t, page, `value="1h"`)
	external := jobs.Around{Known: true, External: true, ReportWithin: 30 * time.Minute}
	page = queuePage(t, views.QueueModel{Around: external})
	require.Contains(t, page, `value="30m"`)
	require.Contains(t, page, "of other programs")
	require.NotContains(t, page, "No worker consumes this queue")
	external.Workers, external.ReportWithin = 2, 0
	page = html.UnescapeString(queuePage(t, views.QueueModel{Around: external}))
	require.Contains(t, page, `value="off"`)
	require.Contains(t, page, "2 of Warren's workers consume it, too")
}

// three are queues of which two are in trouble.
func three() []monitor.Queue {
	number := func(n int64) *int64 { return &n }
	queue := func(name string, ready, consumers int64, c monitor.Condition) monitor.Queue {
		c.JobQueue = &name
		return monitor.Queue{VHost: "/", Name: "warren.jobs." + name, Type: "quorum", Policy: "warren-jobs", Ready: number(ready),
			Consumers: number(consumers), Condition: c}
	}
	oldest, paused := time.Now().Add(-time.Hour), time.Now()
	return []monitor.Queue{
		queue("mail", 7, 0, monitor.Condition{Trouble: monitor.NoConsumers, Trend: monitor.Growing, OldestAt: &oldest}),
		queue("stock", 0, 1, monitor.Condition{Trouble: monitor.Paused, PausedAt: &paused}),
		queue("fine", 3, 1, monitor.Condition{}),
	}
}

func queuesPage(ctx context.Context, t *testing.T) string {
	t.Helper()
	m, list := views.QueuesModel{URL: "/queues?q=m", Cols: views.QueueCols("trouble", false)}, three()
	for _, q := range list {
		m.Add(q, nil)
	}
	m.Page(jobs.Page[monitor.Queue]{Items: list}, monitor.Totals{Queues: 3, Ready: list[0].Ready}, jobs.Cursor{}, nil)
	var b strings.Builder
	require.NoError(t, views.QueuesTable(m).Render(ctx, &b))
	return b.String()
}

func TestQueues_ARowSaysWhatIsWrongAndCanBePaused(t *testing.T) {
	page := queuesPage(context.Background(), t)
	row := func(name string) string {
		_, rest, _ := strings.Cut(page, `id="queue-/-warren.jobs.`+name+`"`)
		row, _, _ := strings.Cut(rest, "</tr>")
		return row
	}
	for _, words := range []string{"no consumers", "growing", "1 h", `action="/queues/~1/warren.jobs.mail/pause"`,
		`name="back" value="/queues?q=m"`} {
		require.Contains(t, row("mail"), words)
	}
	require.Contains(t, row("stock"), "paused")
	require.Contains(t, row("stock"), `action="/queues/~1/warren.jobs.stock/resume"`)
	require.NotContains(t, row("fine"), "state-word")
	require.Contains(t, page, "Problems first")
	require.Contains(t, page, "All 3 queues")
	require.NotContains(t, page, "Previous", "there is one page")
	require.Equal(t, 1, strings.Count(page, "policy warren-jobs"), "what all have is said once")

	require.NotContains(t, queuesPage(ui.WithReadOnly(context.Background()), t), "<form", "a viewer has no buttons")
}

func TestQueue_SaysWhyNobodyConsumesAndWhatHelps(t *testing.T) {
	q := three()[0]
	q.SampledAt = time.Now()
	page := queuePage(t, views.QueueModel{Queue: q, Row: views.NewQueueRow(q, nil, ""), Jobs: map[jobs.State]jobs.Count{jobs.Queued: 7},
		Around: jobs.Around{Known: true, Now: time.Now()}})
	require.Contains(t, page, "No worker consumes this queue: ")
	require.Contains(t, page, "warren worker --queue mail")
	for _, to := range []string{"/jobs?queue=mail&amp;state=queued", "/jobs?queue=mail&amp;state=running", "/failures?queue=mail",
		"/workers"} {
		require.Contains(t, page, `href="`+to)
	}
}

func TestQueue_AFigureOfBeforeAPurgeSaysSo(t *testing.T) {
	q := three()[2]
	q.SampledAt = time.Now()
	m := views.QueueModel{Queue: q, Row: views.NewQueueRow(q, nil, ""), Jobs: map[jobs.State]jobs.Count{},
		Purge: &engine.Purge{At: time.Now().Add(time.Second)}}
	require.Contains(t, queuePage(t, m), "counted before the purge")
	m.Purge.At = q.SampledAt.Add(-time.Second)
	require.NotContains(t, queuePage(t, m), "counted before the purge")
}

func TestQueue_ARedeliveryOfADeadJobHasTheColourOfDead(t *testing.T) {
	m := views.QueueModel{Base: "/queues/~1/x", JobQueue: "x",
		Redeliveries: []jobs.Redelivery{{Kind: "mail", Outcome: "dead"}, {Outcome: "stale"}}}
	var b strings.Builder
	require.NoError(t, views.QueueRedeliveries(m).Render(context.Background(), &b))
	require.Regexp(t, `badge s-dead"[^§]*<span class="word">dead`, b.String())
	require.Regexp(t, `badge s-cancelled"[^§]*<span class="word">stale`, b.String())
	require.Contains(t, b.String(), ">mail</a>")
}
