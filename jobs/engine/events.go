package engine

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
)

// Event is a fact that happened, as it was published.
type Event struct {
	ID          uuid.UUID       `json:"id"` // the message id
	Exchange    string          `json:"exchange"`
	Key         string          `json:"key"`
	ContentType string          `json:"content_type"`
	Headers     json.RawMessage `json:"headers,omitempty"`
	Body        json.RawMessage `json:"body,omitempty"`        // if it is JSON
	Raw         []byte          `json:"body_base64,omitempty"` // or else
	Required    bool            `json:"required"`              // a queue must take it
	TaskID      *uuid.UUID      `json:"task_id,omitempty"`
	CreatedAt   time.Time       `json:"created_at"`
	Waiting     bool            `json:"waiting"`    // it is in the outbox
	UnheardAt   *time.Time      `json:"unheard_at"` // no subscriber had a queue for it then
	Receipts    []EventReceipt  `json:"receipts,omitempty"`
}

// EventReceipt says that a subscriber has received an event, and what became of it there.
type EventReceipt struct {
	Event      uuid.UUID  `json:"-"`
	Subscriber string     `json:"subscriber"`
	JobID      uuid.UUID  `json:"job_id"`
	State      jobs.State `json:"state"`
	Attempt    int        `json:"attempt"`
	ReceivedAt time.Time  `json:"received_at"`
	EndedAt    *time.Time `json:"ended_at"`
	Error      string     `json:"error,omitempty"` // the beginning of its last error
}

// EventOutcome picks events by what became of them.
type EventOutcome string

// The outcomes.
const (
	EventsAll     EventOutcome = ""
	EventsWaiting EventOutcome = "waiting" // in the outbox
	EventsUnheard EventOutcome = "unheard" // no queue took them
	EventsDead    EventOutcome = "dead"    // a subscriber's job for them is dead
)

// EventFilter picks stored events.
type EventFilter struct {
	Exchange   string
	Key        string // a topic pattern; "": any
	Subscriber string // that has received them
	Outcome    EventOutcome
	Within     time.Duration // published at most so long ago; 0: at any time
}

// EventCounts are how many of the stored events have each outcome; nil where it is not known.
type EventCounts struct{ Waiting, Unheard, Dead *jobs.Count }

// ParseEventOutcome parses the name of an outcome. Any other name is a jobs.FieldErrors.
func ParseEventOutcome(s string) (EventOutcome, error) {
	switch o := EventOutcome(s); o {
	case EventsAll, EventsWaiting, EventsUnheard, EventsDead:
		return o, nil
	}
	return "", jobs.FieldErrors{{Field: "outcome", Message: fmt.Sprintf(
		"is %.40q: it is one of waiting, unheard, dead, or nothing for all", s)}}
}

// EventSubscriber is a subscriber as it is shown to people.
type EventSubscriber struct {
	Name       string     `json:"name"` // also of its queue and of the kind of its jobs
	Exchange   string     `json:"exchange"`
	Patterns   []string   `json:"patterns"`
	Waiting    jobs.Count `json:"waiting"`   // its jobs that are queued or wait for their next attempt
	OldestAt   *time.Time `json:"oldest_at"` // since when the oldest of the queued ones waits
	Dead       jobs.Count `json:"dead"`
	ReceivedAt *time.Time `json:"received_at"` // its newest job
	Received   jobs.Count `json:"received"`    // its jobs that were made in the last hour
	Worked     bool       `json:"worked"`      // a worker consumes its queue, or it is marked as worked by other programs

	Queued jobs.Count  `json:"-"` // the part of Waiting that is in its queue
	Around jobs.Around `json:"-"` // of its queue
}

// ReplayBatch is the result of one step of a replay.
type ReplayBatch struct {
	After uuid.UUID // the last event that was read
	Added int64     // jobs, in all steps
	More  bool
}
