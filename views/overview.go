package views

import (
	"context"
	"math"
	"sort"
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
	Charts   TimelineModel
	Failures []FailureRow
	Recent   []JobRow
}

// OverviewSpan is the time that the tiles and charts of the overview show.
const OverviewSpan = 15 * time.Minute

// OverviewFacts is the data of the overview.
type OverviewFacts struct {
	FindingFacts
	Slots    int
	Total    monitor.Series // its grid is that of all tiles and charts
	Activity []monitor.Moment
	Window   Window              // of the charts
	Marks    []monitor.Mark      // in them
	Failures []jobs.FailureGroup // the newest
	Recent   []jobs.Job
}

// NewOverviewModel shapes the overview.
func NewOverviewModel(f OverviewFacts) OverviewModel {
	f.Lag = lagNow(f)
	m := OverviewModel{Findings: Findings(f.FindingFacts)}
	m.Verdict, m.State = verdict(m.Findings)
	h := newHistory(f.Total, f.Activity)
	m.Tiles, m.Charts = overviewTiles(f, h), h.timeline(f.Window, f.Marks)
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
	case n[Broken] > 0 && n[Warning] > 0:
		return plural(n[Broken], "problem", "problems") + ", " + plural(n[Warning], "warning", "warnings"), Broken.state()
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
	total                          monitor.Series
	completed, failed, redelivered []float64 // per minute
	ready, unacked, lag, oldest    []float64
}

// held is how long a sample of the activity holds: they are 10 s apart, and under load up to 50 s.
const held = time.Minute

// newHistory puts the activity on the grid of the broker's samples. It begins where data begin.
func newHistory(total monitor.Series, list []monitor.Moment) history {
	first := total.Begin()
	if len(list) > 0 {
		first = min(first, sort.Search(len(total.At), func(i int) bool { return total.At[i] >= list[0].At.Unix()-total.Step }))
	}
	if first < len(total.At) {
		total = total.From(first)
	}
	s := monitor.NewActivitySeries(list, total.At, total.Step)
	return history{total: total, completed: times(60, s.Completed), failed: times(60, s.Failed), redelivered: times(60, s.Redelivered),
		ready: floats(total.Ready), unacked: floats(total.Unacked), lag: floats(s.OutboxAge), oldest: floats(s.OldestQueued)}
}

// times returns the series multiplied by n.
func times(n float64, list []*float64) []float64 {
	out := floats(list)
	for i := range out {
		out[i] *= n
	}
	return out
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
	queue, url := longestWaiting(f)
	return []ui.StatProps{
		tile(ui.StatProps{Label: "Completed", Unit: "/min", Hint: sum(f.Activity, func(m monitor.Moment) int64 { return m.Completed }),
			State: "completed", Href: "/jobs?state=completed"}, h.completed, whole),
		tile(ui.StatProps{Label: "Failed attempts", Unit: "/min", Hint: sum(f.Activity, func(m monitor.Moment) int64 { return m.Failed }),
			State: "dead", Href: "/failures"}, h.failed, whole),
		tile(ui.StatProps{Label: "Ready", Hint: "messages in queues",
			State: "queued", Href: "/queues?sort=ready&desc=1"}, h.ready, whole),
		tile(ui.StatProps{Label: "Unacked", Hint: plural(f.Slots, "worker slot", "worker slots"),
			State: "running", Href: "/workers"}, h.unacked, whole),
		tile(ui.StatProps{Label: "Redelivered", Unit: "/min", Hint: sum(f.Activity, func(m monitor.Moment) int64 { return m.Redelivered }),
			State: "retrying", Href: "/queues?sort=redeliver&desc=1"}, h.redelivered, whole),
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

// outboxHint says what waits, or else how long the longest lag was.
func outboxHint(f OverviewFacts) string {
	longest := 0.0
	for _, m := range f.Activity {
		longest = max(longest, m.OutboxAge)
	}
	switch {
	case len(f.Paused) > 0:
		return "paused not counted"
	case f.Waiting == 0 && longest > 0:
		return "max " + ui.Duration(time.Duration(longest*float64(time.Second))) + " in 15 min"
	}
	return ui.Capped(int64(f.Waiting), jobs.CountCap) + " " + "waiting"
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
		return "nothing waiting", "/queues"
	}
	return "in " + queue, f.queueURL(queue)
}

func moments(list []monitor.Moment, value func(monitor.Moment) float64) []float64 {
	out := make([]float64, len(list))
	for i, m := range list {
		out[i] = value(m)
	}
	return out
}
