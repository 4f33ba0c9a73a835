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
	"github.com/warrenjobs/warren/jobs/explain"
)

// TopicUnnamedJobs changes when jobs changed that the notification does not name. A page of an ended
// job does not follow it.
const TopicUnnamedJobs = "jobs-unnamed"

// JobModel is one job with its history.
type JobModel struct {
	jobs.Detail
	URL      string
	QueueURL string
	Sentence explain.Sentence
	Tries    explain.Tries
	Steps    []Step
	RawText  []byte
	RawCut   bool // there is more of it
	RawProps []byte
	Download string     // a file that the job wrote, if its output names one
	Again    string     // link to a form filled in with this job; "" if the reader cannot have it
	Failure  uuid.UUID  // of a dead job: the group that it is in
	Alike    jobs.Count // jobs in that group
	Recent   Recent
}

// NewJobModel shapes a job, beside the newest jobs of its kind. vhost and prefix locate its queue on the broker.
func NewJobModel(d jobs.Detail, recent []jobs.Job, vhost, prefix string) JobModel {
	m := JobModel{Detail: d, URL: "/jobs/" + d.ID.String(), QueueURL: QueueURL(vhost, prefix+d.Queue), Sentence: explain.Of(d),
		Tries: explain.TriesOf(d), Steps: steps(d), Download: downloadOf(d.Output),
		Recent: newRecent(recent, d.ID)}
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

// ofLast names a fact of the only run, or of the last one of several.
func (m JobModel) ofLast(only, last string) string {
	if len(m.Attempts) > 1 || m.Earlier {
		return last
	}
	return only
}

// runTime returns how long the last run of a job that has run and ended was, as the timeline shows it.
func (m JobModel) runTime() time.Duration {
	if n := len(m.Attempts); n > 0 && m.Attempts[n-1].FinishedAt != nil {
		return m.Attempts[n-1].FinishedAt.Sub(m.Attempts[n-1].StartedAt)
	}
	return m.FinishedAt.Sub(*m.StartedAt)
}

// href returns the page of what a part of the sentence names.
func (m JobModel) href(p explain.Part) string {
	switch p.Name {
	case explain.Queue:
		return m.QueueURL
	case explain.Worker:
		return workerURL(p.Text)
	}
	return ""
}

// LikeURL returns the address of the form of a new job that is filled in with a job.
func LikeURL(id uuid.UUID) string { return "/jobs/new?like=" + id.String() }

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
	stepsShown = 60
	notesShown = 10       // of each run
	textShown  = 48 << 10 // bytes of all errors, logs and stacks together
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
		return "another app, as a message"
	}
	return "the application"
}

func why(a jobs.Action, s jobs.State) string {
	_, sentence := a.Allowed(s)
	return sentence
}
