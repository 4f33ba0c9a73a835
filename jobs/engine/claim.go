package engine

import (
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
)

// CrashesMax is the number of take-overs of a started job after which it becomes dead: such a job
// kills its workers.
const CrashesMax = 3

// Holder is a worker process as the database knows it.
type Holder struct {
	Session uuid.UUID
	Name    string
}

// DispatchKey identifies one dispatch of a job. Deliveries and claims belong to a dispatch, not to
// a job: a batch may hold messages of two dispatches of one job.
type DispatchKey struct {
	JobID    uuid.UUID
	Dispatch int
}

// Position is the state of a delivered job's row.
type Position struct {
	Found      bool
	State      jobs.State
	Dispatch   int
	HolderGone bool // only set when running
}

// ClaimDecision is what a worker does with a delivery.
type ClaimDecision int

// The decisions.
const (
	DecisionClaim    ClaimDecision = iota // run it
	DecisionTakeOver                      // its holder is gone: run it, with one crash more
	DecisionStale                         // acknowledge and record
	DecisionWait                          // its holder is alive: keep unacked, try again
	DecisionUnknown                       // no such job, or a dispatch newer than the row's: keep as a dead job, never run
	DecisionEnded                         // the take-over ended the job, as poison or cancelled: acknowledge
)

// Decide implements the table of engine.md, "What a worker does with a delivery". The row "running
// by this process" is handled before, from the worker's run table.
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

// Claim is the answer to one delivery. The fields after Decision are set only if the job is to be run.
type Claim struct {
	Decision    ClaimDecision
	Lease       int
	Attempt     int
	MaxAttempts int
	Timeout     time.Duration
	Kind        string
	Args        []byte
	Checked     int64 // see jobs.NewJob
}

// Result is the result of a run. State is completed, retrying, dead or cancelled; scheduled if the
// run was snoozed, and empty if it was released.
type Result struct {
	JobID   uuid.UUID
	Lease   int
	State   jobs.State
	Outcome string
	Wait    time.Duration // before the next attempt, when retrying
	Output  []byte
	Failure Failure
	// Progress is the last that the run reported, even if it has been written: that write may come
	// too late to count.
	Progress *jobs.Progress
}

// RunOutcome is the outcome of writing a result.
type RunOutcome int

// The outcomes. Deliveries are acknowledged after all of them but OutcomeHeld.
const (
	OutcomeWritten RunOutcome = iota // written, now or before
	OutcomeLate                      // its lease is no longer held, or its job has ended: dropped
	OutcomeHeld                      // the row is locked, nothing was written: try again
)

// ProgressUpdate is the newest progress of a run.
type ProgressUpdate struct {
	JobID    uuid.UUID
	Lease    int
	Progress jobs.Progress
}

// unknownJob returns the reason for which a message of this deployment is kept although its job is
// not in the database.
func unknownJob(in Delivery) string {
	return "a message of a job that this database does not know: " + in.JobID.String()
}
