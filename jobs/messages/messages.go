// Package messages has what people do with the broker by hand: tail an exchange and publish a
// message. Package rabbit does it; handlers and commands ask for it.
package messages

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of messages.
const (
	BodyMax    = 4 << 20  // bytes of a body that is published by hand
	BodyKept   = 64 << 10 // bytes of a tailed body, from its beginning
	shortMax   = 255      // bytes of AMQP's short strings: names, keys and most properties
	headersMax = 100
)

// Broker tails exchanges and publishes messages. It is safe for concurrent use.
type Broker interface {
	// Exchanges lists the exchanges of the virtual host, as they were in the last minute; none where
	// there is no management API.
	Exchanges(ctx context.Context) ([]Exchange, error)
	// Tail copies the messages that an exchange routes from now on. It connects, and blocks for that.
	// Its jobs.FieldErrors name what cannot be tailed.
	Tail(ctx context.Context, s Source) (Tail, error)
	// Publish sends one message and waits for the broker's confirm. Its jobs.FieldErrors name what the
	// broker does not accept; jobs.ErrUnavailable means that it may not have got the message.
	Publish(ctx context.Context, m Message) (Answer, error)
	// Own says what Warren does with a message to this exchange and key; "" if they are not Warren's.
	Own(exchange, key string) string
}

// Exchange is an exchange of the broker.
type Exchange struct {
	Name string
	Kind string // topic, direct, fanout, headers, or that of a plugin
}

// Source is what a tail copies: the messages of an exchange that a pattern matches.
type Source struct{ Exchange, Pattern string }

// Tail is a copy of what an exchange routes.
type Tail interface {
	// C is closed when the tail has ended.
	C() <-chan Tailed
	// Behind reports whether messages came faster than they were read, so that some may be missing.
	Behind() bool
	// Err returns why the tail ended, once C is closed.
	Err() error
	// Close ends it, and removes its queue. Idempotent.
	Close()
}

// Properties are those of AMQP 0-9-1. The zero value of each means that it is not set.
type Properties struct {
	ContentType     string
	ContentEncoding string
	DeliveryMode    int // 1: transient, 2: persistent
	Priority        int
	CorrelationID   string
	ReplyTo         string
	Expiration      string // milliseconds
	MessageID       string
	Timestamp       string // RFC 3339, or seconds since 1970 where that has no such time
	Type            string
	UserID          string
	AppID           string
	Headers         map[string]any // values that JSON can represent
}

// Message is a message to publish.
type Message struct {
	Exchange string // "": the default exchange
	Key      string
	Properties
	Body []byte
}

// Tailed is a message that a tail has copied.
type Tailed struct {
	Seq      int64 // rises from message to message, also over tails
	At       time.Time
	Exchange string
	Key      string
	Properties
	Redelivered bool
	Size        int    // of the whole body
	Body        []byte // at most BodyKept
}

// Cut reports whether Body is only the beginning.
func (t Tailed) Cut() bool { return len(t.Body) < t.Size }

// Answer is what became of a message that was published.
type Answer struct {
	Routed bool     `json:"routed"` // false: no queue took it, and the broker returned it
	Queues []string `json:"queues"` // that it was routed to, in order; nil where the bindings do not tell
}

// String returns the answer as a sentence.
func (a Answer) String() string {
	switch {
	case !a.Routed:
		return "No queue took it: it was returned."
	case len(a.Queues) == 0:
		return "Routed to at least one queue; the broker does not say which."
	case len(a.Queues) == 1:
		return "Routed to 1 queue: " + a.Queues[0] + "."
	}
	return "Routed to " + strconv.Itoa(len(a.Queues)) + " queues: " + strings.Join(a.Queues, ", ") + "."
}

// Property is a property that is set.
type Property struct{ Name, Value string }

// Set lists the properties that are set, by the names of the API, and the headers, each after header.
func (p Properties) Set() (list []Property) {
	number := func(n int) string {
		if n == 0 {
			return ""
		}
		return strconv.Itoa(n)
	}
	for _, one := range []Property{{"type", p.Type}, {"content_type", p.ContentType}, {"content_encoding", p.ContentEncoding},
		{"message_id", p.MessageID}, {"correlation_id", p.CorrelationID}, {"reply_to", p.ReplyTo},
		{"delivery_mode", number(p.DeliveryMode)}, {"priority", number(p.Priority)}, {"expiration", p.Expiration},
		{"timestamp", p.Timestamp}, {"app_id", p.AppID},
		{"user_id", p.UserID}} {
		if one.Value != "" {
			list = append(list, one)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Headers)) {
		list = append(list, Property{"header " + name, fmt.Sprint(p.Headers[name])})
	}
	return list
}
