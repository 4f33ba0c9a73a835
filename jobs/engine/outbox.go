package engine

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
)

// Why a row stays in the outbox: its error begins with one of these, or is what the connection said.
const (
	OutboxUnroutable  = "no queue takes this message"
	OutboxRefused     = "the broker refused the message"
	OutboxUnconfirmed = "the broker has not confirmed the message yet"
)

// ErrSending says that a relay has the outbox row in its hands: nothing can be done to it now.
var ErrSending = &jobs.NotAllowedError{Why: "This message is just being sent: nothing was done. Look again in a moment."}

// OutboxFilter picks rows of the outbox.
type OutboxFilter string

// The filters.
const (
	OutboxAll     OutboxFilter = ""
	OutboxFailing OutboxFilter = "failing"
	OutboxJobs    OutboxFilter = "jobs"
	OutboxEvents  OutboxFilter = "events"
)

// ParseOutboxFilter accepts the filters' names.
func ParseOutboxFilter(s string) (OutboxFilter, error) {
	switch f := OutboxFilter(s); f {
	case OutboxAll, OutboxFailing, OutboxJobs, OutboxEvents:
		return f, nil
	}
	return "", jobs.FieldErrors{{Field: "show", Message: fmt.Sprintf("is %q: it is one of failing, jobs, events, or nothing for all", s)}}
}

// OutboxRow is a message that waits for the relay, as people see it.
type OutboxRow struct {
	ID        int64      `json:"id"`
	JobID     *uuid.UUID `json:"job_id"` // null for an event
	Dispatch  *int       `json:"dispatch"`
	Type      string     `json:"type"`        // a job's kind, an event's type
	Exchange  *string    `json:"exchange"`    // of an event
	Key       string     `json:"routing_key"` // a job's queue, an event's key
	Required  bool       `json:"required"`    // an event that must reach a queue
	CreatedAt time.Time  `json:"created_at"`
	NextTryAt *time.Time `json:"next_try_at"` // null when it has not failed
	Tries     int        `json:"tries"`
	LastError *string    `json:"last_error"`
}

// OutboxErrorGroup are rows that fail for one reason at one place.
type OutboxErrorGroup struct {
	Job      bool
	Exchange string
	Key      string
	Error    string
	Rows     int
	Since    time.Time
}

// OpenTransaction is one that has been open for long.
type OpenTransaction struct {
	PID         int
	User        string
	Application string
	State       string
	Since       time.Time
	Writes      bool
}

// Event is a fact that happened, as it was published.
type Event struct {
	ID        uuid.UUID       `json:"id"` // the message id
	Exchange  string          `json:"exchange"`
	Key       string          `json:"key"`
	Body      json.RawMessage `json:"body"`
	CreatedAt time.Time       `json:"created_at"`
	Waiting   bool            `json:"waiting"`    // it is in the outbox
	UnheardAt *time.Time      `json:"unheard_at"` // no subscriber had a queue for it then
}
