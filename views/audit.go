package views

import (
	"time"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/views/ui"
)

// AuditFacts is the data of a page of the audit log.
type AuditFacts struct {
	Page    jobs.Page[jobs.AuditEntry]
	Filter  jobs.AuditFilter
	Cursor  jobs.Cursor
	Actors  []string
	Actions []string
	Names   map[string]string         // of jobs and tasks, by target
	Queue   func(queue string) string // the page of a job queue
}

// AuditModel is the audit log.
type AuditModel struct {
	URL     string // of exactly this list, for the live update
	Rows    []AuditRow
	Filter  jobs.AuditFilter
	Actors  []ui.Option
	Actions []ui.Option
	Ages    []ui.Option
	From    bool // it is known of some row from where it came
	Pager   ui.PagerProps
	Empty   ui.EmptyProps
	Clear   string // link without the filters; "" when there are none
}

// AuditRow is one line of the audit log.
type AuditRow struct {
	jobs.AuditEntry
	Sentence []AuditPart
	NewDay   bool // it is the first of its day, in UTC
}

// NewAuditModel shapes a page of the audit log.
func NewAuditModel(f AuditFacts) AuditModel {
	m := AuditModel{URL: auditURL(f.Filter, f.Cursor), Filter: f.Filter, Actors: options("Anyone", f.Actors, f.Filter.Actor),
		Actions: options("Any action", f.Actions, f.Filter.Action), Ages: ages(f.Filter.Within)}
	for i, o := range m.Actions {
		if words, known := auditWords[o.Value]; known {
			m.Actions[i].Label = words.label()
		}
	}
	var day string
	for _, e := range f.Page.Items {
		row := AuditRow{AuditEntry: e, Sentence: auditSentence(e, f.Names, f.Queue)}
		if d := e.At.UTC().Format(time.DateOnly); d != day {
			day, row.NewDay = d, true
		}
		m.Rows, m.From = append(m.Rows, row), m.From || e.From != ""
	}
	m.Pager = pagerOf(f.Page, f.Cursor, func(c jobs.Cursor) string { return auditURL(f.Filter, c) })
	m.Pager.Info = shown(len(m.Rows), "newest first")
	m.Empty = ui.EmptyProps{Icon: "audit", Title: "No activity yet",
		Hint: "Everything that somebody does here, through the API or on the command line is recorded: who did what, when, from where " +
			"and why."}
	switch {
	case f.Filter != jobs.AuditFilter{}:
		m.Clear, m.Empty.Clear = "/audit", "/audit"
		m.Empty.Title, m.Empty.Hint = "No matching entries",
			"Remove one of the filters. A whole id is looked up in all entries; a part of one and a time, in the newest 100,000."
	case f.Cursor != jobs.Cursor{}:
		m.Empty.Title, m.Empty.Hint = "No more entries", "There are no entries in this direction."
	}
	return m
}

func (m AuditModel) columns() []ui.Col {
	cols := []ui.Col{{Label: "Time", Class: "w-clock", Zoned: true}, {Label: "Who", Class: "w-name " + ui.OnlyDesktop},
		{Label: "Action", Class: "grow"}, {Label: "Reason", Class: "w-who " + ui.OnlyDesktop}}
	if m.From {
		cols = append(cols, ui.Col{Label: "From", Class: "w-who " + ui.OnlyWide})
	}
	return cols
}

func auditURL(f jobs.AuditFilter, c jobs.Cursor) string {
	return withQuery("/audit", map[string]string{"actor": f.Actor, "action": f.Action, "target": f.Target,
		"within": withinParam(f.Within), "cursor": c.String()})
}
