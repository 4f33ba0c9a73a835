package jobs

import (
	"fmt"
	"slices"
)

// State is the state of a job. Queued covers both "in the outbox" and "in the broker": the
// presence of the outbox row distinguishes them, without a write per job.
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

// Ended reports whether the job has ended: it does not run again unless an operator retries it.
func (s State) Ended() bool { return s == Completed || s == Dead || s == Cancelled }

// ParseState returns the state with that name, or an error that lists the seven names.
func ParseState(s string) (State, error) {
	if st := State(s); slices.Contains(States, st) {
		return st, nil
	}
	return "", fmt.Errorf("%.40q is not a valid state: it is one of scheduled, queued, running, retrying, completed, dead, cancelled", s)
}

// Action is an operation on a job, by an operator or by the engine, that changes its state.
type Action string

// Actions of operators.
const (
	ActionRetry  Action = "retry"
	ActionCancel Action = "cancel"
	ActionRun    Action = "run"
	ActionDelete Action = "delete"
)

// Actions of the engine.
const (
	EngineDispatch   Action = "dispatch"       // the job is due
	EngineClaim      Action = "claim"          // a worker starts a run
	EngineTakeOver   Action = "take over"      // a worker continues the job of a lost worker
	EngineComplete   Action = "complete"       // a handler has returned, with any outcome
	EngineSnooze     Action = "snooze"         // a handler postpones its job
	EngineRelease    Action = "release"        // a stopping worker gives its run back
	EngineRecover    Action = "recover"        // the scheduler requeues the job of a lost worker
	EngineRedispatch Action = "dispatch again" // the message is lost, or was dead-lettered
	EnginePurge      Action = "purge"          // the job's queue is purged
	EngineWithdraw   Action = "withdraw"       // the job's task starts at another time, or never
)

// transition lists the states in which an action is allowed and those it may lead to. Deletion
// has no target state.
type transition struct{ from, to []State }

// transitions is the single table of the state changes that each action may make. SQL
// conditions are generated from it; test databases reject any other change.
var transitions = map[Action]transition{
	ActionRetry: {from: []State{Dead, Cancelled, Completed}, to: []State{Queued}},
	// a running job becomes cancelled when its handler has stopped
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

// AllowedFrom returns the states in which the action is allowed.
func (a Action) AllowedFrom() []State { return transitions[a].from }

// ForMany returns the states in which the action on all jobs that match takes them: only, if the action is allowed in it, or
// those of AllowedFrom if it is empty. Then a retry leaves completed jobs alone: their work is not done again unless that is
// asked for.
func (a Action) ForMany(only State) []State {
	return slices.DeleteFunc(slices.Clone(transitions[a].from), func(s State) bool {
		if only == "" {
			return a == ActionRetry && s == Completed
		}
		return s != only
	})
}

// MayBecome reports whether any action leads from s to other.
func (s State) MayBecome(other State) bool {
	for _, t := range transitions {
		if slices.Contains(t.from, s) && slices.Contains(t.to, other) {
			return true
		}
	}
	return false
}

// Allowed reports whether the action is allowed on a job in state s; if not, why is a full sentence.
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
