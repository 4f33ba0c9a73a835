// Package jobs contains the types that applications use to define and inspect jobs: args and
// kinds, handlers and their runs, new jobs and their options, states, filters and errors.
// It depends on no database, broker or HTTP library; package engine runs the jobs.
package jobs

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// Job is one unit of background work, as stored in the database and returned by the API.
// Times are UTC; a nil time has not happened yet.
type Job struct {
	ID          uuid.UUID       `json:"id"`
	Kind        string          `json:"kind"`
	Queue       string          `json:"queue"`
	Args        json.RawMessage `json:"args"`
	State       State           `json:"state"`
	Attempt     int             `json:"attempt"`
	MaxAttempts int             `json:"max_attempts"`
	RunAt       time.Time       `json:"run_at"`
	CreatedAt   time.Time       `json:"created_at"`
	StartedAt   *time.Time      `json:"started_at"`
	FinishedAt  *time.Time      `json:"finished_at"`
	Progress    *Progress       `json:"progress"`
	Output      json.RawMessage `json:"output"`
	LastError   *string         `json:"last_error"`

	UniqueKey *string  `json:"unique_key"`
	Tags      []string `json:"tags"`
	// Timeout limits one attempt; 0 means no limit.
	Timeout Duration `json:"timeout"`
	// Origin is where the job was created: "app", "web", "api", "cli", "demo" or "broker" (adopted from a foreign message).
	Origin string `json:"origin"`
	// Dispatch counts how often the job was sent to the broker, Lease how often it was claimed.
	Dispatch int `json:"dispatch"`
	Lease    int `json:"lease"`
	// Crashes counts take-overs from workers that died while they ran the job.
	Crashes int `json:"crashes"`
	// Uncounted counts the runs that cost no attempt: the worker died, or stopped and gave the job back. Attempt
	// and MaxAttempts include them. It is filled in where jobs are read, not in a handler.
	Uncounted int `json:"uncounted"`
	// QueuedAt is when the current dispatch was committed, SentAt when the relay published
	// it (taken from the message at the claim).
	QueuedAt          *time.Time `json:"queued_at"`
	SentAt            *time.Time `json:"sent_at"`
	Worker            *string    `json:"worker"`
	CancelRequestedAt *time.Time `json:"cancel_requested_at"`
	// TaskID is the task that owns the job, if any.
	TaskID *uuid.UUID `json:"task_id"`
	// TraceID is the OpenTelemetry trace id of the job and its retries, if they are traced.
	TraceID *string `json:"trace_id"`
}

// Progress is how far a handler is, as it reported it: Done is between 0 and 1.
type Progress struct {
	Done float64 `json:"done"`
	Note string  `json:"note,omitempty"`
}

// Attempt is one run of the handler. Outcome is empty while it runs.
type Attempt struct {
	Number     int        `json:"number"`
	Worker     string     `json:"worker"`
	StartedAt  time.Time  `json:"started_at"`
	FinishedAt *time.Time `json:"finished_at"`
	Outcome    string     `json:"outcome"`
	Error      string     `json:"error"`
	ErrorClass string     `json:"error_class"`
	Stack      string     `json:"stack"`
	Dispatch   int        `json:"dispatch"`
	Lease      int        `json:"lease"`
	// Log has the newest lines that the handler logged; only the newest attempts have one.
	// LogDropped counts the older lines that were dropped.
	Log        []LogLine `json:"log"`
	LogDropped int       `json:"log_dropped"`
}

// Outcomes of an attempt.
const (
	AttemptCompleted = "completed"
	AttemptFailed    = "failed"
	AttemptCancelled = "cancelled"
	AttemptCrashed   = "crashed"  // its worker died; counted as a crash
	AttemptReleased  = "released" // given back by a stopping worker; not counted
	AttemptSnoozed   = "snoozed"  // postponed by its handler; not counted
)

// DeliveryRecord is one delivery of a job's message to a worker.
type DeliveryRecord struct {
	Dispatch      int       `json:"dispatch"`
	At            time.Time `json:"at"`
	Worker        string    `json:"worker"`
	Redelivered   bool      `json:"redelivered"`
	DeliveryCount int       `json:"delivery_count"`
	Outcome       string    `json:"outcome"`
	// FromWorker is the worker that held the job before, if known.
	FromWorker *string `json:"from_worker"`
	Lease      int     `json:"-"`
}

// Outcomes of a delivery, recorded at the time of the claim. A claimed delivery is later
// shown with the outcome of the attempt that it started.
const (
	DeliveryClaimed   = "claimed"
	DeliveryTakenOver = "taken over" // the previous holder was lost
	DeliveryStale     = "stale"      // older dispatch, or the job had ended
	DeliverySame      = "same run"   // this process already runs the job; the new delivery tag replaces the old one
	DeliveryWaiting   = "holder alive"
	DeliveryUnknown   = "unknown job"
	// DeliveryStaleReport is no delivery: a worker of another program reported about an older dispatch,
	// or about a job that had ended.
	DeliveryStaleReport = "stale report"
)

// Redelivery is one line of a queue's redelivery history.
type Redelivery struct {
	ID            int64     `json:"-"` // of the delivery record
	JobID         uuid.UUID `json:"job_id"`
	Kind          string    `json:"kind"` // "" if the job has been deleted
	Dispatch      int       `json:"dispatch"`
	At            time.Time `json:"at"`
	FromWorker    *string   `json:"from_worker"` // if known
	ToWorker      string    `json:"to_worker"`
	DeliveryCount int       `json:"delivery_count"`
	Outcome       string    `json:"outcome"`
}

// Detail is a job with its history, oldest first.
type Detail struct {
	Job
	Attempts   []Attempt        `json:"attempts"`
	Deliveries []DeliveryRecord `json:"deliveries"`
	Drift      []Drift          `json:"drift"`

	// Explanation says in a sentence why the job is in its state and what comes next (package explain).
	Explanation string `json:"explanation"`
	// RetryOf is the job that this one repeats with changes, if any.
	RetryOf *uuid.UUID `json:"retry_of"`
	// People lists what operators did to the job, the newest 100 entries, oldest first.
	People []AuditEntry `json:"-"`
	Around Around       `json:"-"`

	// InOutbox reports whether the current dispatch still waits for the relay; OutboxError is its last error, if any.
	InOutbox    bool        `json:"-"`
	OutboxError string      `json:"-"`
	QueuePaused bool        `json:"-"` // the job stays in the outbox until the queue is resumed
	Raw         *RawMessage `json:"-"`

	// Foreign reports that the worker that has the job, or had it last, is one of another program.
	Foreign bool `json:"-"`

	// ArgsSize and OutputSize are the sizes of the whole documents, in bytes, where only their beginnings were read.
	ArgsSize   int64 `json:"-"`
	OutputSize int64 `json:"-"`
	Earlier    bool  `json:"-"` // there may be history before what was read
}

// Around is what surrounds an open job: who could move it on. Known is false if it was not read, as
// for ended jobs.
type Around struct {
	Known      bool
	Relays     int // live processes of that role
	Schedulers int
	Workers    int // live workers that consume the queue
	Quiet      int // of these, the ones that take no new jobs
	Silent     int // of these, the ones that have missed heartbeats; what they run is not known
	Slots      int // jobs that the others can run at once
	Busy       int // jobs that they run
	// External reports that workers of other programs work the queue. They must report within
	// ReportWithin; 0 means that there is no limit.
	External     bool
	ReportWithin time.Duration
	// Unhandled reports that a worker gave the kind back, and no live worker of the queue handles it.
	Unhandled bool

	PausedAt *time.Time // of the queue
	PausedBy string
	NextTry  *time.Time // of an outbox row that could not be sent
	// HolderSeen is when the worker that runs the job last renewed its lease; nil if its lease is gone.
	HolderSeen *time.Time
	// HeardAt is when the worker of another program that has the job last reported, or, of a queued job,
	// since when its report is awaited; nil if it is not.
	HeardAt *time.Time
	Now     time.Time // the database's clock
}

// Unworked reports that, as far as is known, no worker consumes the queue.
func (a Around) Unworked() bool { return a.Known && a.Workers == 0 && !a.External }

// RawMessage is a foreign message exactly as it was received. Body is nil if the message was adopted:
// the args of its job are the body. Repeats counts the messages with the same id that came later.
type RawMessage struct {
	Exchange   string          `json:"exchange"`
	RoutingKey string          `json:"routing_key"`
	Properties json.RawMessage `json:"properties"`
	Body       []byte          `json:"body"`
	Repeats    int             `json:"repeats"`
	RepeatedAt *time.Time      `json:"repeated_at"`
	Size       int64           `json:"-"` // of the whole body, in bytes
}

// Duration is a time.Duration whose JSON form is a string such as "1m30s", or null for 0, which
// means none.
type Duration time.Duration

// MarshalJSON writes the Go form of the duration, such as "1m30s".
func (d Duration) MarshalJSON() ([]byte, error) {
	if d == 0 {
		return []byte("null"), nil
	}
	return json.Marshal(time.Duration(d).String())
}

// UnmarshalJSON parses the Go form of a duration, such as "1m30s".
func (d *Duration) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*d = 0
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	v, err := time.ParseDuration(s)
	*d = Duration(v)
	return err
}

// Drift is a disagreement between database and broker about a job, and its repair.
type Drift struct {
	Dispatch int       `json:"dispatch"` // the dispatch that repaired it
	At       time.Time `json:"at"`
	Found    string    `json:"found"`
}

// Evidence by which drift is found.
const (
	DriftEmpty     = "empty"     // the job's queue was empty
	DriftGone      = "gone"      // the job's queue did not exist
	DriftOvertaken = "overtaken" // jobs dispatched long after it were delivered
	DriftPurged    = "purged"    // the job was dispatched while its queue was being purged
	DriftHolder    = "holder"    // the job was running and its worker was lost
)
