// Package jobs is what applications know of Warren: a job's args and kind, the handler and its
// run, new jobs and their options, states, filters and errors. Package engine runs the jobs.
// It knows no database, broker or HTTP library.
package jobs

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// Job is one unit of background work as everybody sees it: the row in the
// database, the object of the API. Times are UTC; a nil time has not happened.
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

	UniqueKey *string  `json:"unique_key,omitempty"`
	Tags      []string `json:"tags"`
	// Timeout of one attempt; 0 means none.
	Timeout Duration `json:"timeout,omitempty"`
	// Origin says who made the job: "app", "web", "api", "cli", "demo" or "broker" (adopted from a foreign message).
	Origin string `json:"origin"`
	// Dispatch numbers the sendings of this job to the broker, Lease the claims of it.
	Dispatch int `json:"dispatch"`
	Lease    int `json:"lease"`
	// Crashes counts take-overs from holders that died while they ran the job.
	Crashes int `json:"crashes"`
	// QueuedAt is when the current dispatch was committed, SentAt when the relay
	// published it (learned at the claim from the message).
	QueuedAt          *time.Time `json:"queued_at"`
	SentAt            *time.Time `json:"sent_at"`
	Worker            *string    `json:"worker"`
	CancelRequestedAt *time.Time `json:"cancel_requested_at,omitempty"`
	// TaskID is the task that owns the job, if any.
	TaskID *uuid.UUID `json:"task_id,omitempty"`
	// TraceID is OpenTelemetry's, of the trace that the job and its retries are in.
	TraceID string `json:"trace_id,omitempty"`
}

// Progress is what a handler says of how far it is: Done between 0 and 1.
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
	ErrorClass string     `json:"error_class,omitempty"`
	Stack      string     `json:"stack"`
	Dispatch   int        `json:"dispatch"`
	Lease      int        `json:"lease"`
	// Log is what the handler logged; of the newest attempts, and of each the
	// newest lines. LogDropped counts those before them.
	Log        []LogLine `json:"log,omitempty"`
	LogDropped int       `json:"log_dropped,omitempty"`
}

// Outcomes of an attempt.
const (
	AttemptCompleted = "completed"
	AttemptFailed    = "failed"
	AttemptCancelled = "cancelled"
	AttemptCrashed   = "crashed"  // its worker died; counted as a crash
	AttemptReleased  = "released" // given back by a stopping worker; not counted
	AttemptSnoozed   = "snoozed"  // put off by its handler; not counted
)

// DeliveryRecord is the broker handing the message of one dispatch to a worker.
type DeliveryRecord struct {
	Dispatch      int       `json:"dispatch"`
	At            time.Time `json:"at"`
	Worker        string    `json:"worker"`
	Redelivered   bool      `json:"redelivered"`
	DeliveryCount int       `json:"delivery_count"`
	Outcome       string    `json:"outcome"`
	// FromWorker held the job before, where that is known.
	FromWorker string `json:"from_worker,omitempty"`
	Lease      int    `json:"-"`
}

// Outcomes of a delivery, as recorded at the moment of the claim. A claimed
// delivery is later shown with the outcome of the attempt that it started.
const (
	DeliveryClaimed   = "claimed"
	DeliveryTakenOver = "taken over" // the former holder was gone
	DeliveryStale     = "stale"      // older dispatch, or the job had ended
	DeliverySame      = "same run"   // this process runs the job already; the new tag replaces the old one
	DeliveryWaiting   = "holder alive"
	DeliveryUnknown   = "unknown job"
)

// Redelivery is one line of a queue's redelivery history.
type Redelivery struct {
	ID            int64     `json:"-"` // of the record
	JobID         uuid.UUID `json:"job_id"`
	Dispatch      int       `json:"dispatch"`
	At            time.Time `json:"at"`
	FromWorker    string    `json:"from_worker"`
	ToWorker      string    `json:"to_worker"`
	DeliveryCount int       `json:"delivery_count"`
	Outcome       string    `json:"outcome"`
}

// Detail is a job with everything that happened to it, oldest first.
type Detail struct {
	Job
	Attempts   []Attempt        `json:"attempts"`
	Deliveries []DeliveryRecord `json:"deliveries"`
	Drift      []Drift          `json:"drift"`

	// InOutbox says that the current dispatch still waits for the relay; OutboxError why, if it failed.
	InOutbox    bool        `json:"-"`
	OutboxError string      `json:"-"`
	QueuePaused bool        `json:"-"` // so that it waits there until somebody resumes it
	Raw         *RawMessage `json:"-"`
}

// RawMessage is a foreign message kept as it came.
type RawMessage struct {
	Exchange   string          `json:"exchange"`
	RoutingKey string          `json:"routing_key"`
	Properties json.RawMessage `json:"properties"`
	Body       []byte          `json:"body"`
}

// Duration is a time.Duration that reads and writes as "1m30s" in JSON.
type Duration time.Duration

// MarshalJSON writes the Go form of the duration, such as "1m30s".
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads "1m30s" and the like.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	v, err := time.ParseDuration(s)
	*d = Duration(v)
	return err
}

// Drift is a disagreement of database and broker about a job, and how it was mended.
type Drift struct {
	Dispatch int       `json:"dispatch"` // the one that mended it
	At       time.Time `json:"at"`
	Found    string    `json:"found"`
}

// What drift is found by.
const (
	DriftEmpty     = "empty"     // its queue held nothing
	DriftGone      = "gone"      // its queue did not exist
	DriftOvertaken = "overtaken" // jobs dispatched long after it were delivered
	DriftPurged    = "purged"    // it was dispatched while its queue was purged
	DriftHolder    = "holder"    // it ran, and its worker was gone
)
