package jobs

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Defaults of a new job.
const (
	QueueDefault       = "default"
	MaxAttemptsDefault = 5
)

// OriginEvent is the origin of the jobs that handle events.
const OriginEvent = "event"

// Size limits of a job; the API's body limit is above them.
const (
	argsBytesMax   = 1 << 20
	eventArgsMax   = 4 << 20 // of a job that handles an event: 2 MiB in base64, with headers
	nestingMax     = 1000    // PostgreSQL's JSON parser recurses on a stack of 2 MB
	uniqueKeyMax   = 200
	tagsMax        = 20
	kindMax        = 100
	maxAttemptsMax = 1000
)

// NewJob is a job to be enqueued. Fields left at zero get their defaults.
type NewJob struct {
	ID          uuid.UUID
	Kind        string
	Args        json.RawMessage
	Queue       string
	RunAt       time.Time // zero or past: now
	MaxAttempts int
	UniqueKey   string // at most one open job per key
	Tags        []string
	Timeout     time.Duration // of one attempt; 0 means no limit
	Origin      string
	TaskID      uuid.UUID // the task that owns the job, if any
	RetryOf     uuid.UUID // the job that it repeats with changes, if any
	EventID     uuid.UUID // the stored event that it handles, if any

	// Checked says, for Kind.CheckRun, that Args were checked; 0: they were not. Registry.Prepare sets it.
	Checked int64
}

// Args is implemented by the arguments of a job: a struct whose Kind method names the job's kind.
type Args interface{ Kind() string }

// New returns a job with these args and options, to be enqueued. It panics if args cannot be
// marshaled to JSON: like regexp.MustCompile, it treats that as a programming error.
func New(args Args, opts ...Option) NewJob {
	raw, err := json.Marshal(args)
	if err != nil {
		panic(fmt.Sprintf("jobs: args of kind %s: %v", args.Kind(), err))
	}
	j := NewJob{Kind: args.Kind(), Args: raw}
	for _, opt := range opts {
		opt(&j)
	}
	return j
}

// Option sets a field of a new job.
type Option func(*NewJob)

// OnQueue sends the job to the named queue instead of "default".
func OnQueue(name string) Option { return func(j *NewJob) { j.Queue = name } }

// At schedules the job: it does not run before t.
func At(t time.Time) Option { return func(j *NewJob) { j.RunAt = t } }

// MaxAttempts limits the number of attempts: when the last one fails, the job is dead.
func MaxAttempts(n int) Option { return func(j *NewJob) { j.MaxAttempts = n } }

// UniqueKey allows at most one open job per key: enqueueing a second one returns the id of the first.
func UniqueKey(key string) Option { return func(j *NewJob) { j.UniqueKey = key } }

// Tags sets labels by which the job can be found.
func Tags(tags ...string) Option { return func(j *NewJob) { j.Tags = tags } }

// Timeout limits each attempt to d.
func Timeout(d time.Duration) Option { return func(j *NewJob) { j.Timeout = d } }

// FieldError is an invalid input field, with its JSON name and what is wrong with it.
type FieldError struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

func (e FieldError) Error() string { return e.Field + ": " + e.Message }

// FieldErrors is a list of one or more invalid fields. All functions that validate input return it.
type FieldErrors []FieldError

// fieldErrorsShown bounds the fields that the text of FieldErrors names.
const fieldErrorsShown = 20

func (es FieldErrors) Error() string {
	var text strings.Builder
	for i, e := range es {
		if i > 0 {
			text.WriteString("; ")
		}
		if i == fieldErrorsShown {
			fmt.Fprintf(&text, "and %d more", len(es)-i)
			break
		}
		text.WriteString(e.Error())
	}
	return text.String()
}

// OrNil returns es as an error, or nil if es is empty: a nil FieldErrors would be a non-nil error.
func (es FieldErrors) OrNil() error {
	if len(es) == 0 {
		return nil
	}
	return es
}

var (
	kindPattern  = regexp.MustCompile(`^[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)*$`)
	queuePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)
)

const kindRule = "lower-case letters, digits, _ and -, parts joined by dots, at most 100 characters"

func validKind(name string) bool { return kindPattern.MatchString(name) && len(name) <= kindMax }

// Prepare fills in the defaults and validates names, sizes and ranges; the error is FieldErrors.
// It does not check the args against their kind: see Registry.Prepare. It is idempotent.
func (j *NewJob) Prepare() error {
	if j.ID == uuid.Nil {
		j.ID = uuid.Must(uuid.NewV7())
	}
	if j.Queue == "" {
		j.Queue = QueueDefault
	}
	if j.MaxAttempts == 0 {
		j.MaxAttempts = MaxAttemptsDefault
	}
	if len(j.Args) == 0 {
		j.Args = json.RawMessage(`{}`)
	}
	if j.Origin == "" {
		j.Origin = "app"
	}
	var errs FieldErrors
	add := func(bad bool, field, format string, a ...any) {
		if bad {
			errs = append(errs, FieldError{field, fmt.Sprintf(format, a...)})
		}
	}
	add(!validKind(j.Kind), "kind", "%.100q is not a valid kind: %s", j.Kind, kindRule)
	if wrong, ok := CheckQueue(j.Queue).(FieldErrors); ok { //nolint:errorlint // it returns nothing else
		errs = append(errs, wrong...)
	}
	most := argsBytesMax
	if j.Origin == OriginEvent {
		most = eventArgsMax
	}
	errs = append(errs, checkArgs(j.Args, most)...)
	add(j.MaxAttempts < 1 || j.MaxAttempts > maxAttemptsMax, "max_attempts", "must be between 1 and %d", maxAttemptsMax)
	add(len(j.UniqueKey) > uniqueKeyMax || !PlainText(j.UniqueKey), "unique_key", "must be plain text of at most %d bytes", uniqueKeyMax)
	add(len(j.Tags) > tagsMax, "tags", "must be at most %d tags", tagsMax)
	for _, t := range j.Tags {
		add(t == "" || len(t) > 100 || !PlainText(t), "tags", "must be plain text of 1 to 100 bytes each")
	}
	add(j.Timeout != 0 && j.Timeout < time.Millisecond, "timeout", "must be at least 1 ms, or 0 for none")
	year := j.RunAt.UTC().Year()
	add(!j.RunAt.IsZero() && (year < 1970 || year > 9999), "run_at", "is out of range")
	add(!PlainText(j.Origin), "origin", "must be plain text")
	return errs.OrNil()
}

// CheckQueue reports whether name may be the name of a job queue. The error is FieldErrors.
func CheckQueue(name string) error {
	if queuePattern.MatchString(name) {
		return nil
	}
	return FieldErrors{{"queue", fmt.Sprintf("%.100q is not a valid queue name: letters, digits, dot, _ and -, at most 100 characters",
		name)}}
}

// checkArgs checks args of any kind for size, depth and syntax, at a cost that is linear in them.
func checkArgs(args json.RawMessage, most int) FieldErrors {
	switch {
	case len(args) > most:
		return FieldErrors{{"args", fmt.Sprintf("is larger than %d MiB; put the data elsewhere and carry its id", most>>20)}}
	case TooDeep(args):
		return FieldErrors{{"args", fmt.Sprintf("is nested deeper than %d levels", nestingMax)}}
	case !json.Valid(args) || !utf8.Valid(args):
		return FieldErrors{{"args", "is not valid JSON"}}
	}
	return nil
}

// ParseTime parses the time at which a job is to run: RFC 3339, or "+10m" for ten minutes after
// now. The empty string is the zero time, which means at once.
func ParseTime(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, ok := strings.CutPrefix(s, "+"); ok {
		wait, err := time.ParseDuration(d)
		if err != nil || wait < 0 {
			return time.Time{}, fmt.Errorf("%.40q is not a valid wait. Use +10m or +1h30m", s)
		}
		return now.Add(wait), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%.40q is not a valid time. Use 2026-01-31T15:04:05Z or +10m", s)
	}
	return t, nil
}

// TooDeep reports whether the JSON is nested deeper than args may be.
func TooDeep(raw []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(raw) && depth <= nestingMax; i++ {
		switch c := raw[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[', c == '{':
			depth++
		case c == ']', c == '}':
			depth--
		}
	}
	return depth > nestingMax
}

// PlainText reports whether PostgreSQL accepts s as text: valid UTF-8 without a zero byte.
func PlainText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }
