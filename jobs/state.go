package jobs

import (
	"fmt"
	"slices"
)

// State says where a job is. Queued covers both "in the outbox" and "in the
// broker": the presence of the outbox row tells which, without a write per job.
type State string

// The states of a job.
const (
	Scheduled State = "scheduled"
	Queued    State = "queued"
	Running   State = "running"
	Retrying  State = "retrying"
	Completed State = "completed"
	Dead      State = "dead"
	Cancelled State = "cancelled"
)

// States lists all states in the order of a job's life.
var States = []State{Scheduled, Queued, Running, Retrying, Completed, Dead, Cancelled}

// Ended says that nothing happens to the job by itself any more.
func (s State) Ended() bool { return s == Completed || s == Dead || s == Cancelled }

// ParseState accepts the seven names and nothing else.
func ParseState(s string) (State, error) {
	if st := State(s); slices.Contains(States, st) {
		return st, nil
	}
	return "", fmt.Errorf("%q is no state: it is one of scheduled, queued, running, retrying, completed, dead, cancelled", s)
}

// Action is what an operator does to a job.
type Action string

// The actions. Where each is allowed stands in actionStates and nowhere else.
const (
	ActionRetry  Action = "retry"
	ActionCancel Action = "cancel"
	ActionRun    Action = "run"
	ActionDelete Action = "delete"
)

var actionStates = map[Action][]State{
	ActionRetry:  {Dead, Cancelled, Completed},
	ActionCancel: {Scheduled, Queued, Running, Retrying},
	ActionRun:    {Scheduled, Retrying},
	ActionDelete: {Scheduled, Retrying, Completed, Dead, Cancelled},
}

// AllowedFrom lists the states in which the action may be done.
func (a Action) AllowedFrom() []State { return actionStates[a] }

// Allowed says whether the action may be done to a job in state s, and if not, why in a sentence.
func (a Action) Allowed(s State) (ok bool, why string) {
	if slices.Contains(actionStates[a], s) {
		return true, ""
	}
	switch {
	case a == ActionDelete:
		return false, fmt.Sprintf("A %s job cannot be deleted: cancel it first.", s)
	case a == ActionCancel:
		return false, fmt.Sprintf("The job is %s already: there is nothing to cancel.", s)
	case a == ActionRun:
		return false, fmt.Sprintf("Only a scheduled or retrying job can be run now; this one is %s.", s)
	default:
		return false, fmt.Sprintf("A %s job cannot be retried: it has not ended yet.", s)
	}
}
