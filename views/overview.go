package views

import (
	"context"
	"math"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/monitor"
	"github.com/warrenjobs/warren/views/ui"
)

var nan = math.NaN()

// OverviewModel answers: is everything all right?
type OverviewModel struct {
	Verdict  string
	State    string // of the worst finding, as that of a job
	Findings []Finding
	Tiles    []ui.StatProps
	Charts   []ui.ChartProps
	Failures []FailureRow
	Recent   []JobRow
}

// OverviewSpan is the time that the tiles and charts of the overview show.
const OverviewSpan = 15 * time.Minute

// OverviewFacts is the data of the overview.
type OverviewFacts struct {
	FindingFacts
	Queued   jobs.Count
	Running  jobs.Count
	Slots    int
	Total    monitor.Series // its grid is that of all tiles and charts
	Activity []monitor.Moment
	Failures []jobs.FailureGroup // the newest
	Recent   []jobs.Job
}

// NewOverviewModel shapes the overview.
func NewOverviewModel(f OverviewFacts) OverviewModel {
	f.Lag = lagNow(f)
	m := OverviewModel{Findings: Findings(f.FindingFacts)}
	m.Verdict, m.State = verdict(m.Findings)
	h := newHistory(f)
	m.Tiles, m.Charts = overviewTiles(f, h), overviewCharts(h)
	for _, g := range f.Failures {
		m.Failures = append(m.Failures, NewFailureRow(g))
	}
	for _, j := range f.Recent {
		m.Recent = append(m.Recent, NewJobRow(j))
	}
	return m
}

// lagNow is the lag by the last sample; an old one says nothing.
func lagNow(f OverviewFacts) time.Duration {
	if n := len(f.Activity); n > 0 && f.Now.Sub(f.Activity[n-1].At) < held {
		return time.Duration(f.Activity[n-1].OutboxAge * float64(time.Second))
	}
	return 0
}

// verdict sums the findings up.
func verdict(list []Finding) (text, state string) {
	n := map[Severity]int{}
	for _, f := range list {
		n[f.Severity]++
	}
	switch {
	case n[Broken] > 0:
		return plural(n[Broken], "problem needs", "problems need") + " attention", Broken.state()
	case n[Warning] > 0:
		return "Nothing is broken; " + plural(n[Warning], "thing", "things") + " to know", Warning.state()
	}
	return "All systems normal", Notice.state()
}

// state is the state of jobs that has the severity's colour.
func (s Severity) state() string { return []string{"dead", "retrying", "completed"}[s] }

func (s Severity) word() string { return []string{"Problem:", "Note:", "Note:"}[s] }

func (s Severity) icon() string { return []string{"alert", "info", "check"}[s] }

// steadily makes a part of the overview refetch itself at most every 5 s, as often as there are samples.
func steadily(ctx context.Context, part string, topics ...string) templ.Attributes {
	live := ui.Live(ctx, "/?part="+part)
	live["hx-trigger"] = strings.Join(topics, " from:body throttle:5s, ") + " from:body throttle:5s, refresh"
	return live
}

// driftSentence describes where database and broker disagree, "" for nowhere.
func driftSentence(d engine.DriftStats) string {
	if list := driftTexts(d); len(list) > 0 {
		return strings.Join(list, ". ") + "."
	}
	return ""
}

func plural(n int, one, many string) string { return ui.Number(int64(n)) + " " + word(n, one, many) }

func word(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// history is what the tiles and the charts show: both draw the same lines over the same time, and end
// with the same numbers.
type history struct {
	at                             []int64
	completed, failed, redelivered []float64 // per minute
	ready, unacked, lag, oldest    []float64
}

// held is how long a sample of the activity holds: they are 10 s apart, and under load up to 50 s.
const held = time.Minute

func newHistory(f OverviewFacts) history {
	line := func(value func(moment int) float64) []float64 { return onGrid(f.Total, f.Activity, value) }
	perMinute := func(n func(monitor.Moment) int64) []float64 {
		return line(func(i int) float64 { return lastMinute(f.Activity[:i+1], n) })
	}
	return history{at: f.Total.At,
		completed:   perMinute(func(m monitor.Moment) int64 { return m.Completed }),
		failed:      perMinute(func(m monitor.Moment) int64 { return m.Failed }),
		redelivered: perMinute(func(m monitor.Moment) int64 { return m.Redelivered }),
		ready:       floats(f.Total.Ready), unacked: floats(f.Total.Unacked),
		lag:    line(func(i int) float64 { return f.Activity[i].OutboxAge }),
		oldest: line(func(i int) float64 { return f.Activity[i].OldestQueued }),
	}
}

// onGrid returns the value of the last moment at each point of the grid. A gap is where nobody looked.
func onGrid(grid monitor.Series, list []monitor.Moment, value func(i int) float64) []float64 {
	out := make([]float64, len(grid.At))
	next := 0
	for i, at := range grid.At {
		end := time.Unix(at+grid.Step, 0)
		for next < len(list) && list[next].At.Before(end) {
			next++
		}
		out[i] = nan
		if next > 0 && end.Sub(list[next-1].At) < held {
			out[i] = value(next - 1)
		}
	}
	return out
}

// lastMinute returns how many there were per minute in the minute before the last moment.
func lastMinute(list []monitor.Moment, n func(monitor.Moment) int64) float64 {
	sum, seconds := int64(0), 0.0
	for i := len(list) - 1; i >= 0 && seconds < 60; i-- {
		sum, seconds = sum+n(list[i]), seconds+max(list[i].Seconds, 1)
	}
	return float64(sum) / seconds * 60
}

func overviewTiles(f OverviewFacts, h history) []ui.StatProps {
	tile := func(s ui.StatProps, values []float64, format func(float64) string) ui.StatProps {
		s.Value, s.Spark = ui.Unknown, values
		if n := len(values); n > 0 && !math.IsNaN(values[n-1]) {
			s.Value = format(values[n-1])
		}
		return s
	}
	whole := func(v float64) string { return ui.Short(int64(math.Round(v))) }
	seconds := func(v float64) string { return ui.Duration(time.Duration(v * float64(time.Second))) }
	queued, running := ui.Capped(int64(f.Queued), jobs.CountCap), ui.Capped(int64(f.Running), jobs.CountCap)
	queue, url := longestWaiting(f)
	return []ui.StatProps{
		tile(ui.StatProps{Label: "Completed", Unit: "/min", Hint: sum(f.Activity, func(m monitor.Moment) int64 { return m.Completed }),
			State: "completed", Href: "/jobs?state=completed"}, h.completed, whole),
		tile(ui.StatProps{Label: "Failed attempts", Unit: "/min", Hint: sum(f.Activity, func(m monitor.Moment) int64 { return m.Failed }),
			State: "dead", Href: "/failures"}, h.failed, whole),
		tile(ui.StatProps{Label: "Ready", Hint: queued + " " + word(int(f.Queued), "job", "jobs") + " queued",
			State: "queued", Href: "/queues?sort=ready&desc=1"}, h.ready, whole),
		tile(ui.StatProps{Label: "Unacked", Hint: running + " running, " + plural(f.Slots, "slot", "slots"),
			State: "running", Href: "/workers"}, h.unacked, whole),
		tile(ui.StatProps{Label: "Redelivered", Unit: "/min", Hint: sum(f.Activity, func(m monitor.Moment) int64 { return m.Redelivered }),
			State: "retrying", Href: "/queues?sort=redelivered&desc=1"}, h.redelivered, whole),
		tile(ui.StatProps{Label: "Outbox lag", Hint: outboxHint(f), Href: "/outbox"}, h.lag, seconds),
		tile(ui.StatProps{Label: "Oldest waiting job", Hint: queue, Href: url}, h.oldest, seconds),
	}
}

// sum is the hint of a rate.
func sum(list []monitor.Moment, n func(monitor.Moment) int64) string {
	total := int64(0)
	for _, m := range list {
		total += n(m)
	}
	return ui.Number(total) + " in 15 min"
}

func outboxHint(f OverviewFacts) string {
	if len(f.Paused) > 0 {
		return "paused not counted"
	}
	return ui.Capped(int64(f.Waiting), jobs.CountCap) + " " + word(f.Waiting, "message waits", "messages wait")
}

// longestWaiting names the queue of the oldest waiting job, apart from paused queues.
func longestWaiting(f OverviewFacts) (hint, url string) {
	queue := ""
	for q, since := range f.Oldest {
		if !f.paused(q) && (queue == "" || since.Before(f.Oldest[queue])) {
			queue = q
		}
	}
	if queue == "" {
		return "none waits", "/queues"
	}
	return "in " + queue, f.queueURL(queue)
}

// overviewCharts are throughput and depth.
func overviewCharts(h history) []ui.ChartProps {
	return []ui.ChartProps{
		{ID: "chart-throughput", Title: "Throughput", Note: "per minute, last 15 min",
			Src: "/overview/samples.json?chart=throughput", Topic: engine.TopicQueues,
			Data: ui.ChartData{X: h.at, Series: []ui.ChartSeries{{Label: "Completed", State: "completed", Y: h.completed},
				{Label: "Failed attempts", State: "dead", Y: h.failed}}}},
		{ID: "chart-depth", Title: "Depth", Note: "messages in job queues, last 15 min", Src: "/overview/samples.json?chart=depth",
			Topic: engine.TopicQueues,
			Data: ui.ChartData{X: h.at, Series: []ui.ChartSeries{{Label: "Ready", State: "queued", Y: h.ready},
				{Label: "Unacked", State: "running", Y: h.unacked}}}},
	}
}

func moments(list []monitor.Moment, value func(monitor.Moment) float64) []float64 {
	out := make([]float64, len(list))
	for i, m := range list {
		out[i] = value(m)
	}
	return out
}
