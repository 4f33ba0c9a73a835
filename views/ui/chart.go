package ui

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ChartSeries is one line, or the bars, of a chart. NaN is a gap and is drawn as one.
type ChartSeries struct {
	Label string
	State string // a job state: its colour; ink if empty
	Y     []float64
}

func (s ChartSeries) class() string {
	if s.State == "" {
		return "s-ink"
	}
	return "s-" + s.State
}

// values writes the series for warren.js, in at most five digits; a gap is empty.
func (s ChartSeries) values() string {
	var b []byte
	for i, v := range s.Y {
		if i > 0 {
			b = append(b, ',')
		}
		if known(v) {
			b = strconv.AppendFloat(b, v, 'g', 5, 64)
		}
	}
	return string(b)
}

// ChartProps describes a chart: the i-th value of each series is for From + i*Step, in Unix seconds.
type ChartProps struct {
	ID     string
	Title  string
	Note   string
	Format string // of values: "" (number), "rate", "minute" (rate), "seconds" or "bytes"
	Bars   bool   // a value is for the whole step and drawn as a bar; the last step may not be over
	From   int64
	Step   int64
	Series []ChartSeries
}

// ChartsProps describes charts of the same time, from the left to the right edge of each.
type ChartsProps struct {
	From, To int64 // Unix seconds
	Charts   []ChartProps
	Marks    []ChartMark
}

// ChartMark is something that happened while the charts were recorded, or a time without records.
type ChartMark struct {
	At    time.Time
	Until time.Time // zero for a moment
	Words string
}

// x returns the distance of a time from the left edge, as a share of the width.
func (c ChartsProps) x(t int64) float64 {
	return float64(min(max(t, c.From), c.To)-c.From) / float64(max(c.To-c.From, 1))
}

func percent(share float64) string { return trim(share*100, 2) + "%" }

// newest is the last point of a chart, or the last bar whose step is over; -1 if there is none.
func (p ChartProps) newest() int {
	n := 0
	for _, s := range p.Series {
		n = max(n, len(s.Y))
	}
	if p.Bars && n > 1 {
		n--
	}
	return n - 1
}

// empty reports that no value of the chart is known.
func (p ChartProps) empty() bool {
	for _, s := range p.Series {
		if slices.ContainsFunc(s.Y, known) {
			return false
		}
	}
	return true
}

func (p ChartProps) value(s ChartSeries, i int) string {
	if i < 0 || i >= len(s.Y) {
		return Unknown
	}
	return p.format(s.Y[i])
}

func (p ChartProps) format(v float64) string {
	if !known(v) {
		return Unknown
	}
	switch p.Format {
	case "rate":
		return Rate(v) + "/s"
	case "minute":
		return Rate(v) + "/min"
	case "seconds":
		return Duration(time.Duration(v * float64(time.Second)))
	case "bytes":
		return Bytes(int64(v))
	}
	return Short(int64(math.Round(v)))
}

// top returns a round number at or above everything in the chart. Half of a count's is whole too.
func (p ChartProps) top() float64 {
	top := 0.0
	for _, s := range p.Series {
		for _, v := range s.Y {
			if known(v) {
				top = max(top, v)
			}
		}
	}
	if p.Format == "" {
		top = max(top, 2)
	}
	if top == 0 {
		return 1
	}
	step := math.Pow(10, math.Floor(math.Log10(top)))
	rounds := []float64{1, 2, 4, 6, 8}
	if step >= 10 {
		rounds = []float64{1, 1.2, 1.6, 2, 3, 4, 6, 8}
	}
	for _, m := range rounds {
		if top <= m*step {
			return m * step
		}
	}
	return 10 * step
}

// tick is a labelled time below a chart.
type tick struct {
	at    int64
	label string
}

var tickSteps = []int64{10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 3 * 3600, 6 * 3600, 12 * 3600, day, 2 * day, 7 * day, 14 * day}

const day = 24 * 3600

// ticks returns at most five round times, none so near to an edge that its label would not fit.
func (c ChartsProps) ticks() (list []tick) {
	step := c.tickStep()
	layout := "15:04"
	if step < 60 {
		layout = "15:04:05"
	}
	for at := (c.From/step + 1) * step; at < c.To; at += step {
		x, t := c.x(at), time.Unix(at, 0).UTC()
		if x < 0.04 || x > 0.96 {
			continue
		}
		label := t.Format(layout)
		if step >= 3600 && at%day == 0 {
			label = t.Format("2 Jan")
		}
		list = append(list, tick{at, label})
	}
	return list
}

func (c ChartsProps) tickStep() int64 {
	for _, step := range tickSteps {
		most := int64(5)
		if step < 60 {
			most = 3 // with seconds a label is longer
		}
		if c.To-c.From <= most*step {
			return step
		}
	}
	return (c.To - c.From + 5*day - 1) / (5 * day) * day
}

// words describes a chart for screen readers.
func (p ChartProps) words() string {
	i := p.newest()
	if i < 0 {
		return p.Title + ": no data"
	}
	var parts []string
	for _, s := range p.Series {
		parts = append(parts, s.Label+" "+p.value(s, i))
	}
	at := time.Unix(p.From+int64(i)*p.Step, 0).UTC().Format("2 Jan 15:04:05 UTC")
	return p.Title + " at " + at + ": " + strings.Join(parts, ", ")
}

// line draws a series into the box of a chart.
func (c ChartsProps) line(p ChartProps, s ChartSeries, area bool) string {
	x := func(i int) float64 { return c.x(p.From+int64(i)*p.Step) * chartWidth }
	return path(x, s.Y, p.top(), chartHeight, area)
}

// bars draws a series as bars that stand for their steps.
func (c ChartsProps) bars(p ChartProps, s ChartSeries) string {
	var b pen
	for i, v := range s.Y {
		from := p.From + int64(i)*p.Step
		left, right := c.x(from)*chartWidth, c.x(from+p.Step)*chartWidth
		if !known(v) || v == 0 || left == right {
			continue
		}
		gap := min(2, (right-left)/5)
		b.move(left, chartHeight)
		b.line(left, (1-v/p.top())*chartHeight)
		b.line(right-gap, (1-v/p.top())*chartHeight)
		b.line(right-gap, chartHeight)
		b.close()
	}
	return b.b.String()
}

const chartWidth, chartHeight = 600.0, 150.0

// path draws y into a box of that height as an SVG path, broken at gaps; px is where each value stands.
// With area it is closed down to the base line. Steps are relative, in tenths
// and with flat runs in one, which makes a page of charts a sixth lighter.
func path(px func(i int) float64, y []float64, top, h float64, area bool) string {
	n := len(y)
	var p pen
	for i := 0; i < n; {
		if !known(y[i]) {
			i++
			continue
		}
		start := i
		for ; i < n && known(y[i]); i++ {
			at := h - min(y[i]/top, 1)*h
			switch {
			case i > start:
				p.line(px(i), at)
			case area:
				p.move(px(i), h)
				p.line(px(i), at)
			default:
				p.move(px(i), at)
			}
		}
		switch {
		case area:
			p.line(px(i-1), h)
			p.close()
		case i-start == 1: // a lone point between two gaps stays visible
			p.dot()
		default:
			p.rest()
		}
	}
	return p.b.String()
}

// pen writes an SVG path. It counts in whole tenths, so that relative steps add up exactly.
type pen struct {
	b          strings.Builder
	x, y, flat int
}

func (p *pen) move(x, y float64) {
	p.rest()
	p.x, p.y = tenths(x), tenths(y)
	p.b.WriteString("M" + coord(p.x) + " " + coord(p.y))
}

func (p *pen) line(x, y float64) {
	dx, dy := tenths(x)-p.x, tenths(y)-p.y
	p.x, p.y = p.x+dx, p.y+dy
	if dy == 0 {
		p.flat += dx
		return
	}
	p.rest()
	p.b.WriteString("l" + coord(dx) + " " + coord(dy))
}

func (p *pen) close() { p.rest(); p.b.WriteByte('Z') }
func (p *pen) dot()   { p.b.WriteString("h.01") }

// rest writes the pending flat run.
func (p *pen) rest() {
	if p.flat != 0 {
		p.b.WriteString("h" + coord(p.flat))
		p.flat = 0
	}
}

func tenths(f float64) int { return int(math.Round(f * 10)) }

func coord(tenths int) string { return trim(float64(tenths)/10, 1) }

// spark draws the values at even distances.
func spark(values []float64, area bool) string {
	x := func(i int) float64 { return float64(i) / float64(max(len(values)-1, 1)) * sparkWidth }
	return path(x, values, highest(values), sparkHeight, area)
}

const sparkWidth, sparkHeight = 120.0, 28.0

func highest(y []float64) float64 {
	top := 0.0
	for _, v := range y {
		if known(v) {
			top = max(top, v)
		}
	}
	if top == 0 {
		return 1
	}
	return top
}

// dashes returns the dash pattern of a line, to tell lines apart without colour.
func dashes(i int) string {
	return []string{"none", "5 3", "2 3", "9 3 2 3"}[i%4]
}
