package views

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/monitor"
	"github.com/warrenjobs/warren/views/ui"
)

// OutboxFacts is the data of the upper part of the outbox page.
type OutboxFacts struct {
	Now          time.Time
	Waiting      int // capped
	Events       int // of them
	Lag          time.Duration
	Failing      int
	Failures     []engine.OutboxErrorGroup
	Transactions []engine.OpenTransaction
	Paused       []engine.PausedQueue
	Relays       []engine.Process // that run or are gone
	RelaySeen    time.Time        // when any relay last reported
	Activity     []monitor.Moment
}

// OutboxNumbersModel is the state of the outbox and what blocks it.
type OutboxNumbersModel struct {
	Good    bool
	Verdict string
	Blocks  []string // why messages are not sent, each a sentence
	Tiles   []ui.StatProps
}

// NewOutboxNumbers shapes the upper part.
func NewOutboxNumbers(f OutboxFacts) OutboxNumbersModel {
	m := OutboxNumbersModel{Blocks: outboxBlocks(f), Tiles: outboxTiles(f)}
	m.Good = len(m.Blocks) == 0
	switch {
	case !m.Good && f.Waiting == 0:
		m.Verdict = "The outbox is empty, but sending is blocked."
	case !m.Good:
		m.Verdict = waiting(f) + ", and sending is blocked."
	case f.Waiting == 0:
		m.Verdict = "The outbox is empty."
	default:
		m.Verdict = waiting(f) + "; nothing blocks them."
	}
	return m
}

func waiting(f OutboxFacts) string {
	return ui.Capped(int64(f.Waiting), jobs.CountCap) + " " + word(f.Waiting, "message waits", "messages wait")
}

// outboxBlocks returns the reasons why messages are not sent.
func outboxBlocks(f OutboxFacts) []string {
	list := relayBlocks(f)
	for _, p := range f.Paused {
		list = append(list, pausedSentence(p, f.Now))
	}
	for _, g := range f.Failures {
		list = append(list, failureSentence(g, f.Now))
	}
	for _, t := range f.Transactions {
		list = append(list, transactionSentence(t, f.Now))
	}
	return list
}

func relayBlocks(f OutboxFacts) []string {
	alive := aliveOf(f.Relays)
	if len(alive) == 0 {
		s := "No relay runs"
		if !f.RelaySeen.IsZero() {
			s += " (none for " + ui.Duration(f.Now.Sub(f.RelaySeen)) + ")"
		}
		return []string{s + ": messages wait until somebody starts one (warren relay, or plain warren)."}
	}
	var list []string
	for _, p := range alive {
		if r := p.Details.Relay; r != nil && r.Problem != "" && r.Since != nil {
			list = append(list, fmt.Sprintf("The relay %s has been unable to send for %s: %s.", p.Name, ui.Duration(f.Now.Sub(*r.Since)),
				strings.TrimSuffix(r.Problem, ".")))
		}
	}
	return list
}

func aliveOf(all []engine.Process) (alive []engine.Process) {
	for _, p := range all {
		if p.State != engine.ProcessIsGone {
			alive = append(alive, p)
		}
	}
	return alive
}

func failureSentence(g engine.OutboxErrorGroup, now time.Time) string {
	to := "exchange " + g.Exchange + ", key " + g.Key
	if g.Job {
		to = "queue " + g.Key
	}
	rows, since := plural(g.Rows, "message", "messages"), ", the oldest for "+ui.Duration(now.Sub(g.Since))
	switch {
	case strings.HasPrefix(g.Error, engine.OutboxRefused) && g.Job:
		return "The " + to + " is full, or takes nothing: the broker refuses " + rows + " for it" + since +
			". They are sent when it has room."
	case strings.HasPrefix(g.Error, engine.OutboxRefused):
		return "A queue behind " + to + " is full, or takes nothing: the broker refuses " + rows + since + "."
	case strings.HasPrefix(g.Error, engine.OutboxUnroutable):
		return "No queue takes what is sent to " + to + ": " + rows + " " + word(g.Rows, "waits", "wait") + since + "."
	case strings.HasPrefix(g.Error, engine.OutboxUnconfirmed):
		return "The broker is slow to confirm: " + rows + " to " + to + " " + word(g.Rows, "waits", "wait") + " for its word" + since + "."
	}
	return rows + " to " + to + " " + word(g.Rows, "fails", "fail") + since + ": " + oneLine(g.Error)
}

func pausedSentence(p engine.PausedQueue, now time.Time) string {
	return "The queue " + p.Queue + " has been paused for " + ui.Duration(now.Sub(p.Since)) + " by " + cmp.Or(p.By, ui.Unknown) + ": " +
		ui.Capped(int64(p.Waiting), jobs.CountCap-1) + " " + word(int(p.Waiting), "job waits", "jobs wait") + " until somebody resumes it."
}

func transactionSentence(t engine.OpenTransaction, now time.Time) string {
	who := fmt.Sprintf("process %d of the database, user %s, application %s, %s", t.PID, cmp.Or(t.User, ui.Unknown),
		cmp.Or(t.Application, ui.Unknown), cmp.Or(t.State, ui.Unknown))
	s := "A transaction has been open for " + ui.Duration(now.Sub(t.Since)) + " (" + who + "): "
	if t.Writes {
		return s + "what it enqueued is not sent before it commits, and what was sent since cannot be cleaned away, which slows the relay."
	}
	return s + "what was sent since cannot be cleaned away, which slows the relay."
}

func outboxTiles(f OutboxFacts) []ui.StatProps {
	lag := moments(f.Activity, func(m monitor.Moment) float64 { return m.OutboxAge })
	depth := moments(f.Activity, func(m monitor.Moment) float64 { return float64(m.OutboxWaiting) })
	jobRows := max(f.Waiting-f.Events, 0)
	out := ui.StatProps{Label: "Sent", Unit: "/s", Value: ui.Unknown, Hint: "no relay runs", State: "completed"}
	confirm := ui.StatProps{Label: "Confirm, p50", Value: ui.Unknown, Hint: "nothing sent in the last minute"}
	if alive := aliveOf(f.Relays); len(alive) > 0 {
		var sent int64
		var p50, p95 *float64
		for _, p := range alive {
			r := p.Details.Relay
			if r == nil {
				continue
			}
			sent += r.Sent
			if r.ConfirmP50 != nil && (p50 == nil || *r.ConfirmP50 > *p50) {
				p50, p95 = r.ConfirmP50, r.ConfirmP95
			}
		}
		out.Value, out.Hint = ui.Rate(float64(sent)/60), "last minute, by "+plural(len(alive), "relay", "relays")
		if p50 != nil && p95 != nil {
			confirm.Value, confirm.Hint = millisText(*p50), "p95 "+millisText(*p95)+", last minute"
			if len(alive) > 1 {
				confirm.Hint = "p95 " + millisText(*p95) + ", slowest relay"
			}
		}
	}
	failing := ui.StatProps{Label: "Failing", Value: ui.Capped(int64(f.Failing), 1000), Hint: "none", Href: "/outbox?show=failing"}
	if f.Failing > 0 {
		failing.Tone, failing.Hint = "bad", "tried, and not sent"
	}
	return []ui.StatProps{
		{Label: "Waiting", Value: ui.Capped(int64(f.Waiting), jobs.CountCap), Spark: depth, State: "queued",
			Hint: ui.Capped(int64(jobRows), jobs.CountCap) + " " + word(jobRows, "job", "jobs") + ", " + plural(f.Events, "event",
				"events")},
		{Label: "Lag", Value: ui.Duration(f.Lag), Hint: "age of the oldest", Spark: lag, Tone: warn(f.Lag > 10*time.Second)},
		failing, confirm, out,
	}
}

func warn(bad bool) string {
	if bad {
		return "warn"
	}
	return ""
}

func millisText(ms float64) string { return ui.Duration(time.Duration(ms * float64(time.Millisecond))) }

// OutboxListModel is a page of the list.
type OutboxListModel struct {
	URL     string
	Tabs    []ui.Tab
	Rows    []OutboxRowModel
	Failing jobs.Count
	Pager   ui.PagerProps
	Empty   ui.EmptyProps
}

// OutboxRowModel is one row of the list.
type OutboxRowModel struct {
	engine.OutboxRow
	Href        string // of the job
	To          string
	Error       string
	URL         string
	Consequence string // of discarding it
}

// NewOutboxList shapes a page of the list.
func NewOutboxList(page jobs.Page[engine.OutboxRow], f engine.OutboxFilter, c jobs.Cursor, failing jobs.Count) OutboxListModel {
	m := OutboxListModel{URL: outboxURL(f, c), Failing: failing}
	for _, tab := range []struct {
		filter engine.OutboxFilter
		label  string
	}{{engine.OutboxAll, "All"}, {engine.OutboxFailing, "Failing"}, {engine.OutboxJobs, "Jobs"}, {engine.OutboxEvents, "Events"}} {
		t := ui.Tab{Label: tab.label, Href: outboxURL(tab.filter, jobs.Cursor{}), Active: tab.filter == f}
		if tab.filter == engine.OutboxFailing {
			t.State, t.Count = "dead", ui.Capped(int64(failing), jobs.CountCap)
		}
		m.Tabs = append(m.Tabs, t)
	}
	for _, r := range page.Items {
		m.Rows = append(m.Rows, outboxRow(r))
	}
	m.Pager = pagerOf(page, c, func(c jobs.Cursor) string { return outboxURL(f, c) })
	m.Pager.Info, m.Pager.Order = shown(len(m.Rows), "oldest first"), ui.OldestFirst
	m.Empty = ui.EmptyProps{Icon: "outbox", Title: "The outbox is empty",
		Hint: "Every message that was committed has been sent and confirmed."}
	switch {
	case c != jobs.Cursor{}:
		m.Empty.Title, m.Empty.Hint = "Nothing here any more",
			"These messages have been sent meanwhile. Go back to the beginning of the list."
	case f == engine.OutboxFailing:
		m.Empty.Icon, m.Empty.Title, m.Empty.Hint = "check", "No message fails",
			"A message that the broker does not take stays here with its error, and is tried again."
	case f != engine.OutboxAll:
		m.Empty.Title, m.Empty.Hint = "No "+string(f)+" wait", "Messages stay here only until the broker has confirmed them."
	}
	return m
}

func outboxRow(r engine.OutboxRow) OutboxRowModel {
	m := OutboxRowModel{OutboxRow: r, To: r.Key, URL: "/outbox/" + strconv.FormatInt(r.ID, 10),
		Consequence: "The event is dropped: no subscriber will get it. This cannot be undone."}
	if r.Exchange != nil {
		m.To = *r.Exchange + " · " + r.Key
	}
	if r.JobID != nil {
		m.Href = "/jobs/" + r.JobID.String()
		m.Consequence = "If its job still waits for this message, the job is cancelled; it can be retried from its page."
	}
	if r.LastError != nil {
		m.Error = oneLine(*r.LastError)
	}
	return m
}

// RetriedMessages returns the message about the number of failing messages that were made due.
func RetriedMessages(n int) string {
	return plural(n, "message is", "messages are") + " sent as soon as a relay can."
}

func outboxURL(f engine.OutboxFilter, c jobs.Cursor) string {
	return withQuery("/outbox", map[string]string{"show": string(f), "cursor": c.String()})
}
