package explain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/warrenjobs/warren/jobs/engine"
)

// OutboxAround is what surrounds the rows of the outbox: what may keep relays from sending them.
type OutboxAround struct {
	Relays   []engine.Process // that are alive
	Paused   []engine.PausedQueue
	Refusing []string // job queues that refused a message, which is still in the outbox
	Now      time.Time
}

// OutboxRow returns the sentence of a row of the outbox: why it is still there.
func OutboxRow(r engine.OutboxRow, a OutboxAround) Sentence {
	queue := Part{Text: r.Key, Name: Queue}
	if r.JobID != nil {
		for _, p := range a.Paused {
			if p.Queue == r.Key {
				return join(say("Waiting: the queue ", queue, " was paused ", p.Since), by(p.By), say("."))
			}
		}
	}
	problem := a.cannotSend()
	switch {
	case len(a.Relays) == 0:
		return say("Waiting: no relay is running.")
	case problem != "":
		return join(say("Waiting: the relay cannot send"), because(problem))
	case r.Tries > 0:
		return failing(r, a.Now)
	case r.JobID != nil && slices.Contains(a.Refusing, r.Key):
		return say("Waiting behind a message that the queue ", queue, " refused.")
	}
	return say("Not tried yet.")
}

// failing describes a row that could not be sent. While its queue refuses messages, one of them is
// tried now and then, so that the time of the next try is only the earliest.
func failing(r engine.OutboxRow, now time.Time) Sentence {
	next := say("the next try is due")
	if r.NextTryAt != nil && r.NextTryAt.After(now) {
		next = say("next try ", *r.NextTryAt)
	}
	reason := ""
	if r.LastError != nil {
		reason = *r.LastError
	}
	if r.JobID != nil && strings.HasPrefix(reason, engine.OutboxRefused) {
		return join(say("Refused: the queue ", Part{Text: r.Key, Name: Queue}, " is full or takes nothing; "), next,
			say(" at the earliest."))
	}
	tries := ""
	if r.Tries > 1 {
		tries = fmt.Sprintf(" %d times", r.Tries)
	}
	return join(say("Failed"+tries+", "), next, because(reason))
}

// cannotSend returns why no relay can send; "" if one can.
func (a OutboxAround) cannotSend() (problem string) {
	for _, p := range a.Relays {
		if p.Details.Relay == nil || p.Details.Relay.Problem == "" {
			return ""
		}
		problem = p.Details.Relay.Problem
	}
	return problem
}
