package views

import (
	"net/url"
	"time"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/monitor"
	"github.com/warrenjobs/warren/views/ui"
)

// QueuesModel is the table of all queues.
type QueuesModel struct {
	URL      string
	Search   string
	Rows     []QueueRow
	Cols     []ui.Col
	Pager    ui.PagerProps
	Limited  string // what the monitor cannot show, in a sentence
	Filtered bool
	ManyVs   bool // more than one virtual host: the column is shown
}

// QueueRow is one queue.
type QueueRow struct {
	Href        string
	VHost       string
	Name        string
	Second      string
	Ready       string
	Unacked     string
	Redelivered string
	Since       *time.Time
	PerMinute   string
	Consumers   string
	In          string
	Out         string
	Spark       []float64
	Badges      []QueueBadge
}

// QueueBadge marks a problem of a queue.
type QueueBadge struct{ State, Word string }

// QueueURL returns the path of a queue's page.
func QueueURL(vhost, name string) string {
	return "/queues/" + url.PathEscape(ui.Segment(vhost)) + "/" + url.PathEscape(ui.Segment(name))
}

// NewQueueRow shapes a queue for a table. dead is the name of the dead-letter queue.
func NewQueueRow(q monitor.Queue, spark []*int64, dead string) QueueRow {
	return QueueRow{Href: QueueURL(q.VHost, q.Name), VHost: q.VHost, Name: q.Name, Second: queueSecond(q),
		Ready: count(q.Ready), Unacked: count(q.Unacked), Redelivered: count(q.Redelivered), Since: q.CounterSince,
		PerMinute: perMinute(q.Rates.Redeliver),
		Consumers: count(q.Consumers), In: rate(q.Rates.Publish), Out: rate(q.Rates.Deliver), Spark: floats(spark), Badges: queueBadges(q,
			dead)}
}

func queueSecond(q monitor.Queue) string {
	s := q.Type
	if q.Policy != "" {
		s += " · policy " + q.Policy
	}
	if q.State != "" && q.State != "running" && q.State != "idle" {
		s += " · " + q.State
	}
	return s
}

// queueBadges returns a badge for each problem of a queue.
func queueBadges(q monitor.Queue, dead string) []QueueBadge {
	var list []QueueBadge
	if q.Consumers != nil && *q.Consumers == 0 && q.Ready != nil && *q.Ready > 0 {
		list = append(list, QueueBadge{"retrying", "no consumers"})
	}
	if q.Name == dead && q.Ready != nil && *q.Ready > 0 {
		list = append(list, QueueBadge{"dead", "dead letters wait"})
	}
	if q.State == "down" || q.State == "minority" || q.State == "crashed" {
		list = append(list, QueueBadge{"dead", q.State})
	}
	return list
}

func count(n *int64) string {
	if n == nil {
		return ui.Unknown
	}
	return ui.Number(*n)
}

func rate(r *float64) string {
	if r == nil {
		return ui.Unknown
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

// Ranges of the charts of a queue.
var Ranges = []struct {
	Name string
	Word string
	Span time.Duration
}{
	{"10m", "10 min", 10 * time.Minute}, {"1h", "1 hour", time.Hour}, {"6h", "6 hours", 6 * time.Hour},
	{"24h", "1 day", 24 * time.Hour}, {"7d", "7 days", 7 * 24 * time.Hour}, {"30d", "30 days", 30 * 24 * time.Hour},
}

// QueueModel is the page of one queue.
type QueueModel struct {
	URL          string // with the range
	Base         string // without
	Row          QueueRow
	Queue        monitor.Queue
	Gone         bool // the last poll did not see it; its history is still here
	JobQueue     string
	Jobs         map[jobs.State]jobs.Count // open jobs in the database; nil when it is not a job queue
	Range        string
	Series       monitor.Series
	Channels     []monitor.Channel
	Redeliveries []jobs.Redelivery
	Pager        ui.PagerProps // of the redeliveries
	Now          time.Time
	Paused       *engine.PausedQueue
	Drift        engine.DriftStats
	Purge        *engine.Purge // the last one, while jobs that it cancelled are left
	PurgeLeft    jobs.Count
}

// Notes are sentences on the state of a job queue.
func (m QueueModel) Notes() (list []string) {
	if m.Paused != nil {
		list = append(list, pausedSentence(*m.Paused, m.Now)+" What the broker has already is still worked.")
	}
	if s := driftSentence(m.Drift); s != "" {
		list = append(list, s)
	}
	return list
}

// purgeConsequence describes what a purge would do.
func (m QueueModel) purgeConsequence() string {
	return "What the broker has ready (" + m.Row.Ready + " messages at the last look) is dropped, and the jobs that are queued (" +
		ui.Capped(int64(m.Jobs[jobs.Queued]), jobs.CountCap) +
		") are cancelled. They can be retried together afterwards. Jobs that run go on."
}

// Purged describes what a purge did.
func Purged(p engine.Purge) string {
	return plural(p.Cancelled, "job was", "jobs were") + " cancelled and " + plural(p.Messages, "message", "messages") + " dropped."
}

func (m QueueModel) undoLabel() string {
	return "Retry " + ui.Capped(int64(m.PurgeLeft), jobs.CountCap) + " purged " + word(int(m.PurgeLeft), "job", "jobs")
}

// Charts are depth, rates and redeliveries over the same time.
func (m QueueModel) Charts() []ui.ChartProps {
	chart := func(id, title, format string, lines ...ui.ChartSeries) ui.ChartProps {
		return ui.ChartProps{ID: "chart-" + id, Title: title, Format: format, Src: m.Base + "/samples.json?chart=" + id + "&range=" +
			m.Range,
			Topic: engine.TopicQueues, Data: ui.ChartData{X: m.Series.At, Series: lines}}
	}
	s := m.Series
	return []ui.ChartProps{
		chart("depth", "Messages", "", ui.ChartSeries{Label: "Ready", State: "queued", Y: floats(s.Ready)}, ui.ChartSeries{Label: "Unacked",
			State: "running", Y: floats(s.Unacked)}),
		chart("redelivered", "Redelivered", "", ui.ChartSeries{Label: "Counted", State: "retrying", Y: floats(s.Redelivered)}),
		chart("rates", "Rates", "rate", ui.ChartSeries{Label: "In", State: "queued", Y: floats(s.Publish)},
			ui.ChartSeries{Label: "Delivered", State: "running", Y: floats(s.Deliver)},
			ui.ChartSeries{Label: "Acked", State: "completed", Y: floats(s.Ack)}, ui.ChartSeries{Label: "Redelivered", State: "retrying",
				Y: floats(s.Redeliver)}),
	}
}

// Chart returns the chart with that id.
func (m QueueModel) Chart(id string) (ui.ChartProps, bool) {
	for _, c := range m.Charts() {
		if c.ID == "chart-"+id {
			return c, true
		}
	}
	return ui.ChartProps{}, false
}

// queuedHint is the database's number of queued jobs, beside the broker's number.
func (m QueueModel) queuedHint() string {
	if m.Jobs == nil {
		return "in the broker"
	}
	return ui.Capped(int64(m.Jobs[jobs.Queued]), jobs.CountCap) + " " + word(int(m.Jobs[jobs.Queued]), "job", "jobs") + " queued"
}

func (m QueueModel) runningHint() string {
	if m.Jobs == nil {
		return "at consumers"
	}
	return ui.Capped(int64(m.Jobs[jobs.Running]), jobs.CountCap) + " " + word(int(m.Jobs[jobs.Running]), "job", "jobs") + " running"
}

func prefetchText(c monitor.Channel) string {
	switch {
	case c.Prefetch == nil:
		return ui.Unknown
	case *c.Prefetch == 0:
		return "no limit"
	}
	return ui.Number(*c.Prefetch)
}

// holds reports whether a channel has acknowledged nothing for long enough to be shown.
func holds(c monitor.Channel, now time.Time) bool {
	return c.HoldingSince != nil && now.Sub(*c.HoldingSince) > 10*time.Second
}

// Page shapes a page of the queues; all is the number of queues that the filter matches.
func (m *QueuesModel) Page(page jobs.Page[monitor.Queue], all int, c jobs.Cursor, url func(jobs.Cursor) string) {
	m.Pager = pagerOf(page, c, url)
	m.Pager.Info, m.Pager.Order = ui.Number(int64(len(page.Items)))+" of "+ui.Number(int64(all)), ui.ByValue
}

// WithRedeliveries adds a page of the redeliveries.
func (m QueueModel) WithRedeliveries(page jobs.Page[jobs.Redelivery], c jobs.Cursor) QueueModel {
	url := func(c jobs.Cursor) string {
		return withQuery(m.Base, map[string]string{"range": m.Range, "cursor": c.String()})
	}
	m.Redeliveries, m.URL, m.Pager = page.Items, url(c), pagerOf(page, c, url)
	m.Pager.Info = "newest first"
	return m
}
