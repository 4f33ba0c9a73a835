// Package tasks is the to-do list: tasks, the jobs that tasks own, and the files that tasks are
// imported from and exported to.
package tasks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/schedule"
)

// Task is an entry of the to-do list. Version increases by one with each change, including the
// deletion, so that it orders the task's events.
type Task struct {
	ID          uuid.UUID  `json:"id"`
	Description string     `json:"description"`
	Priority    Priority   `json:"priority"`
	StartAt     *time.Time `json:"start_at"`
	DueAt       *time.Time `json:"due_at"`
	Done        bool       `json:"done"`
	DoneAt      *time.Time `json:"done_at"`
	Version     int        `json:"version"`
	Origin      string     `json:"origin"` // web, api, cli, import, demo
	CreatedAt   time.Time  `json:"created_at"`
	UpdatedAt   time.Time  `json:"updated_at"`
	Job         *Job       `json:"job"`
}

// Overdue reports whether the task is not done and was due before now.
func (t Task) Overdue(now time.Time) bool { return !t.Done && t.DueAt != nil && t.DueAt.Before(now) }

// Priority is the priority of a task.
type Priority string

// The priorities.
const (
	PriorityNone   Priority = "none"
	PriorityLow    Priority = "low"
	PriorityMedium Priority = "medium"
	PriorityHigh   Priority = "high"
)

// Priorities lists all priorities, highest first.
var Priorities = []Priority{PriorityHigh, PriorityMedium, PriorityLow, PriorityNone}

// Job is the job that a task owns, and when it runs.
type Job struct {
	Kind  string          `json:"kind"`
	Args  json.RawMessage `json:"args"`
	Queue string          `json:"queue"`
	Runs  Runs            `json:"runs"`
	Rule  string          `json:"rule,omitempty"` // of a schedule
	Zone  string          `json:"zone,omitempty"` // IANA name; UTC if empty
	// NextAt is when the schedule fires next; nil if it does not. Read-only.
	NextAt *time.Time `json:"next_at"`
	// Problem is why the schedule cannot fire, although its rule was valid once. Read-only.
	Problem string `json:"problem,omitempty"`
}

// SameArgs reports whether two args are the same JSON value, however they are written.
func SameArgs(a, b json.RawMessage) bool {
	if bytes.Equal(a, b) {
		return true
	}
	x, err1 := decode(a)
	y, err2 := decode(b)
	return err1 == nil && err2 == nil && reflect.DeepEqual(x, y)
}

func decode(raw json.RawMessage) (v any, err error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // float64 would not tell large numbers apart
	err = dec.Decode(&v)
	return v, err
}

// Runs is when a task's job runs automatically. It can also be run by hand at any time.
type Runs string

// The values of Runs.
const (
	RunsNow      Runs = "now"      // once, when the task is created
	RunsAtStart  Runs = "start"    // once, at the task's start
	RunsSchedule Runs = "schedule" // by rule, while the task is not done
)

// Input holds the fields of a task that callers can set.
type Input struct {
	Description string     `json:"description"`
	Priority    Priority   `json:"priority"`
	StartAt     *time.Time `json:"start_at"`
	DueAt       *time.Time `json:"due_at"`
	Done        bool       `json:"done"`
	Job         *Job       `json:"job"`
}

// Input returns the current values of the task, as the basis of an update.
func (t Task) Input() Input {
	in := Input{t.Description, t.Priority, t.StartAt, t.DueAt, t.Done, nil}
	if t.Job != nil {
		job := *t.Job
		job.NextAt, job.Problem = nil, ""
		in.Job = &job
	}
	return in
}

// timeLayouts are as forms, psql and spreadsheets write times. A fraction of a second may follow
// the seconds of each.
var timeLayouts = []string{
	time.RFC3339, "2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02 15:04",
	time.DateOnly, time.DateTime, "2006-01-02 15:04Z07:00", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z07",
	"2006-01-02 15:04:05 Z0700",
}

// ParseTime parses the start or due time of a task from a form, a file or the API: 2026-01-31,
// 2026-01-31 15:04 (both UTC) or RFC 3339. For an empty string it returns nil.
func ParseTime(s string) (*time.Time, error) { return ParseTimeIn(s, "UTC") }

// ParseTimeIn is ParseTime for what was typed by somebody whose clocks show the time of that zone, an IANA name: it is
// the zone of a time that names none. A time that these clocks skip when they go forward is refused.
func ParseTimeIn(s, zone string) (*time.Time, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return nil, nil //nolint:nilnil // no time, no error
	}
	loc, err := schedule.LoadZone(zone)
	if err != nil {
		return nil, err
	}
	text, isUTC := strings.CutSuffix(s, " UTC")
	if isUTC {
		loc = time.UTC
	}
	for _, layout := range timeLayouts {
		t, err := time.ParseInLocation(layout, text, loc)
		if err != nil {
			continue
		}
		if written, _ := time.Parse(layout, text); written.Format(time.DateTime) != t.Format(time.DateTime) {
			return nil, fmt.Errorf("%.40q does not exist in %s: the clocks go forward there", s, loc)
		}
		t = t.UTC()
		return &t, nil
	}
	return nil, fmt.Errorf("%.40q is not a valid time. Use 2026-01-31, 2026-01-31 15:04 (%s) or 2026-01-31T15:04:05+01:00", s, loc)
}

const descriptionMax = 2000 // characters

// Prepare fills in the defaults and validates the input; the error is FieldErrors. Unlike the
// function Prepare it does not check the job against its kind.
func (in *Input) Prepare() error {
	in.Description = strings.TrimSpace(in.Description)
	in.StartAt, in.DueAt = kept(in.StartAt), kept(in.DueAt)
	if in.Priority == "" {
		in.Priority = PriorityNone
	}
	var errs jobs.FieldErrors
	add := func(bad bool, field, format string, a ...any) {
		if bad {
			errs = append(errs, jobs.FieldError{Field: field, Message: fmt.Sprintf(format, a...)})
		}
	}
	add(in.Description == "", "description", "is required")
	add(utf8.RuneCountInString(in.Description) > descriptionMax, "description", "has more than %d characters", descriptionMax)
	add(!jobs.PlainText(in.Description), "description", "must be plain text")
	add(!slices.Contains(Priorities, in.Priority), "priority", "%.40q is not a valid priority: it is none, low, medium or high",
		in.Priority)
	add(outOfRange(in.StartAt), "start_at", "is out of range")
	add(outOfRange(in.DueAt), "due_at", "is out of range")
	add(in.StartAt != nil && in.DueAt != nil && in.DueAt.Before(*in.StartAt), "due_at", "is before the start")
	if in.Job != nil {
		errs = append(errs, in.Job.prepare(in.StartAt)...)
	}
	return errs.OrNil()
}

// kept returns a time with the precision of the database.
func kept(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	micro := t.Truncate(time.Microsecond)
	return &micro
}

func outOfRange(t *time.Time) bool {
	return t != nil && (t.UTC().Year() < 1970 || t.UTC().Year() > 9999)
}

func (j *Job) prepare(start *time.Time) (errs jobs.FieldErrors) {
	job := jobs.NewJob{Kind: j.Kind, Args: j.Args, Queue: j.Queue}
	if wrong, ok := job.Prepare().(jobs.FieldErrors); ok { //nolint:errorlint // Prepare returns nothing else
		for _, e := range wrong {
			errs = append(errs, jobs.FieldError{Field: "job." + e.Field, Message: e.Message})
		}
	}
	j.Args, j.Queue, j.NextAt, j.Problem = job.Args, job.Queue, nil, ""
	j.Rule, j.Zone = strings.Join(strings.Fields(j.Rule), " "), strings.TrimSpace(j.Zone)
	switch j.Runs {
	case RunsNow:
	case RunsAtStart:
		if start == nil {
			errs = append(errs, jobs.FieldError{Field: "start_at", Message: "is required, as the job runs then"})
		}
	case RunsSchedule:
		if _, err := schedule.LoadZone(j.Zone); err != nil {
			return append(errs, jobs.FieldError{Field: "job.zone", Message: err.Error()})
		}
		if _, err := schedule.Parse(j.Rule, j.Zone); err != nil {
			errs = append(errs, jobs.FieldError{Field: "job.rule", Message: err.Error()})
		}
		return errs
	default:
		errs = append(errs, jobs.FieldError{Field: "job.runs",
			Message: fmt.Sprintf("%.40q is not a valid time to run: it is now, start or schedule", j.Runs)})
	}
	j.Rule, j.Zone = "", ""
	return errs
}

// Prepare calls Input.Prepare and checks the task's job against its kind in r. The error is FieldErrors.
func Prepare(r *jobs.Registry, in *Input) error {
	errs, _ := in.Prepare().(jobs.FieldErrors) //nolint:errorlint // Prepare returns nothing else
	if in.Job != nil && !slices.ContainsFunc(errs, func(e jobs.FieldError) bool { return e.Field == "job.kind" || e.Field == "job.args" }) {
		if wrong, ok := r.Check(in.Job.Kind, in.Job.Args).(jobs.FieldErrors); ok { //nolint:errorlint // likewise
			for _, e := range wrong {
				errs = append(errs, jobs.FieldError{Field: "job." + e.Field, Message: e.Message})
			}
		}
	}
	return errs.OrNil()
}

// Routing keys of the events of tasks, and the topic exchange that they are published to.
const (
	Exchange     = "tasks"
	EventCreated = "tasks.event.created"
	EventUpdated = "tasks.event.updated"
	EventDeleted = "tasks.event.deleted"
)

// ConflictError reports that the task was changed after the caller read it.
type ConflictError struct{ Current Task }

func (e *ConflictError) Error() string {
	return fmt.Sprintf("The task has been changed since: it has version %d now.", e.Current.Version)
}

// View is a tab of the list of tasks.
type View string

// The views.
const (
	ViewOpen    View = "open"
	ViewOverdue View = "overdue"
	ViewDone    View = "done"
	ViewAll     View = "all"
)

// Views lists all views in the order of the tabs.
var Views = []View{ViewOpen, ViewOverdue, ViewDone, ViewAll}

// Filter selects tasks.
type Filter struct {
	View     View
	Priority Priority // any if empty
	// Text is an id, or words of the description: each begins with a word of the text. Without the
	// full-text index it is a part of the description of one of the newest jobs.SearchWindow tasks.
	Text  string
	Order Order
}

// HasDue reports whether the view is of tasks that are not done: only these can be sorted by due time.
func (v View) HasDue() bool { return v == ViewOpen || v == ViewOverdue }

// Order is what a list of tasks is sorted by.
type Order string

// The orders.
const (
	OrderNewest Order = ""    // newest first
	OrderDue    Order = "due" // overdue ones first, those without a due time last; of tasks that are not done
)

// Check validates the filter and sets an empty view to ViewAll. The error is FieldErrors.
func (f *Filter) Check() error {
	if f.View == "" {
		f.View = ViewAll
	}
	var errs jobs.FieldErrors
	if !slices.Contains(Views, f.View) {
		errs = append(errs, jobs.FieldError{Field: "view",
			Message: fmt.Sprintf("%.40q is not a valid view: it is open, overdue, done or all", f.View)})
	}
	switch {
	case f.Order != OrderNewest && f.Order != OrderDue:
		errs = append(errs, jobs.FieldError{Field: "sort",
			Message: fmt.Sprintf("%.40q is not a valid order: it is due, or nothing", f.Order)})
	case f.Order == OrderDue && !f.View.HasDue():
		errs = append(errs, jobs.FieldError{Field: "sort", Message: "is possible for the views open and overdue only"})
	}
	if f.Priority != "" && !slices.Contains(Priorities, f.Priority) {
		errs = append(errs, jobs.FieldError{Field: "priority",
			Message: fmt.Sprintf("%.40q is not a valid priority: it is none, low, medium or high", f.Priority)})
	}
	if len(f.Text) > 500 || !jobs.PlainText(f.Text) {
		errs = append(errs, jobs.FieldError{Field: "q", Message: "must be plain text of at most 500 bytes"})
	}
	return errs.OrNil()
}
