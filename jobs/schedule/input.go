package schedule

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/events"
)

// Input holds the fields of a schedule that callers can set. It has either a Job or an Event.
type Input struct {
	Name     string     `json:"name"`
	Rule     string     `json:"rule"` // as Parse takes it
	Zone     string     `json:"zone"` // IANA name; UTC if empty
	Job      *Job       `json:"job,omitempty"`
	Event    *Event     `json:"event,omitempty"`
	Overlap  Overlap    `json:"overlap"`
	CatchUp  CatchUp    `json:"catch_up"`
	StartsAt *time.Time `json:"starts_at"` // it does not fire before
	EndsAt   *time.Time `json:"ends_at"`   // nor after
}

// Job is the job that a schedule enqueues. Fields left at zero get the defaults of a new job.
type Job struct {
	Kind        string          `json:"kind"`
	Args        json.RawMessage `json:"args"`
	Queue       string          `json:"queue"`
	MaxAttempts int             `json:"max_attempts"`
	Timeout     jobs.Duration   `json:"timeout"` // of one attempt; 0 means no limit
	Tags        []string        `json:"tags,omitempty"`
}

// NewJob returns the job with these args and options, for a schedule of a program's own. A time to run and a unique key
// have no effect. It panics where jobs.New does.
func NewJob(args jobs.Args, options ...jobs.Option) *Job {
	j := jobs.New(args, options...)
	return &Job{Kind: j.Kind, Args: j.Args, Queue: j.Queue, MaxAttempts: j.MaxAttempts, Timeout: jobs.Duration(j.Timeout), Tags: j.Tags}
}

// New returns the job as it is enqueued.
func (j *Job) New() jobs.NewJob {
	return jobs.NewJob{Kind: j.Kind, Args: j.Args, Queue: j.Queue, MaxAttempts: j.MaxAttempts, Timeout: time.Duration(j.Timeout),
		Tags: j.Tags, Origin: "schedule"}
}

// Event is the event that a schedule publishes. Its Body is JSON; where the content type is not JSON, it is a JSON string
// whose text is sent.
type Event struct {
	Exchange    string          `json:"exchange"`
	Key         string          `json:"key"`
	ContentType string          `json:"content_type"` // application/json if empty
	Body        json.RawMessage `json:"body"`
}

// New returns the event as it is published.
func (e *Event) New() events.Event {
	body := []byte(e.Body)
	var text string
	if !events.IsJSON(e.ContentType) && json.Unmarshal(e.Body, &text) == nil {
		body = []byte(text)
	}
	return events.Event{Exchange: e.Exchange, Key: e.Key, ContentType: e.ContentType, Body: body}
}

func (e *Event) prepare() (errs jobs.FieldErrors) {
	e.Exchange, e.Key, e.ContentType = strings.TrimSpace(e.Exchange), strings.TrimSpace(e.Key), strings.TrimSpace(e.ContentType)
	if e.ContentType == "" {
		e.ContentType = events.TypeJSON
	}
	if len(e.Body) == 0 {
		e.Body = json.RawMessage("null")
	}
	var text string
	if !events.IsJSON(e.ContentType) && json.Unmarshal(e.Body, &text) != nil {
		errs = append(errs, jobs.FieldError{Field: "event.body",
			Message: "must be a JSON string, whose text is sent, as the content type is not JSON"})
	}
	event := e.New()
	if wrong, ok := event.Prepare().(jobs.FieldErrors); ok { //nolint:errorlint // without a constructor's error it returns nothing else
		for _, w := range wrong {
			errs = append(errs, jobs.FieldError{Field: "event." + w.Field, Message: w.Message})
		}
	}
	return errs
}

// NewEvent returns the event for a schedule of a program's own; its body must be valid UTF-8.
func NewEvent(e events.Event) *Event {
	body := json.RawMessage(e.Body)
	if !events.IsJSON(e.ContentType) {
		body, _ = json.Marshal(string(e.Body)) // a string always can be
	}
	return &Event{Exchange: e.Exchange, Key: e.Key, ContentType: e.ContentType, Body: body}
}

// Overlap is what a schedule does at a time at which its last job is still open.
type Overlap string

// The values of Overlap.
const (
	OverlapSkip  Overlap = "skip"  // it adds no second job
	OverlapAllow Overlap = "allow" // it adds another job
)

// CatchUp is what a schedule does about times that passed while no scheduler ran.
type CatchUp string

// The values of CatchUp.
const (
	CatchUpOnce CatchUp = "once" // it fires once for all of them
	CatchUpAll  CatchUp = "all"  // it fires for each, the oldest first, but for at most the newest CatchUpMost
)

// CatchUpMost is how many missed times a schedule fires for.
const CatchUpMost = 10_000

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._:/-]{0,99}$`)

// Prepare fills in the defaults and validates the input; the error is FieldErrors. It does not check the job's args against
// their kind: see Prepare.
func (in *Input) Prepare() error {
	var errs jobs.FieldErrors
	add := func(bad bool, field, format string, a ...any) {
		if bad {
			errs = append(errs, jobs.FieldError{Field: field, Message: fmt.Sprintf(format, a...)})
		}
	}
	in.Name, in.Zone, in.Rule = strings.TrimSpace(in.Name), strings.TrimSpace(in.Zone), strings.Join(strings.Fields(in.Rule), " ")
	if in.Overlap == "" {
		in.Overlap = OverlapSkip
	}
	if in.CatchUp == "" {
		in.CatchUp = CatchUpOnce
	}
	in.StartsAt, in.EndsAt = kept(in.StartsAt), kept(in.EndsAt)
	add(!namePattern.MatchString(in.Name), "name", "%.100q is not a valid name: letters, digits, blanks and . _ : / -, "+
		"at most 100 characters, a letter or a digit first", in.Name)
	if _, err := LoadZone(in.Zone); err != nil {
		add(true, "zone", "%s", err)
	} else if _, err := Parse(in.Rule, in.Zone); err != nil {
		add(true, "rule", "%s", err)
	}
	add(in.Overlap != OverlapSkip && in.Overlap != OverlapAllow, "overlap", "%.40q is not valid: it is skip or allow", in.Overlap)
	add(in.CatchUp != CatchUpOnce && in.CatchUp != CatchUpAll, "catch_up", "%.40q is not valid: it is once or all", in.CatchUp)
	add(outOfRange(in.StartsAt), "starts_at", "is out of range")
	add(outOfRange(in.EndsAt), "ends_at", "is out of range")
	add(in.StartsAt != nil && in.EndsAt != nil && in.EndsAt.Before(*in.StartsAt), "ends_at", "is before the start")
	switch {
	case in.Job != nil && in.Event != nil:
		add(true, "event", "cannot be together with a job: a schedule has one of them")
	case in.Job != nil:
		errs = append(errs, in.Job.prepare()...)
		add(in.CatchUp == CatchUpAll && in.Overlap == OverlapSkip, "overlap",
			"must be allow to catch up all missed times: of jobs that may not overlap only the first would be added")
	case in.Event != nil:
		errs = append(errs, in.Event.prepare()...)
		in.Overlap = OverlapAllow // an event is never open
	default:
		add(true, "job", "is required, or an event")
	}
	return errs.OrNil()
}

func (j *Job) prepare() (errs jobs.FieldErrors) {
	job := j.New()
	if wrong, ok := job.Prepare().(jobs.FieldErrors); ok { //nolint:errorlint // Prepare returns nothing else
		for _, e := range wrong {
			errs = append(errs, jobs.FieldError{Field: "job." + e.Field, Message: e.Message})
		}
	}
	j.Args, j.Queue, j.MaxAttempts = job.Args, job.Queue, job.MaxAttempts
	return errs
}

// Prepare calls Input.Prepare and checks the job against its kind in r, whose defaults fill the options that are not set.
// The error is FieldErrors.
func Prepare(r *jobs.Registry, in *Input) error {
	var args jobs.FieldErrors
	if in.Job != nil {
		if k := r.Lookup(in.Job.Kind); k != nil {
			in.Job.setDefaults(k)
		}
		args, _ = r.Check(in.Job.Kind, in.Job.Args).(jobs.FieldErrors) //nolint:errorlint // Check returns nothing else
	}
	errs, _ := in.Prepare().(jobs.FieldErrors) //nolint:errorlint // likewise
	for _, e := range args {
		e.Field = "job." + e.Field
		if !slices.ContainsFunc(errs, func(have jobs.FieldError) bool { return have.Field == e.Field }) {
			errs = append(errs, e)
		}
	}
	return errs.OrNil()
}

func (j *Job) setDefaults(k *jobs.Kind) {
	queue, attempts, timeout := k.Defaults()
	if j.Queue == "" {
		j.Queue = queue
	}
	if j.MaxAttempts == 0 {
		j.MaxAttempts = attempts
	}
	if j.Timeout == 0 {
		j.Timeout = jobs.Duration(timeout)
	}
}

// kept returns a time with the precision of the database.
func kept(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	micro := t.UTC().Truncate(time.Microsecond)
	return &micro
}

func outOfRange(t *time.Time) bool { return t != nil && (t.Year() < 1970 || t.Year() > 9999) }
