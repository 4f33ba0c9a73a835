package views

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/views/ui"
)

// WorkersModel is the page of all processes.
type WorkersModel struct {
	URL      string
	Tabs     []ui.Tab
	Totals   string
	Versions string // a note when they differ
	Cards    []ProcessCard
	Pager    ui.PagerProps
	Empty    ui.EmptyProps
}

// ProcessCard is one process.
type ProcessCard struct {
	engine.Process
	Color  string // a job state's, for the badge
	Icon   string
	Word   string
	Beat   string // age of the last heartbeat when the page was rendered
	Wish   string // the command that it has not carried out yet
	Facts  []string
	Lease  string
	More   int // jobs that run and are not listed
	URL    string
	Back   string
	Ending string // the consequence of stopping it
}

// NewWorkersModel shapes a page of processes. self is the one that serves the page.
func NewWorkersModel(
	page jobs.Page[engine.Process], t engine.ProcessTotals, role string, c jobs.Cursor, self uuid.UUID, now time.Time,
) WorkersModel {
	m := WorkersModel{URL: workersURL(role, c), Totals: totalsText(t)}
	for _, tab := range [][2]string{{"", "All"}, {"worker", "Workers"}, {"relay", "Relays"}, {"scheduler", "Schedulers"},
		{"monitor", "Monitors"}, {"web", "Web"}} {
		m.Tabs = append(m.Tabs, ui.Tab{Label: tab[1], Href: workersURL(tab[0], jobs.Cursor{}), Active: tab[0] == role})
	}
	if len(t.Versions) > 1 {
		m.Versions = "Several versions run side by side: " + strings.Join(t.Versions, ", ") + ". That is well for an upgrade, not for long."
	}
	for _, p := range page.Items {
		m.Cards = append(m.Cards, processCard(p, m.URL, self, now))
	}
	m.Pager = pagerOf(page, c, func(c jobs.Cursor) string { return workersURL(role, c) })
	m.Pager.Info = shown(len(m.Cards), "the latest started first")
	m.Empty = ui.EmptyProps{Icon: "workers", Title: "No such process runs", Hint: "Start one with warren " + role +
		", or plain warren for all roles."}
	if role == "" {
		m.Empty.Hint = "A process appears here when it has started, and stays for five minutes after it is gone."
	}
	return m
}

func totalsText(t engine.ProcessTotals) string {
	s := fmt.Sprintf("%s, %s, %s of %s busy", plural(t.Processes, "process", "processes"), plural(t.Workers, "worker", "workers"),
		ui.Number(int64(t.Busy)), plural(t.Slots, "slot", "slots"))
	if t.Quiet > 0 {
		s += ", " + ui.Number(int64(t.Quiet)) + " quiet"
	}
	if t.Gone > 0 {
		s += ", " + ui.Number(int64(t.Gone)) + " gone"
	}
	return s
}

func processCard(p engine.Process, back string, self uuid.UUID, now time.Time) ProcessCard {
	c := ProcessCard{Process: p, URL: "/workers/" + p.ID.String(), Back: back, Beat: ui.Duration(max(now.Sub(p.SeenAt), 0)),
		Ending: ending(p, self)}
	c.Color, c.Icon, c.Word = processBadge(p.State)
	if p.Command != nil && p.State != engine.ProcessIsGone {
		c.Wish = map[engine.ProcessCommand]string{engine.CommandQuiet: "asked to be quiet",
			engine.CommandResume: "asked to take jobs again", engine.CommandStop: "asked to stop"}[*p.Command]
	}
	if w := p.Worker; w != nil {
		prefetch := w.Prefetch
		if prefetch == 0 {
			prefetch = w.Concurrency
		}
		c.Facts = append(c.Facts, fmt.Sprintf("%d of %s busy", w.Busy, plural(w.Concurrency, "slot", "slots")),
			word(len(w.Queues), "queue ", "queues ")+strings.Join(w.Queues, ", "), "prefetch "+ui.Number(int64(prefetch)))
		c.Lease = leaseText(*w, now)
		c.More = w.Busy - len(w.Running)
	}
	if r := p.Details.Relay; r != nil && p.State != engine.ProcessIsGone {
		c.Facts = append(c.Facts, relayFact(*r))
	}
	if p.Details.Listen != "" {
		c.Facts = append(c.Facts, "dashboard on "+p.Details.Listen)
	}
	if p.Details.Private {
		c.Facts = append(c.Facts, "runs the private PostgreSQL and RabbitMQ")
	}
	return c
}

func processBadge(s engine.ProcessState) (color, icon, word string) {
	switch s {
	case engine.ProcessQuiet:
		return "retrying", "pause", "quiet"
	case engine.ProcessStopping:
		return "cancelled", "cancelled", "stopping"
	case engine.ProcessIsGone:
		return "dead", "dead", "gone"
	}
	return "running", "running", "running"
}

func leaseText(w engine.ProcessWorker, now time.Time) string {
	if !now.Before(w.ExpiresAt) {
		return "lease ended " + ui.Duration(now.Sub(w.ExpiresAt)) + " ago"
	}
	return "lease renewed " + ui.Duration(max(now.Sub(w.RenewedAt), 0)) + " ago"
}

func relayFact(r engine.RelayStats) string {
	switch {
	case r.Problem != "":
		return "cannot send: " + oneLine(r.Problem)
	case r.ConfirmP50 == nil:
		return "sent nothing in the last minute"
	}
	return ui.Rate(float64(r.Sent)/60) + "/s sent, confirm p50 " + millisText(*r.ConfirmP50)
}

// ending describes the consequence of stopping a process.
func ending(p engine.Process, self uuid.UUID) string {
	s := "It stops in good order."
	if p.HasRole("worker") {
		s = "It takes no new jobs and gives those that run 20 seconds to finish; the rest is run elsewhere."
	}
	if p.ID == self {
		s += " This process also serves this page; it will be gone until somebody starts it again."
	} else {
		s += " Somebody has to start it again."
	}
	if p.Details.Private {
		s += " The private PostgreSQL and RabbitMQ stop with it, unless another warren on the same data takes them over."
	}
	return s
}

// processAnchor returns the anchor of a process on the Workers page.
func processAnchor(name string) string { return "process-" + name }

// workerURL returns the URL of the process with that name.
func workerURL(name string) string {
	return (&url.URL{Path: "/workers", Fragment: processAnchor(name)}).String()
}

func workersURL(role string, c jobs.Cursor) string {
	return withQuery("/workers", map[string]string{"role": role, "cursor": c.String()})
}

func runAttempt(r engine.ProcessRun) string {
	return fmt.Sprintf("attempt %d/%d · lease %d", r.Attempt, r.MaxAttempts, r.Lease)
}
