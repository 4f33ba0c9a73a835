package store_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/tasks"
	"github.com/warrenjobs/warren/store"
)

func targets(p jobs.Page[jobs.AuditEntry]) []string {
	list := make([]string, len(p.Items))
	for i, e := range p.Items {
		list[i] = e.Target
	}
	return list
}

func TestAudit_LogIsFoundByWhoWhatAndTarget(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	ctx := t.Context()
	for _, e := range []struct{ actor, action, target, reason string }{
		{"ada", "job.retry", "job:01a1fcd4-b4d2-76a3-a77e-ead7d218a09a", ""},
		{"ada", "job.delete", "job:01a1fcd4-b4d2-76a3-a77e-ead7d218a09b", "double invoice"},
		{"bob", "job.retry", "task:42", ""},
		{"bob", "task.update", "task:420", "100%"},
		{"bob", "access.signed_in", "account:admin", ""},
		{"eve", "odd", "no kind", ""},
	} {
		by := jobs.Actor{Name: e.actor, From: "192.0.2.1", Reason: e.reason}
		require.NoError(t, s.WriteAudit(ctx, by, e.action, e.target, map[string]any{"state": "dead"}))
	}
	for _, c := range []struct {
		filter jobs.AuditFilter
		want   []string
	}{
		{jobs.AuditFilter{Actor: "ada"}, []string{"job:01a1fcd4-b4d2-76a3-a77e-ead7d218a09b", "job:01a1fcd4-b4d2-76a3-a77e-ead7d218a09a"}},
		{jobs.AuditFilter{Action: "job.retry"}, []string{"task:42", "job:01a1fcd4-b4d2-76a3-a77e-ead7d218a09a"}},
		{jobs.AuditFilter{Actor: "bob", Action: "job.retry"}, []string{"task:42"}},
		{jobs.AuditFilter{Target: "01a1fcd4-b4d2-76a3-a77e-ead7d218a09a"}, []string{"job:01a1fcd4-b4d2-76a3-a77e-ead7d218a09a"}},
		{jobs.AuditFilter{Target: "task:42"}, []string{"task:42"}},
		{jobs.AuditFilter{Target: "42"}, []string{"task:42"}},
		{jobs.AuditFilter{Target: "no kind"}, []string{"no kind"}},
		{jobs.AuditFilter{Target: "INVOICE"}, []string{"job:01a1fcd4-b4d2-76a3-a77e-ead7d218a09b"}},
		{jobs.AuditFilter{Target: "task:"}, []string{"task:420", "task:42"}},
		{jobs.AuditFilter{Target: "%"}, []string{"task:420"}},
		{jobs.AuditFilter{Actor: "nobody"}, []string{}},
		{jobs.AuditFilter{Target: "a\x00b"}, []string{}},
	} {
		page, err := s.Audit(ctx, c.filter, jobs.Cursor{}, 10)
		require.NoError(t, err)
		require.Equal(t, c.want, targets(page), "%+v", c.filter)
	}
	page, err := s.Audit(ctx, jobs.AuditFilter{Target: "INVOICE"}, jobs.Cursor{}, 10)
	require.NoError(t, err)
	e := page.Items[0]
	require.NotZero(t, e.ID)
	require.NotZero(t, e.At)
	require.JSONEq(t, `{"state":"dead"}`, string(e.Details))
	require.Equal(t, []string{"ada", "192.0.2.1", "job.delete", "double invoice"}, []string{e.Actor, e.From, e.Action, e.Reason})

	execute(t, conn, `UPDATE warren.audit SET at = at - interval '2 hours' WHERE action <> 'odd'`)
	page, err = s.Audit(ctx, jobs.AuditFilter{Within: time.Hour}, jobs.Cursor{}, 10)
	require.NoError(t, err)
	require.Equal(t, []string{"no kind"}, targets(page))

	actors, err := s.AuditActors(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"ada", "bob", "eve"}, actors)
	actions, err := s.AuditActions(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"access.signed_in", "job.delete", "job.retry", "odd", "task.update"}, actions)
}

func TestAudit_TargetsThatExistHaveNames(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	job := addIn(t, s, conn, jobs.Dead)
	task, err := s.CreateTask(t.Context(), tasks.Input{Description: "water the plants", Priority: tasks.PriorityNone}, "app", somebody)
	require.NoError(t, err)
	names, err := s.AuditNames(t.Context(), []string{"job:" + job.String(), "task:" + task.ID.String(), "queue:default", "demo",
		"job:01a1fcd4-b4d2-76a3-a77e-ead7d218a09a"})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"job:" + job.String(): "work", "task:" + task.ID.String(): "water the plants"}, names)
	require.NoError(t, s.Delete(t.Context(), job, somebody))
	page, err := s.Audit(t.Context(), jobs.AuditFilter{Action: "job.delete"}, jobs.Cursor{}, 1)
	require.NoError(t, err)
	require.JSONEq(t, `{"state":"dead","kind":"work"}`, string(page.Items[0].Details), "the kind outlives the job")
}

func TestAudit_AReasonOfAnyLengthIsKeptShort(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	require.NoError(t, s.WriteAudit(t.Context(), jobs.Actor{Name: "ada", Reason: strings.Repeat("é", 500_000)}, "job.delete", "job:1", nil))
	page, err := s.Audit(t.Context(), jobs.AuditFilter{}, jobs.Cursor{}, 1)
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("é", 1000), page.Items[0].Reason)
}

// The write itself notifies the pages, whether an action comes from a page, the API or the command
// line.
func TestAudit_TellsThePagesWhatAnActionChanged(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	heard := func(do func()) (topics []string) {
		do()
		execute(t, conn, `SELECT pg_notify('warren_live', '{"t": "end"}')`)
		for {
			n, err := conn.WaitForNotification(t.Context())
			require.NoError(t, err)
			var change store.Change
			require.NoError(t, json.Unmarshal([]byte(n.Payload), &change))
			if change.Topic == "end" {
				return topics
			}
			topics = append(topics, change.Topic)
		}
	}
	job := addIn(t, s, conn, jobs.Dead)
	task, err := s.CreateTask(t.Context(), tasks.Input{Description: "water the plants", Priority: tasks.PriorityNone}, "app", somebody)
	require.NoError(t, err)
	execute(t, conn, `LISTEN warren_live`)
	for _, c := range []struct {
		name  string
		do    func() error
		tells string
	}{
		{"retry", func() error { return s.Retry(t.Context(), job, somebody) }, engine.TopicJobs},
		{"cancel", func() error { return s.Cancel(t.Context(), job, somebody) }, engine.TopicJobs},
		{"delete", func() error { return s.Delete(t.Context(), job, somebody) }, engine.TopicJobs},
		{"enqueue", func() error { _, err := s.Enqueue(t.Context(), work()); return err }, engine.TopicJobs},
		{"done", func() error { _, err := s.SetTaskDone(t.Context(), task.ID, true, somebody); return err }, engine.TopicTasks},
		{"pause", func() error { return s.PauseQueue(t.Context(), "default", somebody) }, engine.TopicQueues},
	} {
		require.Contains(t, heard(func() { require.NoError(t, c.do()) }), c.tells, c.name)
	}
}
