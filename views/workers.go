package views

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/explain"
	"github.com/warrenjobs/warren/views/ui"
)

// WorkersFacts is the data of the page of all processes.
type WorkersFacts struct {
	Page   jobs.Page[engine.Process] // alive, with the role
	Totals engine.ProcessTotals
	Gone   []engine.Process // with the role, the latest first
	Role   string
	Cursor jobs.Cursor
	Self   uuid.UUID                 // the process that serves the page
	Queue  func(queue string) string // the page of a job queue
}

// WorkersModel is the page of all processes.
type WorkersModel struct {
	URL      string
	Tabs     []ui.Tab
	Totals   string
	Note     string // the version of all of them, and what the figures are of
	Versions string // a note when they differ
	Rows     []ProcessRow
	Gone     explain.Gone
	Pager    ui.PagerProps
	Empty    ui.EmptyProps
}

// ProcessRow is one process.
type ProcessRow struct {
	engine.Process
	Anchor  string
	Color   string // a job state's, for the badge; "" when it runs as usual
	Icon    string
	Silent  bool   // it counts as alive, and what it does is not known
	Wish    string // the command that it has not carried out yet
	Seen    string // "last seen 7 s ago", if that says something
	Version string // if others have another one
	Where   string // host and pid, if another process has its name
	Queues  []QueueLink
	Slots   string     // "3/5 now · 83 % avg"
	Idle    *time.Time // since when it runs nothing, if that is known
	Marks   string     // a mark for each slot; "" if there are too many
	Rate    string
	Doing   string
	Does    string // its roles
	Facts   []string
	More    int // jobs that run and are not listed
	URL     string
	Back    string
	Ending  string // the consequence of stopping it
}

// QueueLink is the name of a job queue and its page.
type QueueLink struct{ Name, Href string }

// NewWorkersModel shapes a page of processes.
func NewWorkersModel(f WorkersFacts) WorkersModel {
	m := WorkersModel{URL: workersURL(f.Role, f.Cursor), Totals: totalsText(f.Totals), Gone: explain.GoneProcesses(f.Gone, f.Totals.At)}
	for _, tab := range [][2]string{{"", "All"}, {"worker", "Workers"}, {"relay", "Relays"}, {"scheduler", "Schedulers"},
		{"monitor", "Monitors"}, {"web", "Web"}} {
		m.Tabs = append(m.Tabs, ui.Tab{Label: tab[1], Href: workersURL(tab[0], jobs.Cursor{}), Active: tab[0] == f.Role})
	}
	usual, notes := "", []string(nil)
	versions := slices.DeleteFunc(slices.Clone(f.Totals.Versions), func(v string) bool { return v == "" }) // of a program that says none
	switch len(versions) {
	case 0:
	case 1:
		usual, notes = versions[0], []string{"version " + versions[0]}
	default:
		usual = usualVersion(f.Page.Items)
		m.Versions = "Several versions run side by side: " + strings.Join(versions, ", ") +
			". That is fine during an upgrade, but should not last."
	}
	if f.Totals.Workers > 0 {
		notes = append(notes, "jobs /min: last minute", "slots: average of at most the last "+ui.Duration(engine.LoadWindow))
	}
	m.Note = strings.Join(notes, " · ")
	named := map[string]int{}
	for _, p := range f.Page.Items {
		named[p.Name]++
	}
	seen := map[string]bool{}
	for _, p := range f.Page.Items {
		row := processRow(p, f, m.URL)
		if named[p.Name] > 1 {
			row.Where = fmt.Sprintf("%s/%d", p.Host, p.PID)
		}
		if seen[p.Name] {
			row.Anchor = processAnchor(p.ID.String())
		}
		seen[p.Name] = true
		if p.Version != usual {
			row.Version = p.Version
		}
		m.Rows = append(m.Rows, row)
	}
	m.Pager = pagerOf(f.Page, f.Cursor, func(c jobs.Cursor) string { return workersURL(f.Role, c) })
	m.Pager.Info = shown(len(m.Rows), "by name")
	m.Pager.Order = ui.ByValue
	m.Empty = ui.EmptyProps{Icon: "workers", Title: "No such process is running", Hint: "Start one with warren " + f.Role +
		", or plain warren for all roles."}
	if f.Role == "" {
		m.Empty.Hint = "A process appears here when it has started."
	}
	return m
}

// usualVersion returns the version that most of the processes have; "" if no version has most.
func usualVersion(list []engine.Process) (usual string) {
	counts := map[string]int{}
	for _, p := range list {
		counts[p.Version]++
	}
	for version, n := range counts {
		if 2*n > len(list) {
			usual = version
		}
	}
	return usual
}

func totalsText(t engine.ProcessTotals) string {
	s := plural(t.Processes, "process", "processes")
	if t.Silent > 0 {
		s += ", " + ui.Number(int64(t.Silent)) + " not answering"
	}
	s += fmt.Sprintf(", %s, %s of %s busy", plural(t.Workers, "worker", "workers"), ui.Number(int64(t.Busy)),
		plural(t.Slots, "slot", "slots"))
	if t.Quiet > 0 {
		s += ", " + ui.Number(int64(t.Quiet)) + " quiet"
	}
	return s
}

func processRow(p engine.Process, f WorkersFacts, back string) ProcessRow {
	now := f.Totals.At
	r := ProcessRow{Process: p, Anchor: processAnchor(p.Name), URL: "/workers/" + p.ID.String(), Back: back, Seen: SeenText(p, now),
		Does: RolesText(p), Doing: doing(p), Facts: processFacts(p, now), Ending: ending(p, f.Self)}
	if r.Silent = p.Silent(now); r.Silent {
		r.Doing = "not answering"
	} else {
		r.Slots, r.Marks, r.Rate = slotsLine(p), slotMarks(p.Worker), EndedRate(p)
	}
	switch p.State {
	case engine.ProcessQuiet:
		r.Color, r.Icon = "retrying", "pause"
	case engine.ProcessStopping:
		r.Color, r.Icon = "cancelled", "cancelled"
	}
	if p.Command != nil {
		r.Wish = map[engine.ProcessCommand]string{engine.CommandQuiet: "asked to be quiet",
			engine.CommandResume: "asked to take jobs again", engine.CommandStop: "asked to stop"}[*p.Command]
	}
	if w := p.Worker; w != nil {
		r.More = w.Busy - len(w.Running)
		if w.Load != nil && !r.Silent {
			r.Idle = w.Load.IdleSince
		}
		for _, q := range w.Queues {
			r.Queues = append(r.Queues, QueueLink{Name: q, Href: f.Queue(q)})
		}
	}
	return r
}

func (r ProcessRow) queueNames() string {
	names := make([]string, len(r.Queues))
	for i, q := range r.Queues {
		names[i] = q.Name
	}
	return strings.Join(names, ", ")
}

func (r ProcessRow) stop() ui.ConfirmProps {
	return ui.ConfirmProps{ID: "stop-" + r.ID.String(), Label: "Stop…", Title: "Stop " + r.Name + "?", Consequence: r.Ending,
		Button: "Stop the process", URL: r.URL + "/stop", Hidden: []ui.Hidden{{Name: "back", Value: r.Back}}, Reason: "optional",
		Danger: true, Small: true, Ghost: true, Why: r.refuses(engine.CommandStop)}
}

// idle reports whether the time for which it has been idle says something.
func (r ProcessRow) idle(now time.Time) bool { return r.Idle != nil && now.Sub(*r.Idle) >= time.Second }

// refuses says why a command makes no sense now; one that does not answer would carry it out late or never.
func (r ProcessRow) refuses(c engine.ProcessCommand) string {
	if why := r.Refuses(c); why != "" || !r.Silent {
		return why
	}
	return "This process is not answering: it was " + r.Seen + "."
}

// slotsLine says how many slots of a worker are busy, now and on average; "" if that is not known.
func slotsLine(p engine.Process) string {
	if p.Worker == nil {
		return ""
	}
	s := fmt.Sprintf("%s/%s now", ui.Number(int64(p.Worker.Busy)), ui.Number(int64(p.Worker.Concurrency)))
	if p.Worker.Load != nil {
		s += " · " + ui.Percent(p.Worker.Load.BusyShare) + " avg"
	}
	return s
}

// BusyText says for which share of the last minutes the slots of a worker were busy; "" if that is not known.
func BusyText(p engine.Process) string {
	if p.Worker == nil || p.Worker.Load == nil {
		return ""
	}
	return "busy " + ui.Percent(p.Worker.Load.BusyShare)
}

// RanText says how many jobs a worker ran in the last minutes; "" if that is not known.
func RanText(p engine.Process, now time.Time) string {
	if p.Worker == nil || p.Worker.Load == nil {
		return ""
	}
	window := min(max(now.Sub(p.Worker.Load.Since), time.Second).Round(time.Second), engine.LoadWindow)
	return ui.Number(p.Worker.Load.Runs) + " in " + ui.Duration(window)
}

// SeenText says when a process was last seen, if that is some time ago; else it is empty.
func SeenText(p engine.Process, now time.Time) string {
	if p.Silent(now) {
		return "last seen " + ui.Duration(now.Sub(p.SeenAt).Truncate(time.Second)) + " ago"
	}
	return ""
}

// SlotsText says how many slots of a worker are busy.
func SlotsText(p engine.Process) string {
	if p.Worker == nil {
		return ""
	}
	return fmt.Sprintf("%s of %s busy", ui.Number(int64(p.Worker.Busy)), ui.Number(int64(p.Worker.Concurrency)))
}

// marksMax bounds the slots that are drawn.
const marksMax = 20

func slotMarks(w *engine.ProcessWorker) string {
	if w == nil || w.Concurrency > marksMax {
		return ""
	}
	busy := min(w.Busy, w.Concurrency)
	return strings.Repeat("●", busy) + strings.Repeat("○", w.Concurrency-busy)
}

// rateNeeds is how long a worker must be up for its rate to say something.
const rateNeeds = 30 * time.Second

// EndedRate says how many jobs a worker ends per minute; ui.Unknown while it is too young for that.
func EndedRate(p engine.Process) string {
	rate, known := p.EndedPerSecond()
	switch {
	case !p.HasRole("worker"):
		return ""
	case !known, p.SeenAt.Sub(p.StartedAt) < rateNeeds:
		return ui.Unknown
	}
	return ui.Rate(rate * 60)
}

// RolesText names the roles of a process.
func RolesText(p engine.Process) string {
	if len(p.Roles) == len(engine.ProcessRoles) {
		return "all roles"
	}
	return strings.Join(p.Roles, ", ")
}

// doing says in a few words what a process does now.
func doing(p engine.Process) string {
	switch w := p.Worker; {
	case w == nil && p.HasRole("worker"):
		return "takes no jobs: it has no lease"
	case w != nil && w.Busy == 0 && w.Load != nil && w.Load.IdleSince == nil && w.Load.Runs == 0:
		return "idle, ran nothing in the last " + ui.Duration(engine.LoadWindow)
	case w != nil && w.Busy == 0:
		return "idle"
	case w != nil:
		return "running " + kindsOf(*w)
	case p.Details.Relay != nil:
		return relayFact(*p.Details.Relay)
	case p.Details.Listen != "":
		return "dashboard on " + p.Details.Listen
	}
	return "details"
}

// kindsOf names the kinds of the jobs that a worker runs, with their numbers: "demo.invoice ×2, http".
func kindsOf(w engine.ProcessWorker) string {
	counts := map[string]int{}
	for _, r := range w.Running {
		counts[r.Kind]++
	}
	var list []string
	for kind, n := range counts {
		if n > 1 {
			kind += fmt.Sprintf(" ×%d", n)
		}
		list = append(list, kind)
	}
	slices.Sort(list)
	if more := w.Busy - len(w.Running); more > 0 {
		list = append(list, fmt.Sprintf("%d more", more))
	}
	return cmp.Or(strings.Join(list, ", "), plural(w.Busy, "job", "jobs"))
}

func processFacts(p engine.Process, now time.Time) (facts []string) {
	if ran := RanText(p, now); ran != "" {
		facts = append(facts, "ran "+ran)
	}
	if where := fmt.Sprintf("%s/%d", p.Host, p.PID); where != p.Name {
		facts = append(facts, where)
	}
	if w := p.Worker; w != nil {
		facts = append(facts, word(len(w.Queues), "queue ", "queues ")+strings.Join(w.Queues, ", "),
			"prefetch "+ui.Number(int64(cmp.Or(w.Prefetch, w.Concurrency))))
		if now.Sub(w.RenewedAt) > engine.ProcessSilent {
			facts = append(facts, leaseText(*w, now))
		}
	}
	if r := p.Details.Relay; r != nil {
		facts = append(facts, relayFact(*r))
	}
	if p.Details.Listen != "" {
		facts = append(facts, "dashboard on "+p.Details.Listen)
	}
	if p.Details.Private {
		facts = append(facts, "runs the private PostgreSQL and RabbitMQ")
	}
	return append(facts, "id "+p.ID.String())
}

func leaseText(w engine.ProcessWorker, now time.Time) string {
	if !now.Before(w.ExpiresAt) {
		return "lease ended " + ui.Duration(now.Sub(w.ExpiresAt)) + " ago"
	}
	return "lease renewed " + ui.Duration(now.Sub(w.RenewedAt)) + " ago"
}

func relayFact(r engine.RelayStats) string {
	switch {
	case r.Problem != "":
		return "cannot send: " + oneLine(r.Problem)
	case r.ConfirmP50 == nil:
		return "sent nothing in the last minute"
	}
	return "sends " + ui.Rate(float64(r.Sent)/60) + "/s, confirm p50 " + millisText(*r.ConfirmP50)
}

// ending describes the consequence of stopping a process.
func ending(p engine.Process, self uuid.UUID) string {
	s := "It stops in good order."
	if p.HasRole("worker") {
		s = "It takes no new jobs and gives running ones 20 seconds to finish; the rest run elsewhere."
	}
	s += " Warren does not start it again; a service manager may."
	if p.ID == self {
		s += " This process also serves this page, which is gone until then."
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
	return fmt.Sprintf("attempt %d of %d", r.Attempt, r.MaxAttempts)
}
