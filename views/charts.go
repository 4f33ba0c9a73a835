package views

import (
	"net/url"
	"slices"
	"time"

	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/explain"
	"github.com/warrenjobs/warren/jobs/monitor"
	"github.com/warrenjobs/warren/views/ui"
)

// Ranges are the times up to now that charts can show; the first is shown unless another is asked for.
var Ranges = []struct {
	Name string
	Word string
	Span time.Duration
}{
	{"15m", "15 min", 15 * time.Minute}, {"1h", "1 hour", time.Hour}, {"6h", "6 hours", 6 * time.Hour},
	{"24h", "1 day", 24 * time.Hour}, {"7d", "7 days", 7 * 24 * time.Hour}, {"30d", "30 days", 30 * 24 * time.Hour},
}

// Window is the time that the charts of a page show.
type Window struct {
	Range    string // the name of one of Ranges, up to now; "" for a fixed time
	From, To time.Time
}

// RangeWindow returns the window of a range. Ok is false if there is no such range.
func RangeWindow(name string, now time.Time) (w Window, ok bool) {
	for _, r := range Ranges {
		if r.Name == name {
			return Window{Range: name, From: now.Add(-r.Span), To: now}, true
		}
	}
	return Window{}, false
}

// Values returns the window as parameters of an address.
func (w Window) Values() url.Values {
	if w.Range != "" {
		return url.Values{"range": {w.Range}}
	}
	return url.Values{"from": {w.From.UTC().Format(time.RFC3339)}, "to": {w.To.UTC().Format(time.RFC3339)}}
}

// URL returns the address of a page with this window, or of a part of it.
func (w Window) URL(page, part string) string {
	q := w.Values()
	if part != "" {
		q.Set("part", part)
	}
	return page + "?" + q.Encode()
}

// topics are those on which the charts are drawn again: none if they show a fixed time.
func (w Window) topics() []string {
	if w.Range == "" {
		return nil
	}
	return []string{engine.TopicQueues}
}

// TimelineModel is the charts of a page, with the choice of their time.
type TimelineModel struct {
	ID     string
	Page   string // the path of the page
	Window Window
	Since  time.Time // when the data begin, if that is later than the window
	ui.ChartsProps
}

// timelineOf returns a model of charts that begin where the data of s begin.
func timelineOf(id, page string, w Window, s monitor.Series, charts []ui.ChartProps, marks []ui.ChartMark) TimelineModel {
	m := TimelineModel{ID: id, Page: page, Window: w, ChartsProps: ui.ChartsProps{From: w.From.Unix(), To: w.To.Unix(), Charts: charts}}
	if len(s.At) == 0 {
		return m
	}
	m.From, m.To = s.At[0], s.At[len(s.At)-1]
	if begin := time.Unix(m.From, 0); begin.Sub(w.From) > time.Duration(s.Step)*time.Second {
		m.Since = begin
	}
	for _, mark := range marks {
		if mark.At.Unix() >= m.From && mark.At.Unix() <= m.To {
			m.Marks = append(m.Marks, mark)
		}
	}
	return m
}

// listed returns the marks as they are listed below the charts, newest first: a few, and those that
// are folded.
func (m TimelineModel) listed() (newest, earlier []ui.ChartMark) {
	list := slices.Clone(m.Marks)
	slices.Reverse(list)
	n := min(len(list), 6)
	return list[:n], list[n:]
}

// marksOf puts what may explain a change in the charts into words, in the order of time. away is
// what a gap in the series can mean.
func marksOf(list []monitor.Mark, gaps []monitor.Gap, oneQueue bool, away string) []ui.ChartMark {
	var marks []ui.ChartMark
	for _, m := range list {
		marks = append(marks, ui.ChartMark{At: m.At, Words: markWords(m, oneQueue)})
	}
	for _, g := range gaps {
		marks = append(marks, ui.ChartMark{At: g.From, Until: g.To, Words: "no data: " + away})
	}
	slices.SortStableFunc(marks, func(a, b ui.ChartMark) int { return a.At.Compare(b.At) })
	return marks
}

func markWords(m monitor.Mark, oneQueue bool) string {
	if m.Kind == monitor.MarkDeployed {
		return "version " + m.Name + " started"
	}
	words := "paused" + explain.By(m.By)
	if m.Kind == monitor.MarkResumed {
		words = "resumed" + explain.By(m.By)
	}
	if !oneQueue {
		words = m.Name + " " + words
	}
	if m.Reason != "" {
		words += ": " + oneLine(m.Reason)
	}
	return words
}

// OverviewTimeline is the charts of the overview for another time than its tiles.
func OverviewTimeline(w Window, total monitor.Series, activity []monitor.Moment, marks []monitor.Mark) TimelineModel {
	return newHistory(total, activity).timeline(w, marks)
}

// timeline is throughput and depth.
func (h history) timeline(w Window, marks []monitor.Mark) TimelineModel {
	charts := []ui.ChartProps{
		chartOf(h.total, "throughput", "Throughput", "jobs per minute, "+meanOf(h.total.Step), "",
			ui.ChartSeries{Label: "Completed", State: "completed", Y: h.completed},
			ui.ChartSeries{Label: "Failed attempts", State: "dead", Y: h.failed}),
		chartOf(h.total, "depth", "Depth", "messages in job queues", "",
			ui.ChartSeries{Label: "Ready", State: "queued", Y: h.ready}, ui.ChartSeries{Label: "Unacked", State: "running", Y: h.unacked}),
	}
	list := marksOf(marks, h.total.Gaps(), false, "the broker or Warren's monitor was away")
	return timelineOf("overview-charts", "/", w, h.total, charts, list)
}

// meanOf describes the time that a rate is the mean of.
func meanOf(step int64) string {
	if step <= 60 {
		return "1-minute average"
	}
	return "average of " + ui.Duration(time.Duration(step)*time.Second)
}

func chartOf(s monitor.Series, id, title, note, format string, lines ...ui.ChartSeries) ui.ChartProps {
	p := ui.ChartProps{ID: "chart-" + id, Title: title, Note: note, Format: format, Step: s.Step, Series: lines}
	if len(s.At) > 0 {
		p.From = s.At[0]
	}
	return p
}

// Charts are depth, redeliveries and rates of a queue.
func (m QueueModel) Charts() TimelineModel {
	s := m.Series
	if first := s.Begin(); first < len(s.At) {
		s = s.From(first)
	}
	charts := []ui.ChartProps{
		chartOf(s, "depth", "Messages", "", "", ui.ChartSeries{Label: "Ready", State: "queued", Y: floats(s.Ready)},
			ui.ChartSeries{Label: "Unacked", State: "running", Y: floats(s.Unacked)}),
		redeliveriesChart(s),
		chartOf(s, "rates", "Rates", "", "rate", ui.ChartSeries{Label: "In", State: "queued", Y: floats(s.Publish)},
			ui.ChartSeries{Label: "Out", State: "running", Y: floats(s.Deliver)},
			ui.ChartSeries{Label: "Acked", State: "completed", Y: floats(s.Ack)}),
	}
	marks := marksOf(m.Marks, s.Gaps(), true, "the broker, Warren's monitor or the queue was away")
	return timelineOf("queue-charts", m.Base, m.Window, s, charts, marks)
}

func redeliveriesChart(s monitor.Series) ui.ChartProps {
	from, step, counts := s.Redeliveries()
	p := ui.ChartProps{ID: "chart-redelivered", Title: "Redeliveries", Bars: true, From: from, Step: step}
	line := ui.ChartSeries{Label: "Per minute", State: "retrying", Y: floats(counts)}
	if step > 60 {
		p.Format, line.Label = "minute", "Per minute, "+meanOf(step)
		for i := range line.Y {
			line.Y[i] /= float64(step) / 60
		}
	}
	p.Series = []ui.ChartSeries{line}
	return p
}
