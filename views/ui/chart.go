package ui

import (
	"encoding/json"
	"math"
	"strings"
	"time"
)

// ChartSeries is one line. NaN is a gap and is drawn as one.
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

func (s ChartSeries) last() float64 {
	if len(s.Y) == 0 {
		return math.NaN()
	}
	return s.Y[len(s.Y)-1]
}

// ChartData is the data that a Chart draws and its Src serves as JSON.
type ChartData struct {
	X      []int64 // Unix seconds, rising
	Series []ChartSeries
}

// MarshalJSON writes {"x":[…],"y":[[1,null,…],…]}: JSON has no NaN.
func (d ChartData) MarshalJSON() ([]byte, error) {
	out := struct {
		X []int64      `json:"x"`
		Y [][]*float64 `json:"y"`
	}{X: d.X, Y: make([][]*float64, len(d.Series))}
	for i, s := range d.Series {
		out.Y[i] = make([]*float64, len(s.Y))
		for j, v := range s.Y {
			if known(v) {
				out.Y[i][j] = &s.Y[j]
			}
		}
	}
	return json.Marshal(out)
}

// ChartProps describes a Chart. Data is drawn by the server; where there is
// JavaScript, the chart fetches Src, and again whenever Topic arrives.
type ChartProps struct {
	ID     string
	Title  string
	Note   string
	Format string // of values: "" (number), "rate", "seconds" or "bytes"
	Src    string
	Topic  string
	Data   ChartData
}

func (p ChartProps) format(v float64) string {
	if !known(v) {
		return Unknown
	}
	switch p.Format {
	case "rate":
		return Rate(v) + "/s"
	case "seconds":
		return Duration(time.Duration(v * float64(time.Second)))
	case "bytes":
		return Bytes(int64(v))
	}
	return Short(int64(math.Round(v)))
}

// top returns a round number at or above everything in the chart.
func (p ChartProps) top() float64 {
	top := 0.0
	for _, s := range p.Data.Series {
		for _, v := range s.Y {
			if known(v) {
				top = max(top, v)
			}
		}
	}
	if p.Format == "" {
		top = max(top, 2) // a count has no halves: the middle line is a whole number
	}
	if top == 0 {
		return 1
	}
	step := math.Pow(10, math.Floor(math.Log10(top)))
	for _, m := range []float64{1, 2, 4, 5, 8, 10} {
		if top <= m*step {
			return m * step
		}
	}
	return 10 * step
}

func (p ChartProps) edge(i int) string {
	x := p.Data.X
	if len(x) == 0 {
		return ""
	}
	at := x[0]
	layout := "15:04"
	if i > 0 {
		at = x[len(x)-1]
	}
	if x[len(x)-1]-x[0] > 36*3600 {
		layout = "2 Jan 15:04"
	}
	return time.Unix(at, 0).UTC().Format(layout)
}

// words describes a chart for screen readers.
func (p ChartProps) words() string {
	var parts []string
	for _, s := range p.Data.Series {
		parts = append(parts, s.Label+" now "+p.format(s.last()))
	}
	return p.Title + ": " + strings.Join(parts, ", ")
}

// path draws y over x into a box of w by h as an SVG path, broken at gaps.
// With area it is closed down to the base line. Steps are relative, in tenths
// and with flat runs in one, which makes a page of charts a sixth lighter.
func path(x []int64, y []float64, top, w, h float64, area bool) string {
	n := min(len(x), len(y))
	if n == 0 || top <= 0 {
		return ""
	}
	span := float64(x[n-1] - x[0])
	px := func(i int) float64 {
		if span == 0 {
			return w
		}
		return float64(x[i]-x[0]) / span * w
	}
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

func even(n int) []int64 {
	x := make([]int64, n)
	for i := range x {
		x[i] = int64(i)
	}
	return x
}

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

// dashes returns the dash pattern of a line, to tell lines apart without colour. warren.js has the
// same list.
func dashes(i int) string {
	return []string{"none", "5 3", "2 3", "9 3 2 3"}[i%4]
}
