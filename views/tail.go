package views

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/warrenjobs/warren/jobs/messages"
	"github.com/warrenjobs/warren/views/ui"
)

// messageTabs are the two pages under Messages.
func messageTabs(publish bool) []ui.Tab {
	return []ui.Tab{{Label: "Tail", Href: "/tail", Active: !publish}, {Label: "Publish", Href: "/publish", Active: publish}}
}

// TailModel is the page of a tail.
type TailModel struct {
	Source    messages.Source
	Chosen    bool // an exchange was asked for
	Exchanges []messages.Exchange
	Filter    string // text that a message must have
	After     int64  // messages up to this number were cleared
	Open      int64  // the message that is shown whole
	View      messages.View
	Problem   string // why the exchange cannot be tailed
}

// Topics returns the topic that keeps the tail open while the page is.
func (m TailModel) Topics() []string {
	if m.View.Topic == "" {
		return nil
	}
	return []string{m.View.Topic}
}

// Lead says what the page shows.
func (m TailModel) Lead() string {
	if m.View.Topic == "" {
		return "Watch what an exchange routes"
	}
	return "What " + m.Source.Exchange + " routes"
}

// url returns the address of the page with another message open, or cleared up to one.
func (m TailModel) url(after, open int64) string {
	q := url.Values{"exchange": {m.Source.Exchange}, "pattern": {m.Source.Pattern}}
	if m.Filter != "" {
		q.Set("q", m.Filter)
	}
	if after > 0 {
		q.Set("after", strconv.FormatInt(after, 10))
	}
	if open > 0 {
		q.Set("open", strconv.FormatInt(open, 10))
	}
	return "/tail?" + q.Encode()
}

// stopURL returns the address of the page that keeps what is typed and tails nothing.
func (m TailModel) stopURL() string { return m.url(0, 0) + "&stopped=1" }

// URL returns the address of the page as it is.
func (m TailModel) URL() string { return m.url(m.After, m.Open) }

// clearURL returns the address of the page without the messages that it shows now.
func (m TailModel) clearURL() string {
	if len(m.View.Messages) == 0 {
		return m.URL()
	}
	return m.url(m.View.Messages[0].Seq, 0)
}

// shown returns the messages that the filter leaves.
func (m TailModel) shown() (list []messages.Tailed) {
	for _, t := range m.View.Messages {
		if t.Seq > m.After && m.fits(t) {
			list = append(list, t)
		}
	}
	return list
}

func (m TailModel) fits(t messages.Tailed) bool {
	if m.Filter == "" {
		return true
	}
	text := strings.ToLower(strings.Join([]string{t.Key, t.Type, t.MessageID, t.CorrelationID, t.AppID, string(t.Body),
		fmt.Sprint(t.Headers)}, "\n"))
	return strings.Contains(text, strings.ToLower(m.Filter))
}

// opened returns the message that is shown whole; nil if none is, or it is not kept any more.
func (m TailModel) opened() *messages.Tailed {
	i := slices.IndexFunc(m.View.Messages, func(t messages.Tailed) bool { return t.Seq == m.Open })
	if i < 0 {
		return nil
	}
	return &m.View.Messages[i]
}

func (m TailModel) title() string {
	if m.View.Ended != nil {
		return "Ended"
	}
	return "Tailing"
}

// info says how many messages there are, and which are not shown.
func (m TailModel) info(shown int) string {
	s := plural(shown, "message", "messages") + ", newest first"
	if hidden := m.View.Hidden; hidden > 0 {
		least := ""
		if m.View.Behind {
			least = "at least "
		}
		s += " · " + least + ui.Number(int64(hidden)) + " more came too fast and were not kept (20 a second are)"
	} else if m.View.Behind {
		s += " · some may be missing"
	}
	return s
}

// empty says why no message is shown.
func (m TailModel) empty() ui.EmptyProps {
	switch {
	case len(m.View.Messages) == 0:
		return ui.EmptyProps{Icon: "messages", Title: "No messages yet",
			Hint: "They appear here as " + m.Source.Exchange + " routes them. Earlier messages are not shown."}
	case m.Filter != "":
		return ui.EmptyProps{Icon: "filter", Title: "No matching messages", Hint: "The filter covers the messages that the page has kept."}
	}
	return ui.EmptyProps{Icon: "messages", Title: "Cleared", Hint: "New messages appear here."}
}

// preview is the beginning of a body on one line.
func preview(t messages.Tailed) string {
	text, ok := t.Text()
	switch {
	case t.Size == 0:
		return "no body"
	case !ok:
		return "binary, " + hex.EncodeToString(t.Body[:min(len(t.Body), 24)]) + "…"
	}
	const most = 300
	return oneLine(strings.ToValidUTF8(text[:min(len(text), most)], ""))
}

// property is one property of a message with its value.
type property struct {
	Name, Value string
}

// propertiesOf returns the properties of a message that are set, and the names of the others.
func propertiesOf(t messages.Tailed) (set []property, unset []string) {
	mode := map[int]string{1: "1 (transient)", 2: "2 (persistent)"}[t.DeliveryMode]
	all := []property{{"Type", t.Type}, {"Content type", t.ContentType}, {"Content encoding", t.ContentEncoding},
		{"Message ID", t.MessageID},
		{"Correlation ID", t.CorrelationID}, {"Reply to", t.ReplyTo}, {"Delivery mode", mode}, {"Priority", orNone(t.Priority)},
		{"Expiration", withUnit(t.Expiration)}, {"Timestamp", t.Timestamp}, {"App ID", t.AppID}, {"User ID", t.UserID}}
	for _, p := range all {
		if p.Value == "" {
			unset = append(unset, strings.ToLower(p.Name))
		} else {
			set = append(set, p)
		}
	}
	if len(t.Headers) == 0 {
		unset = append(unset, "headers")
	}
	return set, unset
}

func orNone(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func withUnit(ms string) string {
	if ms == "" {
		return ""
	}
	return ms + " ms"
}

// hexDump writes the beginning of a body that is not text.
func hexDump(t messages.Tailed) string {
	const most = 4 << 10
	dump := hex.Dump(t.Body[:min(len(t.Body), most)])
	if t.Size > most {
		dump += "… of " + ui.Bytes(int64(t.Size))
	}
	return dump
}

func headersJSON(t messages.Tailed) []byte {
	raw, err := json.Marshal(t.Headers)
	if err != nil {
		return []byte(fmt.Sprint(t.Headers))
	}
	return raw
}

// againURL leads to the form of a message like this one.
func (m TailModel) againURL(t messages.Tailed) string {
	q := url.Values{"tail": {m.Source.Exchange}, "pattern": {m.Source.Pattern}, "message": {strconv.FormatInt(t.Seq, 10)}}
	return "/publish?" + q.Encode()
}

const exchangesShown = 40

// tailURL returns the address of the tail of everything that an exchange routes, or, of one that has no
// such pattern, of the page that asks for the key.
func tailURL(e messages.Exchange) string {
	pattern := ""
	if e.Kind == "topic" {
		pattern = "#"
	}
	return TailURL(e.Name, pattern)
}

// TailURL returns the address of a tail.
func TailURL(exchange, pattern string) string {
	return "/tail?" + url.Values{"exchange": {exchange}, "pattern": {pattern}}.Encode()
}

// keyOf names a routing key, which may be empty.
func keyOf(key string) string { return cmp.Or(key, "(no routing key)") }
