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
	Words   string // "Retried job"; an action without words is shown as it is
	Action  string // job.retry; "" when Words say it
	Target  string // the name, when Words say the kind; else the whole target
	Href    string // "" when it leads nowhere
	Details string
	Reason  string
	Actor   string
	From    string
}

// auditWords maps actions to words. An action that is not listed is shown as it is.
var auditWords = map[string]string{
	"access.refused":               "Refused a sign-in",
	"access.signed_in":             "Signed in",
	"access.signed_out":            "Signed out",
	"access.signed_out_everywhere": "Signed out everywhere",
	"demo.remove":                  "Removed demo",
	"failures.delete":              "Deleted failures",
	"failures.retry":               "Retried failures",
	"job.cancel":                   "Cancelled job",
	"job.delete":                   "Deleted job",
	"job.retry":                    "Retried job",
	"job.run":                      "Ran job now",
	"queue.pause":                  "Paused queue",
	"queue.purge":                  "Purged queue",
	"queue.redeclare":              "Deleted leaderless queue",
	"queue.resume":                 "Resumed queue",
	"queue.undo":                   "Retried the purged jobs of queue",
	"outbox.discard":               "Discarded message",
	"outbox.retry":                 "Retried message",
	"process.quiet":                "Quieted process",
	"process.resume":               "Resumed process",
	"process.stop":                 "Stopped process",
	"task.create":                  "Added task",
	"task.delete":                  "Deleted task",
	"task.done":                    "Marked task done",
	"task.edit":                    "Edited task",
	"task.reopen":                  "Reopened task",
	"task.run":                     "Ran task now",
}

// auditTarget returns the name in a target, or the whole target, and the page that it links to.
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
func NewAuditModel(page jobs.Page[jobs.AuditEntry], f jobs.AuditFilter, cursor jobs.Cursor, actors, actions []string) AuditModel {
	m := AuditModel{URL: auditURL(f, cursor), Filter: f, Actors: options("Anybody", actors, f.Actor), Actions: options("Any action",
		actions, f.Action)}
	for i, o := range m.Actions {
		if words := auditWords[o.Value]; words != "" {
			m.Actions[i].Label = words
		}
	}
	for _, e := range page.Items {
		row := AuditRow{ID: e.ID, At: e.At, Words: auditWords[e.Action], Action: e.Action, Details: auditDetails(e.Details),
			Reason: e.Reason, Actor: e.Actor, From: e.From}
		if row.Words == "" {
			row.Words, row.Action = e.Action, ""
		}
		row.Target, row.Href = auditTarget(e.Target)
		m.Rows = append(m.Rows, row)
	}
	m.Pager = pagerOf(page, cursor, func(c jobs.Cursor) string { return auditURL(f, c) })
	m.Pager.Info = shown(len(m.Rows), "newest first")
	m.Empty = ui.EmptyProps{Icon: "audit", Title: "No activity yet",
		Hint: "Whatever somebody does here, through the API or on the command line is written down: who retried, cancelled or deleted " +
			"what, when, from where and why."}
	switch {
	case f != jobs.AuditFilter{}:
		m.Clear, m.Empty.Clear = "/audit", "/audit"
		m.Empty.Title, m.Empty.Hint = "No matching entries",
			"Nothing fits these filters. Remove one of them. A whole id is looked for in all entries, a part of one in the newest 100,000."
	case cursor != jobs.Cursor{}:
		m.Empty.Title, m.Empty.Hint = "Nothing here", "There are no more entries in this direction."
	}
	return m
}

func auditURL(f jobs.AuditFilter, c jobs.Cursor) string {
	return withQuery("/audit", map[string]string{"actor": f.Actor, "action": f.Action, "target": f.Target, "cursor": c.String()})
}
