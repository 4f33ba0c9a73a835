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
