package views

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/views/ui"
)

// AuditPart is a piece of the sentence of an audit entry, after its actor.
type AuditPart struct {
	Text string
	Href string
	Mono bool      // an id
	Tail bool      // the end of one: a browser does not break it
	At   time.Time // before the text, in the reader's zone
	Then string    // punctuation after it, which is no part of a link
}

// wording is what stands before the target of an action, and after it.
type wording [2]string

// label names the action without a target: "Asked process to stop".
func (w wording) label() string {
	s := strings.TrimSpace(w[0] + " " + w[1])
	return strings.ToUpper(s[:1]) + s[1:]
}

// auditWords maps actions to words. An action that is not listed is shown as it is.
var auditWords = map[string]wording{
	"access.refused":               {"refused a sign-in"},
	"access.signed_in":             {"signed in"},
	"access.signed_out":            {"signed out"},
	"access.signed_out_everywhere": {"signed out everywhere"},
	"demo.remove":                  {"removed the demo"},
	"events.replay":                {"replayed events to"},
	"failures.delete":              {"deleted failure"},
	"failures.fixed":               {"marked failure", "as fixed"},
	"failures.known":               {"marked failure", "as known"},
	"failures.reopen":              {"reopened failure"},
	"failures.retry":               {"retried failure"},
	"job.cancel":                   {"cancelled job"},
	"job.delete":                   {"deleted job"},
	"job.retry":                    {"retried job"},
	"job.run":                      {"ran job", "now"},
	"jobs.cancel":                  {"cancelled all"},
	"jobs.delete":                  {"deleted all"},
	"jobs.retry":                   {"retried all"},
	"jobs.run":                     {"ran all", "now"},
	"message.publish":              {"published a message to"},
	"queue.external":               {"changed who works queue"},
	"queue.pause":                  {"paused queue"},
	"queue.purge":                  {"purged queue"},
	"queue.redeclare":              {"deleted leaderless queue"},
	"queue.resume":                 {"resumed queue"},
	"queue.undo":                   {"retried the purged jobs of queue"},
	"outbox.discard":               {"discarded message"},
	"outbox.retry":                 {"retried message"},
	"process.quiet":                {"asked process", "to take no new jobs"},
	"process.resume":               {"asked process", "to take jobs again"},
	"process.stop":                 {"asked process", "to stop"},
	"schedule.create":              {"created schedule"},
	"schedule.delete":              {"deleted schedule"},
	"schedule.edit":                {"edited schedule"},
	"schedule.pause":               {"paused schedule"},
	"schedule.resume":              {"resumed schedule"},
	"schedule.run":                 {"ran schedule", "now"},
	"task.create":                  {"created task"},
	"task.delete":                  {"deleted task"},
	"task.done":                    {"completed task"},
	"task.edit":                    {"edited task"},
	"task.reopen":                  {"reopened task"},
	"task.run":                     {"ran task"},
}

// asJob goes on with the sentence of a run: it names the job.
const asJob = "as job"

// auditSentence says what was done to what, and what is known about it, each fact once. names are
// those of jobs and tasks that exist, by target.
func auditSentence(e jobs.AuditEntry, names map[string]string, queue func(string) string) []AuditPart {
	var details map[string]any
	isObject := json.Unmarshal(e.Details, &details) == nil
	words, known := auditWords[e.Action]
	if !known {
		parts := []AuditPart{{Text: e.Action}, {Text: e.Target}}
		if isObject && len(details) > 0 {
			parts[1].Then = ":"
			return append(parts, AuditPart{Text: auditDetails(details)})
		}
		return parts
	}
	if e.Target == "outbox:failing" {
		return []AuditPart{{Text: "retried " + plural(number(details, "rows"), "failing message", "failing messages")}}
	}
	parts := append([]AuditPart{{Text: words[0]}}, auditTarget(e, names, details, queue)...)
	if words[1] != "" {
		parts = append(parts, AuditPart{Text: words[1]})
	}
	for i, fact := range auditFacts(e.Action, details, names) {
		switch {
		case i > 0:
			parts[len(parts)-1].Then = ","
		case fact[0].Text != asJob:
			parts[len(parts)-1].Then = ":"
		}
		parts = append(parts, fact...)
	}
	return parts
}

// auditTarget names the target, by its name where that is known, and links its page.
func auditTarget(e jobs.AuditEntry, names map[string]string, details map[string]any, queue func(string) string) []AuditPart {
	kind, id, _ := strings.Cut(e.Target, ":")
	name, exists := names[e.Target]
	switch kind {
	case "job":
		return jobParts(id, orText(name, details, "kind", "type"), exists)
	case "task":
		description := orText(name, details, "description")
		task := AuditPart{Text: oneLine(cmp.Or(description, id)), Mono: description == ""}
		if exists {
			task.Href = "/tasks/" + url.PathEscape(id)
		}
		return []AuditPart{task}
	case "schedule":
		name = orText(name, details, "name")
		part := AuditPart{Text: cmp.Or(name, id), Mono: name == ""}
		if exists {
			part.Href = "/schedules/" + url.PathEscape(id)
		}
		return []AuditPart{part}
	case "failure":
		text := strings.TrimSuffix(orText("", details, "kind")+": "+oneLine(orText("", details, "error")), ": ")
		return []AuditPart{{Text: cmp.Or(text, id), Href: "/failures/" + url.PathEscape(id)}}
	case "operation":
		part := AuditPart{Text: strings.TrimPrefix(orText("", details, "filter"), "all ")}
		if _, kept := details["operation"]; kept {
			part.Href = "/jobs?operation=" + url.QueryEscape(id)
		}
		return []AuditPart{part}
	case "queue":
		return []AuditPart{{Text: id, Href: queue(id)}}
	case "process":
		return []AuditPart{{Text: id, Href: workerURL(id)}}
	case "outbox":
		return []AuditPart{{Text: orText("", details, "type")}}
	case "subscriber":
		return []AuditPart{{Text: id, Href: eventsURL(engine.EventFilter{Subscriber: id}, jobs.Cursor{})}}
	case "exchange":
		return []AuditPart{{Text: "exchange"}, {Text: id}}
	}
	return nil // of an account or a demo the words say enough
}

// jobParts names a job by its kind and the end of its id, which differs from job to job.
func jobParts(id, kind string, exists bool) []AuditPart {
	href := ""
	if exists {
		href = "/jobs/" + id
	}
	if kind == "" {
		return []AuditPart{{Text: id, Href: href, Mono: true}}
	}
	return []AuditPart{{Text: kind, Href: href}, {Text: idTail(id), Mono: true, Tail: true}}
}

// auditFacts says what is known about an action besides its target.
func auditFacts(action string, details map[string]any, names map[string]string) (facts [][]AuditPart) {
	say := func(format string, args ...any) {
		facts = append(facts, []AuditPart{{Text: fmt.Sprintf(format, args...)}})
	}
	kind, _, _ := strings.Cut(action, ".")
	switch {
	case action == "task.run" || action == "schedule.run":
		if id := orText("", details, "job"); id != "" {
			kind, exists := names["job:"+id]
			facts = append(facts, append([]AuditPart{{Text: asJob}}, jobParts(id, kind, exists)...))
		}
	case action == "task.edit" || action == "schedule.edit":
		return taskChanges(details)
	case kind == "job":
		if state := orText("", details, "state"); state != "" {
			say("was %s", state)
		}
	case action == "failures.fixed" || action == "failures.known" || action == "failures.reopen":
		if was := orText("", details, "was"); was != "" {
			say("was %s", was)
		}
	case kind == "jobs" || kind == "failures" || action == "queue.undo":
		say("%s", plural(number(details, "done"), "job", "jobs"))
		if skipped := number(details, "skipped"); skipped > 0 {
			say("%d skipped", skipped)
		}
	case action == "queue.external":
		external, _ := details["external"].(bool)
		if !external {
			say("Warren's workers alone")
			break
		}
		say("workers of other programs")
		if within, err := time.ParseDuration(orText("", details, "report_within")); err == nil {
			say("report within %s", engine.DurationText(within))
		} else {
			say("need not report")
		}
	case action == "queue.purge":
		say("cancelled %s", plural(number(details, "cancelled"), "job", "jobs"))
		say("dropped %s", plural(number(details, "messages"), "message", "messages"))
	case kind == "message":
		say("key %q", orText("", details, "key"))
		say("%s", ui.Bytes(int64(number(details, "size"))))
		if routed, _ := details["routed"].(bool); !routed {
			say("returned")
		}
	case kind == "outbox":
		to := orText("", details, "key")
		if exchange := orText("", details, "exchange"); exchange != "" {
			to = exchange + " · " + to
		}
		say("to %s", to)
		if tries := number(details, "tries"); tries > 0 {
			say("after %s", plural(tries, "try", "tries"))
		}
	case action == "demo.remove":
		say("%s", plural(number(details, "jobs"), "job", "jobs"))
		say("%s", plural(number(details, "tasks"), "task", "tasks"))
	}
	return facts
}

// fieldLabels are the labels of fields of a task and of its job, where they differ from the names.
var fieldLabels = map[string]string{"start_at": "start", "due_at": "due", "kind": "job", "rule": "schedule",
	"catch_up": "missed times", "args": "arguments"}

// taskChanges says what an edit changed: "priority none → low".
func taskChanges(details map[string]any) (facts [][]AuditPart) {
	for _, name := range slices.Sorted(maps.Keys(details)) {
		pair, _ := details[name].([]any)
		if len(pair) != 2 {
			continue
		}
		was, had := pair[0].(map[string]any)
		is, has := pair[1].(map[string]any)
		if !had || !has {
			facts = append(facts, changed(name, pair[0], pair[1]))
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(is)) { // the job of the task
			if !reflect.DeepEqual(was[name], is[name]) {
				facts = append(facts, changed(name, was[name], is[name]))
			}
		}
	}
	return facts
}

func changed(name string, was, is any) []AuditPart {
	label := cmp.Or(fieldLabels[name], name)
	if name == "args" {
		return []AuditPart{{Text: label + " changed"}}
	}
	from, to := valuePart(was), valuePart(is)
	if text := label + " " + from.Text + " → " + to.Text; from.At.IsZero() && to.At.IsZero() && utf8.RuneCountInString(text) <= unbroken {
		return []AuditPart{{Text: strings.ReplaceAll(text, " ", "\u00a0")}}
	}
	return []AuditPart{{Text: label}, from, {Text: "→"}, to}
}

// unbroken is the number of characters up to which a change stays on one line.
const unbroken = 40

// valuePart shows the value of a field of a task.
func valuePart(v any) AuditPart {
	switch v := v.(type) {
	case nil:
		return AuditPart{Text: "none"}
	case bool:
		return AuditPart{Text: map[bool]string{true: "yes", false: "no"}[v]}
	case map[string]any:
		return AuditPart{Text: orText("", v, "kind")}
	case string:
		if at, err := time.Parse(time.RFC3339, v); err == nil {
			return AuditPart{At: at}
		}
		if strings.ContainsAny(v, " \t\n") {
			return AuditPart{Text: "“" + oneLine(v) + "”"}
		}
		return AuditPart{Text: v}
	}
	return AuditPart{Text: fmt.Sprint(v)}
}

// orText returns text, or else the first of the details that is a text and not empty.
func orText(text string, details map[string]any, names ...string) string {
	for _, name := range names {
		if s, ok := details[name].(string); ok && text == "" {
			text = s
		}
	}
	return text
}

func number(details map[string]any, name string) int {
	n, _ := details[name].(float64)
	return int(n)
}

// auditDetails is an object on one line: "state: dead · tries: 3".
func auditDetails(fields map[string]any) string {
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
