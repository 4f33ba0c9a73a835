package engine

import (
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"
)

// Message is an outbox row on its way to the broker.
type Message struct {
	OutboxID    int64
	JobID       uuid.UUID // zero for an event
	Dispatch    int
	Exchange    string // empty for a job: it goes to the jobs exchange
	RoutingKey  string // a job's queue, an event's key
	MessageID   string
	Type        string
	ContentType string // "": JSON
	Headers     json.RawMessage
	Body        []byte
	Required    bool // an event that must reach a queue
	Tries       int
}

// IsJob reports whether the message is a job's, not an event.
func (m Message) IsJob() bool { return m.JobID != uuid.Nil }

// Delivery is a message as it was delivered to a worker. Ack or Return works once, while the
// subscription that delivered it is open; afterwards they do nothing, as the broker redelivers the
// message.
type Delivery struct {
	Queue         string // Warren's name of the queue, without the prefix
	Exchange      string
	RoutingKey    string
	Redelivered   bool
	DeliveryCount int
	AppID         string
	MessageID     string
	CorrelationID string
	Type          string
	Body          []byte
	ContentType   string
	Timestamp     time.Time      // zero if the message has none
	Headers       map[string]any // values as JSON has them
	JobID         uuid.UUID      // zero for a foreign message
	Dispatch      int
	Event         bool              // it came through the exchange to which the queue of a subscriber is bound
	SentAt        time.Time         // zero if the message does not carry it
	Trace         trace.SpanContext // carried by the message; invalid if it carries none
	ClaimUnknown  bool              // an earlier claim of this delivery failed, and may be committed all the same
	// Properties returns all AMQP properties as JSON, for display; nil means that there are none.
	// It is a function because they are kept only of foreign messages.
	Properties func() json.RawMessage

	Ack func() error
	// Return gives the message back to the broker for other workers, at the price of one delivery.
	// The subscription takes no more messages from then on: otherwise the message could be
	// redelivered to it until its delivery limit is used up.
	Return func() error

	// Set by an intake. ackOnly acknowledges and keeps the delivery's place in the limit of its
	// queue; release frees that place, as Ack and Return do. Idempotent.
	ackOnly func() error
	release func()

	channel *channel // that delivered it; set by the worker
}

// channel is the channel of a subscription. Once broke is set, the broker redelivers what the
// channel held, including deliveries whose claim is in flight at that moment.
type channel struct{ broke atomic.Bool }

// ackEarly acknowledges a delivery whose run goes on.
func (in Delivery) ackEarly() error {
	if in.ackOnly != nil {
		return in.ackOnly()
	}
	return in.Ack()
}

// Key returns the key of the dispatch that was delivered.
func (in Delivery) Key() DispatchKey { return DispatchKey{in.JobID, in.Dispatch} }

// Foreign reports whether the message names no job of any Warren.
func (in Delivery) Foreign() bool { return in.JobID == uuid.Nil }
