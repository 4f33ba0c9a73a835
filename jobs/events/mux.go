package events

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"mime"
	"slices"
	"time"

	"github.com/warrenjobs/warren/jobs"
)

// Handler handles an event that a subscriber has received. It is called from many goroutines, at
// least once per event: an error fails the attempt, and the event is handled again later.
type Handler func(ctx context.Context, d *Delivery) error

// Decoder reads a body into v, a pointer.
type Decoder func(body []byte, v any) error

// Delivery is an event on its way to a handler.
type Delivery struct {
	// Run is the attempt of the job that handles the event: for CompleteTx, progress, output and log.
	Run *jobs.Run

	ID          string // message id; empty if its publisher set none
	Exchange    string
	Key         string
	ContentType string
	PublishedAt time.Time // zero if its publisher did not say
	Headers     map[string]any
	Body        []byte

	decode Decoder // of its content type; nil if the Mux has none
}

// Decode reads the body into v, a pointer, by the content type. The error is permanent, as the body
// does not change.
func (d *Delivery) Decode(v any) error {
	if d.decode == nil {
		return jobs.Permanent(fmt.Errorf("read the event %s: there is no decoder for its content type %q", d.Key, d.ContentType))
	}
	if err := d.decode(d.Body, v); err != nil {
		return jobs.Permanent(fmt.Errorf("read the body of the event %s as %s: %w", d.Key, d.ContentType, err))
	}
	return nil
}

// DecodeJSON is the Decoder of JSON.
func DecodeJSON(body []byte, v any) error { return json.Unmarshal(body, v) }

// DecodeGob is the Decoder of encoding/gob.
func DecodeGob(body []byte, v any) error { return gob.NewDecoder(bytes.NewReader(body)).Decode(v) }

// Mux calls the handler of the first pattern that matches an event's routing key. It must not
// change any more once it was given to Subscribe.
type Mux struct {
	routes   []route
	wrap     []func(Handler) Handler
	decoders map[string]Decoder
}

type route struct {
	pattern string
	handler Handler
}

// NewMux returns a Mux that decodes JSON and gob.
func NewMux() *Mux {
	return &Mux{decoders: map[string]Decoder{TypeJSON: DecodeJSON, TypeGob: DecodeGob}}
}

// Handle registers the handler of events whose routing keys match the pattern. Of several patterns
// that match, the one registered first wins. Like http.ServeMux, it panics if the pattern is
// malformed or was registered before.
func (m *Mux) Handle(pattern string, handler Handler) {
	if err := CheckPattern(pattern); err != nil {
		panic("events: " + err.Error())
	}
	if slices.Contains(m.Patterns(), pattern) {
		panic(fmt.Sprintf("events: the pattern %q is registered twice", pattern))
	}
	m.routes = append(m.routes, route{pattern, handler})
}

// On registers a handler that gets the body decoded by its content type. A body that cannot be
// decoded makes the job dead at once. On panics as Handle does.
func On[T any](m *Mux, pattern string, handler func(ctx context.Context, d *Delivery, v T) error) {
	m.Handle(pattern, func(ctx context.Context, d *Delivery) error {
		var v T
		if err := d.Decode(&v); err != nil {
			return err
		}
		return handler(ctx, d, v)
	})
}

// Use puts middleware around all handlers, also those registered before. The first one is the
// outermost.
func (m *Mux) Use(middleware ...func(Handler) Handler) { m.wrap = append(m.wrap, middleware...) }

// Decoder registers the decoder of a content type, without its parameters, in place of one before.
func (m *Mux) Decoder(contentType string, decode Decoder) { m.decoders[contentType] = decode }

// Patterns returns the patterns, in the order in which they were registered.
func (m *Mux) Patterns() []string {
	list := make([]string, len(m.routes))
	for i, r := range m.routes {
		list[i] = r.pattern
	}
	return list
}

// deliver calls the handler of the event. One that no pattern takes any more, because its pattern
// was dropped while it was on its way, needs none.
func (m *Mux) deliver(ctx context.Context, d *Delivery) error {
	i := slices.IndexFunc(m.routes, func(r route) bool { return Match(r.pattern, d.Key) })
	if i < 0 {
		d.Run.Log().Info("no handler: no pattern of this subscriber matches the event any more", "key", d.Key)
		return nil
	}
	d.decode = m.decoderOf(d.ContentType)
	handler := m.routes[i].handler
	for _, wrap := range slices.Backward(m.wrap) {
		handler = wrap(handler)
	}
	return handler(ctx, d)
}

func (m *Mux) decoderOf(contentType string) Decoder {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		media = contentType
	}
	if decode := m.decoders[media]; decode != nil || !IsJSON(contentType) {
		return decode
	}
	return m.decoders[TypeJSON]
}
