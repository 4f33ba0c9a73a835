package jobs

import (
	"time"

	"github.com/google/uuid"
)

// FailureGroup is a group of dead jobs: all those of one kind whose errors differ only in
// ids, numbers and the like.
type FailureGroup struct {
	// Key is derived from Kind and Error: the same failure has the same key in every deployment.
	Key  uuid.UUID `json:"key"`
	Kind string    `json:"kind"`
	// Error is the message with placeholders; "" if the jobs have none.
	Error string `json:"error"`
	// Count stops at FailureCountCap + 1 in a list, at CountCap + 1 for one group.
	Count     Count     `json:"count"`
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
	// Newest is the job that failed last; NewestError is its unmodified message.
	Newest      uuid.UUID `json:"newest"`
	NewestError string    `json:"newest_error"`
	Queue       string    `json:"queue"`
	// Queues are those of its newest FailureCountCap jobs; set only where a single group is read.
	Queues []string `json:"queues,omitempty"`
}

// FailureAction is what an operator did to all jobs of a group.
type FailureAction struct {
	At            time.Time
	Actor, Reason string
	Kind, Error   string // of the group
	Retried       bool   // not deleted
	Done          int
	Operation     uuid.UUID // of the retried jobs (Filter.Operation); zero if they have none
}

// Limits of the failure queries.
const (
	FailuresMax     = 1000 // groups that a list reads
	FailureCountCap = 1000 // where the count of a group stops in a list
	// FailureTrendHours is the number of hours of which the trend of a group tells.
	FailureTrendHours = 24
)

// FailureFilter selects groups. The zero FailureFilter selects all.
type FailureFilter struct {
	Kind  string
	Queue string // of one of the newest FailureCountCap jobs of the group
	Text  string // in the newest job's error
	// ByCount lists the groups with most jobs first, instead of those that failed last.
	ByCount bool
}

// BulkResult is the result of an action on many jobs.
type BulkResult struct {
	Done int `json:"done"`
	// Skipped jobs stay as they are: those of NotAllowed are in a state that does not allow the
	// action; an open job holds the unique key of the others.
	Skipped    int           `json:"skipped"`
	NotAllowed map[State]int `json:"not_allowed,omitempty"`
	Gone       int           `json:"gone,omitempty"`     // ids that no job has any more
	Stopping   int           `json:"stopping,omitempty"` // of Done: they run, and are cancelled when their handlers stop
	// Operation selects the jobs that were retried together (Filter.Operation); nil if the action names them otherwise.
	Operation *uuid.UUID `json:"operation,omitempty"`
	// Left reports whether jobs remain because one request could not do all: repeat the action.
	Left bool `json:"left"`
}
