package views

import (
	"time"

	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/views/ui"
)

// externalWords say who works a job queue.
func (m QueueModel) externalWords() string {
	a := m.Around
	if !a.External {
		return "Only Warren's workers work this queue."
	}
	words := "Workers of other programs work this queue."
	if a.ReportWithin == 0 {
		return words + " They need not report."
	}
	return words + " One that has not reported for " + ui.Duration(a.ReportWithin) + " has failed its attempt."
}

// externalBeside warns of Warren's own workers on an external queue; "" if there are none.
func (m QueueModel) externalBeside() string {
	if !m.Around.External || m.Around.Workers == 0 {
		return ""
	}
	return plural(m.Around.Workers, "of Warren's workers consumes", "of Warren's workers consume") +
		" it, too: the broker gives each job to one or the other."
}

// reportWithin is the time as the form takes it.
func (m QueueModel) reportWithin() string {
	switch d := m.Around.ReportWithin; {
	case !m.Around.External:
		return engine.DurationText(engine.ReportWithin)
	case d == 0:
		return "off"
	default:
		return engine.DurationText(d.Round(time.Millisecond))
	}
}
