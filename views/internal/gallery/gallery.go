// Package gallery shows every part in the frame, with sample data. Only tests import it; it is also
// the shortest example of how to write a page.
package gallery

import (
	"fmt"
	"math"
	"time"

	"github.com/warrenjobs/warren/views"
	"github.com/warrenjobs/warren/views/ui"
)

// Start is the time of the sample data.
var Start = time.Date(2026, 11, 21, 3, 18, 29, 0, time.UTC)

// Frame returns a Page whose rail, pills and badges show each of their variants.
func Frame(title, active, path string) views.Page {
	entries := []views.Nav{
		{ID: "overview", Label: "Overview", Href: "/", Icon: "overview", Key: "o"},
		{ID: "jobs", Label: "Jobs", Href: "/jobs", Icon: "jobs", Key: "j", Counts: "need attention", Count: 14},
		{ID: "tasks", Label: "Tasks", Href: "/tasks", Icon: "tasks", Key: "t"},
		{ID: "schedules", Label: "Schedules", Href: "/schedules", Icon: "schedules", Key: "s"},
		{ID: "queues", Label: "Queues", Href: "/queues", Icon: "queues", Key: "q", Gap: true},
		{ID: "failures", Label: "Failures", Href: "/failures", Icon: "failures", Key: "f", Counts: "need attention", Count: 3},
		{ID: "outbox", Label: "Outbox", Href: "/outbox", Icon: "outbox", Key: "u"},
		{ID: "events", Label: "Events", Href: "/events", Icon: "events", Key: "e"},
		{ID: "workers", Label: "Workers", Href: "/workers", Icon: "workers", Key: "w", Gap: true},
		{ID: "broker", Label: "Broker", Href: "/broker", Icon: "broker", Key: "b"},
		{ID: "alerts", Label: "Alerts", Href: "/alerts", Icon: "alerts", Key: "a", Gap: true},
		{ID: "audit", Label: "Audit", Href: "/audit", Icon: "audit"},
		{ID: "settings", Label: "Settings", Href: "/settings", Icon: "settings"},
	}
	for i := range entries {
		entries[i].Active = entries[i].ID == active
	}
	return views.Page{
		Title: title, Path: path, Nav: entries,
		Env:     views.Env{Name: "staging", Color: "amber"},
		Account: "ada@example.org", SignOut: true,
		Health: []views.Pill{
			{Name: "Database", Icon: "database", State: views.OK},
			{Name: "Broker", Icon: "broker", State: views.Slow, Note: "1.2 s"},
			{Name: "Relay", Icon: "relay", State: views.OK},
			{Name: "Workers", Icon: "workers", State: views.Down, Since: Start.Add(-14 * time.Second)},
		},
	}
}

// Wave returns a plausible series of n values around base, with a gap.
func Wave(n int, base, swing, phase float64) []float64 {
	y := make([]float64, n)
	for i := range y {
		x := float64(i) / float64(n)
		y[i] = max(0, base+swing*math.Sin(phase+9*x)+swing*.4*math.Sin(phase*3+31*x)+swing*.25*math.Sin(97*x))
	}
	return y
}

// Gap makes the values from a to b unknown.
func Gap(y []float64, a, b int) []float64 {
	for i := a; i < b; i++ {
		y[i] = math.NaN()
	}
	return y
}

// Charts returns the sample charts, of ten minutes up to Start.
func Charts() views.TimelineModel {
	from, to := Start.Add(-595*time.Second), Start
	chart := func(id, title, format string, series ...ui.ChartSeries) ui.ChartProps {
		return ui.ChartProps{ID: id, Title: title, Format: format, From: from.Unix(), Step: 5, Series: series}
	}
	return views.TimelineModel{ID: "charts", Page: "/", Window: views.Window{Range: "15m", From: Start.Add(-15 * time.Minute), To: to},
		Since: from, ChartsProps: ui.ChartsProps{From: from.Unix(), To: to.Unix(), Charts: []ui.ChartProps{
			chart("chart-depth", "Depth", "",
				ui.ChartSeries{Label: "Ready", State: "queued", Y: Gap(Wave(120, 900, 420, 1), 62, 70)},
				ui.ChartSeries{Label: "Unacked", State: "running", Y: Gap(Wave(120, 260, 90, 2), 62, 70)}),
			chart("chart-rates", "Throughput", "rate",
				ui.ChartSeries{Label: "Completed", State: "completed", Y: Wave(120, 148, 32, 3)},
				ui.ChartSeries{Label: "Failed attempts", State: "dead", Y: Wave(120, 4, 6, 5)}),
		}, Marks: []ui.ChartMark{{At: from.Add(310 * time.Second), Until: from.Add(350 * time.Second),
			Words: "no data: the broker was away"},
			{At: from.Add(450 * time.Second), Words: "mail paused by ada: the mail server is full"}}}}
}

// Row is one job of the sample list.
type Row struct {
	ID, Kind, Args, Queue, State, Attempt, Note string
	At                                          time.Time
	Mode                                        ui.TimeMode
}

// Rows returns n sample jobs, starting at number from.
func Rows(from, n int) []Row {
	kinds := []string{"invoices.render", "mail.welcome", "http", "tasks.import", "images.resize", "search.reindex", "dots"}
	args := []string{
		`{"invoice":"INV-2026-00418","format":"pdf","customer":"c_8f21"}`,
		`{"to":"grace@example.org","template":"welcome","locale":"de"}`,
		`{"url":"https://example.org/hooks/orders","method":"POST","timeout":"10s"}`,
		`{"source":"s3://imports/tasks-2026-11-20.csv","rows":18240}`,
	}
	states := []string{"running", "queued", "retrying", "completed", "dead", "scheduled", "cancelled", "completed"}
	out := make([]Row, n)
	for i := range out {
		k := from + i
		r := Row{
			ID: fmt.Sprintf("0199f2c4-7a%02x-7c3e-9d41-5b6e0a%06x", k%256, 0x1f3a*k), Kind: kinds[k%len(kinds)], Args: args[k%len(args)],
			Queue: []string{"default", "mail", "heavy"}[k%3], State: states[k%len(states)], Attempt: "1/25",
		}
		switch r.State {
		case "running":
			r.At, r.Mode = Start.Add(-time.Duration(k*37+4)*time.Second), ui.For
		case "scheduled":
			r.At, r.Mode = Start.Add(time.Duration(k*91)*time.Second), ui.In
		case "retrying":
			r.At, r.Mode, r.Attempt, r.Note = Start.Add(130*time.Second), ui.In, "3/25",
				"dial tcp 10.0.4.7:443: connect: connection refused"
		case "dead":
			r.At, r.Mode, r.Attempt, r.Note = Start.Add(-3*time.Hour), ui.Ago, "25/25",
				"template: invoice:14:22: nil pointer evaluating *Customer.Address"
		default:
			r.At, r.Mode = Start.Add(-time.Duration(k*k+3)*time.Second), ui.Ago
		}
		out[i] = r
	}
	return out
}
