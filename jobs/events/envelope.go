package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// Envelope is an event as the args of the jobs that handle it.
type Envelope struct {
	ID          string          `json:"id" jsonschema:"description=Message id"`
	Exchange    string          `json:"exchange"`
	Key         string          `json:"key" jsonschema:"description=Routing key"`
	ContentType string          `json:"content_type,omitempty"`
	PublishedAt *time.Time      `json:"published_at,omitempty"`
	Headers     map[string]any  `json:"headers,omitempty"`
	Body        json.RawMessage `json:"body,omitempty" jsonschema:"description=Body if it is JSON"`
	Base64      []byte          `json:"body_base64,omitempty" jsonschema:"description=Body of another content type"`
}

// Kind implements jobs.Args. The jobs of a subscriber have the subscriber's name as their kind.
func (Envelope) Kind() string { return "event" }

// WithBody returns the envelope with the body: as JSON if it is JSON, or else as bytes.
func (e Envelope) WithBody(body []byte) Envelope {
	if Inline(e.ContentType, body) {
		e.Body = body
	} else {
		e.Base64 = body
	}
	return e
}

// Args returns the envelope as args of a job.
func (e Envelope) Args() (json.RawMessage, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false) // it would make the body up to six times as long
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("write the event %s as JSON: %w", e.ID, err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}
