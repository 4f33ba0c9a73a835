package views

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/views/ui"
)

// JobModel is one job with its history.
type JobModel struct {
	jobs.Detail
	URL      string
	QueueURL string
	Steps    []Step
	Cards    []AttemptCard // newest first
	RawText  []byte
	RawCut   bool // there is more of it
	RawProps []byte
	Download string     // a file that the job wrote, if its output names one
	Failure  uuid.UUID  // of a dead job: the group that it is in
	Alike    jobs.Count // jobs in that group
}

// Step is one point on the path of a job.
type Step struct {
	State  string // colour and shape
	Title  string
	Detail string
	At     time.Time
	Mode   ui.TimeMode
	Gap    string // since the step before
	Now    bool   // the current step of the job
}

// AttemptCard is one run of the handler.
type AttemptCard struct {
	jobs.Attempt
	State string
	Took  string
	Live  bool // it still runs
	Log   string
	Last  bool // the newest
}

// NewJobModel shapes a job. vhost and prefix locate its queue on the broker.
func NewJobModel(d jobs.Detail, vhost, prefix string) JobModel {
	m := JobModel{Detail: d, URL: "/jobs/" + d.ID.String(), QueueURL: QueueURL(vhost, prefix+d.Queue), Steps: steps(d)}
	left := allowance(textShown)
	for i := len(d.Attempts) - 1; i >= 0 && len(m.Cards) < cardsShown; i-- {
		m.Cards = append(m.Cards, attemptCard(d.Attempts[i], &left))
		m.Cards[len(m.Cards)-1].Last = len(m.Cards) == 1
	}
	m.Download = downloadOf(d.Output)
	if d.Raw != nil {
		m.RawText, m.RawCut = readableBody(d.Raw.Body, d.Raw.Size)
		m.RawProps = d.Raw.Properties // if only a part of them was read
		props, err := json.Marshal(map[string]any{"exchange": d.Raw.Exchange, "routing_key": d.Raw.RoutingKey,
			"properties": d.Raw.Properties})
		if err == nil {
			m.RawProps = props
		}
	}
	return m
}

func repeated(times int) string {
	if times == 1 {
		return "came once more"
	}
	return fmt.Sprintf("came %d more times", times)
}

// dumpMax bounds the hex dump of a body that is not text.
const dumpMax = 3 << 10 // bytes

// readableBody returns the body of a message if it is text, and a hex dump of its beginning if not.
// size is that of the whole body; cut reports whether less of it is returned.
func readableBody(body []byte, size int64) (text []byte, cut bool) {
	cut = size > int64(len(body))
	whole := body
	for i := 1; cut && i < utf8.UTFMax && !utf8.Valid(whole) && i < len(body); i++ { // it was cut within a character
		whole = body[:len(body)-i]
	}
	if utf8.Valid(whole) && bytes.IndexByte(whole, 0) < 0 {
		return whole, cut
	}
	return []byte(hex.Dump(body[:min(len(body), dumpMax)])), cut || len(body) > dumpMax
}

// Bounds of the page of a job: a browser draws all of it, and so does each live update.
const (
	stepsShown      = 60
	cardsShown      = 25
	deliveriesShown = 30
	textShown       = 48 << 10 // bytes of all errors, logs and stacks together
)

// allowance is how many bytes of text a page may still show.
type allowance int

// take returns the text, or as much of its beginning as is left.
func (a *allowance) take(text string) string {
	n := min(len(text), int(*a))
	*a -= allowance(n)
	if n == len(text) {
		return text
	}
	return strings.ToValidUTF8(text[:n], "") + "… (the API has all of it)"
}

// downloadOf returns the path of a file of this dashboard that an output names.
func downloadOf(output json.RawMessage) string {
	path := textField(output, "download")
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") {
		return ""
	}
	return path
}

// textField returns a text in a JSON object of which only the beginning may be there; "" if it is not
// in that.
func textField(object json.RawMessage, name string) (text string) {
	dec := json.NewDecoder(bytes.NewReader(object))
	if start, err := dec.Token(); err != nil || start != json.Delim('{') {
		return ""
	}
	for dec.More() {
		var value json.RawMessage
		key, err := dec.Token()
		if err != nil || dec.Decode(&value) != nil {
			return ""
		}
		if key == name {
			_ = json.Unmarshal(value, &text) // another type is no text
			return text
		}
	}
	return ""
}

func attemptCard(a jobs.Attempt, left *allowance) AttemptCard {
	c := AttemptCard{Attempt: a, Live: a.FinishedAt == nil, State: attemptState(a.Outcome)}
	if a.FinishedAt != nil {
		c.Took = ui.Duration(a.FinishedAt.Sub(a.StartedAt))
	}
	c.Error = left.take(a.Error)
	c.Log = left.take(logText(a))
	c.Stack = left.take(a.Stack)
	return c
}

// logText returns the log of an attempt, one line per entry, with the time since its start.
func logText(a jobs.Attempt) string {
	var text strings.Builder
	if a.LogDropped > 0 {
		fmt.Fprintf(&text, "… %d earlier lines are not kept\n", a.LogDropped)
	}
	for _, l := range a.Log {
		fmt.Fprintf(&text, "+%.3fs %-5s %s", max(l.Time.Sub(a.StartedAt), 0).Seconds(), l.Level, l.Message)
		if len(l.Attrs) > 0 {
			fmt.Fprintf(&text, " %s", l.Attrs)
		}
		text.WriteByte('\n')
	}
	return text.String()
}

// attemptState returns the state whose colour and shape an outcome has.
func attemptState(outcome string) string {
	switch outcome {
	case "", string(jobs.Running):
		return string(jobs.Running)
	case jobs.AttemptCompleted:
		return string(jobs.Completed)
	case jobs.AttemptFailed, jobs.AttemptCrashed:
		return string(jobs.Dead)
	case jobs.AttemptSnoozed:
		return string(jobs.Scheduled)
	}
	return string(jobs.Cancelled)
}

// steps lists the path of a job, oldest first: committed, queued, delivered, each attempt with its
// deliveries, and its current state.
func steps(d jobs.Detail) []Step {
	list := []Step{{State: "completed", Title: "Committed", Detail: "by " + originWords(d.Origin), At: d.CreatedAt}}
	for _, v := range d.Deliveries {
		list = append(list, deliveryStep(v))
	}
	for _, a := range d.Attempts {
		if a.FinishedAt != nil {
			list = append(list, attemptStep(a))
		}
	}
	for _, v := range d.Drift {
		list = append(list, Step{State: "retrying", Title: "Dispatched again", Detail: driftWords(v), At: v.At})
	}
	if d.SentAt != nil && d.QueuedAt != nil && !d.SentAt.Before(*d.QueuedAt) {
		list = append(list, Step{State: "queued", Title: "Sent to the broker", Detail: "by the relay" + dispatchWords(d.Dispatch),
			At: *d.SentAt})
	}
	if d.QueuedAt != nil && !mended(d) && (d.Dispatch > 1 || d.QueuedAt.Sub(d.CreatedAt) > time.Second) {
		list = append(list, Step{State: "queued", Title: "Queued", Detail: "in the outbox" + dispatchWords(d.Dispatch), At: *d.QueuedAt})
	}
	sortSteps(list)
	list = append(shortened(list, d.Earlier), whereNow(d)...)
	for i := 1; i < len(list); i++ {
		if gap := list[i].At.Sub(list[i-1].At); gap > 0 && list[i].Mode != ui.In {
			list[i].Gap = ui.Duration(gap)
		}
	}
	return list
}

// shortened leaves out steps after the first one, so that the newest are shown.
func shortened(list []Step, earlier bool) []Step {
	n := len(list) - stepsShown
	if n <= 0 && !earlier || len(list) < 2 {
		return list
	}
	rest := list[1+max(n, 0):]
	gap := Step{State: "cancelled", Title: "…", Detail: "steps in between are not shown: the API has them", At: rest[0].At}
	return append([]Step{list[0], gap}, rest...)
}

// mended reports whether the current dispatch is one that repaired drift: its step says so.
func mended(d jobs.Detail) bool {
	n := len(d.Drift)
	return n > 0 && d.Drift[n-1].Dispatch == d.Dispatch
}

// driftWords describe why a job was dispatched again automatically.
func driftWords(v jobs.Drift) string {
	why := map[string]string{
		jobs.DriftEmpty:     "the broker no longer had its message: its queue was empty",
		jobs.DriftGone:      "the broker no longer had its message: its queue was deleted",
		jobs.DriftOvertaken: "the broker seemed to have lost its message: jobs dispatched long after it were delivered",
		jobs.DriftPurged:    "its queue was purged while it was being sent",
		jobs.DriftHolder:    "its worker was gone",
	}[v.Found]
	return fmt.Sprintf("%s · dispatch %d", why, v.Dispatch)
}

func sortSteps(list []Step) {
	for i := 1; i < len(list); i++ { // few, and almost in order
		for j := i; j > 0 && list[j].At.Before(list[j-1].At); j-- {
			list[j], list[j-1] = list[j-1], list[j]
		}
	}
}

func deliveryStep(v jobs.DeliveryRecord) Step {
	s := Step{State: "running", Title: "Delivered", Detail: "to " + v.Worker, At: v.At}
	if v.Redelivered {
		s.State, s.Title = "retrying", "Redelivered"
		if v.FromWorker != nil && *v.FromWorker != v.Worker {
			s.Detail += ", before at " + *v.FromWorker
		}
		if v.DeliveryCount > 0 {
			s.Detail += fmt.Sprintf(" · returned %d× to the queue", v.DeliveryCount)
		}
	}
	switch v.Outcome {
	case jobs.DeliveryStale:
		s.State, s.Detail = "cancelled", s.Detail+" · stale: acknowledged, not run"
	case jobs.DeliverySame:
		s.Detail += " · it runs there already"
	}
	return s
}

func attemptStep(a jobs.Attempt) Step {
	title := map[string]string{jobs.AttemptCompleted: "Completed", jobs.AttemptFailed: "Failed", jobs.AttemptCancelled: "Cancelled",
		jobs.AttemptCrashed: "Worker gone", jobs.AttemptReleased: "Given back", jobs.AttemptSnoozed: "Snoozed"}[a.Outcome]
	s := Step{State: attemptState(a.Outcome), Title: fmt.Sprintf("Attempt %d: %s", a.Number, title), Detail: oneLine(a.Error),
		At: *a.FinishedAt}
	if a.Outcome == jobs.AttemptCompleted {
		s.Detail = "ran for " + ui.Duration(a.FinishedAt.Sub(a.StartedAt))
	}
	return s
}

// whereNow returns the last step: what the job waits for, or how it ended.
func whereNow(d jobs.Detail) []Step {
	now := Step{State: string(d.State), Now: true}
	switch d.State {
	case jobs.Scheduled:
		now.Title, now.At, now.Mode = "Waits for its time", d.RunAt, ui.In
	case jobs.Retrying:
		now.Title, now.Detail, now.At, now.Mode = "Next attempt", fmt.Sprintf("attempt %d of %d", d.Attempt+1, d.MaxAttempts), d.RunAt,
			ui.In
	case jobs.Queued:
		now.Title, now.Detail, now.At, now.Mode = "Waits for a worker", "in the broker", *d.QueuedAt, ui.For
		if d.InOutbox {
			now.Title, now.Detail = "Waits in the outbox", "for the relay"
			if d.QueuePaused {
				now.Detail = "its queue is paused"
			}
			if d.OutboxError != "" {
				now.State, now.Detail = "retrying", d.OutboxError
			}
		}
	case jobs.Running:
		now.Title, now.At, now.Mode = fmt.Sprintf("Attempt %d runs", d.Attempt), *d.StartedAt, ui.For
		if d.CancelRequestedAt != nil {
			now.Detail = "asked to stop"
		}
	case jobs.Dead, jobs.Cancelled:
		if d.FinishedAt == nil {
			return nil
		}
		now.Title, now.At = "Dead", *d.FinishedAt
		now.Detail = whyDead(d)
		if d.State == jobs.Cancelled {
			now.Title, now.Detail = "Cancelled", ""
		}
	default:
		return nil
	}
	return []Step{now}
}

// whyDead returns the error of a job that died without an attempt, such as a message that is not a
// job. Other errors are shown with the attempts.
func whyDead(d jobs.Detail) string {
	if len(d.Attempts) == 0 && d.LastError != nil {
		return oneLine(*d.LastError)
	}
	return "not tried again by itself"
}

// notRun and notDelivered explain why there is nothing to show; "yet" is for jobs that may still
// run.
func notRun(s jobs.State) string {
	if s.Ended() {
		return "Its handler has not run."
	}
	return "Its handler has not run yet."
}

func notDelivered(d jobs.Detail) string {
	switch {
	case d.Origin == "broker" && d.Dispatch == 0:
		return "It came from the broker; Warren has not dispatched it."
	case d.State.Ended():
		return "The broker has not delivered it."
	}
	return "The broker has not delivered it yet."
}

func originWords(origin string) string {
	switch origin {
	case "web":
		return "this dashboard"
	case "api":
		return "the API"
	case "cli":
		return "the command line"
	case "demo":
		return "warren demo"
	case "task":
		return "its task"
	case "schedule":
		return "the schedule of its task"
	case "broker":
		return "adopted from a message that Warren did not send"
	}
	return "the application"
}

func dispatchWords(n int) string {
	if n <= 1 {
		return ""
	}
	return fmt.Sprintf(" · dispatch %d", n)
}

func why(a jobs.Action, s jobs.State) string {
	_, sentence := a.Allowed(s)
	return sentence
}
