package views

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
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
	About  string // how many there are, whatever the filter
	Order  string // in words
	Cols   []ui.Col
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
	Error     Pattern
	Newest    string // the newest error of the group, as people know it from their logs
	Kind      string
	Queue     string
	Count     string
	Trend     []float64 // failures in each of the last hours; nil where they are not shown
	FirstSeen time.Time
	LastSeen  time.Time
}

// Pattern is the error of a group in parts: what is the same in all its jobs, and placeholders.
type Pattern []PatternPart

// PatternPart is text, or a placeholder such as <number>.
type PatternPart struct {
	Text        string
	Placeholder bool
}

// placeholder matches what the function warren.failure puts in the place of what differs.
var placeholder = regexp.MustCompile(`<(?:s|email|id|addr|time|n)>`)

// placeholderWords spell out the short placeholders.
var placeholderWords = map[string]string{"<s>": "<text>", "<n>": "<number>", "<addr>": "<address>"}

func newPattern(err string) (p Pattern) {
	if err == "" {
		err = noError
	}
	at := 0
	for _, m := range placeholder.FindAllStringIndex(err, -1) {
		short := err[m[0]:m[1]]
		p = append(p, PatternPart{Text: err[at:m[0]]}, PatternPart{Text: cmp.Or(placeholderWords[short], short), Placeholder: true})
		at = m[1]
	}
	return append(p, PatternPart{Text: err[at:]})
}

// noError stands in for the error of jobs that have none.
const noError = "No error was recorded"

// FailureURL returns the path of a group's page.
func FailureURL(key uuid.UUID) string { return "/failures/" + key.String() }

// NewFailureRow shapes a group for a list.
func NewFailureRow(g jobs.FailureGroup) FailureRow {
	return FailureRow{ID: "failure-" + g.Key.String(), Href: FailureURL(g.Key), Error: newPattern(g.Error), Newest: oneLine(g.NewestError),
		Kind: g.Kind, Queue: g.Queue,
		Count: ui.Capped(int64(g.Count), jobs.FailureCountCap), FirstSeen: g.FirstSeen, LastSeen: g.LastSeen}
}

// trendWords is the trend in words.
func (r FailureRow) trendWords() string {
	if top := highest(r.Trend); top != "" {
		return "At most " + top + " an hour in the last " + strconv.Itoa(jobs.FailureTrendHours) + " h"
	}
	return ""
}

// NewFailuresModel shapes a page of the list. trends are those of its groups. dead is the number of dead jobs, groups that of their
// groups; 0 if it is not known.
func NewFailuresModel(
	page jobs.Page[jobs.FailureGroup], trends [][]*int64, groups int, dead jobs.Count, f jobs.FailureFilter, c jobs.Cursor,
	kinds, queues []string,
) FailuresModel {
	m := FailuresModel{URL: failuresURL(f, c), Filter: f, About: aboutFailures(dead, groups), Cut: groups > jobs.FailuresMax,
		Order: "last seen first", Kinds: options("Any kind", kinds, f.Kind), Queues: options("Any queue", queues, f.Queue)}
	for i, g := range page.Items {
		row := NewFailureRow(g)
		row.Trend = floats(trends[i])
		m.Rows = append(m.Rows, row)
	}
	m.Pager = pagerOf(page, c, func(c jobs.Cursor) string { return failuresURL(f, c) })
	if f.ByCount {
		m.Order, m.Pager.Order = "most jobs first", ui.ByValue
	}
	m.Pager.Info = shown(len(m.Rows), m.Order)
	m.Cols = failureCols(f)
	m.Empty = ui.EmptyProps{Icon: "completed", Title: "No dead jobs",
		Hint: "A job that runs out of attempts, or kills its workers, appears here, grouped with those that failed like it."}
	if f.Kind != "" || f.Queue != "" || f.Text != "" {
		m.Clear = failuresURL(jobs.FailureFilter{ByCount: f.ByCount}, jobs.Cursor{})
		m.Empty = ui.EmptyProps{Icon: "failures", Title: "No matching failures", Hint: "No group of dead jobs matches these filters.",
			Clear: m.Clear}
	}
	return m
}

// aboutFailures is "1,394 dead jobs in 8 groups".
func aboutFailures(dead jobs.Count, groups int) string {
	if dead == 0 {
		return "Dead jobs grouped by error"
	}
	s := ui.Capped(int64(dead), jobs.CountCap) + " dead " + word(int(dead), "job", "jobs")
	switch {
	case groups == 0:
		return s + ", grouped by error"
	case groups > jobs.FailuresMax:
		return s + " in more than " + ui.Number(jobs.FailuresMax) + " groups by error"
	}
	return s + " in " + plural(groups, "group", "groups") + " by error"
}

// failureCols are the columns of a list of groups; that which it is sorted by is marked.
func failureCols(f jobs.FailureFilter) []ui.Col {
	cols := []ui.Col{{Label: "Failure", Class: "grow"}, {Label: "Jobs", Class: "r w-num max-sm:pr-3"},
		{Label: "Last 24 h", Class: "w-36 pl-6 " + ui.OnlyWide},
		{Label: "First seen", Class: "r w-ago " + ui.OnlyDesktop}, {Label: "Last seen", Class: "r w-ago " + ui.NotPhone}}
	for i, byCount := range map[int]bool{1: true, 4: false} {
		g := f
		g.ByCount = byCount
		if f.ByCount == byCount {
			cols[i].Sorted, g.ByCount = "descending", false // a phone shows one of the two: it leads back to the order as before
		}
		cols[i].Sort = failuresURL(g, jobs.Cursor{})
	}
	return cols
}

func failuresURL(f jobs.FailureFilter, c jobs.Cursor) string {
	q := map[string]string{"kind": f.Kind, "queue": f.Queue, "q": f.Text, "cursor": c.String()}
	if f.ByCount {
		q["sort"] = "count"
	}
	return withQuery("/failures", q)
}

// FailureModel is one group.
type FailureModel struct {
	jobs.FailureGroup
	URL     string // of exactly this page of its jobs
	Base    string
	Gone    bool    // no dead job is in it any more
	Pattern Pattern // the title; nil if it is not known
	Latest  *Run    // of the newest job
	Queues  []FailureQueue
	Rows    []FailedRow
	Pager   ui.PagerProps
	Action  *FailureAction // what was last done to all its jobs; nil if nothing was
}

// FailureQueue is a queue that jobs of the group are in.
type FailureQueue struct{ Name, Href string }

// FailedRow is one dead job of a group, whose error the page has said already.
type FailedRow struct {
	JobRow
	Args string
}

// FailureAction is what somebody did to all jobs of a group, in words.
type FailureAction struct {
	What  string // "87 jobs were retried"
	At    time.Time
	After string // " by ann (“fixed”): 60 completed, 27 queued"
	Jobs  string // link to the retried jobs; "" if there are none, or they cannot be told from others
}

// newFailureAction shapes an action on a group; counts are those of the jobs that it retried, nil if
// they are not known.
func newFailureAction(e jobs.FailureAction, counts map[jobs.State]jobs.Count) *FailureAction {
	a := &FailureAction{What: plural(e.Done, "job was", "jobs were") + " deleted", At: e.At, After: explain.By(e.Actor)}
	if e.Retried {
		a.What = plural(e.Done, "job was", "jobs were") + " retried"
	}
	if e.Reason != "" {
		a.After += " (“" + oneLine(e.Reason) + "”)"
	}
	left := e.Done
	for _, n := range counts {
		left -= int(n)
	}
	if e.Operation != uuid.Nil && (counts == nil || left < e.Done) {
		a.Jobs = jobsURL(jobs.Filter{Operation: e.Operation}, jobs.Cursor{})
	}
	if counts != nil {
		a.After += ": " + whereNow(counts, left)
	}
	return a
}

// whereNow is "60 completed, 27 queued"; left is how many jobs are in no count.
func whereNow(counts map[jobs.State]jobs.Count, left int) string {
	var parts []string
	for _, s := range jobs.States {
		if n := counts[s]; n > 0 {
			parts = append(parts, ui.Number(int64(n))+" "+string(s))
		}
	}
	if left > 0 {
		parts = append(parts, ui.Number(int64(left))+" retried again, purged or deleted since")
	}
	return strings.Join(parts, ", ")
}

// NewFailureModel shapes a group. last is the attempt that the newest job ended with; vhost and
// prefix locate its queues on the broker.
func NewFailureModel(g jobs.FailureGroup, last jobs.Attempt, page jobs.Page[jobs.Job], c jobs.Cursor, vhost, prefix string) FailureModel {
	m := FailureModel{FailureGroup: g, Base: FailureURL(g.Key), Pattern: newPattern(g.Error), Latest: latestRun(g, last)}
	m.URL = withQuery(m.Base, map[string]string{"cursor": c.String()})
	for _, q := range g.Queues {
		m.Queues = append(m.Queues, FailureQueue{Name: q, Href: QueueURL(vhost, prefix+q)})
	}
	for _, j := range page.Items {
		m.Rows = append(m.Rows, FailedRow{JobRow: NewJobRow(j), Args: cmp.Or(argsLine(j.Args), "arguments too large for a list")})
	}
	m.Pager = pagerOf(page, c, func(c jobs.Cursor) string { return withQuery(m.Base, map[string]string{"cursor": c.String()}) })
	m.Pager.Info = shown(len(m.Rows), "last failed first")
	return m
}

// latestRun is the run that the newest job of a group ended with.
func latestRun(g jobs.FailureGroup, last jobs.Attempt) *Run {
	r, left := newRun(last, nil), allowance(textShown)
	r.Error = cmp.Or(left.take(g.NewestError), noError)
	r.Log, r.Stack = left.take(r.Log), newStack(left.take(r.Stack.Text))
	return r
}

// GoneFailure returns the model of a group that has no dead jobs any more.
func GoneFailure(key uuid.UUID) FailureModel {
	return FailureModel{Gone: true, URL: FailureURL(key), Base: FailureURL(key)}
}

// cols are the columns of the group's jobs; the head names the queue if they are all in one.
func (m FailureModel) cols() []ui.Col {
	cols := []ui.Col{{Label: "Job", Class: "grow"}}
	if len(m.Queues) > 1 {
		cols = append(cols, ui.Col{Label: "Queue", Class: "w-queue " + ui.OnlyDesktop})
	}
	return append(cols, ui.Col{Label: "Attempt", Class: "r w-num " + ui.OnlyDesktop}, ui.Col{Label: "Failed", Class: "r w-ago max-sm:pr-3"},
		ui.Col{Label: "Actions", Class: "r w-acts " + ui.NotPhone, Quiet: true})
}

// back is the page that the buttons of the rows return to.
func (m FailureModel) back() []ui.Hidden { return []ui.Hidden{{Name: "back", Value: m.URL}} }

func (m FailureModel) deleteOne(id, href string) ui.ConfirmProps {
	return ui.ConfirmProps{ID: "delete-" + id, Label: "Delete…", URL: href + "/delete", Hidden: m.back(), Title: "Delete this job?",
		Consequence: "This deletes the job, its attempts and deliveries. It cannot be undone.", Button: "Delete the job",
		Reason: "optional", Danger: true, Small: true, Ghost: true}
}

// topics are of the dead jobs and, after an action on the whole group, of what becomes of its jobs.
func (m FailureModel) topics() []string {
	if m.Action == nil {
		return []string{engine.TopicFailures}
	}
	return []string{engine.TopicFailures, ui.Slowly(engine.TopicJobs)}
}

// WithAction returns the model with the action that was last carried out on the whole group; counts
// are those of the jobs that it retried, nil if they are not known.
func (m FailureModel) WithAction(e jobs.FailureAction, counts map[jobs.State]jobs.Count) FailureModel {
	m.Action = newFailureAction(e, counts)
	if m.Gone {
		m.Kind, m.Pattern = e.Kind, newPattern(e.Error)
	}
	return m
}

// Title names the group in the browser's tab.
func (m FailureModel) Title() string {
	var s strings.Builder
	for _, p := range m.Pattern {
		s.WriteString(p.Text)
	}
	return cmp.Or(oneLine(s.String()), "Failure")
}

// CountText is the number of jobs in the group, up to the cap.
func (m FailureModel) CountText() string { return ui.Capped(int64(m.Count), jobs.CountCap) }

// jobsText is "1 job" or "1,204 jobs".
func (m FailureModel) jobsText() string {
	return m.CountText() + " " + word(int(m.Count), "job", "jobs")
}

// deadText is "1 dead job" or "1,204 dead jobs".
func (m FailureModel) deadText() string {
	return m.CountText() + " dead " + word(int(m.Count), "job", "jobs")
}

// sent returns the hidden fields of an action on the group, which limit it to the jobs that are
// dead now.
func (m FailureModel) sent() []ui.Hidden {
	return []ui.Hidden{{Name: "until", Value: m.LastSeen.Format(time.RFC3339Nano)}}
}

func (m FailureModel) retryConsequence() string {
	return "They'll run again now, with one extra attempt if none are left. Jobs whose unique key is in use are skipped." + m.limit()
}

func (m FailureModel) deleteConsequence() string {
	return "This deletes the jobs, their attempts and deliveries. It cannot be undone." + m.limit()
}

func (m FailureModel) limit() string {
	if m.Count.Capped() {
		return " At most 10,000 at a time."
	}
	return ""
}

// Acted returns the message about an action on a group. done is "Retried" or "Deleted".
func Acted(done string, r jobs.BulkResult) ui.FlashProps {
	f := ui.FlashProps{Kind: "done", Text: done + " " + plural(r.Done, "job", "jobs") + "."}
	if r.Skipped > 0 {
		f.Kind, f.Detail = "note", plural(r.Skipped, "job was skipped: its unique key is in use.",
			"jobs were skipped: their unique keys are in use.")
	}
	if r.Left {
		f.Kind, f.Detail = "note", strings.TrimSpace(f.Detail+" More are left: repeat the action for them.")
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
