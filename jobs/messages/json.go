package messages

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// object is a tailed message as JSON. A property that is not set is left out.
type object struct {
	At              time.Time      `json:"at"`
	Exchange        string         `json:"exchange"`
	Key             string         `json:"routing_key"`
	ContentType     string         `json:"content_type,omitempty"`
	ContentEncoding string         `json:"content_encoding,omitempty"`
	DeliveryMode    int            `json:"delivery_mode,omitempty"`
	Priority        int            `json:"priority,omitempty"`
	CorrelationID   string         `json:"correlation_id,omitempty"`
	ReplyTo         string         `json:"reply_to,omitempty"`
	Expiration      string         `json:"expiration,omitempty"`
	MessageID       string         `json:"message_id,omitempty"`
	Timestamp       string         `json:"timestamp,omitempty"`
	Type            string         `json:"type,omitempty"`
	UserID          string         `json:"user_id,omitempty"`
	AppID           string         `json:"app_id,omitempty"`
	Headers         map[string]any `json:"headers,omitempty"`
	Redelivered     bool           `json:"redelivered"`
	Size            int            `json:"size"`
	Body            *string        `json:"body,omitempty"`
	Binary          []byte         `json:"body_base64,omitempty"`
	Cut             bool           `json:"body_cut,omitempty"`
}

// MarshalJSON writes the body as body if it is text, else as body_base64.
func (t Tailed) MarshalJSON() ([]byte, error) {
	o := object{At: t.At.UTC(), Exchange: t.Exchange, Key: t.Key, ContentType: t.ContentType, ContentEncoding: t.ContentEncoding,
		DeliveryMode: t.DeliveryMode, Priority: t.Priority, CorrelationID: t.CorrelationID, ReplyTo: t.ReplyTo, Expiration: t.Expiration,
		MessageID: t.MessageID, Timestamp: t.Timestamp, Type: t.Type, UserID: t.UserID, AppID: t.AppID, Headers: t.Headers,
		Redelivered: t.Redelivered, Size: t.Size, Cut: t.Cut()}
	if text, ok := t.Text(); ok {
		o.Body = &text
	} else {
		o.Binary = t.Body
	}
	return json.Marshal(o)
}

// Text returns the body as text; ok is false if it is not UTF-8, or has zero bytes. A character that
// was cut off at its end is left out.
func (t Tailed) Text() (text string, ok bool) {
	body := t.Body
	if t.Cut() {
		for n := 0; n < utf8.UTFMax && len(body) > 0; n++ {
			if r, size := utf8.DecodeLastRune(body); r != utf8.RuneError || size > 1 {
				break
			}
			body = body[:len(body)-1]
		}
	}
	for _, c := range body {
		if c == 0 {
			return "", false
		}
	}
	return string(body), utf8.Valid(body)
}

// HeadersOfJSON reads headers from a JSON object of strings, numbers and booleans; nil without one.
func HeadersOfJSON(raw []byte) (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var headers map[string]any
	if len(raw) == 0 {
		return nil, nil
	}
	if err := dec.Decode(&headers); err != nil {
		return nil, errors.New("must be an object of strings, numbers and booleans")
	}
	for name, value := range headers {
		switch value := value.(type) {
		case string, bool:
		case json.Number:
			n, err := value.Int64()
			if headers[name] = n; err == nil {
				continue
			}
			f, err := value.Float64()
			if headers[name] = f; err != nil {
				return nil, fmt.Errorf("has a number in %q that is too large", name)
			}
		default:
			return nil, fmt.Errorf("must be strings, numbers and booleans: %q is none", name)
		}
	}
	return headers, nil
}
