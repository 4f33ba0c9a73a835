package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"strings"
	"sync"
	"time"

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

	mu       sync.Mutex
	progress *Progress
	changed  bool
	output   json.RawMessage
	log      runLog
	own      bool // its handler completes it in a transaction of its own
}

// Progress says how far the handler is: done between 0 and 1, and a short note.
// It does not block: the newest value reaches the database within about half a second.
func (r *Run) Progress(done float64, note string) {
	if math.IsNaN(done) { // 0 of 0
		done = 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.progress, r.changed = &Progress{Done: min(max(done, 0), 1), Note: note}, true
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
	r.mu.Lock()
	defer r.mu.Unlock()
	r.output = raw
	return nil
}

// takeProgress returns the progress if it changed since the last call.
func (r *Run) takeProgress() (Progress, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.changed {
		return Progress{}, false
	}
	r.changed = false
	return *r.progress, true
}

// lastProgress returns what was said last, nil if nothing was.
func (r *Run) lastProgress() *Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.progress
}

// Kept is what Output keeps, nil without one. Tests of a handler look at it.
func (r *Run) Kept() json.RawMessage {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.output
}

// Completion is what outbox.CompleteTx writes, and notes that the handler completes
// the job by itself. Handlers have no use for it.
func (r *Run) Completion() Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.own = true
	return Result{JobID: r.ID, Lease: r.Lease, State: Completed, Outcome: AttemptCompleted, Output: r.output, Progress: r.progress}
}

// completesItself says that CompleteTx was called; whether that was committed, the database knows.
func (r *Run) completesItself() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.own
}

// handle runs the handler of k and turns a panic into an error with a stack.
func (k *Kind) handle(ctx context.Context, run *Run) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{value: p, stack: string(debug.Stack())}
		}
	}()
	return k.work(ctx, run)
}

type panicError struct {
	value any
	stack string
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// Failure is what is kept of a failed attempt.
type Failure struct {
	Error string
	Class string // Go type of the innermost error, "timeout" or "panic"
	Stack string
}

func newFailure(err error) Failure {
	var p *panicError
	switch {
	case errors.As(err, &p):
		return Failure{Error: errorText(err), Class: "panic", Stack: p.stack}
	case errors.Is(err, context.DeadlineExceeded):
		return Failure{Error: errorText(err), Class: "timeout"}
	}
	root := err
	for errors.Unwrap(root) != nil {
		root = errors.Unwrap(root)
	}
	return Failure{Error: errorText(err), Class: fmt.Sprintf("%T", root)}
}

const errorMax = 16 << 10 // bytes that are kept of an error: lists and logs show it

func errorText(err error) string {
	s := err.Error()
	if len(s) > errorMax {
		s = strings.ToValidUTF8(s[:errorMax], "") + "…"
	}
	return s
}

// Backoff is the wait before the next attempt after n failed ones: about n⁴ + 3
// seconds, capped at a day, with 10 % jitter so that jobs that failed together
// do not come back together. The curve is Sidekiq's; jitter is between -1 and 1.
func Backoff(n int, jitter float64) time.Duration {
	base := min(float64(n)*float64(n)*float64(n)*float64(n)+3, (24 * time.Hour).Seconds())
	return time.Duration(base * (1 + 0.1*jitter) * float64(time.Second))
}
