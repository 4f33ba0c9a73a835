package views

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/schedule"
	"github.com/warrenjobs/warren/jobs/tasks"
	"github.com/warrenjobs/warren/views/ui"
)

// TasksModel is the list of tasks.
type TasksModel struct {
	URL        string // of exactly this list, for the live update
	Tabs       []ui.Tab
	Rows       []TaskRow
	Filter     tasks.Filter
	Priorities []ui.Option
	Pager      ui.PagerProps
	Empty      ui.EmptyProps
	Clear      string // link without the filters; "" when there are none
	Index      string // what a search should know of the full-text index; "": it has everything
	Sort       string // link to the other order; "" where there is one only
}

// order is how the rows are ordered, in words.
func (m TasksModel) order() string {
	if m.Filter.Order == tasks.OrderDue {
		return "soonest due first, those without a due date last"
	}
	return "newest first"
}

// SortNewest is the order by creation in the address of the page: tasks that are not done are else ordered by due time.
const SortNewest = "newest"

// sortParam is the order as the address of the page names it.
func sortParam(f tasks.Filter) string {
	if f.View.HasDue() && f.Order == tasks.OrderNewest {
		return SortNewest
	}
	return ""
}

// dueColumn is the column of the due times, by which open tasks can be sorted.
func (m TasksModel) dueColumn() ui.Col {
	c := ui.Col{Label: "Due", Class: "r tight", Sort: m.Sort, Zoned: true}
	if m.Filter.Order == tasks.OrderDue {
		c.Sorted = "ascending"
	}
	return c
}

// TaskRow is a task in a list or on the board.
type TaskRow struct {
	ID          string
	Href        string
	Description string
	Priority    tasks.Priority
	Done        bool
	DoneAt      time.Time
	DueAt       time.Time
	StartAt     time.Time
	Overdue     bool
	RunsAt      time.Time // when its job runs next, where that is planned
	Job         []string  // what it runs, and when it does so
}

// NewTaskRow shapes a task for a list.
func NewTaskRow(t tasks.Task, now time.Time) TaskRow {
	r := TaskRow{ID: t.ID.String(), Href: "/tasks/" + t.ID.String(), Description: oneLine(TaskTitle(t.Description)), Priority: t.Priority,
		Done: t.Done, DoneAt: orZero(t.DoneAt), DueAt: orZero(t.DueAt), Overdue: t.Overdue(now)}
	if start := orZero(t.StartAt); start.After(now) && !t.Done {
		r.StartAt = start
	}
	if t.Job != nil {
		r.runs(*t.Job)
	}
	return r
}

// runs adds the job of the task, whose start is in the row if it is still to come.
func (r *TaskRow) runs(j tasks.Job) {
	r.Job = []string{j.Kind}
	if j.Runs == tasks.RunsAtStart && !r.StartAt.IsZero() {
		r.RunsAt, r.StartAt = r.StartAt, time.Time{}
		return
	}
	if r.Job = append(r.Job, runsWords(&j)); j.NextAt != nil && !r.Done {
		r.RunsAt = *j.NextAt
	}
}

func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

func runsWords(j *tasks.Job) string {
	switch j.Runs {
	case tasks.RunsAtStart:
		return "once, at the start time"
	case tasks.RunsSchedule:
		return schedule.Words(j.Rule, j.Zone)
	case tasks.RunsNow:
		return "when created"
	}
	return ""
}

// NewTasksModel shapes a page of the list.
func NewTasksModel(
	page jobs.Page[tasks.Task], f tasks.Filter, cursor jobs.Cursor, counts map[tasks.View]jobs.Count, now time.Time,
) TasksModel {
	m := TasksModel{URL: tasksURL(f, cursor), Filter: f, Priorities: priorityOptions("Any priority", f.Priority)}
	for _, t := range page.Items {
		m.Rows = append(m.Rows, NewTaskRow(t, now))
	}
	for _, v := range tasks.Views {
		g := f
		switch g.View = v; {
		case !v.HasDue():
			g.Order = tasks.OrderNewest
		case !f.View.HasDue():
			g.Order = tasks.OrderDue
		}
		m.Tabs = append(m.Tabs, ui.Tab{Label: title(string(v)), Href: tasksURL(g, jobs.Cursor{}), Active: v == f.View,
			Count: ui.Capped(int64(counts[v]), jobs.CountCap)})
	}
	m.Pager = pagerOf(page, cursor, func(c jobs.Cursor) string { return tasksURL(f, c) })
	m.Pager.Info = shown(len(m.Rows), m.order())
	if f.Order == tasks.OrderDue {
		m.Pager.Order = ui.ByValue
	}
	if f.View.HasDue() {
		m.Sort = otherOrder(f)
	}
	if f.Priority != "" || f.Text != "" {
		m.Clear = tasksURL(tasks.Filter{View: f.View, Order: f.Order}, jobs.Cursor{})
	}
	m.Empty = emptyTasks(f.View, m.Clear != "")
	m.Empty.Clear = m.Clear
	return m
}

// IndexWords says what a search should know of the full-text index; "" if it has everything.
func IndexWords(index tasks.IndexState) string {
	newest := fmt.Sprintf("Text search covers the newest %s tasks", ui.Number(jobs.SearchWindow))
	switch {
	case index.Building:
		return "The search index is being built. " + newest + " until then."
	case !index.Kept:
		return newest + ", as no worker keeps a search index: a worker of the queue default does."
	case index.Behind >= tasks.BehindMax:
		return fmt.Sprintf("The search index is %s or more changes behind.", ui.Number(tasks.BehindMax))
	case index.Behind > 0:
		return "The search index is " + plural(index.Behind, "change", "changes") + " behind."
	}
	return ""
}

// otherOrder returns the link to the list in the order that it does not have.
func otherOrder(f tasks.Filter) string {
	if f.Order == tasks.OrderDue {
		f.Order = tasks.OrderNewest
	} else {
		f.Order = tasks.OrderDue
	}
	return tasksURL(f, jobs.Cursor{})
}

func title(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func emptyTasks(view tasks.View, filtered bool) ui.EmptyProps {
	e := ui.EmptyProps{Icon: "tasks", Title: "No tasks yet",
		Hint: "Write one here, import a CSV file, or add one with warren tasks add or through the API."}
	switch {
	case filtered:
		e.Title, e.Hint = "No matching tasks", "Nothing fits these filters. Remove one of them, or look at another tab."
	case view == tasks.ViewOpen:
		e.Title, e.Hint = "Nothing to do", "Every task is done, or there is none yet."
	case view == tasks.ViewOverdue:
		e.Title, e.Hint = "Nothing is overdue", "A task is overdue when its due time has passed and it is not done."
	case view == tasks.ViewDone:
		e.Title, e.Hint = "Nothing is done yet", "A task that is marked done comes here."
	}
	return e
}

func priorityOptions(all string, chosen tasks.Priority) []ui.Option {
	var list []ui.Option
	if all != "" {
		list = append(list, ui.Option{Label: all})
	}
	for _, p := range tasks.Priorities {
		list = append(list, ui.Option{Value: string(p), Label: title(string(p)), Selected: p == chosen})
	}
	return list
}

func tasksURL(f tasks.Filter, c jobs.Cursor) string {
	q := map[string]string{"view": string(f.View), "priority": string(f.Priority), "q": f.Text, "sort": sortParam(f),
		"cursor": c.String()}
	if f.View == tasks.ViewOpen { // the default of /tasks
		delete(q, "view")
	}
	return withQuery("/tasks", q)
}

// otherPriorities are those to which a card of a column can be moved.
func otherPriorities(p tasks.Priority) []ui.Option {
	return slices.DeleteFunc(priorityOptions("", ""), func(o ui.Option) bool { return o.Value == string(p) })
}

// boardTitle is the heading of a column.
func boardTitle(p tasks.Priority) string {
	if p == tasks.PriorityNone {
		return "No priority"
	}
	return title(string(p))
}

// BoardModel is the open tasks by priority.
type BoardModel struct{ Columns []BoardColumn }

// BoardColumn is the tasks of one priority.
type BoardColumn struct {
	Priority tasks.Priority
	Count    string
	Rows     []TaskRow
	More     string // link to the rest; "" when all are shown
	New      string // link to a new task of this priority
	Move     []ui.Option
}

// empty reports whether there is nothing to do.
func (m *BoardModel) empty() bool {
	return !slices.ContainsFunc(m.Columns, func(c BoardColumn) bool { return len(c.Rows) > 0 })
}

// Add appends a column with the tasks that are shown of count.
func (m *BoardModel) Add(p tasks.Priority, list []tasks.Task, count jobs.Count, now time.Time) {
	c := BoardColumn{Priority: p, Count: ui.Capped(int64(count), jobs.CountCap), Move: otherPriorities(p),
		New: withQuery("/tasks/new", map[string]string{"priority": string(p)})}
	for _, t := range list {
		c.Rows = append(c.Rows, NewTaskRow(t, now))
	}
	if int(count) > len(list) {
		c.More = tasksURL(tasks.Filter{View: tasks.ViewOpen, Order: tasks.OrderDue, Priority: p}, jobs.Cursor{})
	}
	m.Columns = append(m.Columns, c)
}
