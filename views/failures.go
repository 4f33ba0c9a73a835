package views

import (
	"cmp"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/explain"
	"github.com/warrenjobs/warren/views/ui"
)

// deadActions are those that a dead job allows.
var deadActions = []jobs.Action{jobs.ActionRetry, jobs.ActionDelete}

// FailuresModel is the list of groups of dead jobs.
type FailuresModel struct {
	URL    string // of exactly this list, for the live update
	Rows   []FailureRow
	Filter jobs.FailureFilter
	Kinds  []ui.Option
	Queues []ui.Option
	Pager  ui.PagerProps
	Empty  ui.EmptyProps
	Clear  string // link without the filters; "" when there are none
	Cut    bool   // there are more groups than were read
}

// FailureRow is one group.
type FailureRow struct {
	ID        string
	Href      string
	Error     string
	Kind      string
	Queue     string
	Count     string
	FirstSeen time.Time
	LastSeen  time.Time
}

// noError stands in for the error of jobs that have none.
const noError = "No error was written down"

// shortError is the newest error of a group on one line: people know it from their logs, which the group's
// pattern of placeholders is not in.
func shortError(g jobs.FailureGroup) string { return cmp.Or(oneLine(g.NewestError), noError) }

// FailureURL returns the path of a group's page.
func FailureURL(key uuid.UUID) string { return "/failures/" + key.String() }

// NewFailureRow shapes a group for a list.
func NewFailureRow(g jobs.FailureGroup) FailureRow {
	return FailureRow{ID: "failure-" + g.Key.String(), Href: FailureURL(g.Key), Error: shortError(g), Kind: g.Kind,
		Queue: g.Queue,
		Count: ui.Capped(int64(g.Count), jobs.FailureCountCap), FirstSeen: g.FirstSeen, LastSeen: g.LastSeen}
}

// NewFailuresModel shapes a page of the list.
func NewFailuresModel(
	page jobs.Page[jobs.FailureGroup], cut bool, f jobs.FailureFilter, c jobs.Cursor, kinds, queues []string,
) FailuresModel {
	m := FailuresModel{URL: failuresURL(f, c), Filter: f, Cut: cut,
		Kinds: options("Any kind", kinds, f.Kind), Queues: options("Any queue", queues, f.Queue)}
	for _, g := range page.Items {
		m.Rows = append(m.Rows, NewFailureRow(g))
	}
	m.Pager = pagerOf(page, c, func(c jobs.Cursor) string { return failuresURL(f, c) })
	m.Pager.Info = plural(len(m.Rows), "failure", "failures") + " shown, newest first"
	m.Empty = ui.EmptyProps{Icon: "completed", Title: "No dead jobs",
		Hint: "A job that uses up its attempts, or kills its workers, is shown here beside those that failed like it."}
	if (f != jobs.FailureFilter{}) {
		m.Clear = failuresURL(jobs.FailureFilter{}, jobs.Cursor{})
		m.Empty = ui.EmptyProps{Icon: "failures", Title: "No matching failures", Hint: "Nothing fits these filters. Remove one of them."}
	}
	return m
}

func failuresURL(f jobs.FailureFilter, c jobs.Cursor) string {
	return withQuery("/failures", map[string]string{"kind": f.Kind, "queue": f.Queue, "q": f.Text, "cursor": c.String()})
}

// FailureModel is one group.
type FailureModel struct {
	jobs.FailureGroup
	URL    string // of exactly this page of its jobs
	Base   string
	Gone   bool // no dead job is in it any more
	Stack  string
	Class  string
	Queues []FailureQueue
	Rows   []FailedRow
	Pager  ui.PagerProps
}

// FailureQueue is a queue that jobs of the group are in.
type FailureQueue struct{ Name, Href string }

// FailedRow is one dead job of a group.
type FailedRow struct {
	ID      string
	Href    string
	Error   string
	Queue   string
	Attempt string
	At      time.Time
	Back    []ui.Hidden // the page that its buttons return to
}

// NewFailureModel shapes a group. last is the attempt that the newest job ended with; vhost and
// prefix locate its queues on the broker.
func NewFailureModel(g jobs.FailureGroup, last jobs.Attempt, page jobs.Page[jobs.Job], c jobs.Cursor, vhost, prefix string) FailureModel {
	m := FailureModel{FailureGroup: g, Base: FailureURL(g.Key), Stack: last.Stack, Class: last.ErrorClass}
	m.URL = withQuery(m.Base, map[string]string{"cursor": c.String()})
	for _, q := range g.Queues {
		m.Queues = append(m.Queues, FailureQueue{Name: q, Href: QueueURL(vhost, prefix+q)})
	}
	for _, j := range page.Items {
		r := FailedRow{ID: j.ID.String(), Href: "/jobs/" + j.ID.String(), Error: oneLine(string(j.Args)), Queue: j.Queue,
			Attempt: explain.TriesIn(j).Fraction(), At: *j.FinishedAt,
			Back: []ui.Hidden{{Name: "back", Value: m.URL}}}
		if j.LastError != nil {
			r.Error = oneLine(*j.LastError)
		}
		m.Rows = append(m.Rows, r)
	}
	m.Pager = pagerOf(page, c, func(c jobs.Cursor) string { return withQuery(m.Base, map[string]string{"cursor": c.String()}) })
	m.Pager.Info = ui.Number(int64(len(m.Rows))) + " of " + m.CountText() + ", newest first"
	return m
}

// GoneFailure returns the model of a group that has no dead jobs any more.
func GoneFailure(key uuid.UUID) FailureModel {
	return FailureModel{Gone: true, URL: FailureURL(key), Base: FailureURL(key)}
}

// Lead is the newest error on one line.
func (m FailureModel) Lead() string { return shortError(m.FailureGroup) }

// CountText is the number of jobs in the group, up to the cap.
func (m FailureModel) CountText() string { return ui.Capped(int64(m.Count), jobs.CountCap) }

// jobsText is "1 job" or "1,204 jobs".
func (m FailureModel) jobsText() string {
	return m.CountText() + " " + word(int(m.Count), "job", "jobs")
}

// sent returns the hidden fields of an action on the group, which limit it to the jobs that are
// dead now.
func (m FailureModel) sent() []ui.Hidden {
	return []ui.Hidden{{Name: "until", Value: m.LastSeen.Format(time.RFC3339Nano)}}
}

func (m FailureModel) retryConsequence() string {
	s := "They run again at once, with one attempt more if all were used. A job stays dead while an open job has its unique key."
	if m.Count.Capped() {
		s += " At most 10,000 go at a time."
	}
	return s
}

func (m FailureModel) deleteConsequence() string {
	s := "They go with their attempts and deliveries. This cannot be undone."
	if m.Count.Capped() {
		s += " At most 10,000 go at a time."
	}
	return s
}

// Acted returns the message about an action on a group. done is "Retried" or "Deleted".
func Acted(done string, r jobs.BulkResult) ui.FlashProps {
	f := ui.FlashProps{Kind: "done", Text: done + " " + plural(r.Done, "job", "jobs") + "."}
	if r.Skipped > 0 {
		f.Kind, f.Detail = "note", plural(r.Skipped, "job was skipped: an open job has its unique key.",
			"jobs were skipped: open jobs have their unique keys.")
	}
	if r.Left {
		f.Kind, f.Detail = "note", f.Detail+" More are left: do it again for them."
	}
	return f
}

// alikeWords is the text of the link from a dead job to its group.
func alikeWords(n jobs.Count) string {
	if n <= 1 {
		return "no similar failures"
	}
	if n == 2 {
		return "1 similar failure"
	}
	return ui.Capped(int64(n)-1, jobs.FailureCountCap-1) + " similar failures"
}
