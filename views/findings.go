package views

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/explain"
	"github.com/warrenjobs/warren/jobs/monitor"
	"github.com/warrenjobs/warren/jobs/schedule"
	"github.com/warrenjobs/warren/views/ui"
)

// Severity orders problems: the worst is the lowest.
type Severity int

// The severities.
const (
	Broken  Severity = iota // jobs wait or died, and nobody has decided that
	Warning                 // somebody did it on purpose, or no job is stopped by it
	Notice                  // Warren has mended it
)

// Finding is one thing that asks for attention, with what it leads to and what helps.
type Finding struct {
	Severity Severity
	Title    string
	Href     string // the page that shows it; "" if none does
	Detail   Text   // goes on after the title
	Effects  []Text // what it leads to, each a sentence
	Command  string // that helps
	Admin    bool   // the command is for an administrator of the broker
	Resume   string // the page of the paused queue that can be resumed
}

// Outage is a part of the deployment that is not well.
type Outage struct {
	Since time.Time
	Why   string // in a sentence; "" if the part is silent
}

func downSince(o *Outage) Text { return since(" (since ", o.Since).and(")") }

// FindingFacts is what Findings looks at. What was not read is not a problem.
type FindingFacts struct {
	Now time.Time

	Broker  *Outage // nil: well, or not known
	Relay   *Outage
	Consume *Outage // the workers that run cannot take jobs
	Workers int
	Dying   []string // which processes keep dying, a sentence each without its full stop
	Limits  string   // what the monitor cannot show, in sentences

	Policy  string // why the policy of the job queues is not in effect; "" if it is
	Command string // that would fix it

	VHost       string // of the job queues
	QueuePrefix string
	Queues      []monitor.Queue      // those in trouble first
	Oldest      map[string]time.Time // when the oldest waiting job of each job queue was queued
	Paused      []engine.PausedQueue
	Unknown     []engine.UnknownKind // kinds that no worker of their queue handles, whose jobs wait
	Forgotten   []monitor.Channel    // of other programs, that hold messages and acknowledge nothing
	Drift       engine.DriftStats
	Schedules   []schedule.Schedule // those that cannot fire, then those that are paused
	// Transactions that have been open for long, the oldest first.
	Transactions []engine.OpenTransaction

	Waiting   int           // messages in the outbox, up to jobs.CountCap + 1
	Lag       time.Duration // of the outbox, apart from paused queues
	Failing   int           // messages that were tried and not sent
	LastError string        // of the oldest of them

	Dead jobs.DeadCounts // in the last 24 h
}

// candidate is a problem that may turn out to be the consequence of another one.
type candidate struct {
	Finding
	id    cause
	under []cause // problems that explain it
	why   string  // the error behind it
}

type cause string

const (
	causeBroker  cause = "broker"
	causeRelay   cause = "relay"
	causeConsume cause = "consume"
	causeWorkers cause = "workers"
)

// Findings lists what asks for attention, the worst first. A consequence is an effect of its cause.
func Findings(f FindingFacts) []Finding {
	var found []candidate
	for _, look := range []func(FindingFacts) []candidate{
		brokerProblem, relayProblem, workerProblem, dyingProblems, queueProblems, unknownProblems, forgottenProblems, lagProblem,
		failingProblem, deadProblem, scheduleProblems, pausedProblems, transactionProblems, policyProblem, limitsProblem, driftProblem,
	} {
		found = append(found, look(f)...)
	}
	return fold(found)
}

// fold moves each problem that an earlier one explains, by its kind or by the same error, to the
// effects of that one.
func fold(found []candidate) []Finding {
	var kept []candidate
	for _, f := range found {
		i := slices.IndexFunc(kept, func(k candidate) bool {
			return k.id != "" && slices.Contains(f.under, k.id) || f.why != "" && f.why == k.why
		})
		if i >= 0 {
			kept[i].Effects = append(kept[i].Effects, f.asEffect())
			continue
		}
		f.Detail = f.Detail.and(".")
		if f.why != "" {
			f.Detail = f.Detail.and(" " + f.why)
		}
		kept = append(kept, f)
	}
	slices.SortStableFunc(kept, func(a, b candidate) int { return cmp.Compare(a.Severity, b.Severity) })
	list := make([]Finding, len(kept))
	for i, k := range kept {
		list[i] = k.Finding
	}
	return list
}

// asEffect is the finding in one sentence, without the error behind it.
func (f Finding) asEffect() Text {
	t := words(f.Title)
	for _, p := range f.Detail {
		t = t.add(p)
	}
	return t.and(".")
}

// mostAlike is how many problems of one sort have lines of their own.
const mostAlike = 5

// few cuts a list of problems of one sort; rest, on that page, tells of those that have no line.
func few(list []candidate, one, many, page string) []candidate {
	n := len(list) - mostAlike
	if n <= 0 {
		return list
	}
	rest := list[mostAlike]
	rest.Finding = Finding{Severity: rest.Severity, Title: plural(n, one, many), Href: page}
	return append(list[:mostAlike:mostAlike], rest)
}

func brokerProblem(f FindingFacts) []candidate {
	if f.Broker == nil {
		return nil
	}
	if f.Broker.Why == "" {
		return []candidate{{Finding: Finding{Title: "No monitor is running", Command: "warren monitor",
			Detail: since(": nobody has looked at the broker since ", f.Broker.Since)}}}
	}
	p := candidate{id: causeBroker, why: AsSentence(f.Broker.Why), Finding: Finding{Title: "The broker is down",
		Detail: downSince(f.Broker)}}
	if len(f.Queues) > 0 {
		p.Effects = []Text{words("The figures of queues are from before that.")}
	}
	return []candidate{p}
}

func relayProblem(f FindingFacts) []candidate {
	switch {
	case f.Relay == nil:
		return nil
	case f.Relay.Why == "":
		return []candidate{{id: causeRelay, Finding: Finding{Title: "No relay is running", Href: "/outbox", Command: "warren relay",
			Detail: since(": nothing has been sent since ", f.Relay.Since)}}}
	}
	return []candidate{{id: causeRelay, under: []cause{causeBroker}, why: AsSentence(f.Relay.Why),
		Finding: Finding{Title: "The relay cannot send", Href: "/outbox", Detail: downSince(f.Relay)}}}
}

func workerProblem(f FindingFacts) []candidate {
	switch {
	case f.Workers == 0:
		return []candidate{{id: causeWorkers, Finding: Finding{Title: "No worker is running", Href: "/workers", Command: workerCommand(f)}}}
	case f.Consume != nil:
		return []candidate{{id: causeConsume, under: []cause{causeBroker}, why: AsSentence(f.Consume.Why),
			Finding: Finding{Title: "Workers cannot take jobs", Href: "/workers", Detail: downSince(f.Consume)}}}
	}
	return nil
}

// dyingProblems are processes that are killed or crash again and again. Their jobs are delivered again, so they are warnings.
func dyingProblems(f FindingFacts) (list []candidate) {
	for _, which := range f.Dying {
		list = append(list, candidate{Finding: Finding{Severity: Warning, Title: which, Href: "/workers"}})
	}
	return few(list, "more group of processes keeps dying", "more groups of processes keep dying", "/workers")
}

// workerCommand starts a worker for the queues in which jobs wait.
func workerCommand(f FindingFacts) string {
	if len(f.Oldest) == 0 || len(f.Oldest) > mostAlike {
		return "warren worker"
	}
	return "warren worker --queue " + strings.Join(slices.Sorted(maps.Keys(f.Oldest)), ",")
}

// queueProblems are read off the broker's last figures; while nobody asks it, they say nothing.
func queueProblems(f FindingFacts) []candidate {
	if f.Broker != nil {
		return nil
	}
	var broken, idle, foreign, dead, growing []candidate
	for _, q := range f.Queues {
		switch {
		case q.Trouble == monitor.BrokenQueue:
			broken = append(broken, ofQueue(q, " is unavailable", ": the broker calls it "+q.State))
		case q.Trouble == monitor.DeadLetters:
			dead = append(dead, deadLetters(q))
		case q.PausedAt != nil:
		case q.Trouble == monitor.NoConsumers && q.JobQueue != nil && !q.External:
			c := ofQueue(q, " has no consumers", ": "+waitingIn(q))
			c.under, c.Command = []cause{causeWorkers, causeConsume}, "warren worker --queue "+*q.JobQueue
			idle = append(idle, c)
		case q.Trouble == monitor.NoConsumers:
			foreign = append(foreign, ofQueue(q, " has no consumers", ": "+waitingIn(q)))
		case q.Trouble == monitor.GrowingQueue:
			c := ofQueue(q, " is growing", ": "+waitingIn(q))
			c.Severity = Warning
			growing = append(growing, c)
		}
	}
	const page = "/queues"
	return slices.Concat(few(broken, "more queue is unavailable", "more queues are unavailable", page),
		few(idle, "more job queue has no consumers", "more job queues have no consumers", page),
		few(foreign, "more queue has no consumers", "more queues have no consumers", page), dead,
		few(growing, "more queue is growing", "more queues are growing", page))
}

// ofQueue is a problem of a queue, which says what is wrong with it and since when its oldest job waits.
func ofQueue(q monitor.Queue, wrong, detail string) candidate {
	p := Finding{Title: q.Name + wrong, Href: QueueURL(q.VHost, q.Name), Detail: words(detail)}
	if q.JobQueue != nil {
		p.Title = *q.JobQueue + wrong
	}
	if q.OldestAt != nil {
		p.Detail = p.Detail.timed(", oldest ", *q.OldestAt, ui.For)
	}
	return candidate{Finding: p}
}

func waitingIn(q monitor.Queue) string {
	return plural(int(*q.Ready), "message", "messages") + " waiting"
}

func deadLetters(q monitor.Queue) candidate {
	p := candidate{Finding: Finding{Title: plural(int(*q.Ready), "dead letter", "dead letters") + " waiting in " + q.Name,
		Href: QueueURL(q.VHost, q.Name)}}
	if q.Consumers != nil && *q.Consumers == 0 {
		p.Detail, p.Command = words(": no scheduler is running, which would handle them"), "warren scheduler"
	}
	return p
}

func (f FindingFacts) queueURL(name string) string { return QueueURL(f.VHost, f.QueuePrefix+name) }

func (f FindingFacts) paused(name string) bool {
	return slices.ContainsFunc(f.Paused, func(p engine.PausedQueue) bool { return p.Queue == name })
}

func unknownProblems(f FindingFacts) []candidate {
	var list []candidate
	for _, u := range f.Unknown {
		list = append(list, candidate{under: []cause{causeWorkers}, Finding: Finding{
			Title:  "No worker of " + u.Queue + " handles " + u.Kind,
			Href:   withQuery("/jobs", map[string]string{"kind": u.Kind, "queue": u.Queue, "state": string(jobs.Queued)}),
			Detail: since(": its jobs have waited since ", u.Since).and(" for a worker that has the handler")}})
	}
	return few(list, "more kind has no handler", "more kinds have no handler", "/workers")
}

func forgottenProblems(f FindingFacts) []candidate {
	if f.Broker != nil {
		return nil
	}
	var list []candidate
	for _, c := range f.Forgotten {
		held := plural(int(*c.Unacked), "message", "messages")
		if c.Queue != "" {
			held += " of " + c.Queue
		}
		p := Finding{Title: cmp.Or(c.Client, c.Channel) + " does not acknowledge", Detail: words(": it has held "+held).
			timed(" for ", *c.HoldingSince, ui.For)}
		if c.Queue != "" {
			p.Href = QueueURL(c.VHost, c.Queue)
		}
		if c.Full() {
			p.Detail = p.Detail.and(", its whole prefetch, and receives nothing until it acknowledges")
		}
		list = append(list, candidate{Finding: p})
	}
	return few(list, "more channel does not acknowledge", "more channels do not acknowledge", "/queues")
}

// failingCap is the highest exact number of failing messages.
const failingCap = 1000

// lagTroubles is the lag of the outbox that is a problem.
const lagTroubles = 10 * time.Second

func lagProblem(f FindingFacts) []candidate {
	if f.Lag <= lagTroubles {
		return nil
	}
	return []candidate{{under: []cause{causeBroker, causeRelay}, Finding: Finding{Href: "/outbox",
		Title: "The outbox is " + ui.Duration(f.Lag) + " behind"}}}
}

func failingProblem(f FindingFacts) []candidate {
	if f.Failing == 0 {
		return nil
	}
	p := candidate{Finding: Finding{Href: "/outbox?show=failing",
		Title: ui.Capped(int64(f.Failing), failingCap) + " outbox " + word(f.Failing, "message is", "messages are") + " failing"}}
	switch {
	case strings.HasPrefix(f.LastError, engine.OutboxRefused):
		p.why = "The broker rejected the oldest (nack): its queue may be full."
	case strings.HasPrefix(f.LastError, engine.OutboxUnroutable):
		p.why = "No queue takes the oldest."
	case strings.HasPrefix(f.LastError, engine.OutboxUnconfirmed):
		p.why = "The broker has not confirmed the oldest yet."
	default: // the connection's
		p.under, p.why = []cause{causeBroker, causeRelay}, AsSentence(f.LastError)
	}
	return []candidate{p}
}

func deadProblem(f FindingFacts) (list []candidate) {
	if f.Dead.Open > 0 {
		list = append(list, candidate{Finding: Finding{Href: "/failures", Title: diedLately(f.Dead.Open, jobs.CountCap)}})
	}
	if n := f.Dead.KnownFailures; n > 0 {
		list = append(list, candidate{Finding: Finding{Severity: Warning, Title: diedLately(f.Dead.Known, jobs.FailureCountCap) + " of " +
			plural(n, "known failure", "known failures"), Href: failuresURL(jobs.FailureFilter{Status: jobs.FailureKnown}, jobs.Cursor{})}})
	}
	return list
}

func diedLately(n jobs.Count, counted int64) string {
	return ui.Capped(int64(n), counted) + " " + word(int(n), "job", "jobs") + " died in the last 24 h"
}

// SchedulesLooked is how many schedules in trouble Findings counts.
const SchedulesLooked = 100

func scheduleProblems(f FindingFacts) []candidate {
	var stuck, paused []candidate
	for _, s := range f.Schedules {
		p := Finding{Href: ScheduleURL(s.ID)}
		if s.Problem != "" {
			p.Title = "Schedule “" + ScheduleTitle(s) + "” cannot fire"
			stuck = append(stuck, candidate{Finding: p, why: AsSentence(s.Problem)})
			continue
		}
		p.Severity, p.Title = Warning, "Schedule “"+ScheduleTitle(s)+"” is paused"
		p.Detail = pausedBy(s.PausedBy, *s.PausedAt)
		if s.PausedReason != "" {
			p.Detail = p.Detail.and(": “" + strings.TrimSuffix(oneLine(s.PausedReason), ".") + "”")
		}
		paused = append(paused, candidate{Finding: p})
	}
	return append(few(stuck, "more schedule cannot fire", "more schedules cannot fire", "/schedules"),
		few(paused, "more schedule is paused", "more schedules are paused", "/schedules")...)
}

// pausedBy goes on after a title that something is paused.
func pausedBy(actor string, at time.Time) Text {
	return Text{}.timed(". Paused"+explain.By(actor)+" ", at, ui.When)
}

func pausedProblems(f FindingFacts) []candidate {
	var list []candidate
	for _, p := range f.Paused {
		url, exact := f.queueURL(p.Queue), int64(jobs.CountCap)
		if f.Waiting > jobs.CountCap {
			exact = int64(p.Waiting) // there may be more
		}
		list = append(list, candidate{Finding: Finding{Severity: Warning, Title: p.Queue + " is paused", Href: url, Resume: url,
			Detail: pausedBy(p.By, p.Since).and(": " + ui.Capped(int64(p.Waiting), exact) + " " +
				word(int(p.Waiting), "job", "jobs") + " waiting in the outbox")}})
	}
	return few(list, "more queue is paused", "more queues are paused", "/queues")
}

func transactionProblems(f FindingFacts) []candidate {
	if len(f.Transactions) == 0 {
		return nil
	}
	t := f.Transactions[0]
	who := cmp.Or(t.Application, "an unnamed application") + " (process " + strconv.Itoa(t.PID) + ", user " +
		cmp.Or(t.User, ui.Unknown) + ")"
	p := Finding{Severity: Warning, Title: "A transaction has been open", Href: "/outbox",
		Detail: Text{}.timed(" for ", t.Since, ui.For).and(": " + who)}
	return []candidate{{Finding: p, why: transactionEffect(t)}}
}

func policyProblem(f FindingFacts) []candidate {
	if f.Policy == "" {
		return nil
	}
	p := Finding{Severity: Warning, Title: "The broker's settings for the job queues need a change", Command: f.Command, Admin: true}
	return []candidate{{Finding: p, why: AsSentence(f.Policy) + " Jobs run all the same."}}
}

func limitsProblem(f FindingFacts) []candidate {
	if f.Limits == "" {
		return nil
	}
	return []candidate{{Finding: Finding{Severity: Warning, Title: "Figures of the broker are missing"}, why: AsSentence(f.Limits)}}
}

func driftProblem(f FindingFacts) []candidate {
	var list []candidate
	for _, s := range driftTexts(f.Drift) {
		list = append(list, candidate{Finding: Finding{Severity: Notice, Title: s}})
	}
	return list
}

// driftTexts say where database and broker disagree.
func driftTexts(d engine.DriftStats) (list []string) {
	if n := d.Repaired; n > 0 {
		list = append(list, ui.Capped(int64(n), jobs.CountCap)+" "+word(int(n), "job was", "jobs were")+
			" re-sent in the last hour after the broker or a worker lost "+word(int(n), "it", "them"))
	}
	if n := d.Suspects; n > 0 {
		list = append(list, ui.Capped(int64(n), engine.SuspectsMax)+" "+word(int(n), "job looks", "jobs look")+
			" lost and "+word(int(n), "is", "are")+" being watched")
	}
	return list
}
