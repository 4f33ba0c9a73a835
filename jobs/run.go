package jobs

import (
	"encoding/json"
	"fmt"
	"math"
	"sync"

	"github.com/google/uuid"
)

// Run is one attempt of a job, as passed to its handler. Its methods are safe for concurrent use.
type Run struct {
	ID      uuid.UUID
	Kind    string
	Queue   string
	Args    json.RawMessage
	Attempt int // 1 for the first
	// Lease is the number of this claim of the job. It increases with each claim, so that a
	// system outside of the database can reject writes of an older one.
	Lease int

	record Record
}

// Record is what the handler has reported in a run so far: progress, output, log lines, and
// whether it called outbox.CompleteTx. It is for workers and tests, not for handlers. It is
// safe for concurrent use.
type Record struct {
	mu       sync.Mutex
	progress *Progress
	changed  bool // progress was reported since TakeProgress
	output   json.RawMessage
	own      bool
	log      runLog
}

// Record returns what the handler has reported so far.
func (r *Run) Record() *Record { return &r.record }

// Progress reports how far the handler is: done is between 0 and 1, and note is a short text.
// It does not block: the newest value is written to the database within about half a second.
func (r *Run) Progress(done float64, note string) {
	if math.IsNaN(done) { // 0 of 0
		done = 0
	}
	r.record.mu.Lock()
	defer r.record.mu.Unlock()
	r.record.progress, r.record.changed = &Progress{Done: min(max(done, 0), 1), Note: note}, true
}

// Output stores v, as JSON, with the job when the attempt completes or fails. The last call
// wins; an attempt without a call keeps the output of an earlier attempt.
func (r *Run) Output(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write output of job %s: %w", r.ID, err)
	}
	if TooDeep(raw) {
		return fmt.Errorf("write output of job %s: it is nested deeper than %d levels", r.ID, nestingMax)
	}
	r.record.mu.Lock()
	defer r.record.mu.Unlock()
	r.record.output = raw
	return nil
}

// TakeProgress returns the progress, and whether it was reported since the last call.
func (r *Record) TakeProgress() (Progress, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.changed {
		return Progress{}, false
	}
	r.changed = false
	return *r.progress, true
}

// Progress returns the last reported progress, or nil.
func (r *Record) Progress() *Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.progress
}

// Output returns the JSON of the last call of Run.Output, or nil.
func (r *Record) Output() json.RawMessage {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.output
}

// SetCompletedTx records that the handler completes the job in its own transaction. It is
// called by outbox.CompleteTx.
func (r *Record) SetCompletedTx() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.own = true
}

// CompletedTx reports whether CompleteTx was called; only the database knows whether that was committed.
func (r *Record) CompletedTx() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.own
}
