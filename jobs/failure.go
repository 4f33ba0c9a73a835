package jobs

import (
	"fmt"
	"slices"
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
	Queues []string      `json:"queues,omitempty"`
	Status FailureStatus `json:"status"`
	// Mark is why the status is not open, or was not before it came back; nil if nobody marked the group.
	Mark *FailureMark `json:"mark"`
}

// CameBack reports whether the group is open because a job died in it after it was marked as fixed.
func (g FailureGroup) CameBack() bool {
	return g.Status == FailureOpen && g.Mark != nil && g.Mark.Status == FailureFixed
}

// FailureStatus says whether a group of dead jobs asks for attention.
type FailureStatus string

// The statuses of a group. A fixed group in which a job dies is open again; a known one stays known.
const (
	FailureOpen  FailureStatus = "open"
	FailureKnown FailureStatus = "known"
	FailureFixed FailureStatus = "fixed"
)

// FailureStatuses lists all, those first that ask for attention.
var FailureStatuses = []FailureStatus{FailureOpen, FailureKnown, FailureFixed}

// FailureAll is the word for groups of all statuses, where a FailureFilter has "".
const FailureAll = "all"

// ParseFailureStatus returns the status with that name; "" for FailureAll and for nothing.
func ParseFailureStatus(s string) (FailureStatus, error) {
	if s == FailureAll {
		return "", nil
	}
	if status := FailureStatus(s); s == "" || slices.Contains(FailureStatuses, status) {
		return status, nil
	}
	return "", fmt.Errorf("%.40q is not a valid status: it is one of open, known, fixed, all", s)
}

// FailureMark is what somebody said about a group.
type FailureMark struct {
	Status FailureStatus `json:"status"` // FailureKnown or FailureFixed
	Note   string        `json:"note"`
	By     string        `json:"by"`
	At     time.Time     `json:"at"`
	// DiedSince is how many of its dead jobs died after At; it stops where FailureGroup.Count does.
	DiedSince Count `json:"died_since"`
}

// FailureNoteMax is the number of characters that the note of a mark may have.
const FailureNoteMax = 500

// FailureCounts are the numbers of groups. They stop at FailuresMax + 1.
type FailureCounts struct {
	Groups             int // whatever the filter
	Open, Known, Fixed int // that match the filter, apart from its status
}

// Of returns the number of groups with a status.
func (c FailureCounts) Of(s FailureStatus) int {
	return map[FailureStatus]int{FailureOpen: c.Open, FailureKnown: c.Known, FailureFixed: c.Fixed}[s]
}

// DeadCounts are the numbers of jobs that have died since a certain time and are still dead. The jobs of a fixed group are
// counted only if they died after it was marked: then it is open again.
type DeadCounts struct {
	Open          Count // of open groups; stops at CountCap + 1
	Known         Count // of known groups; stops at FailureCountCap + 1
	KnownFailures int   // how many known groups these are in
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
	// Status selects groups with this status; "" all.
	Status FailureStatus
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
