package views

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/explain"
	"github.com/warrenjobs/warren/views/ui"
)

// FailuresModel is the list of groups of dead jobs.
type FailuresModel struct {
	URL    string // of exactly this list, for the live update
	Tabs   []ui.Tab
	Hidden string // how many failures another status hides, in a sentence; "" if none
	All    string // link to the failures of all statuses
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
	Status    FailureBadge
	Mark      Text // what somebody said about it; nil if nobody did
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
		Kind: g.Kind, Queue: g.Queue, Status: badgeOf(g), Mark: MarkText(g, jobs.FailureCountCap),
		Count: ui.Capped(int64(g.Count), jobs.FailureCountCap), FirstSeen: g.FirstSeen, LastSeen: g.LastSeen}
}

// trendWords is the trend in words.
func (r FailureRow) trendWords() string {
	if top := highest(r.Trend); top != "" {
		return "At most " + top + " an hour in the last " + strconv.Itoa(jobs.FailureTrendHours) + " h"
	}
	return ""
}

// FailureBadge is the status of a failure as a badge.
type FailureBadge struct {
	Word  string
	Color string // the state whose colour it has
	Icon  string
}

func badgeOf(g jobs.FailureGroup) FailureBadge {
	switch {
	case g.CameBack():
		return FailureBadge{"came back", "dead", "alert"}
	case g.Status == jobs.FailureKnown:
		return FailureBadge{string(g.Status), "retrying", "info"}
	case g.Status == jobs.FailureFixed:
		return FailureBadge{string(g.Status), "completed", "check"}
	}
	return FailureBadge{string(jobs.FailureOpen), "dead", "failures"}
}

// MarkText says who marked a group, when and why, and how many jobs have died in it since; counted is where
// that number stops. It is nil for a group that nobody marked.
func MarkText(g jobs.FailureGroup, counted int64) Text {
	if g.Mark == nil {
		return nil
	}
	what := "marked as " + string(g.Mark.Status)
	if g.CameBack() {
		what = "came back: fixed"
	}
	t := words(what+explain.By(g.Mark.By)).timed(" ", g.Mark.At, ui.Ago)
	if n := g.Mark.DiedSince; n > 0 {
		t = t.and(", " + ui.Capped(int64(n), counted) + " " + word(int(n), "job", "jobs") + " died since")
	}
	if g.Mark.Note != "" { // last, as it may be long: a list cuts it off
		t = t.and(" (“" + oneLine(g.Mark.Note) + "”)")
	}
	return t
}

// NewFailuresModel shapes a page of the list. trends are those of its groups, nil if not known, counts of all groups. dead is
// the number of dead jobs.
func NewFailuresModel(
	page jobs.Page[jobs.FailureGroup], trends [][]*int64, counts jobs.FailureCounts, dead jobs.Count, f jobs.FailureFilter, c jobs.Cursor,
	kinds, queues []string,
) FailuresModel {
	m := FailuresModel{URL: failuresURL(f, c), Filter: f, About: aboutFailures(dead, counts.Groups), Cut: counts.Groups > jobs.FailuresMax,
		Tabs: failureTabs(f, counts), Hidden: hiddenFailures(f, counts), All: failuresURL(withStatus(f, ""), jobs.Cursor{}),
		Order: "most recently seen first", Kinds: options("Any kind", kinds, f.Kind), Queues: options("Any queue", queues, f.Queue)}
	for i, g := range page.Items {
		row := NewFailureRow(g)
		if trends != nil {
			row.Trend = floats(trends[i])
		}
		m.Rows = append(m.Rows, row)
	}
	m.Pager = pagerOf(page, c, func(c jobs.Cursor) string { return failuresURL(f, c) })
	if f.ByCount {
		m.Order, m.Pager.Order = "most jobs first", ui.ByValue
	}
	m.Pager.Info = shown(len(m.Rows), m.Order)
	m.Cols = failureCols(f)
	if f.Kind != "" || f.Queue != "" || f.Text != "" {
		m.Clear = failuresURL(jobs.FailureFilter{ByCount: f.ByCount, Status: f.Status}, jobs.Cursor{})
	}
	m.Empty = emptyFailures(f.Status, counts, m.Clear)
	return m
}

// emptyFailures says why a list has no failures; unfiltered is a link to the list without its filters, "" if it has none.
func emptyFailures(status jobs.FailureStatus, counts jobs.FailureCounts, unfiltered string) ui.EmptyProps {
	switch {
	case unfiltered != "":
		return ui.EmptyProps{Icon: "failures", Title: "No matching failures", Hint: "No group of dead jobs matches these filters.",
			Clear: unfiltered}
	case counts.Groups == 0:
		return ui.EmptyProps{Icon: "completed", Title: "No dead jobs",
			Hint: "A job that runs out of attempts, or kills its workers, appears here, grouped with those that failed like it."}
	case status == jobs.FailureOpen:
		return ui.EmptyProps{Icon: "completed", Title: "No open failures", Hint: "Somebody knows about every failure, or has fixed it."}
	case status == jobs.FailureKnown:
		return ui.EmptyProps{Icon: "failures", Title: "No known failures",
			Hint: "A failure that somebody marks as known on its page asks for no attention while its jobs go on dying."}
	}
	return ui.EmptyProps{Icon: "failures", Title: "No fixed failures",
		Hint: "A failure that somebody marks as fixed on its page asks for no attention until another job dies like this."}
}

func withStatus(f jobs.FailureFilter, s jobs.FailureStatus) jobs.FailureFilter {
	f.Status = s
	return f
}

func failureTabs(f jobs.FailureFilter, n jobs.FailureCounts) (tabs []ui.Tab) {
	tab := func(label string, s jobs.FailureStatus, count int) {
		tabs = append(tabs, ui.Tab{Label: label, Href: failuresURL(withStatus(f, s), jobs.Cursor{}), Active: f.Status == s,
			Count: ui.Capped(int64(count), jobs.FailuresMax)})
	}
	for _, s := range jobs.FailureStatuses {
		tab(title(string(s)), s, n.Of(s))
	}
	tab("All", "", n.Open+n.Known+n.Fixed)
	return tabs
}

// hiddenFailures is "3 known and 1 fixed failures are not shown.", in the list of those that are open.
func hiddenFailures(f jobs.FailureFilter, n jobs.FailureCounts) string {
	if f.Status != jobs.FailureOpen {
		return ""
	}
	var parts []string
	for _, s := range jobs.FailureStatuses[1:] {
		if count := n.Of(s); count > 0 {
			parts = append(parts, ui.Capped(int64(count), jobs.FailuresMax)+" "+string(s))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return strings.Join(parts, " and ") + " " + word(n.Known+n.Fixed, "failure is", "failures are") + " not shown."
}

// aboutFailures is "1,394 dead jobs in 8 groups".
func aboutFailures(dead jobs.Count, groups int) string {
	if dead == 0 {
		return "Dead jobs grouped by error"
	}
	s := ui.Capped(int64(dead), jobs.CountCap) + " dead " + word(int(dead), "job", "jobs")
	if groups > jobs.FailuresMax {
		return s + " in more than " + ui.Number(jobs.FailuresMax) + " groups by error"
	}
	return s + " in " + plural(groups, "group", "groups") + " by error"
}

// failureCols are the columns of a list of groups; that which it is sorted by is marked. Their status has one where it differs.
func failureCols(f jobs.FailureFilter) []ui.Col {
	return slices.DeleteFunc([]ui.Col{
		{Label: "Failure", Class: "grow"},
		{Label: "Status", Class: "w-state " + ui.NotPhone},
		sortedCol(ui.Col{Label: "Jobs", Class: "r w-num max-sm:pr-3"}, f, true),
		{Label: "Last 24 h", Class: "w-36 pl-6 " + ui.OnlyWide},
		{Label: "First seen", Class: "r w-ago " + ui.OnlyDesktop},
		sortedCol(ui.Col{Label: "Last seen", Class: "r w-ago " + ui.NotPhone}, f, false),
	}, func(c ui.Col) bool { return c.Label == "Status" && f.Status != "" })
}

// sortedCol makes a column's head a link to the list sorted by it. Where it is sorted so, the link leads back to the order
// as before: a phone shows one of the two columns.
func sortedCol(col ui.Col, f jobs.FailureFilter, byCount bool) ui.Col {
	if f.ByCount == byCount {
		col.Sorted, byCount = "descending", false
	}
	f.ByCount = byCount
	col.Sort = failuresURL(f, jobs.Cursor{})
	return col
}

func failuresURL(f jobs.FailureFilter, c jobs.Cursor) string {
	q := map[string]string{"kind": f.Kind, "queue": f.Queue, "q": f.Text, "cursor": c.String()}
	if f.ByCount {
		q["sort"] = "count"
	}
	q["status"] = statusParam(f.Status)
	return withQuery("/failures", q)
}

// statusParam is the query parameter for a status: the page shows open failures unless it is asked for others.
func statusParam(s jobs.FailureStatus) string {
	if s == jobs.FailureOpen {
		return ""
	}
	return cmp.Or(string(s), jobs.FailureAll)
}
