package views

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/explain"
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
	Relays       []engine.Process // that are alive
	RelaySeen    time.Time        // when any relay last reported
	Activity     []monitor.Moment
}

// jobs returns how many of the messages that wait are of jobs.
func (f OutboxFacts) jobs() int { return max(f.Waiting-f.Events, 0) }

// OutboxModel is the outbox at one moment.
type OutboxModel struct {
	OutboxNumbersModel
	OutboxListModel
}

// OutboxNumbersModel is the state of the outbox and what blocks it.
type OutboxNumbersModel struct {
	State   string // a job state's, for the colour: completed, retrying or dead
	Verdict string
	Blocks  []OutboxBlock
	Tiles   []ui.StatProps
}

// OutboxBlock is something that keeps messages from being sent.
type OutboxBlock struct {
	Brief string // for the verdict: "mail is paused"
	Text  string // a sentence
	Queue string // the job queue that it names
	Href  string // its page
	// Meant: somebody did it on purpose, or it only slows sending.
	Meant bool
	// Whole: no message at all is sent.
	Whole bool
}

// NewOutboxNumbers shapes the upper part. queue returns the page of a job queue.
func NewOutboxNumbers(f OutboxFacts, queue func(string) string) OutboxNumbersModel {
	m := OutboxNumbersModel{State: "completed", Blocks: outboxBlocks(f, queue), Tiles: outboxTiles(f)}
	m.Verdict = "The outbox is empty"
	if f.Waiting > 0 {
		m.Verdict = ui.Capped(int64(f.Waiting), jobs.CountCap) + " " + word(f.Waiting, "message", "messages")
		if len(m.Blocks) == 0 && f.Lag <= lagTroubles {
			m.Verdict += " on the way to the broker."
			return m
		}
		m.Verdict += " not sent yet"
	}
	if len(m.Blocks) == 0 {
		m.Verdict += "."
		return m
	}
	meant := !slices.ContainsFunc(m.Blocks, func(b OutboxBlock) bool { return !b.Meant })
	m.State = "dead"
	switch {
	case m.Blocks[0].Whole:
		m.Verdict += "; sending is blocked: "
	case meant:
		m.State = "retrying"
		fallthrough
	default:
		m.Verdict += "; some are held up: "
	}
	m.Verdict += briefOf(m.Blocks) + "."
	return m
}

// briefOf names the first two blocks.
func briefOf(blocks []OutboxBlock) string {
	s := blocks[0].Brief
	if len(blocks) > 1 {
		s += ", " + blocks[1].Brief
	}
	if more := len(blocks) - 2; more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}

// around returns what stands before and after the name of the queue.
func (b OutboxBlock) around() (before, after string) {
	if b.Queue == "" {
		return b.Text, ""
	}
	before, after, _ = strings.Cut(b.Text, b.Queue)
	return before, after
}

// outboxBlocks returns what keeps messages from being sent, the worst first.
func outboxBlocks(f OutboxFacts, queue func(string) string) []OutboxBlock {
	list := relayBlocks(f)
	for _, g := range f.Failures {
		b := failureBlock(g, f.Now)
		if g.Job {
			b.Queue, b.Href = g.Key, queue(g.Key)
		}
		list = append(list, b)
	}
	for _, p := range f.Paused {
		list = append(list, OutboxBlock{Brief: p.Queue + " is paused", Text: pausedSentence(p, f.Now), Queue: p.Queue,
			Href: queue(p.Queue), Meant: true})
	}
	for _, t := range f.Transactions {
		list = append(list, OutboxBlock{Brief: "a transaction has been open for " + ui.Duration(f.Now.Sub(t.Since)),
			Text: transactionSentence(t, f.Now), Meant: true})
	}
	return list
}

func relayBlocks(f OutboxFacts) (list []OutboxBlock) {
	if len(f.Relays) == 0 {
		s := "No relay is running"
		if !f.RelaySeen.IsZero() {
			s += " (none for " + ui.Duration(f.Now.Sub(f.RelaySeen)) + ")"
		}
		return []OutboxBlock{{Brief: "no relay is running", Text: s + ". Start one: warren relay, or plain warren.", Whole: true}}
	}
	for _, p := range f.Relays {
		if r := p.Details.Relay; r != nil && r.Problem != "" && r.Since != nil {
			problem := strings.TrimSuffix(r.Problem, ".")
			list = append(list, OutboxBlock{Brief: "the relay " + p.Name + " cannot send",
				Text: fmt.Sprintf("The relay %s has been unable to send for %s: %s.", p.Name, ui.Duration(f.Now.Sub(*r.Since)), problem)})
		}
	}
	for i := range list {
		list[i].Whole = len(list) == len(f.Relays)
	}
	return list
}

func failureBlock(g engine.OutboxErrorGroup, now time.Time) OutboxBlock {
	to := "exchange " + g.Exchange + ", key " + g.Key
	if g.Job {
		to = "queue " + g.Key
	}
	rows, oldest := plural(g.Rows, "message", "messages"), ", oldest "+ui.Duration(now.Sub(g.Since))
	waits := rows + " " + word(g.Rows, "waits", "wait") + oldest + "."
	switch {
	case strings.HasPrefix(g.Error, engine.OutboxRefused) && g.Job:
		return OutboxBlock{Brief: g.Key + " refuses messages",
			Text: "The queue " + g.Key + " is full or takes nothing: the broker refuses its messages. Sent when there is room: " + waits}
	case strings.HasPrefix(g.Error, engine.OutboxRefused):
		return OutboxBlock{Brief: "a queue behind " + g.Exchange + " refuses messages",
			Text: "A queue behind " + to + " is full or takes nothing: the broker refuses its messages. " + waits}
	case strings.HasPrefix(g.Error, engine.OutboxUnroutable):
		return OutboxBlock{Brief: "no queue takes " + g.Key, Text: "No queue takes what is sent to " + to + ": " + waits}
	case strings.HasPrefix(g.Error, engine.OutboxUnconfirmed):
		return OutboxBlock{Brief: "the broker is slow to confirm", Text: "The broker is slow to confirm messages to " + to + ": " + waits}
	}
	return OutboxBlock{Brief: rows + " to " + to + " " + word(g.Rows, "is", "are") + " failing",
		Text: rows + " to " + to + " " + word(g.Rows, "is", "are") + " failing" + oldest + ": " + oneLine(g.Error)}
}

func pausedSentence(p engine.PausedQueue, now time.Time) string {
	return p.Queue + " was paused " + ui.Duration(now.Sub(p.Since)) + " ago" + explain.By(p.By) + ". " +
		ui.Capped(int64(p.Waiting), jobs.CountCap-1) + " " + word(int(p.Waiting), "job", "jobs") + " waiting."
}

func transactionSentence(t engine.OpenTransaction, now time.Time) string {
	who := fmt.Sprintf("database process %d, user %s, application %s, %s", t.PID, cmp.Or(t.User, ui.Unknown),
		cmp.Or(t.Application, ui.Unknown), cmp.Or(t.State, ui.Unknown))
	return "A transaction has been open for " + ui.Duration(now.Sub(t.Since)) + " (" + who + "). " + transactionEffect(t)
}

func transactionEffect(t engine.OpenTransaction) string {
	if t.Writes {
		return "What it enqueued is sent once it commits. Until then, sent messages cannot be cleaned up, which slows the relay."
	}
	return "Until it ends, sent messages cannot be cleaned up, which slows the relay."
}

func outboxTiles(f OutboxFacts) []ui.StatProps {
	lag := moments(f.Activity, func(m monitor.Moment) float64 { return m.OutboxAge })
	depth := moments(f.Activity, func(m monitor.Moment) float64 { return float64(m.OutboxWaiting) })
	oldest := "age of the oldest"
	if len(f.Paused) > 0 {
		oldest = "oldest not paused"
	}
	out := ui.StatProps{Label: "Sent", Unit: "/s", Value: ui.Unknown, Hint: "no relay is running", State: "completed"}
	confirm := ui.StatProps{Label: "Confirm latency, p50", Value: ui.Unknown, Hint: "nothing sent in the last minute"}
	if alive := f.Relays; len(alive) > 0 {
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
	failing := ui.StatProps{Label: "Failing", Value: ui.Capped(int64(f.Failing), failingCap)}
	if f.Failing > 0 {
		failing.Tone, failing.Hint, failing.Href = "bad", "tried and not sent", "/outbox?show=failing"
	}
	return []ui.StatProps{
		{Label: "Waiting", Value: ui.Capped(int64(f.Waiting), jobs.CountCap), Spark: depth, State: "queued",
			Scale: scale(depth, func(n float64) string { return ui.Number(int64(n)) }),
			Hint: ui.Capped(int64(f.jobs()), jobs.CountCap) + " " + word(f.jobs(), "job", "jobs") + ", " + plural(f.Events, "event",
				"events")},
		{Label: "Lag", Value: ui.Duration(f.Lag), Hint: oldest, Spark: lag, Tone: warn(f.Lag > lagTroubles),
			Scale: scale(lag, func(s float64) string { return ui.Duration(time.Duration(s * float64(time.Second))) })},
		failing, confirm, out,
	}
}

// scale says what the top of a sparkline is, and how much time it shows; "" if it shows nothing.
func scale(values []float64, text func(float64) string) string {
	if len(values) == 0 {
		return ""
	}
	return "max " + text(slices.Max(values)) + ", " + Ranges[0].Word
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
	Failing int
	Pager   ui.PagerProps
	Empty   ui.EmptyProps
	Nothing bool // the outbox is empty, which the verdict says
}

// OutboxRowModel is one row of the list.
type OutboxRowModel struct {
	engine.OutboxRow
	Href        string // of the job
	To          string
	QueueHref   string // of its queue
	Why         explain.Sentence
	State       string // a job state's, for the colour of the sentence; "" if it has not been tried
	URL         string
	Consequence string // of discarding it
}

// NewOutboxList shapes a page of the list. queue returns the page of a job queue.
func NewOutboxList(
	page jobs.Page[engine.OutboxRow], f engine.OutboxFilter, c jobs.Cursor, facts OutboxFacts, around explain.OutboxAround,
	queue func(string) string,
) OutboxListModel {
	m := OutboxListModel{URL: outboxURL(f, c), Tabs: outboxTabs(f, facts), Failing: facts.Failing}
	m.Nothing = len(page.Items) == 0 && f == engine.OutboxAll && c == jobs.Cursor{}
	for _, r := range page.Items {
		m.Rows = append(m.Rows, outboxRow(r, around, queue))
	}
	m.Pager = pagerOf(page, c, func(c jobs.Cursor) string { return outboxURL(f, c) })
	m.Pager.Info, m.Pager.Order = shown(len(m.Rows), "oldest first"), ui.OldestFirst
	switch m.Empty.Icon = "outbox"; {
	case c != jobs.Cursor{}:
		m.Empty.Title, m.Empty.Hint = "Nothing left on this page", "These messages have been sent. Go back to the beginning of the list."
	case f == engine.OutboxFailing:
		m.Empty.Icon, m.Empty.Title, m.Empty.Hint = "check", "No message is failing",
			"A message that the broker does not take stays here with its error and is tried again."
	default:
		m.Empty.Title, m.Empty.Hint = "No "+string(f)+" waiting", "Messages stay here only until the broker has confirmed them."
	}
	return m
}

func outboxTabs(f engine.OutboxFilter, facts OutboxFacts) (tabs []ui.Tab) {
	for _, t := range []struct {
		filter      engine.OutboxFilter
		label       string
		count, most int
	}{
		{engine.OutboxAll, "All", facts.Waiting, jobs.CountCap}, {engine.OutboxFailing, "Failing", facts.Failing, failingCap},
		{engine.OutboxJobs, "Jobs", facts.jobs(), jobs.CountCap}, {engine.OutboxEvents, "Events", facts.Events, jobs.CountCap},
	} {
		tab := ui.Tab{Label: t.label, Href: outboxURL(t.filter, jobs.Cursor{}), Active: t.filter == f,
			Count: ui.Capped(int64(t.count), int64(t.most))}
		if t.filter == engine.OutboxFailing && t.count > 0 {
			tab.State = "dead"
		}
		tabs = append(tabs, tab)
	}
	return tabs
}

func outboxRow(r engine.OutboxRow, around explain.OutboxAround, queue func(string) string) OutboxRowModel {
	m := OutboxRowModel{OutboxRow: r, To: r.Key, URL: "/outbox/" + strconv.FormatInt(r.ID, 10), Why: explain.OutboxRow(r, around),
		Consequence: "The event is dropped: no subscriber will get it. This cannot be undone."}
	if r.Tries > 0 {
		m.State = "dead"
	}
	if r.Exchange != nil {
		m.To = *r.Exchange + " · " + r.Key
	}
	if r.JobID != nil {
		m.Href, m.QueueHref = "/jobs/"+r.JobID.String(), queue(r.Key)
		m.Consequence = "If its job is still waiting for this message, the job is cancelled; it can be retried from its page."
	}
	return m
}

func (r OutboxRowModel) discard(back string) ui.ConfirmProps {
	return ui.ConfirmProps{ID: "discard-" + strconv.FormatInt(r.ID, 10), Label: "Discard…", Title: "Discard this message?",
		Consequence: r.Consequence, Button: "Discard the message", URL: r.URL + "/discard", Reason: "required", Danger: true, Small: true,
		Ghost: true, Hidden: []ui.Hidden{{Name: "back", Value: back}}}
}

// stuck reports whether somebody may want to discard the message: it has failed, or has waited for longer than the relay needs.
func (r OutboxRowModel) stuck(now time.Time) bool {
	return r.Tries > 0 || now.Sub(r.CreatedAt) > freshFor
}

// freshFor is how long a message may wait before it can be discarded from its row.
const freshFor = 10 * time.Second

// what is the thing that the message carries.
func (r OutboxRowModel) what() string {
	if r.Href == "" {
		return "event"
	}
	return "job"
}

// href returns the page of what a part of the sentence names.
func (r OutboxRowModel) href(p explain.Part) string {
	if p.Name == explain.Queue {
		return r.QueueHref
	}
	return ""
}

// RetriedMessages returns the message about the number of failing messages that were made due.
func RetriedMessages(n int) string {
	return plural(n, "message", "messages") + " will be sent as soon as a relay can."
}

func outboxURL(f engine.OutboxFilter, c jobs.Cursor) string {
	return withQuery("/outbox", map[string]string{"show": string(f), "cursor": c.String()})
}
