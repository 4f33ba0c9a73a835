package explain

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/warrenjobs/warren/jobs"
)

// QueueFacts is what the sentence of a queue is made of. A nil field is unknown.
type QueueFacts struct {
	Gone  bool   // the broker does not have it
	State string // as the broker reports it, if it cannot work
	Dead  bool   // it is the dead-letter queue
	// Fresh reports that the broker's figures are of the last seconds. Others are not used.
	Fresh     bool
	Ready     *int64
	Consumers *int64
	In, Out   *float64 // messages per second
	Growing   bool

	// Own reports that the queue holds the deployment's jobs. Waiting counts them, up to
	// jobs.CountCap; it is nil if counting took too long.
	Own     bool
	Waiting *jobs.Count
	Oldest  *time.Time // when the one that has waited longest was queued
	jobs.Around
}

// prompt is the time up to which a waiting job is not worth a mention.
const prompt = 5 * time.Second

// OfQueue returns the sentence of a queue: whether its jobs get done, and if not, why.
func OfQueue(f QueueFacts) Sentence {
	switch {
	case f.PausedAt != nil:
		return paused(f)
	case f.Gone:
		return join(say("The broker does not have this queue now."), f.rest())
	case f.Fresh && f.State != "":
		return join(say("The broker reports this queue as "+f.State+": it may not deliver messages."), f.rest())
	case f.Own:
		return ownQueue(f)
	}
	return brokerQueue(f)
}

func paused(f QueueFacts) Sentence {
	s := join(say("Paused"), since(f.PausedAt), by(f.PausedBy))
	if waiting := f.waiting(); waiting != nil {
		return join(s, say(": "), waiting, say(". Jobs that the broker already has are still processed."))
	}
	return join(s, say(": new jobs wait until it is resumed."))
}

func ownQueue(f QueueFacts) Sentence {
	waiting := f.waiting()
	switch {
	case f.Unworked():
		return join(say(f.unconsumed()), f.and(waiting))
	case f.Known && f.Workers > 0 && f.Quiet == f.Workers && !f.External:
		return join(linked(Workers, "All its workers"), say(" are quiet or stopping and take no new jobs"), f.and(waiting))
	case f.Waiting == nil:
		return say("The number of waiting jobs is not known: counting them took too long.")
	case waiting == nil && f.Known && f.Busy == 0:
		return say("No jobs waiting.")
	case waiting == nil:
		return join(say("Keeping up: no jobs waiting"), f.rates(", "), say("."))
	}
	return f.backlog(waiting)
}

// unconsumed says that no worker consumes the queue; the broker may count consumers that are none.
func (f QueueFacts) unconsumed() string {
	if f.Fresh && f.Consumers != nil && *f.Consumers > 0 {
		return fmt.Sprintf("No worker consumes this queue, but the broker counts %s", plural(*f.Consumers, "consumer", "consumers"))
	}
	return "No worker consumes this queue"
}

// and returns ": 3 jobs wait, the oldest since T." or the end of the sentence.
func (f QueueFacts) and(waiting Sentence) Sentence {
	if waiting == nil {
		return say(".")
	}
	return join(say(": "), waiting, say("."))
}

// rest returns " 3 jobs wait, the oldest since T.", or nothing.
func (f QueueFacts) rest() Sentence {
	if waiting := f.waiting(); waiting != nil {
		return join(say(" "), waiting, say("."))
	}
	return nil
}

// backlog is the sentence of a queue whose workers have more to do than they can do at once.
func (f QueueFacts) backlog(waiting Sentence) Sentence {
	busy := f.Slots > 0 && f.Busy >= f.Slots
	switch {
	case f.Oldest != nil && f.Now.Sub(*f.Oldest) < prompt:
		return join(say("Keeping up: jobs wait less than 5 s"), f.rates(", "), say("."))
	case f.fallsBehind():
		return join(say("Falling behind: "), waiting, f.rates("; "), say("."))
	case f.left() > 0:
		return join(say("Catching up: "), waiting, say(", for about "+span(f.left())+" at this pace"), f.rates("; "), say("."))
	case busy:
		return join(say(fmt.Sprintf("All %s of its workers are busy: ", slots(f.Slots))), waiting, f.rates("; "), say("."))
	}
	return join(waiting, f.rates("; "), say("."))
}

func (f QueueFacts) fallsBehind() bool {
	return f.Fresh && f.Growing && f.In != nil && f.Out != nil && *f.In > *f.Out
}

// left estimates how long the messages that are ready take; 0 if that is not known, or too short
// to be worth a mention.
func (f QueueFacts) left() time.Duration {
	if !f.Fresh || f.Ready == nil || f.In == nil || f.Out == nil || *f.Out < 1.1**f.In || *f.Out == 0 {
		return 0
	}
	d := time.Duration(float64(*f.Ready) / (*f.Out - *f.In) * float64(time.Second))
	if d < 2*prompt {
		return 0
	}
	return d
}

// brokerQueue is the sentence of a queue that other programs use.
func brokerQueue(f QueueFacts) Sentence {
	if !f.Fresh || f.Ready == nil || f.Consumers == nil {
		return say("Its state is not known: the broker has not been asked in the last seconds, or did not say.")
	}
	messages := plural(*f.Ready, "message waits", "messages wait")
	switch {
	case *f.Ready == 0 && *f.Consumers == 0:
		return say("No messages waiting, and no consumers.")
	case *f.Ready == 0:
		return join(say("No messages waiting"), f.rates(": "), say("."))
	case f.Dead && *f.Consumers == 0:
		return say("No scheduler takes the dead letters from here: " + messages + ".")
	case f.Dead:
		return say(messages + " for the scheduler, which takes the dead letters from here.")
	case *f.Consumers == 0:
		return say("Nothing consumes this queue: " + messages + ".")
	case f.fallsBehind():
		return join(say("Falling behind: "+messages), f.rates("; "), say("."))
	}
	return join(say(messages), f.rates("; "), say("."))
}

// waiting returns "3 jobs wait, the oldest since T"; nil if none waits, or if that is not known.
func (f QueueFacts) waiting() Sentence {
	if f.Waiting == nil || *f.Waiting == 0 {
		return nil
	}
	n, verb := thousands(int64(*f.Waiting))+" jobs", " wait"
	switch {
	case *f.Waiting == 1:
		n, verb = "1 job", " waits"
	case *f.Waiting >= jobs.CountCap:
		n = thousands(jobs.CountCap) + "+ jobs"
	}
	s := join(linked(QueuedJobs, n), say(verb))
	if f.Oldest == nil {
		return s
	}
	if *f.Waiting == 1 {
		return join(s, since(f.Oldest))
	}
	return join(s, say(", the oldest"), since(f.Oldest))
}

// rates returns "2.7/s in and 0.4/s out" after a separator, or nothing if that is not known.
func (f QueueFacts) rates(separator string) Sentence {
	if !f.Fresh || f.In == nil || f.Out == nil {
		return nil
	}
	return say(separator + perSecond(*f.In) + " in and " + perSecond(*f.Out) + " out")
}

func linked(name Name, text string) Sentence { return Sentence{{Text: text, Name: name}} }

func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return thousands(n) + " " + many
}

func thousands(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}

func perSecond(r float64) string {
	switch {
	case r > 0 && r < 0.05:
		return "<0.1/s"
	case r < 10:
		return strings.TrimSuffix(strconv.FormatFloat(r, 'f', 1, 64), ".0") + "/s"
	}
	return thousands(int64(r+0.5)) + "/s"
}

// span returns "40 s", "12 m", "3 h" or "2 d".
func span(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d m", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d d", int(d.Hours()/24))
}
