package views

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/views/ui"
)

// AuditModel is the audit log.
type AuditModel struct {
	URL     string // of exactly this list, for the live update
	Rows    []AuditRow
	Filter  jobs.AuditFilter
	Actors  []ui.Option
	Actions []ui.Option
	Pager   ui.PagerProps
	Empty   ui.EmptyProps
	Clear   string // link without the filters; "" when there are none
}

// AuditRow is one line of the audit log.
type AuditRow struct {
	ID      int64
	At      time.Time
	Words   string // "Retried job"; an action without words is its own
	Action  string // job.retry; "" when Words say it
	Target  string // the name, when Words say the kind; else the whole target
	Href    string // "" when it leads nowhere
	Details string
	Reason  string
	Actor   string
	From    string
}

// auditWords says in words what was done. What is not listed is shown by its own word.
var auditWords = map[string]string{
	"access.refused":   "Refused a sign-in",
	"access.signed_in": "Signed in",
	"demo.remove":      "Removed demo",
	"failures.delete":  "Deleted failures",
	"failures.retry":   "Retried failures",
	"job.cancel":       "Cancelled job",
	"job.delete":       "Deleted job",
	"job.retry":        "Retried job",
	"job.run":          "Ran job now",
	"queue.pause":      "Paused queue",
	"queue.purge":      "Purged queue",
	"queue.redeclare":  "Deleted leaderless queue",
	"queue.resume":     "Resumed queue",
	"queue.undo":       "Retried the purged jobs of queue",
	"outbox.discard":   "Discarded message",
	"outbox.retry":     "Retried message",
	"process.quiet":    "Quieted process",
	"process.resume":   "Resumed process",
	"process.stop":     "Stopped process",
	"task.create":      "Added task",
	"task.delete":      "Deleted task",
	"task.done":        "Marked task done",
	"task.edit":        "Edited task",
	"task.reopen":      "Reopened task",
	"task.run":         "Ran task now",
}

// auditTarget splits a target into its kind and name, and says where it leads.
func auditTarget(target string) (name, href string) {
	kind, name, found := strings.Cut(target, ":")
	if !found {
		return target, ""
	}
	switch kind {
	case "job":
		if id, err := uuid.Parse(name); err == nil {
			return name, "/jobs/" + id.String()
		}
	case "task":
		return name, "/tasks/" + url.PathEscape(name)
	case "failure":
		return name, "/failures/" + url.PathEscape(name)
	case "process":
		return name, "/workers"
	case "outbox":
		return name, "/outbox"
	case "account":
		return name, ""
	}
	return target, ""
}

// auditDetails is a JSON object on one line: "state: dead · tries: 3".
func auditDetails(raw json.RawMessage) string {
	var fields map[string]any
	if len(raw) == 0 {
		return ""
	}
	if json.Unmarshal(raw, &fields) != nil {
		return oneLine(string(raw))
	}
	parts := make([]string, 0, len(fields))
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		value := fields[name]
		switch value.(type) {
		case map[string]any, []any:
			if text, err := json.Marshal(value); err == nil {
				value = string(text)
			}
		}
		parts = append(parts, fmt.Sprintf("%s: %v", name, value))
	}
	return oneLine(strings.Join(parts, " · "))
}

// NewAuditModel shapes a page of the audit log.
func NewAuditModel(page jobs.AuditPage, f jobs.AuditFilter, cursor jobs.AuditCursor, actors, actions []string) AuditModel {
	m := AuditModel{URL: auditURL(f, cursor), Filter: f, Actors: options("Anybody", actors, f.Actor), Actions: options("Any action", actions, f.Action)}
	for i, o := range m.Actions {
		if words := auditWords[o.Value]; words != "" {
			m.Actions[i].Label = words
		}
	}
	for _, e := range page.Entries {
		row := AuditRow{ID: e.ID, At: e.At, Words: auditWords[e.Action], Action: e.Action, Details: auditDetails(e.Details), Reason: e.Reason, Actor: e.Actor, From: e.From}
		if row.Words == "" {
			row.Words, row.Action = e.Action, ""
		}
		row.Target, row.Href = auditTarget(e.Target)
		m.Rows = append(m.Rows, row)
	}
	m.Pager = ui.PagerProps{Info: "newest first"}
	if len(m.Rows) > 0 {
		m.Pager.Info = ui.Number(int64(len(m.Rows))) + " shown, newest first"
	}
	if cursor != (jobs.AuditCursor{}) {
		m.Pager.First = auditURL(f, jobs.AuditCursor{})
	}
	if page.Newer != (jobs.AuditCursor{}) {
		m.Pager.Newer = auditURL(f, page.Newer)
	}
	if page.Older != (jobs.AuditCursor{}) {
		m.Pager.Older = auditURL(f, page.Older)
	}
	m.Empty = ui.EmptyProps{Icon: "audit", Title: "Nothing was done yet",
		Hint: "Whatever somebody does here, through the API or on the command line is written down: who retried, cancelled or deleted what, when, from where and why."}
	switch {
	case f != jobs.AuditFilter{}:
		m.Clear = "/audit"
		m.Empty.Title, m.Empty.Hint = "No entry fits", "Nothing fits these filters. Remove one of them. A whole id is looked for in all entries, a part of one in the newest 100,000."
	case cursor != jobs.AuditCursor{}:
		m.Empty.Title, m.Empty.Hint = "Nothing here", "There are no more entries in this direction."
	}
	return m
}

func auditURL(f jobs.AuditFilter, c jobs.AuditCursor) string {
	q := url.Values{}
	for name, value := range map[string]string{"actor": f.Actor, "action": f.Action, "target": f.Target, "cursor": c.String()} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if len(q) == 0 {
		return "/audit"
	}
	return "/audit?" + q.Encode()
}
