package views

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/schedule"
	"github.com/warrenjobs/warren/jobs/tasks"
	"github.com/warrenjobs/warren/views/ui"
)

// TaskModel is the page of one task.
type TaskModel struct {
	tasks.Task
	URL       string
	Here      string // URL with the page of its runs
	Rest      string // of the description, below its title
	IsOverdue bool
	Next      []time.Time // of its schedule
	NextWhy   string      // why there are none
	OpenRun   string      // link to the run that the schedule waits for; "" if it waits for none
	Runs      []TaskRun
	Pager     ui.PagerProps
	Events    []engine.Event
}

// Sizes of the lists on the page of a task.
const (
	TaskRunsShown   = 20
	TaskEventsShown = 50
	fireTimesShown  = 5
)

// NewTaskModel shapes a task with a page of its runs and its newest events. open is the run that its schedule waits
// for, if it does.
func NewTaskModel(
	t tasks.Task, runs jobs.Page[jobs.Job], cursor jobs.Cursor, open uuid.UUID, events []engine.Event, now time.Time,
) TaskModel {
	m := TaskModel{Task: t, URL: "/tasks/" + t.ID.String(), Rest: belowTitle(t.Description), IsOverdue: t.Overdue(now), Events: events}
	for _, j := range runs.Items {
		m.Runs = append(m.Runs, newTaskRun(j, t))
	}
	slices.SortStableFunc(m.Runs, func(a, b TaskRun) int { return upcomingFirst(a) - upcomingFirst(b) })
	here := func(c jobs.Cursor) string { return withQuery(m.URL, map[string]string{"cursor": c.String()}) }
	m.Here, m.Pager = here(cursor), pagerOf(runs, cursor, here)
	m.Pager.Info = shown(len(m.Runs), "upcoming first, then newest first")
	if t.Job != nil && t.Job.Runs == tasks.RunsSchedule {
		m.Next, m.NextWhy = fireTimes(t.Job, now)
		if open != uuid.Nil {
			m.OpenRun = "/jobs/" + open.String()
		}
	}
	return m
}

// unsaidFields are those that every change of a task changes, and those that the word of its event says.
var unsaidFields = []string{"version", "updated_at", "done", "done_at"}

// eventChanged names what the first of a task's events, newest first, changed since the one before: "due, priority"; "" where
// that is not known, or its word says it.
func eventChanged(list []engine.Event) string {
	if len(list) < 2 {
		return ""
	}
	var now, before map[string]json.RawMessage
	if json.Unmarshal(list[0].Body, &now) != nil || json.Unmarshal(list[1].Body, &before) != nil {
		return ""
	}
	var changed []string
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if was, had := before[name]; had && !slices.Contains(unsaidFields, name) && !bytes.Equal(was, now[name]) {
			changed = append(changed, strings.TrimSuffix(name, "_at"))
		}
	}
	return strings.Join(changed, ", ")
}

// TaskRun is a run in the list of those of its task: what is the same for all of them is said once, beside the list.
type TaskRun struct{ JobRow }

func newTaskRun(j jobs.Job, t tasks.Task) TaskRun {
	r := TaskRun{NewJobRow(j)}
	if t.Job == nil || !r.Mono || j.Kind != t.Job.Kind || !tasks.SameArgs(j.Args, t.Job.Args) {
		return r
	}
	r.Second, r.Mono = "run manually", false
	if j.UniqueKey != nil { // of a start or of a time of the schedule
		r.Second = "planned"
	}
	if j.StartedAt != nil && j.FinishedAt != nil {
		r.Second += " · took " + ui.Duration(j.FinishedAt.Sub(*j.StartedAt))
	}
	return r
}

func upcomingFirst(r TaskRun) int {
	if r.State == string(jobs.Scheduled) {
		return 0
	}
	return 1
}

const titleMax = 80 // characters

// TaskTitle returns the first line of a description, or the beginning of it.
func TaskTitle(description string) string {
	first, _, _ := strings.Cut(description, "\n")
	if runes := []rune(first); len(runes) > titleMax {
		return string(runes[:titleMax]) + "…"
	}
	return first
}

// belowTitle returns what a description has beside its title: the lines after the first, or all if the title is cut.
func belowTitle(description string) string {
	first, rest, _ := strings.Cut(description, "\n")
	if utf8.RuneCountInString(first) > titleMax {
		return description
	}
	return strings.TrimSpace(rest)
}

// fireTimes returns the next times of the schedule of a task that is not done, or why there are none.
func fireTimes(j *tasks.Job, now time.Time) (times []time.Time, why string) {
	parsed, err := schedule.Parse(j.Rule, j.Zone)
	switch {
	case j.Problem != "":
		return nil, "It cannot fire: " + j.Problem + ". It is tried again every minute."
	case err != nil:
		return nil, err.Error()
	case j.NextAt == nil:
		return nil, neverFires
	}
	times = []time.Time{*j.NextAt}
	return append(times, parsed.NextTimes(*j.NextAt, latest(*j.NextAt, now), fireTimesShown-1)...), ""
}

const neverFires = "No date matches this rule: it never fires."

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func eventVersion(e engine.Event) string {
	var body struct {
		Version int `json:"version"`
	}
	if json.Unmarshal(e.Body, &body) != nil {
		return ui.Unknown
	}
	return ui.Number(int64(body.Version))
}

func eventWord(key string) string { return strings.TrimPrefix(key, "tasks.event.") }

// TaskForm is the form of a new or a changed task: the typed values and their errors.
type TaskForm struct {
	URL      string // the form's action
	Back     string
	Version  int // the version that was read; 0 for a new task
	Values   map[string]string
	Errors   map[string]string
	Args     JobForm // of the job's kind; its Kind is nil when the task owns no job
	Kinds    []ui.Option
	Unknown  string // the kind of the job, if this process does not know it
	Next     []time.Time
	NextWhy  string // why there are no next times
	Problem  string
	Conflict *Conflict
}

// Conflict shows a change that another user made while this form was open.
type Conflict struct {
	Current tasks.Task
	Rows    []ConflictRow
}

// ConflictRow is a field that is now other than the form has it.
type ConflictRow struct{ Field, Theirs, Yours string }

// NewConflict compares the current task with the values of the form.
func NewConflict(current tasks.Task, wanted tasks.Input) *Conflict {
	theirs, yours := inputTexts(current.Input()), inputTexts(wanted)
	c := &Conflict{Current: current}
	for i, field := range []string{"Description", "Priority", "Start", "Due", "Done", "Job"} {
		if theirs[i] != yours[i] {
			c.Rows = append(c.Rows, ConflictRow{field, theirs[i], yours[i]})
		}
	}
	return c
}

func inputTexts(in tasks.Input) [6]string {
	at := func(t *time.Time) string {
		if t == nil {
			return "none"
		}
		return t.UTC().Format("2006-01-02 15:04:05.999999") + " UTC"
	}
	done, job := "no", "none"
	if in.Done {
		done = "yes"
	}
	if j := in.Job; j != nil {
		job = fmt.Sprintf("%s %s · runs %s · queue %s", j.Kind, j.Args, runsWords(j), j.Queue)
	}
	return [6]string{in.Description, string(in.Priority), at(in.StartAt), at(in.DueAt), done, job}
}

// FieldsOf is the field of the form that names the kind whose args it has: a browser sends nothing
// of a box that is not ticked.
const FieldsOf = "job.fields"

// TaskValues returns the values of the form's fields, with times in UTC, for a task whose job is of that kind; nil if
// it has none or the kind is unknown.
func TaskValues(in tasks.Input, kind *jobs.Kind) map[string]string {
	v := map[string]string{"description": in.Description, "priority": string(in.Priority), "start_at": FormTime(in.StartAt, time.UTC),
		"due_at": FormTime(in.DueAt, time.UTC)}
	if in.Done {
		v["done"] = "true"
	}
	if j := in.Job; j != nil {
		v["job.kind"], v["job.queue"], v["job.runs"], v["job.rule"], v["job.zone"] = j.Kind, j.Queue, string(j.Runs), j.Rule, j.Zone
		if kind != nil {
			v[FieldsOf] = kind.Name
			maps.Copy(v, ArgValues(kind, j.Args))
		}
	}
	return v
}

// ArgValues returns the fields of args as their controls show them; those that the args lack have
// the default of the kind.
func ArgValues(kind *jobs.Kind, args json.RawMessage) map[string]string {
	v := map[string]string{}
	var values map[string]json.RawMessage
	_ = json.Unmarshal(args, &values) // args that are no object have no fields
	for _, f := range kind.Fields {
		raw, has := values[f.Name]
		if v["args."+f.Name] = f.Default; has {
			v["args."+f.Name] = ArgText(f, raw)
		}
	}
	return v
}

// ArgText returns a field of args as its control shows it; "" if raw is nil.
func ArgText(f jobs.Field, raw json.RawMessage) string {
	var s *string
	switch {
	case string(raw) == "null":
		return ""
	case isJSON(f) || json.Unmarshal(raw, &s) != nil:
		return string(raw)
	}
	return *s
}

// FormTime returns a time as a control shows it in the zone: to the second, where it has any.
func FormTime(t *time.Time, zone *time.Location) string {
	switch {
	case t == nil:
		return ""
	case t.Truncate(time.Minute).Equal(*t):
		return t.In(zone).Format("2006-01-02T15:04")
	}
	return t.In(zone).Format("2006-01-02T15:04:05")
}

// FormText returns text as a browser sends it back when it is not edited, apart from line breaks,
// which are \n here.
func FormText(s string) string { return formText.Replace(s) }

var formText = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\x00", "\uFFFD")

// NewTaskForm shapes the form. kind is the one whose args are shown; errs may name fields that the
// form does not show.
func NewTaskForm(r *jobs.Registry, kind *jobs.Kind, queues []string, values map[string]string, errs jobs.FieldErrors) TaskForm {
	f := TaskForm{Values: values, Errors: map[string]string{}}
	f.Kinds = []ui.Option{{Label: "No job"}}
	if name := values["job.kind"]; name != "" && kind == nil { // it must not be dropped because it is not in the list
		f.Kinds, f.Unknown = append(f.Kinds, ui.Option{Value: name, Label: name, Selected: true}), name
	}
	for _, k := range r.Kinds() {
		f.Kinds = append(f.Kinds, ui.Option{Value: k.Name, Label: k.Name, Selected: kind != nil && k.Name == kind.Name})
	}
	var args jobs.FieldErrors
	shown := []string{"description", "priority", "start_at", "due_at", "job.kind", "job.queue", "job.runs", "job.rule", "job.zone"}
	for _, e := range errs {
		field, isArgs := strings.CutPrefix(e.Field, "job.")
		switch {
		case isArgs && kind != nil && (field == "args" || strings.HasPrefix(field, "args.")):
			args = append(args, jobs.FieldError{Field: field, Message: e.Message})
		case slices.Contains(shown, e.Field):
			f.Errors[e.Field] = strings.TrimPrefix(f.Errors[e.Field]+"; "+e.Message, "; ")
		default:
			f.Problem = FieldSentences(kind, jobs.FieldErrors{e})[0]
		}
	}
	if kind != nil {
		f.Args = NewJobForm(r, kind, queues, values, args, false)
		f.Problem = cmp.Or(f.Problem, f.Args.Problem)
	}
	return f
}

// Preview returns the form with the next times of its rule.
func (f TaskForm) Preview(now time.Time) TaskForm {
	if f.Values["job.runs"] == string(tasks.RunsSchedule) {
		f.Next, f.NextWhy = NextTimes(f.Values["job.rule"], f.Values["job.zone"], now)
	}
	return f
}

// NextTimes returns the next five times of a rule, or why there are none.
func NextTimes(rule, zone string, now time.Time) (times []time.Time, why string) {
	if strings.TrimSpace(rule) == "" {
		return nil, ""
	}
	parsed, err := schedule.Parse(rule, zone)
	if err != nil {
		return nil, err.Error()
	}
	if times = parsed.NextTimes(now, now, fireTimesShown); len(times) == 0 {
		return nil, neverFires
	}
	return times, ""
}

// kindHelp says what becomes of a job whose fields the form cannot show.
func (f TaskForm) kindHelp() string {
	switch {
	case f.Args.Kind != nil:
		return ""
	case f.Unknown == "" || f.Version == 0:
		return "Keep “No job” for a plain to-do."
	}
	return "No running process has described the kind " + f.Unknown + ", so its fields are not shown. " +
		"The job is kept as it is, unless you choose another."
}

func (f TaskForm) field(name, label, help string) ui.FieldProps {
	return ui.FieldProps{Name: name, Label: label, Help: help, Error: fieldSentence(label, f.Errors[name])}
}

func (f TaskForm) timeField(name, label string) ui.FieldProps {
	return onClocks(f.field(name, label, ""), f.Values["zone"])
}

// ruleHelp says how a schedule is written. Its examples stay on one line.
const ruleHelp = "An interval (`every\u00a010m`) or a cron expression (`30\u00a09\u00a0*\u00a0*\u00a01-5`)."

func (f TaskForm) runsOptions() []ui.Option {
	chosen := cmp.Or(f.Values["job.runs"], string(tasks.RunsNow))
	var list []ui.Option
	for _, o := range [][2]string{{string(tasks.RunsNow), "When the task is created"}, {string(tasks.RunsAtStart), "At the task's start"},
		{string(tasks.RunsSchedule), "On a schedule"}} {
		list = append(list, ui.Option{Value: o[0], Label: o[1], Selected: chosen == o[0]})
	}
	return list
}

func (f TaskForm) saveLabel() string {
	switch {
	case f.Conflict != nil:
		return fmt.Sprintf("Save mine over version %d", f.Conflict.Current.Version)
	case f.Version == 0:
		return "Create task"
	}
	return "Save"
}

// zones are the time zones that the form offers; any IANA name is accepted.
var zones = []string{"UTC", "Africa/Johannesburg", "America/Chicago", "America/Los_Angeles", "America/New_York", "America/Sao_Paulo",
	"Asia/Kolkata",
	"Asia/Shanghai", "Asia/Singapore", "Asia/Tokyo", "Australia/Sydney", "Europe/Berlin", "Europe/London", "Europe/Paris"}
