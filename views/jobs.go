package views

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/explain"
	"github.com/warrenjobs/warren/views/ui"
)

// JobsModel is the list of jobs.
type JobsModel struct {
	URL     string // of exactly this list, for the live update
	Tabs    []ui.Tab
	Rows    []JobRow
	Filter  jobs.Filter
	Kinds   []ui.Option
	Queues  []ui.Option
	Order   string // in words
	Pager   ui.PagerProps
	Empty   ui.EmptyProps
	Clear   string // link without the filters; "" when there are none
	Window  bool   // a text search read only the newest jobs
	Partial bool   // counts could not be read in time
	// Matching is all that match the filter, for the actions on them; nil if there are none, or they could not be counted.
	Matching *Matching
}

// JobRow is one line of a list of jobs.
type JobRow struct {
	ID       string
	Href     string
	Kind     string
	State    string
	Queue    string
	Second   string // what the state calls for: error, progress or args
	Mono     bool   // Second is data
	Attempt  string
	Crashes  int            // of a job that is dead without having used an attempt
	NotRun   bool           // it is dead, and never had a worker
	Progress *jobs.Progress // while it runs
	At       time.Time
	Mode     ui.TimeMode
	Word     string // before the time: "finished", "due"
	Wait     string // why a queued job waits, in a few words
}

// NewJobRow shapes a job for a list.
func NewJobRow(j jobs.Job) JobRow {
	r := JobRow{ID: j.ID.String(), Href: "/jobs/" + j.ID.String(), Kind: j.Kind, State: string(j.State), Queue: j.Queue,
		Second: argsLine(j.Args), Mono: true, Attempt: explain.TriesIn(j).Fraction()}
	r.At, r.Mode, r.Word = fittingTime(j)
	if j.Args == nil {
		r.Second, r.Mono = "arguments too large for a list", false
	}
	switch {
	case (j.State == jobs.Retrying || j.State == jobs.Dead) && j.LastError != nil:
		r.Second, r.Mono = oneLine(*j.LastError), false
	case j.State == jobs.Running && j.Progress != nil:
		r.Progress = j.Progress
	}
	if j.State == jobs.Dead && explain.TriesIn(j).Attempt == 0 {
		r.Crashes, r.NotRun = j.Crashes, j.Crashes == 0
	}
	return r
}

// lateAfter is how long after its time a job that is due counts as late: the scheduler looks every second.
const lateAfter = 5 * time.Second

// late reports whether a job that is due should have been sent by now.
func (r JobRow) late(now time.Time) bool { return r.Mode == ui.In && now.Sub(r.At) > lateAfter }

// long reports whether the second line needs two lines on a phone.
func (r JobRow) long() bool { return !r.Mono && len(r.Second) > 44 }

// wait says in a few words why a job waits, if it waits for more than its turn.
func (r JobRow) wait(now time.Time) string {
	if r.late(now) {
		return "not sent yet"
	}
	return r.Wait
}

// idTail returns the end of a job's id, in which jobs differ: ids that were made at the same time begin alike.
func idTail(id string) string { return "…" + id[max(len(id)-8, 0):] }

// fittingTime returns the time that matters in the job's state.
func fittingTime(j jobs.Job) (time.Time, ui.TimeMode, string) {
	switch {
	case j.State == jobs.Scheduled:
		return j.RunAt, ui.In, "due"
	case j.State == jobs.Retrying:
		return j.RunAt, ui.In, "retry"
	case j.State == jobs.Running && j.StartedAt != nil:
		return *j.StartedAt, ui.For, "running"
	case j.State.Ended() && j.FinishedAt != nil:
		return *j.FinishedAt, ui.Ago, ""
	case j.QueuedAt != nil:
		return *j.QueuedAt, ui.For, "waiting"
	}
	return j.CreatedAt, ui.Ago, ""
}

// oneLine returns the beginning of a text on one line.
func oneLine(s string) string {
	return beginning(strings.Join(strings.Fields(s), " "))
}

// beginning returns as much of a text as a list shows.
func beginning(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// NewJobsModel shapes a page of the list, which was read after until. counts is nil when they could not be read.
func NewJobsModel(
	page jobs.Page[jobs.Job], f jobs.Filter, cursor jobs.Cursor, until time.Time, counts map[jobs.State]jobs.Count, kinds, queues []string,
) JobsModel {
	m := JobsModel{URL: jobsURL(f, cursor), Filter: f, Kinds: options("Any kind", kinds, f.Kind), Queues: options("Any queue", queues,
		f.Queue),
		Window: f.Text != "", Partial: counts == nil}
	for _, j := range page.Items {
		m.Rows = append(m.Rows, NewJobRow(j))
	}
	m.Tabs = jobTabs(f, counts)
	m.Pager = pagerOf(page, cursor, func(c jobs.Cursor) string { return jobsURL(f, c) })
	m.Order, m.Pager.Order = orderWords[f.SortedBy()], orders[f.SortedBy()]
	m.Pager.Info = shown(len(m.Rows), m.Order)
	if f != (jobs.Filter{State: f.State}) {
		m.Clear = jobsURL(jobs.Filter{State: f.State}, jobs.Cursor{})
	}
	m.Empty = emptyJobs(f, m.Clear)
	if counts != nil && len(m.Rows) > 0 {
		m.Matching = &Matching{Filter: f, Until: until, Counts: counts, Back: m.URL}
	}
	return m
}

// SayWaits adds to the rows of queued jobs why they wait.
func (m *JobsModel) SayWaits(waiting []jobs.Detail) {
	for _, d := range waiting {
		if i := slices.IndexFunc(m.Rows, func(r JobRow) bool { return r.ID == d.ID.String() }); i >= 0 {
			m.Rows[i].Wait = explain.Short(d)
		}
	}
}

// operatorActions are those of the bar below a list of jobs, in its order.
var operatorActions = []jobs.Action{jobs.ActionRetry, jobs.ActionRun, jobs.ActionCancel, jobs.ActionDelete}

// orderWords and orders describe the order of a list by the field that it is sorted by.
var (
	orderWords = map[string]string{"id": "newest created first", "run_at": "next due first", "started_at": "running longest first",
		"finished_at": "most recently ended first"}
	orders = map[string]ui.PageOrder{"run_at": ui.ByValue, "started_at": ui.ByValue}
)

// JobsLead says which jobs a list has, apart from the filters that are seen beside it.
func JobsLead(f jobs.Filter) string {
	if f.Operation != uuid.Nil {
		return "Jobs that one action changed together, without those retried since"
	}
	order := orderWords[f.SortedBy()]
	switch {
	case f != jobs.Filter{State: f.State}:
		return "Those that match the filters, " + order
	case f.State == "":
		return "All jobs, " + order
	}
	return title(order)
}

// JobsTitle is the title of a list of jobs.
func JobsTitle(f jobs.Filter) string {
	if f.State == "" {
		return "Jobs"
	}
	return title(string(f.State)) + " jobs"
}

// jobColumns are those of a list of jobs.
func jobColumns(states bool) []ui.Col {
	cols := []ui.Col{{Label: "Job", Class: "grow"}, {Label: "State", Class: "w-state"},
		{Label: "Queue", Class: "w-queue " + ui.OnlyDesktop},
		{Label: "Attempt", Class: "r w-num " + ui.NotPhone}, {Label: "When", Class: "r w-when"}}
	if !states {
		cols = slices.Delete(cols, 1, 2)
	}
	return cols
}

func emptyJobs(f jobs.Filter, unfiltered string) ui.EmptyProps {
	if unfiltered != "" {
		e := ui.EmptyProps{Icon: "jobs", Title: "No matching jobs", Hint: "No job matches the filters.", Clear: unfiltered}
		if f.State != "" {
			e.Hint = "No " + string(f.State) + " job matches the filters."
		}
		if f.Text != "" {
			e.Title = "No jobs match “" + f.Text + "”"
			e.Hint = "Text search covers the newest 100,000 jobs. Try a shorter term, or paste a whole job ID."
		}
		return e
	}
	if f.State != "" {
		return ui.EmptyProps{Icon: string(f.State), Title: "No " + string(f.State) + " jobs", Hint: stateMeaning[f.State]}
	}
	return ui.EmptyProps{Icon: "jobs", Title: "No jobs yet", Action: NewJobButton(),
		Hint: "Submit one here, with warren enqueue, through the API, or from your Go code in a transaction."}
}

var stateMeaning = map[jobs.State]string{
	jobs.Scheduled: "A scheduled job waits for its time.",
	jobs.Queued:    "A queued job waits in the outbox or in the broker for a worker.",
	jobs.Running:   "A running job has a worker.",
	jobs.Retrying:  "A retrying job failed and waits for its next attempt.",
	jobs.Completed: "A completed job is kept for a week.",
	jobs.Dead:      "A dead job won't be retried automatically: it ran out of attempts, failed permanently or killed its workers.",
	jobs.Cancelled: "A cancelled job was stopped by a person, or its queue was purged.",
}

// tabStates is the order of the tabs: what asks for attention first, as a phone shows the first three.
var tabStates = []jobs.State{jobs.Dead, jobs.Retrying, jobs.Running, jobs.Queued, jobs.Scheduled, jobs.Completed, jobs.Cancelled}

func jobTabs(f jobs.Filter, counts map[jobs.State]jobs.Count) []ui.Tab {
	all := ui.Tab{Label: "All", Active: f.State == ""}
	var total int64
	tabs := []ui.Tab{all}
	for _, s := range tabStates {
		g := f
		g.State = s
		tab := ui.Tab{Label: strings.ToUpper(string(s[:1])) + string(s[1:]), Href: jobsURL(g, jobs.Cursor{}), State: string(s),
			Active: f.State == s}
		if counts != nil {
			tab.Count = ui.Capped(int64(counts[s]), jobs.CountCap)
		}
		total += int64(counts[s])
		tabs = append(tabs, tab)
	}
	f.State = ""
	tabs[0].Href = jobsURL(f, jobs.Cursor{})
	if counts != nil {
		tabs[0].Count = ui.Capped(total, jobs.CountCap)
	}
	return tabs
}

func jobsURL(f jobs.Filter, c jobs.Cursor) string {
	q := map[string]string{"state": string(f.State), "kind": f.Kind, "queue": f.Queue, "q": f.Text, "cursor": c.String()}
	if f.Operation != uuid.Nil {
		q["operation"] = f.Operation.String()
	}
	return withQuery("/jobs", q)
}

// options lists the choices of a filter, the chosen one even if it is not among values.
func options(none string, values []string, chosen string) []ui.Option {
	list := []ui.Option{{Value: "", Label: none, Selected: chosen == ""}}
	found := chosen == ""
	for _, v := range values {
		found = found || v == chosen
		list = append(list, ui.Option{Value: v, Label: v, Selected: v == chosen})
	}
	if !found {
		list = append(list, ui.Option{Value: chosen, Label: chosen, Selected: true})
	}
	return list
}

// percent is progress as a whole number from 0 to 100.
func percent(p *jobs.Progress) string { return ui.Percent(p.Done) }

func progressNote(p *jobs.Progress) string { return cmp.Or(p.Note, percent(p)) }
