package messages

import (
	"fmt"
	"strconv"
	"time"

	"github.com/warrenjobs/warren/jobs"
)

// Check returns what is wrong with a message that AMQP cannot carry, by the fields of the API; nil if
// nothing is.
func (m Message) Check() (errs jobs.FieldErrors) {
	add := func(field, format string, args ...any) {
		errs = append(errs, jobs.FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	short := []struct{ field, value string }{{"exchange", m.Exchange}, {"routing_key", m.Key}, {"content_type", m.ContentType},
		{"content_encoding", m.ContentEncoding}, {"correlation_id", m.CorrelationID}, {"reply_to", m.ReplyTo},
		{"expiration", m.Expiration}, {"message_id", m.MessageID}, {"type", m.Type}, {"user_id", m.UserID}, {"app_id", m.AppID}}
	for _, s := range short {
		if len(s.value) > shortMax || !jobs.PlainText(s.value) {
			add(s.field, "has at most %d bytes of plain text", shortMax)
		}
	}
	if m.Priority < 0 || m.Priority > 255 {
		add("priority", "must be a whole number from 0 to 255")
	}
	ms, err := strconv.ParseUint(m.Expiration, 10, 32)
	if m.Expiration != "" && (err != nil || strconv.FormatUint(ms, 10) != m.Expiration) {
		add("expiration", "must be a whole number of milliseconds")
	}
	if _, err := m.Time(); err != nil {
		add("timestamp", "%s", err)
	}
	if len(m.Headers) > headersMax {
		add("headers", "are at most %d", headersMax)
	}
	for name := range m.Headers {
		if name == "" || len(name) > shortMax || !jobs.PlainText(name) {
			add("headers", "has a name that is not 1 to %d bytes of plain text", shortMax)
		}
	}
	if len(m.Body) > BodyMax {
		add("body", "has at most %d MiB", BodyMax>>20)
	}
	return errs
}

// Time returns the timestamp; zero if it is not set.
func (p Properties) Time() (time.Time, error) {
	if s, err := strconv.ParseInt(p.Timestamp, 10, 64); err == nil && s >= 0 {
		return time.Unix(s, 0), nil
	}
	return jobs.ParseTime(p.Timestamp, time.Now())
}
