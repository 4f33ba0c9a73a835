package views

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/events"
	"github.com/warrenjobs/warren/jobs/explain"
	"github.com/warrenjobs/warren/views/ui"
)

// EventsModel is a page of the list of events.
type EventsModel struct {
	URL         string // of exactly this list, for the live update
	Tabs        []ui.Tab
	Filter      engine.EventFilter
	Subscribers []ui.Option
	Ages        []ui.Option
	Rows        []EventRow
	Pager       ui.PagerProps
	Empty       ui.EmptyProps
	Clear       string // link without the filters; "" when there are none
}

// EventRow is one line of the list.
type EventRow struct {
	engine.Event
	Href string
	Line string // the body in one line
	More int    // events before it that differ in time alone
	All  string // the list of the events with its key, where More are
}

// NewEventsModel shapes a page of the list.
func NewEventsModel(
	page jobs.Page[engine.Event], f engine.EventFilter, c jobs.Cursor, subscribers []engine.EventSubscriber, counts engine.EventCounts,
) EventsModel {
	m := EventsModel{URL: eventsURL(f, c), Filter: f, Ages: ages(f.Within)}
	names := make([]string, len(subscribers))
	for i, s := range subscribers {
		names[i] = s.Name
	}
	m.Subscribers = options("Any subscriber", names, f.Subscriber)
	for _, tab := range []struct {
		outcome engine.EventOutcome
		label   string
		count   *jobs.Count
	}{{engine.EventsAll, "All", nil}, {engine.EventsWaiting, "Waiting", counts.Waiting},
		{engine.EventsUnheard, "Not routed", counts.Unheard}, {engine.EventsDead, "Failed", counts.Dead}} {
		of := f
		of.Outcome = tab.outcome
		t := ui.Tab{Label: tab.label, Href: eventsURL(of, jobs.Cursor{}), Active: tab.outcome == f.Outcome}
		if tab.count != nil {
			t.Count = ui.Capped(int64(*tab.count), jobs.CountCap)
		}
		m.Tabs = append(m.Tabs, t)
	}
	for _, e := range page.Items {
		m.Rows = append(m.Rows, newEventRow(e))
	}
	if f.Key == "" {
		m.Rows = foldRepeats(m.Rows, f)
	}
	m.Pager = pagerOf(page, c, func(c jobs.Cursor) string { return eventsURL(f, c) })
	m.Pager.Info = shown(len(page.Items), "newest first")
	if n := len(m.Rows); n < len(page.Items) {
		m.Pager.Info = plural(len(page.Items), "event", "events") + " in " + plural(n, "row", "rows") + ", newest first"
	}
	m.Empty = ui.EmptyProps{Icon: "events", Title: "No events yet",
		Hint: "Each published event is kept here for " + eventsKept + ", with who received it. See docs/events.md."}
	switch {
	case f != engine.EventFilter{}:
		m.Clear, m.Empty.Clear = "/events", "/events"
		m.Empty.Title, m.Empty.Hint = "No matching events", "Filters cover the newest 100,000 events."
	case c != jobs.Cursor{}:
		m.Empty.Title, m.Empty.Hint = "No more events", "There are no events in this direction."
	}
	return m
}

func newEventRow(e engine.Event) EventRow {
	return EventRow{Event: e, Href: EventURL(e.ID), Line: bodyLine(e)}
}

// foldRepeats shows an event that nobody received once for all that follow and differ in time alone, such as a heartbeat.
func foldRepeats(rows []EventRow, f engine.EventFilter) (out []EventRow) {
	for _, r := range rows {
		if n := len(out); n > 0 && out[n-1].repeats(r) {
			out[n-1].More++
			f.Exchange, f.Key = r.Exchange, r.Key
			out[n-1].All = eventsURL(f, jobs.Cursor{})
			continue
		}
		out = append(out, r)
	}
	return out
}

func (r EventRow) repeats(o EventRow) bool {
	unseen := len(r.Receipts)+len(o.Receipts) == 0 && !r.Waiting && !o.Waiting
	return unseen && r.Exchange == o.Exchange && r.Key == o.Key && r.Line == o.Line && (r.UnheardAt == nil) == (o.UnheardAt == nil)
}

// eventsKept is for how long events are stored.
var eventsKept = plural(int(engine.RetentionDefault.Events/(24*time.Hour)), "day", "days")

// bodyLine returns the body on one line; of one that is not JSON, what it is.
func bodyLine(e engine.Event) string {
	if e.Body != nil {
		return argsLine(idsLast(e.Body))
	}
	return fmt.Sprintf("%s, %s", e.ContentType, ui.Bytes(int64(len(e.Raw))))
}

// idsLast returns an object without its nulls and with its ids last, as they tell people least: a narrow line ends early.
func idsLast(raw json.RawMessage) json.RawMessage {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if start, err := dec.Token(); err != nil || start != json.Delim('{') {
		return raw
	}
	var fields, ids [][]byte
	for dec.More() {
		key, err := dec.Token()
		var value json.RawMessage
		if err != nil || dec.Decode(&value) != nil {
			return raw
		}
		name, _ := key.(string)
		quoted, _ := json.Marshal(name)
		field := append(append(quoted, ':'), value...)
		switch {
		case string(value) == "null":
		case name == "id" || strings.HasSuffix(name, "_id"):
			ids = append(ids, field)
		default:
			fields = append(fields, field)
		}
	}
	return append(append([]byte{'{'}, bytes.Join(append(fields, ids...), []byte{','})...), '}')
}

// firstLine returns the first line of an error.
func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return oneLine(line)
}

// EventURL returns the page of an event.
func EventURL(id uuid.UUID) string { return "/events/" + id.String() }

func eventsURL(f engine.EventFilter, c jobs.Cursor) string {
	return withQuery("/events", map[string]string{"exchange": f.Exchange, "key": f.Key, "subscriber": f.Subscriber,
		"outcome": string(f.Outcome), "within": withinParam(f.Within), "cursor": c.String()})
}

// EventModel is the page of one event.
type EventModel struct {
	engine.Event
	Body    []byte // for people
	Trace   string
	Missing []string // subscribers whose patterns match, and that have not received it
}

// NewEventModel shapes the page of one event. missing are the subscribers whose patterns match.
func NewEventModel(e engine.Event, matching []string) EventModel {
	m := EventModel{Event: e, Body: e.Body}
	if e.Body == nil {
		m.Body = e.Raw
		if !json.Valid(e.Raw) {
			m.Body, _ = json.Marshal(base64.StdEncoding.EncodeToString(e.Raw))
		}
	}
	var headers map[string]string
	if json.Unmarshal(e.Headers, &headers) == nil {
		m.Trace = headers["traceparent"]
	}
	for _, name := range matching {
		if !slices.ContainsFunc(e.Receipts, func(r engine.EventReceipt) bool { return r.Subscriber == name }) {
			m.Missing = append(m.Missing, name)
		}
	}
	return m
}

// receiptsFollowed bounds the jobs that the page of an event follows one by one: a stream has few topics.
const receiptsFollowed = 8

// Topics are what the page of the event subscribes to: the jobs of its subscribers, or any job while one may come.
func (m EventModel) Topics() []string {
	if m.Waiting || len(m.Missing) > 0 || len(m.Receipts) > receiptsFollowed {
		return []string{engine.TopicOutbox, engine.TopicJobs}
	}
	return m.jobTopics()
}

func (m EventModel) jobTopics() (topics []string) {
	for _, r := range m.Receipts[:min(len(m.Receipts), receiptsFollowed)] {
		topics = append(topics, "job-"+r.JobID.String())
	}
	return topics
}

// follows are the topics upon which the page is read again, if it has subscribed to them.
func (m EventModel) follows() []string {
	return append(m.jobTopics(), ui.Slowly(engine.TopicOutbox), ui.Slowly(engine.TopicJobs))
}

// BodyLabel says in which form the body is shown.
func (m EventModel) BodyLabel() string {
	if m.Event.Body == nil && !json.Valid(m.Raw) {
		return "Body of " + ui.Bytes(int64(len(m.Raw))) + ", as base64"
	}
	return "Body"
}

// Delivery says where the event is, for people.
func (m EventModel) Delivery() string {
	completed := 0
	for _, r := range m.Receipts {
		if r.State == jobs.Completed {
			completed++
		}
	}
	switch all := len(m.Receipts) + len(m.Missing); {
	case m.Waiting:
		return "waits in the outbox"
	case all > 0:
		return fmt.Sprintf("%d of %d completed", completed, all)
	case m.UnheardAt != nil:
		return "not routed to any queue"
	}
	return "routed to other queues only"
}

// SubscribersModel is the page of the subscribers.
type SubscribersModel struct {
	Rows []SubscriberRow
}

// SubscriberRow is one subscriber.
type SubscriberRow struct {
	engine.EventSubscriber
	QueueHref string
	EventsURL string
	DeadURL   string
	ReplayURL string
}

// NewSubscribersModel shapes the page. queue returns the page of a job queue.
func NewSubscribersModel(list []engine.EventSubscriber, queue func(string) string) SubscribersModel {
	var m SubscribersModel
	for _, s := range list {
		m.Rows = append(m.Rows, SubscriberRow{EventSubscriber: s, QueueHref: queue(s.Name), ReplayURL: ReplayURL(s.Name),
			EventsURL: eventsURL(engine.EventFilter{Subscriber: s.Name}, jobs.Cursor{}),
			DeadURL:   withQuery("/jobs", map[string]string{"q": "kind:" + s.Name, "state": string(jobs.Dead)})})
	}
	return m
}

// Sentence says whether the subscriber keeps up, as the page of its queue does.
func (r SubscriberRow) Sentence() explain.Sentence {
	return explain.OfQueue(explain.QueueFacts{Own: true, Waiting: &r.Queued, Oldest: r.OldestAt, Around: r.Around})
}

func (r SubscriberRow) href(p explain.Part) string {
	if p.Name == explain.QueuedJobs {
		return r.QueueHref
	}
	return ""
}

// troubled reports that its events are not handled now: no worker consumes its queue, or it is paused.
func (r SubscriberRow) troubled() bool { return !r.Worked || r.Around.PausedAt != nil }

// consumers says in a few words who works its queue.
func (r SubscriberRow) consumers() string {
	if r.Around.Workers == 0 && r.Around.External {
		return "other programs"
	}
	return ui.Number(int64(r.Around.Workers))
}

// briefly are the figures that narrow screens have no columns for.
func (r SubscriberRow) briefly() string {
	consumers := r.consumers()
	if r.Around.Workers > 0 || !r.Around.External {
		consumers += " " + word(r.Around.Workers, "worker", "workers")
	}
	return consumers + " · " + ui.Capped(int64(r.Received), jobs.CountCap) + " in the last hour"
}

// ReplayURL returns the page from which events are replayed to a subscriber.
func ReplayURL(subscriber string) string {
	return "/events/subscribers/" + url.PathEscape(subscriber) + "/replay"
}

// ReplayModel is the form of a replay.
type ReplayModel struct {
	Subscriber string
	Since      string
	Until      string // "" means now
	Asked      string // since as it was asked for
	Errors     jobs.FieldErrors
	Replay     *events.ReplayArgs // nil while the form has errors
	Count      jobs.Count         // of the events that match
	Newest     []EventRow         // of them
}

// With adds what the form asks for, and the events that it would replay.
func (m ReplayModel) With(replay events.ReplayArgs, n jobs.Count, newest []engine.Event) ReplayModel {
	m.Replay, m.Count, m.Since = &replay, n, replay.Since.UTC().Format(time.RFC3339Nano)
	if m.Until != "" {
		m.Until = replay.Until.UTC().Format(time.RFC3339Nano)
	}
	for _, e := range newest {
		m.Newest = append(m.Newest, newEventRow(e))
	}
	return m
}

func (m ReplayModel) problem(field string) string {
	for _, e := range m.Errors {
		if e.Field == field {
			return AsSentence(e.Message)
		}
	}
	return ""
}

func (m ReplayModel) found() string {
	return ui.Capped(int64(m.Count), jobs.CountCap) + " " + word(int(m.Count), "event matches", "events match")
}

// listed says how many of the events that match are shown.
func (m ReplayModel) listed() string {
	if int(m.Count) > len(m.Newest) {
		return "the newest " + ui.Number(int64(len(m.Newest))) + " of " + ui.Capped(int64(m.Count), jobs.CountCap)
	}
	return ""
}

func (m ReplayModel) confirm() ui.ConfirmProps {
	n := ui.Capped(int64(m.Count), jobs.CountCap) + " " + word(int(m.Count), "event", "events")
	p := ui.ConfirmProps{ID: "replay", Label: "Replay " + n + "…", Icon: "retry", Title: "Replay " + n + " to " + m.Subscriber + "?",
		Consequence: m.Subscriber + " handles them again, also those that it has handled before: one new job for each. " +
			"Other subscribers do not get them.",
		Button: "Replay " + n, URL: ReplayURL(m.Subscriber), Reason: "optional", Primary: true, Left: true,
		Hidden: []ui.Hidden{{Name: "since", Value: m.Since}, {Name: "until", Value: m.Replay.Until.UTC().Format(time.RFC3339Nano)}}}
	if m.Count == 0 {
		p.Why = "No stored event of that time matches the patterns of " + m.Subscriber + "."
	}
	return p
}

// ReplaySince is the start that the form offers.
func ReplaySince(now time.Time) string { return now.Add(-time.Hour).UTC().Format(time.RFC3339) }

// receiptWord is what became of an event at a subscriber.
func receiptTitle(r engine.EventReceipt) string {
	return cmp.Or(firstLine(r.Error), string(r.State)) + ", attempt " + fmt.Sprint(r.Attempt)
}
