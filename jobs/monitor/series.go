package monitor

import (
	"time"
)

// PointsMax is how many points a series has at most.
const PointsMax = 500

// held is how long a sample is taken to be so after it was last seen to be: until the next poll was due.
const held = 5 * time.Second

// steps are the distances that points may have.
var steps = []time.Duration{
	5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute,
	10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
}

// Step is the smallest distance of points that shows the span in at most PointsMax of them.
func Step(from, to time.Time) time.Duration {
	return StepFor(from, to, PointsMax)
}

// StepFor is Step for another number of points.
func StepFor(from, to time.Time, points int) time.Duration {
	for _, step := range steps {
		if to.Sub(from) <= step*time.Duration(points-1) { // one more is needed where the span cuts a step
			return step
		}
	}
	day := steps[len(steps)-1]
	return (to.Sub(from)/day/time.Duration(points-1) + 1) * day
}

// Series is the history of a queue on a regular grid: the i-th value of each
// list is of the Step seconds from At[i] (Unix seconds) on. null is a gap:
// nobody looked. Depths are the highest in the step, the rest is the last.
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

// NewSeries puts samples, oldest first and not overlapping, on the grid from
// from to to. The grid starts at a multiple of step, so that it does not
// shimmer when asked for again.
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

// heldUntil is up to when sample i stands: the next one, if no poll was missed between.
func heldUntil(samples []Sample, i int) time.Time {
	if i+1 < len(samples) && samples[i+1].At.Sub(samples[i].Until) <= GapAfter {
		return samples[i+1].At.Add(-1)
	}
	return samples[i].Until.Add(held)
}

type grid struct {
	start time.Time
	step  time.Duration
	cells []*Sample // nil where nothing is known
}

// put sets the cells from at to until to what with makes of their content and s.
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
