package jobs

import (
	"encoding/base64"
	"encoding/binary"
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

// FailurePage is one page of groups, the one that failed last first.
type FailurePage struct {
	Failures []FailureGroup
	Older    TimeCursor // zero on the last page
	Cut      bool       // there are more than FailuresMax groups
}

// BulkResult says what an action on a group has done.
type BulkResult struct {
	Done int `json:"done"`
	// Skipped jobs stay dead: an open job holds their unique key.
	Skipped int `json:"skipped"`
	// Left says that the time of one request was not enough: act again for the rest.
	Left bool `json:"left"`
}

// TimeCursor is a place in a list ordered by a time and an id, newest first:
// the page of what is older. It survives the deletion of what it names.
type TimeCursor struct {
	At time.Time
	ID uuid.UUID
}

// String is the opaque form for URLs; the zero TimeCursor is "".
func (c TimeCursor) String() string {
	if c.At.IsZero() {
		return ""
	}
	raw := binary.BigEndian.AppendUint64(nil, uint64(c.At.UnixMicro()))
	return base64.RawURLEncoding.EncodeToString(append(raw, c.ID[:]...))
}

// ParseTimeCursor reads String's form. The error is a FieldError.
func ParseTimeCursor(s string) (TimeCursor, error) {
	if s == "" {
		return TimeCursor{}, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(raw) != 24 {
		return TimeCursor{}, FieldErrors{{"cursor", "is no cursor of this list: take it from \"next\""}}
	}
	at := int64(binary.BigEndian.Uint64(raw)) //nolint:gosec // any 64 bits are a time; a made-up one finds nothing
	return TimeCursor{At: time.UnixMicro(at).UTC(), ID: uuid.UUID(raw[8:])}, nil
}
