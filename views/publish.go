package views

import (
	"strings"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/messages"
	"github.com/warrenjobs/warren/views/ui"
)

// PublishModel is the form of a message: what was typed, and what is wrong with it.
type PublishModel struct {
	Values    map[string]string // by form name
	Errors    map[string]string // likewise
	Exchanges []messages.Exchange
	Own       string // what Warren does with a message to this place; "" where it is not Warren's
	Check     string // what the check of the body as JSON found; "" if it was not asked for
	FileLost  bool   // a file was chosen that the form cannot show: it has to be chosen again
	Flash     *ui.FlashProps
}

// publishFields are the labels of the form's fields, by form name.
var publishFields = map[string]string{"exchange": "Exchange", "routing_key": "Routing key", "body": "Body", "file": "Body from a file",
	"headers": "Headers", "type": "Type", "content_type": "Content type", "content_encoding": "Content encoding",
	"message_id":     "Message ID",
	"correlation_id": "Correlation ID", "reply_to": "Reply to", "priority": "Priority", "expiration": "Expiration",
	"timestamp": "Timestamp", "app_id": "App ID", "user_id": "User ID", "confirm": "Confirmation"}

// WithErrors returns the form with errors at its fields.
func (m PublishModel) WithErrors(errs []jobs.FieldError) PublishModel {
	m.Errors = map[string]string{}
	for _, e := range errs {
		m.Errors[e.Field] = strings.TrimPrefix(m.Errors[e.Field]+"; "+e.Message, "; ")
	}
	return m
}

func (m PublishModel) field(name, note, help string) ui.FieldProps {
	label := publishFields[name]
	return ui.FieldProps{Name: name, Label: label, Note: note, Help: help, Error: fieldSentence(label, m.Errors[name])}
}

// more reports whether the properties that are rarely set are shown from the start.
func (m PublishModel) more() bool {
	for _, name := range []string{"content_encoding", "reply_to", "priority", "expiration", "timestamp", "app_id", "user_id"} {
		if m.Values[name] != "" || m.Errors[name] != "" {
			return true
		}
	}
	return false
}

func (m PublishModel) fileHelp() string {
	if m.FileLost {
		return "It is not text, so that it has to be chosen again."
	}
	return "Replaces the body above."
}

func joined(words []string) string { return strings.Join(words, ", ") }
