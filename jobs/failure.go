package jobs

import (
	"time"

	"github.com/google/uuid"
)

// FailureGroup is a group: all dead jobs of one kind whose errors are the same but
// for ids, numbers and the like.
type FailureGroup struct {
	// Key is made of kind and Error: the same failure has the same key in every deployment.
	Key  uuid.UUID `json:"key"`
	Kind string    `json:"kind"`
	// Error is the message with placeholders; "" if the jobs left none.
	Error string `json:"error"`
	// Count stops at FailureCountCap + 1 in a list, at CountCap + 1 for one group.
	Count     Count     `json:"count"`
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
	// Newest is the job that failed so last; NewestError is its message as it came.
	Newest      uuid.UUID `json:"newest"`
	NewestError string    `json:"newest_error"`
	Queue       string    `json:"queue"`
	// Queues of its newest FailureCountCap jobs; read for one group only.
	Queues []string `json:"queues,omitempty"`
}

// Bounds of what is read about failures.
const (
	FailuresMax     = 1000 // groups that a list looks at
	FailureCountCap = 1000 // where the count of a group stops in a list
)

// FailureFilter picks groups. The zero value picks all.
type FailureFilter struct {
	Kind  string
	Queue string // of one of the newest FailureCountCap jobs of the group
	Text  string // in the newest job's error
}

// BulkResult says what an action on a group has done.
type BulkResult struct {
	Done int `json:"done"`
	// Skipped jobs stay dead: an open job holds their unique key.
	Skipped int `json:"skipped"`
	// Left says that the time of one request was not enough: act again for the rest.
	Left bool `json:"left"`
}
