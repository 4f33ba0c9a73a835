package engine

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
)

// Reasons why a row stays in the outbox. Its error begins with one of them, or is the error of the
// connection.
const (
	OutboxUnroutable  = "no queue takes this message"
	OutboxRefused     = "the broker refused the message"
	OutboxUnconfirmed = "the broker has not confirmed the message yet"
)

// ErrSending means that a relay is sending the outbox row, so that nothing can be done to it now.
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

// ParseOutboxFilter parses the name of a filter. Any other name is a jobs.FieldErrors.
func ParseOutboxFilter(s string) (OutboxFilter, error) {
	switch f := OutboxFilter(s); f {
	case OutboxAll, OutboxFailing, OutboxJobs, OutboxEvents:
		return f, nil
	}
	return "", jobs.FieldErrors{{Field: "show", Message: fmt.Sprintf("is %.40q: it is one of failing, jobs, events, or nothing for all",
		s)}}
}

// OutboxRow is a message that waits for the relay, as it is shown to people.
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

// OutboxErrorGroup counts the rows that fail with the same error at the same exchange and key.
type OutboxErrorGroup struct {
	Job      bool
	Exchange string
	Key      string
	Error    string
	Rows     int
	Since    time.Time
}

// OpenTransaction is a transaction that has been open for a long time.
type OpenTransaction struct {
	PID         int
	User        string
	Application string
	State       string
	Since       time.Time
	Writes      bool
}
