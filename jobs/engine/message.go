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
	OutboxID   int64
	JobID      uuid.UUID // zero for an event
	Dispatch   int
	Exchange   string // empty for a job: it goes to the jobs exchange
	RoutingKey string // a job's queue, an event's key
	MessageID  string
	Type       string
	Headers    json.RawMessage
	Body       []byte
	Required   bool // an event that must reach a queue
	Tries      int
}

// IsJob tells a job's message from an event.
func (m Message) IsJob() bool { return m.JobID != uuid.Nil }

// Delivery is a delivery as a worker gets it. Ack or Return works once, on the
// subscription that delivered it; on one that has ended they do nothing, as
// the broker delivers the message again.
type Delivery struct {
	Queue         string // Warren's name of it, without the prefix
	Exchange      string
	RoutingKey    string
	Redelivered   bool
	DeliveryCount int
	AppID         string
	MessageID     string
	Type          string
	Body          []byte
	JobID         uuid.UUID // zero for a foreign message
	Dispatch      int
	SentAt        time.Time         // zero if the message does not say
	Trace         trace.SpanContext // that the message carries; invalid without one
	ClaimUnknown  bool              // an earlier claim with this delivery failed: what it wrote may be committed
	// Properties writes all of them as JSON, for people; nil has none. It is a
	// function because only messages that cannot be run are kept.
	Properties func() json.RawMessage

	Ack func() error
	// Return gives the message back for others to take, at the price of one
	// delivery. The subscription takes no more from then on: a message that is given
	// back must not come here again, and again, until its deliveries are used up.
	Return func() error

	// Of a delivery that came through an intake: Ack alone, and the end of its place
	// in the limit of its queue, which Ack and Return give up, too. Idempotent.
	ackOnly func() error
	release func()

	channel *channel // of the worker that took it
}

// channel is what deliveries came by. broke says that the broker delivers again
// what it held: also a delivery whose claim is on its way at that moment.
type channel struct{ broke atomic.Bool }

// ackEarly acknowledges a delivery whose run goes on.
func (in Delivery) ackEarly() error {
	if in.ackOnly != nil {
		return in.ackOnly()
	}
	return in.Ack()
}

// Key names the dispatch that was delivered.
func (in Delivery) Key() DispatchKey { return DispatchKey{in.JobID, in.Dispatch} }

// Foreign says that the message names no job of any Warren.
func (in Delivery) Foreign() bool { return in.JobID == uuid.Nil }
