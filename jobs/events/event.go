// Package events publishes events, facts that happened, to topic exchanges, and handles those of
// others. outbox.Publish and warren.Client write events in the transaction of what they report; a
// Subscriber handles each event at least once, as a job in a queue of its own.
package events

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"mime"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
)

// Content types that JSON and Gob set, and that each Mux decodes.
const (
	TypeJSON = "application/json"
	TypeGob  = "application/x-encoding-gob"
)

// Limits of an event.
const (
	bodyMax    = 2 << 20
	headersMax = 16 << 10
	nameMax    = 255 // bytes of an AMQP short string
)

// Event is a fact that happened, published to a topic exchange for any number of subscribers, also
// none. JSON and Gob make one; for other content types fill the fields.
type Event struct {
	// ID is the message id: a version 7 UUID, by which events are listed. Publishing an id again
	// changes nothing while the first event is kept. Zero: publishing sets it.
	ID          uuid.UUID
	Exchange    string            // a durable topic exchange, declared by the relay if there is none
	Key         string            // routing key: words joined by dots
	ContentType string            // "": application/octet-stream
	Headers     map[string]string // AMQP headers
	Body        []byte
	// Required says that a queue must take the event: without one it waits in the outbox.
	Required bool
	TaskID   uuid.UUID // the task that it reports on, if any

	err error // of the constructor, returned when the event is published
}

// JSON returns an event with v as its JSON body. An error of marshalling is returned when the event
// is published.
func JSON(exchange, key string, v any) Event {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false) // it would make the body up to six times as long
	err := enc.Encode(v)
	return Event{Exchange: exchange, Key: key, ContentType: TypeJSON, Body: bytes.TrimSuffix(body.Bytes(), []byte("\n")), err: err}
}

// Gob returns an event whose body is v in encoding/gob, for subscribers in Go that know its type.
// An error of encoding is returned when the event is published.
func Gob(exchange, key string, v any) Event {
	var body bytes.Buffer
	err := gob.NewEncoder(&body).Encode(v)
	return Event{Exchange: exchange, Key: key, ContentType: TypeGob, Body: body.Bytes(), err: err}
}

// Prepare fills in what the event leaves unset and validates it; the error is jobs.FieldErrors, or
// that of its constructor. It is idempotent.
func (e *Event) Prepare() error {
	if e.err != nil {
		return fmt.Errorf("write the body of the event %s: %w", e.Key, e.err)
	}
	if e.ID == uuid.Nil {
		e.ID = uuid.Must(uuid.NewV7())
	}
	if e.ContentType == "" {
		e.ContentType = "application/octet-stream"
	}
	var errs jobs.FieldErrors
	add := func(bad bool, field, format string, a ...any) {
		if bad {
			errs = append(errs, jobs.FieldError{Field: field, Message: fmt.Sprintf(format, a...)})
		}
	}
	add(e.ID.Version() != 7, "id", "must be a version 7 UUID")
	add(!shortText(e.Exchange), "exchange", "must be the name of a topic exchange: plain text of 1 to %d bytes", nameMax)
	add(reserved(e.Exchange), "exchange", reservedWords)
	add(!shortText(e.Key), "key", "must be a routing key: plain text of 1 to %d bytes", nameMax)
	add(!shortText(e.ContentType), "content_type", "must be plain text of at most %d bytes", nameMax)
	add(len(e.Body) > bodyMax, "body", "is larger than 2 MiB; put the data elsewhere and carry its id")
	add(len(e.Body) <= bodyMax && IsJSON(e.ContentType) && !validJSON(e.Body), "body", "is not valid JSON")
	errs = append(errs, checkHeaders(e.Headers)...)
	return errs.OrNil()
}

// reserved reports whether RabbitMQ keeps the name for exchanges of its own, of which one alone has topics.
func reserved(exchange string) bool {
	return strings.HasPrefix(exchange, "amq.") && exchange != "amq.topic"
}

const reservedWords = "must be a topic exchange: of the names that begin with amq. only amq.topic is one"

func checkHeaders(headers map[string]string) (errs jobs.FieldErrors) {
	size := 0
	for name, value := range headers {
		size += len(name) + len(value)
		switch {
		case !shortText(name) || !jobs.PlainText(value):
			errs = append(errs, jobs.FieldError{Field: "headers", Message: fmt.Sprintf("%.100q is not plain text", name)})
		case strings.HasPrefix(name, "warren-"), name == "CC", name == "BCC": // the broker reads lists of queues from the latter
			errs = append(errs, jobs.FieldError{Field: "headers", Message: fmt.Sprintf("%.100q is a reserved name", name)})
		}
	}
	if size > headersMax {
		errs = append(errs, jobs.FieldError{Field: "headers", Message: "are larger than 16 KiB"})
	}
	return errs
}

func shortText(s string) bool { return s != "" && len(s) <= nameMax && jobs.PlainText(s) }

// IsJSON reports whether a content type is JSON: application/json, or one that ends in +json.
func IsJSON(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && (media == TypeJSON || strings.HasSuffix(media, "+json"))
}

func validJSON(body []byte) bool { return json.Valid(body) && utf8.Valid(body) }

// Inline reports whether a body can be a part of a JSON document, in which PostgreSQL reads it: it
// is JSON by its content type, valid, and not nested too deep.
func Inline(contentType string, body []byte) bool {
	return IsJSON(contentType) && validJSON(body) && !jobs.TooDeep(body)
}
