package engine

import (
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
)

// CrashesMax take-overs of a started job make it dead: it kills its workers.
const CrashesMax = 3

// Holder is a worker process as the database knows it.
type Holder struct {
	Session uuid.UUID
	Name    string
}

// DispatchKey names one dispatch of a job: what a delivery is of, and what a claim
// is for. A batch may hold messages of two dispatches of one job.
type DispatchKey struct {
	JobID    uuid.UUID
	Dispatch int
}

// Position is what the row says of a delivered job.
type Position struct {
	Found      bool
	State      jobs.State
	Dispatch   int
	HolderGone bool // only asked for when running
}

// ClaimDecision is what a worker does with a delivery.
type ClaimDecision int

// The verdicts.
const (
	DecisionClaim    ClaimDecision = iota // run it
	DecisionTakeOver                      // its holder is gone: run it, one crash more
	DecisionStale                         // acknowledge and record
	DecisionWait                          // its holder lives: keep unacked, look again
	DecisionUnknown                       // no such job, or a dispatch of the future: keep as a dead job, never run
	DecisionEnded                         // the take-over found that it must not run: poison, or cancelled; acknowledge
)

// Decide is the table of engine.md, "What a worker does with a delivery". The
// row "running by this process" is answered before, from the worker's memory.
func Decide(p Position, dispatch int) ClaimDecision {
	switch {
	case !p.Found || dispatch > p.Dispatch:
		return DecisionUnknown
	case dispatch < p.Dispatch:
		return DecisionStale
	case p.State == jobs.Queued:
		return DecisionClaim
	case p.State == jobs.Running && p.HolderGone:
		return DecisionTakeOver
	case p.State == jobs.Running:
		return DecisionWait
	}
	return DecisionStale
}

// Claim is the answer to one delivery. The fields after Verdict are set when it is to be run.
type Claim struct {
	Decision    ClaimDecision
	Lease       int
	Attempt     int
	MaxAttempts int
	Timeout     time.Duration
	Kind        string
	Args        []byte
}

// Result is what a run came to. State is completed, retrying, dead or cancelled.
type Result struct {
	JobID   uuid.UUID
	Lease   int
	State   jobs.State
	Outcome string
	Wait    time.Duration // before the next attempt, when retrying
	Output  []byte
	Failure Failure
	// Progress is the last that was said, also if it was written: that write may come too late to count.
	Progress *jobs.Progress
}

// RunOutcome says what became of a result that was to be written.
type RunOutcome int

// The endings. All but one that is held are to be acknowledged.
const (
	OutcomeWritten RunOutcome = iota // written, now or before
	OutcomeLate                      // its lease is no longer held, or its job has ended: dropped
	OutcomeHeld                      // somebody holds the row, nothing is written: try again
)

// ProgressUpdate is the newest progress of a run.
type ProgressUpdate struct {
	JobID    uuid.UUID
	Lease    int
	Progress jobs.Progress
}

// unknownJob is why a message of ours that names no job of this database is kept.
func unknownJob(in Delivery) string {
	return "a message of a job that this database does not know: " + in.JobID.String()
}
