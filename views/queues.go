package views

import (
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/monitor"
	"github.com/warrenjobs/warren/views/ui"
)

// QueuesModel is the table of all queues.
type QueuesModel struct {
	URL      string
	Search   string
	Rows     []QueueRow
	Cols     []ui.Col
	Total    QueueRow // sums of all queues that the filter matches, on every page
	Pager    ui.PagerProps
	Limited  string // what the monitor cannot show, in a sentence
	Filtered bool
	Sorted   bool              // otherwise than by trouble
	ManyVs   bool              // more than one virtual host: the column is shown
	Shape    string            // of the queues whose rows do not name theirs
	Holds    map[string]string // what is in a queue that is not for jobs, by vhost/name
}

// QueueRow is one queue.
type QueueRow struct {
	Href      string
	VHost     string
	Name      string
	Second    string
	Holds     string // what is in it, if not jobs
	Ready     string
	Trend     monitor.Trend
	Own       bool
	Waits     bool // messages are ready
	Oldest    *time.Time
	Unacked   string
	PerMinute string
	Consumers string
	In        string
	Out       string
	Spark     []float64
	Peak      string // the highest of Spark; "" while it has no points
	Badges    []QueueBadge
	Lonely    bool           // no consumers, and that is a trouble
	Switch    ui.ActionProps // pauses or resumes a queue of the deployment
}

// QueueBadge is a reason to look at a queue.
type QueueBadge struct{ State, Icon, Word string }

// QueueURL returns the path of a queue's page.
func QueueURL(vhost, name string) string {
	return "/queues/" + url.PathEscape(ui.Segment(vhost)) + "/" + url.PathEscape(ui.Segment(name))
}

// NewQueueRow shapes a queue for a table on the page at that path.
func NewQueueRow(q monitor.Queue, spark []*int64, page string) QueueRow {
	row := queueNumbers(monitor.Totals{Ready: q.Ready, Unacked: q.Unacked, Consumers: q.Consumers, Rates: q.Rates})
	row.Href, row.VHost, row.Name = QueueURL(q.VHost, q.Name), q.VHost, q.Name
	row.Own, row.Oldest, row.Trend, row.Spark = q.JobQueue != nil, q.OldestAt, q.Trend, floats(spark)
	row.Waits, row.Peak = q.Ready != nil && *q.Ready > 0, highest(row.Spark)
	row.Lonely = q.Trouble == monitor.NoConsumers
	for _, t := range q.Signs() {
		row.Badges = append(row.Badges, queueBadge(t, q))
	}
	row.Switch = ui.ActionProps{Label: "Pause", URL: row.Href + "/pause", Small: true, Ghost: true,
		Hidden: []ui.Hidden{{Name: "back", Value: page}}}
	if q.PausedAt != nil {
		row.Switch.Label, row.Switch.URL, row.Switch.Ghost = "Resume", row.Href+"/resume", false
	}
	return row
}

// about is the second line of the row.
func (r QueueRow) about(vhost bool) string {
	parts := []string{r.Holds, "vhost " + r.VHost, r.Second}
	if !vhost {
		parts[1] = ""
	}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " · ")
}

// aged reports whether the age of the oldest job says something. It is read now and Ready is up to three polls old:
// beside no ready message a job that was queued since then would contradict it.
func (r QueueRow) aged(now time.Time) bool {
	return r.Oldest != nil && (r.Waits || now.Sub(*r.Oldest) >= monitor.GapAfter)
}

// highest returns the highest of the values that are known; "" if none is.
func highest(values []float64) string {
	top, known := 0.0, false
	for _, v := range values {
		if !math.IsNaN(v) {
			top, known = max(top, v), true
		}
	}
	if !known {
		return ""
	}
	return ui.Short(int64(top))
}

// peak is the sparkline in words, "" while it has no points.
func (r QueueRow) peak() string {
	if r.Peak == "" {
		return ""
	}
	return "Peak " + r.Peak + " ready, last 15 min"
}

func queueNumbers(t monitor.Totals) QueueRow {
	return QueueRow{Ready: count(t.Ready), Unacked: count(t.Unacked), PerMinute: perMinute(t.Rates.Redeliver),
		Consumers: count(t.Consumers), In: rate(t.Rates.Publish), Out: rate(t.Rates.Deliver)}
}

const policyWord = " · policy "

func queueShape(q monitor.Queue) string {
	if q.Policy == "" {
		return q.Type
	}
	return q.Type + policyWord + q.Policy
}

func queueBadge(t monitor.Trouble, q monitor.Queue) QueueBadge {
	b := QueueBadge{State: string(jobs.Retrying), Icon: "alert", Word: q.Word(t)}
	switch t {
	case monitor.BrokenQueue, monitor.NoConsumers, monitor.DeadLetters:
		b.State = string(jobs.Dead)
	case monitor.Paused:
		b.Icon = "pause"
	}
	return b
}

// unconsumed is the colour of the number of consumers where nothing consumes what waits; "" otherwise.
func (r QueueRow) unconsumed() string {
	if r.Lonely {
		return string(jobs.Dead)
	}
	return ""
}

// QueueCols are the columns of the table of queues; sorted names the one that the rows are ordered by.
func QueueCols(sorted string, desc bool) []ui.Col {
	cols := []ui.Col{{Label: "Queue", Class: "grow", Sort: "name"}, {Label: "Ready", Class: "r w-num", Sort: "ready"},
		{Label: "Oldest job", Class: "r w-24 max-sm:pr-3"}, {Label: "Unacked", Class: "r w-20 " + ui.NotPhone, Sort: "unacked"},
		{Label: "Redelivered /min", Class: "r w-32 " + ui.OnlyDesktop, Sort: "redeliver"},
		{Label: "Consumers", Class: "r w-24 " + ui.OnlyDesktop, Sort: "consumers"},
		{Label: "In /s", Class: "r w-num " + ui.OnlyWide, Sort: "publish"},
		{Label: "Out /s", Class: "r w-num " + ui.OnlyWide, Sort: "deliver"},
		{Label: "Ready, 15 min", Class: "w-40 " + ui.OnlyWide},
		{Label: "Actions", Class: "r w-24 " + ui.NotPhone, Quiet: true}}
	for i := range cols {
		cols[i].Sort, cols[i].Sorted = queueSort(cols[i].Sort, sorted, desc)
	}
	return cols
}

// queueSort returns the link that sorts by a column, and how it is sorted now.
func queueSort(column, sorted string, desc bool) (link, now string) {
	if column == "" {
		return "", ""
	}
	link = "/queues?sort=" + column
	if column != sorted {
		if column != "name" { // numbers: the largest first
			link += "&desc=1"
		}
		return link, ""
	}
	if desc {
		return link, "descending"
	}
	return link + "&desc=1", "ascending"
}

// Add adds a queue, shown with its ready messages over time, to the table.
func (m *QueuesModel) Add(q monitor.Queue, spark []*int64) {
	m.ManyVs = m.ManyVs || len(m.Rows) > 0 && q.VHost != m.Rows[0].VHost
	row := NewQueueRow(q, spark, m.URL)
	row.Second, row.Holds = queueShape(q), m.Holds[q.VHost+"/"+q.Name]
	m.Rows = append(m.Rows, row)
}

// shapes moves what most rows say of their queue into one line.
func (m *QueuesModel) shapes() {
	of := map[string]int{}
	for _, r := range m.Rows {
		if of[r.Second]++; of[r.Second] > of[m.Shape] {
			m.Shape = r.Second
		}
	}
	if of[m.Shape] < 2 {
		m.Shape = ""
		return
	}
	for i, r := range m.Rows {
		switch {
		case r.Second == m.Shape:
			m.Rows[i].Second = ""
		case r.Second != "" && strings.Contains(m.Shape, policyWord) && !strings.Contains(r.Second, policyWord):
			m.Rows[i].Second += ", no policy" // the others have one
		}
	}
}

// Page shapes a page of the queues; all are the totals of the queues that the filter matches.
func (m *QueuesModel) Page(page jobs.Page[monitor.Queue], all monitor.Totals, c jobs.Cursor, url func(jobs.Cursor) string) {
	m.shapes()
	m.Total = queueNumbers(all)
	m.Total.Name = "All " + ui.Number(int64(all.Queues)) + " queues"
	if m.Filtered {
		m.Total.Name = "All " + ui.Number(int64(all.Queues)) + " that match"
	}
	m.Pager = pagerOf(page, c, url)
	m.Pager.Info, m.Pager.Order = m.info(len(page.Items), all.Queues), ui.ByValue
}

// info says what the page has; how many queues there are stands in the row of totals.
func (m *QueuesModel) info(shown, all int) string {
	switch {
	case shown < all && m.Sorted:
		return ui.Number(int64(shown)) + " of " + ui.Number(int64(all))
	case shown < all:
		return ui.Number(int64(shown)) + " of " + ui.Number(int64(all)) + ", problems first"
	case m.Sorted:
		return "On one page"
	}
	return "Problems first"
}

// shapeNote names what most queues have in common.
func (m *QueuesModel) shapeNote() string {
	kind, policy, found := strings.Cut(m.Shape, policyWord)
	s := kind + " queues"
	if found {
		s += " with policy " + policy
	}
	return AsSentence(s + " unless noted")
}

func count(n *int64) string {
	if n == nil {
		return ui.Unknown
	}
	return ui.Number(*n)
}

// rate is a rate of a table: with one decimal, so that the points of a column are in line.
func rate(r *float64) string {
	switch {
	case r == nil:
		return ui.Unknown
	case *r > 0 && *r < 0.05:
		return "<0.1"
	case *r > 0 && *r < 99.95:
		return strconv.FormatFloat(*r, 'f', 1, 64)
	}
	return ui.Rate(*r)
}

func perMinute(r *float64) string {
	if r == nil {
		return ui.Unknown
	}
	return ui.Rate(*r * 60)
}

// floats converts a series for the charts, where NaN is a gap.
func floats[N int64 | float64](list []*N) []float64 {
	out := make([]float64, len(list))
	for i, v := range list {
		out[i] = nan
		if v != nil {
			out[i] = float64(*v)
		}
	}
	return out
}
