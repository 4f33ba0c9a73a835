package monitor

import (
	"time"
)

// PointsMax is the largest number of points in a series.
const PointsMax = 500

// held is how long a sample stays valid after it was last confirmed: until the next poll was due.
const held = 5 * time.Second

// steps are the possible distances between points.
var steps = []time.Duration{
	5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute,
	10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
}

// Step returns the smallest step that covers the span with at most PointsMax points.
func Step(from, to time.Time) time.Duration {
	return StepFor(from, to, PointsMax)
}

// StepFor returns the smallest step that covers the span with at most that many points.
func StepFor(from, to time.Time, points int) time.Duration {
	for _, step := range steps {
		if to.Sub(from) <= step*time.Duration(points-1) { // a span that begins within a step needs one more point
			return step
		}
	}
	day := steps[len(steps)-1]
	return (to.Sub(from)/day/time.Duration(points-1) + 1) * day
}

// Series is the history of a queue on a regular grid: the i-th value of each list is for the Step
// seconds from At[i] (Unix seconds) on. Null is a gap without polls. Ready and Unacked are the
// highest values within the step, the others the last.
type Series struct {
	Step        int64      `json:"step"`
	At          []int64    `json:"at"`
	Ready       []*int64   `json:"ready"`
	Unacked     []*int64   `json:"unacked"`
	Redelivered []*int64   `json:"redelivered"`
	Consumers   []*int64   `json:"consumers"`
	Publish     []*float64 `json:"publish"`
	Deliver     []*float64 `json:"deliver"`
	Ack         []*float64 `json:"ack"`
	Redeliver   []*float64 `json:"redeliver"`
}

// NewSeries returns the samples, oldest first and not overlapping, on a grid from from to to. The
// grid starts at a multiple of step, so that a chart does not flicker when it is refreshed.
func NewSeries(samples []Sample, from, to time.Time, step time.Duration) Series {
	start := from.Truncate(step)
	if !to.After(start) {
		to = start.Add(time.Nanosecond)
	}
	g := grid{start: start, step: step, cells: make([]*Sample, int((to.Sub(start)-1)/step)+1)}
	for i := range samples {
		g.put(samples[i].At, samples[i].Until, samples[i], merge)
	}
	for i := range samples {
		g.put(samples[i].Until, heldUntil(samples, i), samples[i], keep)
	}
	return g.series()
}

// heldUntil returns until when sample i is valid: up to the next sample, if no poll between them
// was missed.
func heldUntil(samples []Sample, i int) time.Time {
	if i+1 < len(samples) && samples[i+1].At.Sub(samples[i].Until) <= GapAfter {
		return samples[i+1].At.Add(-1)
	}
	return samples[i].Until.Add(held)
}

type grid struct {
	start time.Time
	step  time.Duration
	cells []*Sample // nil is a gap
}

// put combines s with each cell from at to until by calling with.
func (g grid) put(at, until time.Time, s Sample, with func(have *Sample, s Sample) *Sample) {
	for i := max(0, g.index(at)); i <= min(len(g.cells)-1, g.index(until)); i++ {
		g.cells[i] = with(g.cells[i], s)
	}
}

func (g grid) index(t time.Time) int {
	d := t.Sub(g.start)
	if d < 0 {
		return -1
	}
	return int(d / g.step)
}

func keep(have *Sample, s Sample) *Sample {
	if have != nil {
		return have
	}
	return &s
}

func merge(have *Sample, s Sample) *Sample {
	if have == nil {
		return &s
	}
	s.Ready, s.Unacked = highest(have.Ready, s.Ready), highest(have.Unacked, s.Unacked)
	return &s
}

func highest(a, b *int64) *int64 {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}

func (g grid) series() Series {
	n := len(g.cells)
	s := Series{
		Step: int64(g.step / time.Second), At: make([]int64, n),
		Ready: make([]*int64, n), Unacked: make([]*int64, n), Redelivered: make([]*int64, n), Consumers: make([]*int64, n),
		Publish: make([]*float64, n), Deliver: make([]*float64, n), Ack: make([]*float64, n), Redeliver: make([]*float64, n),
	}
	for i, c := range g.cells {
		s.At[i] = g.start.Add(time.Duration(i) * g.step).Unix()
		if c == nil {
			continue
		}
		s.Ready[i], s.Unacked[i], s.Redelivered[i], s.Consumers[i] = c.Ready, c.Unacked, c.Redelivered, c.Consumers
		s.Publish[i], s.Deliver[i], s.Ack[i], s.Redeliver[i] = c.Rates.Publish, c.Rates.Deliver, c.Rates.Ack, c.Rates.Redeliver
	}
	return s
}

// Begin returns the index of the first point with a value, or the number of points if there is none.
func (s Series) Begin() int {
	for i, v := range s.Ready {
		if v != nil {
			return i
		}
	}
	return len(s.Ready)
}

// From returns the series without the first i points.
func (s Series) From(i int) Series {
	s.At, s.Ready, s.Unacked, s.Redelivered, s.Consumers = s.At[i:], s.Ready[i:], s.Unacked[i:], s.Redelivered[i:], s.Consumers[i:]
	s.Publish, s.Deliver, s.Ack, s.Redeliver = s.Publish[i:], s.Deliver[i:], s.Ack[i:], s.Redeliver[i:]
	return s
}

// Gap is a time without samples, longer than GapAfter.
type Gap struct{ From, To time.Time }

// Gaps returns the gaps that end within the series, or reach to its end.
func (s Series) Gaps() (list []Gap) {
	last := s.Begin()
	for i := last + 1; i <= len(s.Ready); i++ {
		if i < len(s.Ready) && s.Ready[i] == nil {
			continue
		}
		from := last + 1
		if missing := time.Duration(int64(i-from)*s.Step) * time.Second; missing > GapAfter {
			start := time.Unix(s.At[from], 0)
			list = append(list, Gap{From: start, To: start.Add(missing)})
		}
		last = i
	}
	return list
}

// Redeliveries counts the redeliveries of each minute, or of each Step if that is longer: the i-th
// value is for the step seconds from from + i*step. What a gap or a reset of the broker's counter
// hides is not counted.
func (s Series) Redeliveries() (from, step int64, counts []*int64) {
	step = max(s.Step, 60)
	if len(s.At) == 0 {
		return 0, step, nil
	}
	from = s.At[0] / step * step
	counts = make([]*int64, (s.At[len(s.At)-1]-from)/step+1)
	for i := 1; i < len(s.At); i++ {
		before, now := s.Redelivered[i-1], s.Redelivered[i]
		if before == nil || now == nil {
			continue
		}
		at := (s.At[i] - from) / step
		if counts[at] == nil {
			counts[at] = new(int64)
		}
		*counts[at] += max(0, *now-*before)
	}
	return from, step, counts
}

// ActivitySeries is the activity of a deployment on the grid of a Series. Null is a gap.
type ActivitySeries struct {
	// Per second, over the minute until the end of the step, or over the step if that is longer.
	Completed, Failed, Redelivered []*float64
	// Seconds, as last seen.
	OutboxAge, OldestQueued []*float64
}

// NewActivitySeries returns the moments, oldest first, on the grid that starts at at[0]. Begin with
// moments from a minute before it.
func NewActivitySeries(moments []Moment, at []int64, step int64) ActivitySeries {
	n := len(at)
	s := ActivitySeries{Completed: make([]*float64, n), Failed: make([]*float64, n), Redelivered: make([]*float64, n),
		OutboxAge: make([]*float64, n), OldestQueued: make([]*float64, n)}
	var sum Moment
	first, next := 0, 0 // the moments of the window are those from first up to next
	for i := range at {
		end := time.Unix(at[i]+step, 0)
		for ; next < len(moments) && moments[next].At.Before(end); next++ {
			sum = sum.plus(moments[next], 1)
		}
		for ; first < next && moments[first].At.Before(end.Add(-time.Duration(max(step, 60))*time.Second)); first++ {
			sum = sum.plus(moments[first], -1)
		}
		if first == next || !moments[next-1].covers(end.Add(-time.Duration(step)*time.Second), moments[next:]) {
			continue
		}
		seconds, last := max(sum.Seconds, 1), moments[next-1]
		rate := func(n int64) *float64 { r := float64(n) / seconds; return &r }
		s.Completed[i], s.Failed[i], s.Redelivered[i] = rate(sum.Completed), rate(sum.Failed), rate(sum.Redelivered)
		s.OutboxAge[i], s.OldestQueued[i] = &last.OutboxAge, &last.OldestQueued
	}
	return s
}

// covers reports whether a step that begins then is known: m is not much older than it, or the next
// moment counts from before it.
func (m Moment) covers(begin time.Time, later []Moment) bool {
	return m.At.Add(GapAfter).After(begin) ||
		len(later) > 0 && !later[0].At.Add(-time.Duration(later[0].Seconds*float64(time.Second))).After(begin)
}

func (m Moment) plus(o Moment, sign int64) Moment {
	m.Seconds += float64(sign) * o.Seconds
	m.Completed, m.Failed, m.Redelivered = m.Completed+sign*o.Completed, m.Failed+sign*o.Failed, m.Redelivered+sign*o.Redelivered
	return m
}

// MarkKind is what a Mark is about.
type MarkKind string

// The kinds.
const (
	MarkPaused   MarkKind = "queue.pause"
	MarkResumed  MarkKind = "queue.resume"
	MarkDeployed MarkKind = "deploy"
)

// Mark is something that people did which may explain a change in a chart.
type Mark struct {
	At     time.Time
	Kind   MarkKind
	Name   string // of the queue; of the version that was deployed
	By     string
	Reason string
}
