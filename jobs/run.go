package jobs

import (
	"encoding/json"
	"fmt"
	"math"
	"sync"

	"github.com/google/uuid"
)

// Run is one attempt of a job as its handler sees it. Its methods are safe for concurrent use.
type Run struct {
	ID      uuid.UUID
	Kind    string
	Queue   string
	Args    json.RawMessage
	Attempt int // 1 for the first
	// Lease numbers the claims of this job. It rises with each, so an effect
	// outside of the database can refuse a writer with an older one.
	Lease int

	record Record
}

// Record is what a run has said so far: its progress, output and log lines, and whether
// its handler completes the job by itself. Workers and tests read it; handlers have no
// use for it. Safe for concurrent use.
type Record struct {
	mu       sync.Mutex
	progress *Progress
	changed  bool // progress, since TakeProgress
	output   json.RawMessage
	own      bool
	log      runLog
}

// Record is what the run has said so far.
func (r *Run) Record() *Record { return &r.record }

// Progress says how far the handler is: done between 0 and 1, and a short note.
// It does not block: the newest value reaches the database within about half a second.
func (r *Run) Progress(done float64, note string) {
	if math.IsNaN(done) { // 0 of 0
		done = 0
	}
	r.record.mu.Lock()
	defer r.record.mu.Unlock()
	r.record.progress, r.record.changed = &Progress{Done: min(max(done, 0), 1), Note: note}, true
}

// Output keeps v, as JSON, with the job when the attempt completes or fails. The
// last call counts; an attempt without one leaves what an earlier attempt kept.
func (r *Run) Output(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write output of job %s: %w", r.ID, err)
	}
	if tooDeep(raw) {
		return fmt.Errorf("write output of job %s: it is nested deeper than %d levels", r.ID, nestingMax)
	}
	r.record.mu.Lock()
	defer r.record.mu.Unlock()
	r.record.output = raw
	return nil
}

// TakeProgress returns the progress if it changed since the last call.
func (r *Record) TakeProgress() (Progress, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.changed {
		return Progress{}, false
	}
	r.changed = false
	return *r.progress, true
}

// Progress is the last that was reported, nil without one.
func (r *Record) Progress() *Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.progress
}

// Output is what Run.Output keeps, nil without it.
func (r *Record) Output() json.RawMessage {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.output
}

// SetCompletedTx notes that the handler completes the job in a transaction of its own:
// outbox.CompleteTx calls it.
func (r *Record) SetCompletedTx() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.own = true
}

// CompletedTx says whether CompleteTx was called; only the database knows whether that was committed.
func (r *Record) CompletedTx() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.own
}
