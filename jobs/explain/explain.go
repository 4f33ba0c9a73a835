// Package explain says in one sentence why a job is in its state and what comes next, why a message is
// still in the outbox, and which processes are gone. Pages, the API and the command line say the same
// words. What was not read is not said.
package explain

import (
	"fmt"
	"strings"
	"time"

	"github.com/warrenjobs/warren/jobs"
)

// Sentence is a list of parts, so that a page can link names and show times in the reader's zone.
type Sentence []Part

// Part is a text, a name that a page can link, or a time.
type Part struct {
	Text string
	Name Name
	At   time.Time
	// Since marks a time that follows "since"; others read "at 15:04:05", "in 40 s" or "12 s ago".
	Since bool
}

// Name is what the text of a part names.
type Name string

// The names.
const (
	Plain  Name = ""
	Queue  Name = "queue"
	Worker Name = "worker"
	// QueuedJobs and Workers are those of the queue that the sentence is about.
	QueuedJobs Name = "queued jobs"
	Workers    Name = "workers"
	// Error is what went wrong, in the words of who reported it: the last part of a sentence.
	Error Name = "error"
)

// String returns the sentence with its times in UTC.
func (s Sentence) String() string {
	var b strings.Builder
	for _, p := range s {
		switch {
		case p.At.IsZero():
			b.WriteString(p.Text)
		case p.Since:
			b.WriteString(p.At.UTC().Format(clock))
		default:
			b.WriteString(p.At.UTC().Format("at " + clock))
		}
	}
	return b.String()
}

// CutError returns a sentence up to the error that it ends with, and that error; "" if it ends with none.
func CutError(s Sentence) (words Sentence, reported string) {
	if n := len(s); n > 0 && s[n-1].Name == Error {
		return s[:n-1], s[n-1].Text
	}
	return s, ""
}

const clock = "2006-01-02 15:04:05 UTC"

// say makes a sentence of strings, times, pointers to times and parts.
func say(parts ...any) Sentence {
	s := Sentence{}
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			s = append(s, Part{Text: p})
		case time.Time:
			s = append(s, Part{At: p})
		case Part:
			s = append(s, p)
		}
	}
	return s
}

// since returns " since T", or nothing if the time is not known.
func since(at *time.Time) Sentence {
	if at == nil {
		return nil
	}
	return Sentence{{Text: " since "}, {At: *at, Since: true}}
}

func join(list ...Sentence) Sentence {
	var all Sentence
	for _, s := range list {
		all = append(all, s...)
	}
	return all
}

// Overdue is how long after its time a job counts as overdue, and Silent how long after its last
// sign of life a worker counts as silent: it gives one every 2 s.
const (
	overdue = 5 * time.Second
	silent  = 5 * time.Second
)

// Of returns the sentence of a job.
func Of(d jobs.Detail) Sentence {
	switch d.State {
	case jobs.Scheduled, jobs.Retrying:
		return due(d)
	case jobs.Queued:
		return queued(d)
	case jobs.Running:
		return running(d)
	case jobs.Completed:
		return completed(d)
	case jobs.Dead:
		return dead(d)
	case jobs.Cancelled:
		return cancelled(d)
	}
	return nil
}

func due(d jobs.Detail) Sentence {
	if a := d.Around; a.Known && a.Now.Sub(d.RunAt) > overdue {
		s := join(say("Due"), since(&d.RunAt))
		if a.Schedulers == 0 {
			return join(s, say(": no scheduler is running, which would send it."))
		}
		return join(s, say(": the scheduler has not sent it yet."))
	}
	last := lastRun(d)
	if d.State == jobs.Retrying {
		t := TriesOf(d)
		s := say("Retries ", d.RunAt, fmt.Sprintf(" (attempt %d of %d)", t.Attempt+1, t.Max))
		return join(s, after(d))
	}
	if last != nil && last.Outcome == jobs.AttemptSnoozed {
		return join(say("Put off by its handler: runs again ", d.RunAt), because(last.Error))
	}
	return say("Scheduled: runs ", d.RunAt, ".")
}

// after returns " after: ERROR", or the end of the sentence.
func after(d jobs.Detail) Sentence {
	if d.LastError == nil || brief(*d.LastError) == "" {
		return say(".")
	}
	return say(" after: ", Part{Text: brief(*d.LastError), Name: Error})
}

func because(text string) Sentence {
	if text = brief(text); text == "" {
		return say(".")
	}
	return say(": ", text)
}

// reported returns ": ERROR", or the end of the sentence.
func reported(text string) Sentence {
	if text = brief(text); text == "" {
		return say(".")
	}
	return say(": ", Part{Text: text, Name: Error})
}

// wait is why a queued job waits.
type wait int

const (
	waitUnknown wait = iota
	waitPaused
	waitPurged
	waitNoRelay
	waitTried // and failed: to send it
	waitRefused
	waitRelay
	waitForeign
	waitNoWorker
	waitNoKind
	waitQuiet
	waitBusy
	waitWorker
)

// waitOf returns the first reason that holds, in the order in which they would have to be mended.
func waitOf(d jobs.Detail) wait {
	a := d.Around
	switch {
	case !a.Known:
		return waitUnknown
	case d.InOutbox && d.QueuePaused && a.PausedAt != nil:
		return waitPaused
	case d.InOutbox && d.QueuePaused:
		return waitPurged
	case d.InOutbox && a.Relays == 0:
		return waitNoRelay
	case d.InOutbox && d.OutboxError != "" && a.NextTry != nil:
		return waitTried
	case d.InOutbox && d.OutboxError != "":
		return waitRefused
	case d.InOutbox:
		return waitRelay
	case a.External:
		return waitForeign
	case a.Workers == 0:
		return waitNoWorker
	case a.Unhandled:
		return waitNoKind
	case a.Quiet == a.Workers:
		return waitQuiet
	case a.Slots > 0 && a.Busy >= a.Slots:
		return waitBusy
	}
	return waitWorker
}

func queued(d jobs.Detail) Sentence {
	a, queue := d.Around, Part{Text: d.Queue, Name: Queue}
	waits := join(say("Waiting"), since(d.QueuedAt))
	switch waitOf(d) {
	case waitPaused:
		return join(say("Waiting: the queue ", queue, " was paused ", *a.PausedAt), by(a.PausedBy), say("."))
	case waitPurged:
		return say("Waiting: the queue ", queue, " is being purged.")
	case waitNoRelay:
		return join(waits, say(" in the outbox: no relay is running."))
	case waitTried:
		return say("Waiting in the outbox; the next try to send it is ", *a.NextTry, ". It failed: ", brief(d.OutboxError))
	case waitRefused:
		return join(say("Waiting in the outbox: it could not be sent"), because(d.OutboxError))
	case waitRelay:
		return join(waits, say(" in the outbox for the relay."))
	case waitForeign:
		if a.HeardAt != nil {
			s := join(waits, say(" in the queue ", queue, ": a worker of another program seems to have it, and has not reported"))
			return join(s, unreported(a))
		}
		return join(waits, say(" for a worker of another program, as those work the queue ", queue, "."))
	case waitNoWorker:
		return join(waits, say(": no worker consumes the queue ", queue, "."))
	case waitNoKind:
		return join(waits, say(": no worker of the queue ", queue, " handles the kind "+d.Kind+"."))
	case waitQuiet:
		return join(waits, say(": the workers of the queue ", queue, " are quiet or stopping and take no new jobs."))
	case waitBusy:
		return join(waits, say(fmt.Sprintf(": all %s of the queue ", slots(a.Slots)), queue, " are busy."))
	case waitWorker:
		return join(waits, say(" for a worker of the queue ", queue, "."))
	}
	return join(waits, say("."))
}

var shortWaits = map[wait]string{waitPaused: "queue paused", waitPurged: "queue being purged", waitNoRelay: "no relay running",
	waitTried: "can't be sent", waitRefused: "can't be sent", waitRelay: "in the outbox", waitForeign: "another program's",
	waitNoWorker: "no worker", waitNoKind: "kind not handled", waitQuiet: "workers are quiet", waitBusy: "all slots busy"}

// Short returns in a few words why a queued job waits, for its line in a list: "queue paused". It
// returns "" for a job that only waits for its turn, that is not queued, or about which that was not read.
func Short(d jobs.Detail) string {
	if d.State != jobs.Queued {
		return ""
	}
	return shortWaits[waitOf(d)]
}

func slots(n int) string {
	if n == 1 {
		return "1 slot"
	}
	return fmt.Sprintf("%d slots", n)
}

// By returns " by ann", or where somebody did it whom no sign-in names; "" for an actor that is not known.
func By(actor string) string {
	switch actor {
	case "":
		return ""
	case "web":
		return " on the dashboard"
	case "api":
		return " via the API"
	case "cli":
		return " on the command line"
	}
	return " by " + actor
}

func by(actor string) Sentence { return say(By(actor)) }

func running(d jobs.Detail) Sentence {
	worker := Part{Text: "an unknown worker"}
	if d.Worker != nil && *d.Worker != "" {
		worker = Part{Text: *d.Worker, Name: Worker}
	}
	a := d.Around
	switch {
	case d.Foreign && a.Known && d.Worker != nil:
		return atForeign(d)
	case a.Known && a.HolderSeen == nil:
		return say("Its worker ", worker, " is gone: another worker will take over the job.")
	case a.Known && a.Now.Sub(*a.HolderSeen) > silent:
		return say("Its worker ", worker, " was last seen ", *a.HolderSeen, ". If it stays silent, another worker takes over the job.")
	case d.CancelRequestedAt != nil:
		s := join(say("Asked to stop ", *d.CancelRequestedAt), person(d, "job.cancel"))
		return join(s, say("; its handler has not stopped yet."))
	}
	return join(say("Running on ", worker), since(d.StartedAt), say(fmt.Sprintf(" (%s).", TriesOf(d))))
}

// atForeign is the sentence of a job that a worker of another program runs: it has no lease, and is
// known by its reports.
func atForeign(d jobs.Detail) Sentence {
	s := join(say("Running on "+*d.Worker+", a worker of another program,"), since(d.StartedAt), say(fmt.Sprintf(" (%s)", TriesOf(d))))
	a := d.Around
	switch {
	case a.HeardAt == nil:
		return join(s, say("."))
	case a.Now.Sub(*a.HeardAt) > quietForeign:
		return join(s, say(", which has not reported"), unreported(a))
	}
	return join(s, say("."))
}

// quietForeign is how long after its last report a worker of another program counts as quiet.
const quietForeign = time.Minute

// unreported returns " since T. Without a report … its attempt fails …".
func unreported(a jobs.Around) Sentence {
	s := since(a.HeardAt)
	if !a.External || a.ReportWithin == 0 {
		return join(s, say("."))
	}
	return join(s, say(". Without a report its attempt fails ", a.HeardAt.Add(a.ReportWithin), "."))
}

func completed(d jobs.Detail) Sentence {
	if d.FinishedAt == nil {
		return say("Completed.")
	}
	return say("Completed ", *d.FinishedAt, TriesOf(d).took()+".")
}

func dead(d jobs.Detail) Sentence {
	last, t, died := lastRun(d), TriesOf(d), join(say("Dead"), since(d.FinishedAt))
	reason := ""
	if d.LastError != nil {
		reason = *d.LastError
	}
	switch {
	case last == nil && reason == "":
		return join(died, say(": the reason is not known."))
	case last == nil:
		return join(died, reported(reason))
	case last.Outcome == jobs.AttemptCrashed && d.Crashes > 0:
		return join(died, say(fmt.Sprintf(": its worker died %s while it ran. It won't be retried automatically.", Times(d.Crashes))))
	case last.Outcome == jobs.AttemptFailed && t.Attempt >= t.Max:
		return join(died, say(": "+allFailed(d, t)+". Last error"), reported(reason))
	case last.Outcome == jobs.AttemptFailed:
		return join(died, say(fmt.Sprintf(": attempt %d of %d failed and is not retried", t.Attempt, t.Max)), reported(reason))
	}
	return join(died, reported(reason))
}

// allFailed says that the attempts are used up. Some may have ended otherwise: people retry completed
// and cancelled jobs, too.
func allFailed(d jobs.Detail, t Tries) string {
	failed := 0
	for _, a := range d.Attempts {
		if a.Outcome == jobs.AttemptFailed {
			failed++
		}
	}
	switch {
	case failed < t.Max:
		return fmt.Sprintf("no attempt of %d is left", t.Max)
	case t.Max == 1:
		return "its only attempt failed"
	case t.Max == 2:
		return "both attempts failed"
	}
	return fmt.Sprintf("all %d attempts failed", t.Max)
}

// Times returns "once" or "3 times".
func Times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func cancelled(d jobs.Detail) Sentence {
	s := say("Cancelled")
	if d.FinishedAt != nil {
		s = join(s, say(" ", *d.FinishedAt))
	}
	if n := len(d.People); n > 0 && d.People[n-1].Action == "job.cancel" {
		return join(s, person(d, "job.cancel"), because(d.People[n-1].Reason))
	}
	if d.LastError != nil {
		return join(s, because(*d.LastError))
	}
	return join(s, say("."))
}

// person returns By of whoever did the action last, if that is known.
func person(d jobs.Detail, action string) Sentence {
	for i := len(d.People) - 1; i >= 0; i-- {
		if d.People[i].Action == action {
			return by(d.People[i].Actor)
		}
	}
	return nil
}

func lastRun(d jobs.Detail) *jobs.Attempt {
	if len(d.Attempts) == 0 {
		return nil
	}
	return &d.Attempts[len(d.Attempts)-1]
}

// Tries are the attempts of a job as its handler's author counts them: without crashes, and without
// runs that a stopping worker gave back. Both raise max_attempts, so that they cost no attempt.
type Tries struct{ Attempt, Max, Crashes int }

// TriesOf counts the attempts of a job, and the crashes in its history, if that was read from its beginning.
func TriesOf(d jobs.Detail) Tries {
	t := TriesIn(d.Job)
	for _, a := range d.Attempts {
		if a.Outcome == jobs.AttemptCrashed && !d.Earlier {
			t.Crashes++
		}
	}
	return t
}

// TriesIn counts the attempts of a job whose history was not read: its crashes are not known.
func TriesIn(j jobs.Job) Tries {
	attempt := max(j.Attempt-j.Uncounted, 0)
	return Tries{Attempt: attempt, Max: max(j.MaxAttempts-j.Uncounted, attempt, 1)}
}

// String returns "attempt 1 of 5, 2 crashes", or "no attempt of 5 used, 3 crashes".
func (t Tries) String() string {
	if t.Attempt == 0 {
		return fmt.Sprintf("no attempt of %d used", t.Max) + t.crashes()
	}
	return "attempt " + t.Count()
}

// Fraction returns "1/5".
func (t Tries) Fraction() string { return fmt.Sprintf("%d/%d", t.Attempt, t.Max) }

// Count returns "1 of 5, 2 crashes".
func (t Tries) Count() string { return fmt.Sprintf("%d of %d", t.Attempt, t.Max) + t.crashes() }

// took returns " on attempt 1 of 5, after 2 crashes", or nothing if no attempt is known.
func (t Tries) took() string {
	if t.Attempt == 0 {
		return ""
	}
	crashes, found := strings.CutPrefix(t.crashes(), ", ")
	if found {
		crashes = ", after " + crashes
	}
	return fmt.Sprintf(" on attempt %d of %d", t.Attempt, t.Max) + crashes
}

func (t Tries) crashes() string {
	if t.Crashes == 0 {
		return ""
	}
	return ", " + Crashes(t.Crashes)
}

// Crashes returns "1 crash" or "3 crashes".
func Crashes(n int) string {
	if n == 1 {
		return "1 crash"
	}
	return fmt.Sprintf("%d crashes", n)
}

const briefMax = 200 // bytes of an error

// brief returns the text on one line, cut if it is long, as the end of a sentence.
func brief(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= briefMax {
		return text
	}
	return strings.ToValidUTF8(text[:briefMax], "") + "…"
}
