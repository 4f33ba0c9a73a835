package views_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/views"
)

// said returns the sentence of an audit entry as a reader sees it, with [links].
func said(e jobs.AuditEntry) string {
	m := views.NewAuditModel(views.AuditFacts{Page: jobs.Page[jobs.AuditEntry]{Items: []jobs.AuditEntry{e}},
		Names: map[string]string{"job:0198-8f21a09b": "mail.send", "task:7": "Water the plants", "task:8": "Try the checkout"},
		Queue: func(queue string) string { return "/queues/~1/" + queue }})
	words := []string{}
	for _, p := range m.Rows[0].Sentence {
		text := p.Text
		if p.Href != "" {
			text = "[" + p.Text + " " + p.Href + "]"
		}
		if !p.At.IsZero() {
			text = p.At.Format(time.DateTime) + text
		}
		words = append(words, strings.ReplaceAll(text, "\u00a0", "_")+p.Then)
	}
	return strings.Join(words, " ")
}

func TestAudit_EachEntryIsASentence(t *testing.T) {
	t.Parallel()
	const job = "job:0198-8f21a09b"
	for _, c := range []struct{ action, target, details, want string }{
		{"job.retry", job, `{"state":"dead","kind":"mail.send"}`, "retried job [mail.send /jobs/0198-8f21a09b] …8f21a09b: was dead"},
		{"job.run", job, `{"state":"scheduled"}`, "ran job [mail.send /jobs/0198-8f21a09b] …8f21a09b now: was scheduled"},
		{"job.delete", "job:0198-00000001", `{"state":"dead","kind":"http"}`, "deleted job http …00000001: was dead"},
		{"job.delete", "job:0198-00000001", `{"state":"dead"}`, "deleted job 0198-00000001: was dead"},
		{"failures.retry", "failure:9", `{"kind":"http","error":"timeout","done":87,"skipped":3}`,
			"retried failure [http: timeout /failures/9]: 87 jobs, 3 skipped"},
		{"failures.delete", "failure:9", `{"done":1,"skipped":0}`, "deleted failure [9 /failures/9]: 1 job"},
		{"failures.known", "failure:9", `{"kind":"http","error":"timeout","was":"open"}`,
			"marked failure [http: timeout /failures/9] as known: was open"},
		{"failures.reopen", "failure:9", `{"kind":"http","error":"timeout","was":"fixed"}`,
			"reopened failure [http: timeout /failures/9]: was fixed"},
		{"queue.pause", "queue:mail", ``, "paused queue [mail /queues/~1/mail]"},
		{"queue.purge", "queue:mail", `{"cancelled":2,"messages":1}`,
			"purged queue [mail /queues/~1/mail]: cancelled 2 jobs, dropped 1 message"},
		{"outbox.discard", job, `{"outbox":3,"type":"mail.send","key":"mail","tries":2,"state":"queued"}`,
			"discarded message [mail.send /jobs/0198-8f21a09b] …8f21a09b: to mail, after 2 tries"},
		{"outbox.retry", "outbox:4", `{"outbox":4,"type":"order.paid","exchange":"orders","key":"eu","tries":1}`,
			"retried message order.paid: to orders · eu, after 1 try"},
		{"outbox.retry", "outbox:failing", `{"rows":12}`, "retried 12 failing messages"},
		{"process.stop", "process:shop-1", `{"id":"x"}`, "asked process [shop-1 /workers#process-shop-1] to stop"},
		{"task.create", "task:7", `{"description":"Water the plants"}`, "created task [Water the plants /tasks/7]"},
		{"task.reopen", "task:8", `{"done":[true,false]}`, "reopened task [Try the checkout /tasks/8]"},
		{"task.delete", "task:9", `{"description":"Gone","version":2}`, "deleted task Gone"},
		{"task.run", "task:7", `{"job":"0198-8f21a09b"}`,
			"ran task [Water the plants /tasks/7] as job [mail.send /jobs/0198-8f21a09b] …8f21a09b"},
		{"task.edit", "task:7", `{"priority":["none","low"],"due_at":[null,"2026-12-01T08:00:00Z"],"description":["a b","c"]}`,
			"edited task [Water the plants /tasks/7]: description_“a_b”_→_c, due none → 2026-12-01 08:00:00, " +
				"priority_none_→_low"},
		{"task.edit", "task:7",
			`{"job":[{"kind":"http","args":{"a":1},"rule":"every 1m"},{"kind":"http","args":{"a":2},"rule":"every 5m"}]}`,
			"edited task [Water the plants /tasks/7]: arguments changed, schedule_“every_1m”_→_“every_5m”"},
		{"task.edit", "task:7", `{"job":[{"kind":"http"},null],"done":[false,true]}`,
			"edited task [Water the plants /tasks/7]: done_no_→_yes, job_http_→_none"},
		{"demo.remove", "demo", `{"jobs":120,"tasks":8}`, "removed the demo: 120 jobs, 8 tasks"},
		{"access.signed_in", "account:admin", ``, "signed in"},
		{"report.send", "report:7", `{"to":"ada"}`, "report.send report:7: to: ada"},
	} {
		require.Equal(t, c.want, said(jobs.AuditEntry{Action: c.action, Target: c.target, Details: json.RawMessage(c.details)}))
	}
}

func TestAudit_ADayIsAHeadingOnce(t *testing.T) {
	t.Parallel()
	at := func(s string) jobs.AuditEntry {
		day, err := time.Parse(time.DateTime, s)
		require.NoError(t, err)
		return jobs.AuditEntry{At: day}
	}
	m := views.NewAuditModel(views.AuditFacts{Page: jobs.Page[jobs.AuditEntry]{Items: []jobs.AuditEntry{
		at("2026-11-30 00:10:00"), at("2026-11-29 23:50:00"), at("2026-11-29 01:00:00")}}})
	require.Equal(t, []bool{true, true, false}, []bool{m.Rows[0].NewDay, m.Rows[1].NewDay, m.Rows[2].NewDay})
}
