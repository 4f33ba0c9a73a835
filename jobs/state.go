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
	return "", fmt.Errorf("%q is not a valid state: it is one of scheduled, queued, running, retrying, completed, dead, cancelled", s)
}

// Action is what changes the state of a job: an operator's, or the engine's own.
type Action string

// What operators do.
const (
	ActionRetry  Action = "retry"
	ActionCancel Action = "cancel"
	ActionRun    Action = "run"
	ActionDelete Action = "delete"
)

// What the engine does by itself.
const (
	EngineDispatch   Action = "dispatch"       // its time has come
	EngineClaim      Action = "claim"          // a worker starts a run
	EngineTakeOver   Action = "take over"      // a worker goes on with the job of another that is gone
	EngineComplete   Action = "complete"       // a handler has ended, whatever its outcome
	EngineSnooze     Action = "snooze"         // a handler wants to be called later
	EngineRelease    Action = "release"        // a worker that stops gives its run back
	EngineRecover    Action = "recover"        // the scheduler gives the run of a worker that is gone back
	EngineRedispatch Action = "dispatch again" // its message is lost, or a dead letter
	EnginePurge      Action = "purge"          // its queue is emptied
	EngineWithdraw   Action = "withdraw"       // its task starts at another time, or never
)

// transition says from which states an action leads, and to which. One that is
// deleted has none.
type transition struct{ from, to []State }

// transitions is the one table of who may change a job's state and how. SQL takes
// its conditions from here; databases of tests refuse what is not in it.
var transitions = map[Action]transition{
	ActionRetry: {from: []State{Dead, Cancelled, Completed}, to: []State{Queued}},
	// a running one when its handler has stopped
	ActionCancel: {from: []State{Scheduled, Queued, Running, Retrying}, to: []State{Cancelled}},
	ActionRun:    {from: []State{Scheduled, Retrying}, to: []State{Queued}},
	ActionDelete: {from: []State{Scheduled, Retrying, Completed, Dead, Cancelled}},

	EngineDispatch:   {from: []State{Scheduled, Retrying}, to: []State{Queued}},
	EngineClaim:      {from: []State{Queued}, to: []State{Running}},
	EngineTakeOver:   {from: []State{Running}, to: []State{Running, Dead, Cancelled}},
	EngineComplete:   {from: []State{Running}, to: []State{Completed, Retrying, Dead, Cancelled}},
	EngineSnooze:     {from: []State{Running}, to: []State{Scheduled, Cancelled}},
	EngineRelease:    {from: []State{Running}, to: []State{Queued, Cancelled}},
	EngineRecover:    {from: []State{Running}, to: []State{Queued, Dead, Cancelled}},
	EngineRedispatch: {from: []State{Queued}, to: []State{Queued}},
	EnginePurge:      {from: []State{Queued}, to: []State{Cancelled}},
	EngineWithdraw:   {from: []State{Scheduled}, to: []State{Cancelled}},
}

// AllowedFrom lists the states in which the action may be done.
func (a Action) AllowedFrom() []State { return transitions[a].from }

// MayBecome says whether some action leads from s to another state.
func (s State) MayBecome(other State) bool {
	for _, t := range transitions {
		if slices.Contains(t.from, s) && slices.Contains(t.to, other) {
			return true
		}
	}
	return false
}

// Allowed says whether the action may be done to a job in state s, and if not, why in a sentence.
func (a Action) Allowed(s State) (ok bool, why string) {
	if slices.Contains(transitions[a].from, s) {
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
