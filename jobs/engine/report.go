package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
)

// The types of reports, in the property type of their messages.
const (
	ReportStarted   = "started"
	ReportProgress  = "progress"
	ReportCompleted = "completed"
	ReportFailed    = "failed"
)

// Report is what a worker of another program says about one dispatch of a job (docs/protocol.md).
type Report struct {
	Key       DispatchKey
	Type      string
	Worker    string // as it calls itself
	Progress  *jobs.Progress
	Output    json.RawMessage
	Failure   Failure
	Permanent bool // the job is not to be tried again
}

// Bounds of what is kept of a report's texts, in bytes.
const (
	reportWorkerMax = 200
	reportNoteMax   = 1 << 10
	reportStackMax  = 64 << 10
	reportOutputMax = 1 << 20 // as of the args of a job
)

// workerUnnamed stands for a worker that does not say its name.
const workerUnnamed = "a worker of another program"

// reportBody is the body of a report. Fields that are not known are ignored, so that newer workers
// can report to older schedulers.
type reportBody struct {
	Worker   string `json:"worker"`
	Progress *struct {
		Done    *float64 `json:"done"`
		Total   *float64 `json:"total"`
		Message string   `json:"message"`
	} `json:"progress"`
	Output    json.RawMessage `json:"output"`
	Error     string          `json:"error"`
	Class     string          `json:"class"`
	Stack     string          `json:"stack"`
	Permanent bool            `json:"permanent"`
}

// ParseReport reads a report from its message. The error says what is wrong with it.
func ParseReport(in Delivery) (Report, error) {
	r := Report{Type: in.Type}
	var err error
	if r.Key, err = parseCorrelation(in.CorrelationID); err != nil {
		return r, err
	}
	var body reportBody
	if len(in.Body) > 0 {
		if err := json.Unmarshal(in.Body, &body); err != nil {
			return r, fmt.Errorf("its body cannot be read: %w", err)
		}
	}
	r.Worker = short(body.Worker, reportWorkerMax)
	if r.Worker == "" {
		r.Worker = workerUnnamed
	}
	if r.Progress, err = body.progress(); err != nil {
		return r, err
	}
	switch r.Type {
	case ReportStarted:
	case ReportProgress:
		if r.Progress == nil {
			err = errors.New("it has no progress")
		}
	case ReportCompleted:
		r.Output, err = outputOf(body.Output)
	case ReportFailed:
		r.Failure, r.Permanent = body.failure(), body.Permanent
		if r.Failure.Error == "" {
			err = errors.New("it has no error")
		}
	default:
		err = fmt.Errorf("its type is %.40q: it must be started, progress, completed or failed", r.Type)
	}
	return r, err
}

// parseCorrelation reads the correlation id of a job message, which its reports echo: <job>.<dispatch>.
func parseCorrelation(s string) (DispatchKey, error) {
	wrong := fmt.Errorf("its correlation_id is %.80q: it must be that of the job's message, <job>.<dispatch>", s)
	job, number, _ := strings.Cut(s, ".")
	id, err := uuid.Parse(job)
	if err != nil || id == uuid.Nil {
		return DispatchKey{}, wrong
	}
	dispatch, err := strconv.ParseInt(number, 10, 32)
	if err != nil || dispatch < 1 {
		return DispatchKey{}, wrong
	}
	return DispatchKey{JobID: id, Dispatch: int(dispatch)}, nil
}

func (b reportBody) progress() (*jobs.Progress, error) {
	p := b.Progress
	if p == nil {
		return nil, nil
	}
	if p.Done == nil || p.Total == nil || *p.Done < 0 || *p.Total <= 0 {
		return nil, errors.New("its progress must have done, 0 or more, and total, more than 0")
	}
	note := short(p.Message, reportNoteMax)
	if note == "" {
		note = number(*p.Done) + " of " + number(*p.Total)
	}
	return &jobs.Progress{Done: min(*p.Done / *p.Total, 1), Note: note}, nil
}

func number(f float64) string {
	if f == math.Trunc(f) {
		return strconv.FormatFloat(f, 'f', 0, 64)
	}
	return strconv.FormatFloat(f, 'g', 4, 64)
}

func outputOf(raw json.RawMessage) (json.RawMessage, error) {
	if len(raw) > reportOutputMax {
		return nil, fmt.Errorf("its output is larger than %d MiB", reportOutputMax>>20)
	}
	if string(raw) == "null" {
		return nil, nil
	}
	return raw, nil
}

func (b reportBody) failure() Failure {
	f := Failure{Class: short(b.Class, reportWorkerMax), Stack: short(b.Stack, reportStackMax)}
	if text := strings.TrimSpace(b.Error); text != "" {
		f.Error = errorText(errors.New(text))
	}
	return f
}

// short returns text cut to at most limit bytes, at a character.
func short(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "")
}

// Ends reports whether the report ends the run.
func (r Report) Ends() bool { return r.Type == ReportCompleted || r.Type == ReportFailed }

// Result returns the result of the run that the report ends, by the rules for a Go handler: a failed
// attempt is tried again after a backoff, until none is left.
func (r Report) Result(c Claim) Result {
	result := Result{JobID: r.Key.JobID, Lease: c.Lease, Progress: r.Progress}
	switch {
	case r.Type == ReportCompleted:
		result.State, result.Outcome, result.Output = jobs.Completed, jobs.AttemptCompleted, r.Output
	case r.Permanent || c.Attempt >= c.MaxAttempts:
		result.State, result.Outcome, result.Failure = jobs.Dead, jobs.AttemptFailed, r.Failure
	default:
		result.State, result.Outcome, result.Failure = jobs.Retrying, jobs.AttemptFailed, r.Failure
		result.Wait = Backoff(c.Attempt, rand.Float64()*2-1)
	}
	return result
}

// NoReport returns the report that stands for one that did not come in time.
func NoReport(key DispatchKey, worker string, within time.Duration) Report {
	return failedReport(key, worker, Failure{Error: "no report within " + DurationText(within), Class: "no report"})
}

// Rejected returns the report that stands for one of a worker that rejected its message.
func Rejected(key DispatchKey, worker string) Report {
	return failedReport(key, worker, Failure{Class: "rejected",
		Error: "its message became a dead letter: a worker of another program rejected it, or returned it too often"})
}

func failedReport(key DispatchKey, worker string, f Failure) Report {
	return Report{Key: key, Type: ReportFailed, Worker: worker, Failure: f}
}
