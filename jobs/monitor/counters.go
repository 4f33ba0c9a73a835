package monitor

import (
	"math"
	"time"

	"github.com/warrenjobs/warren/jobs/rabbit/management"
)

// GapAfter is how long may pass between two polls before what lies between them
// is unknown: no rate, no "still empty", and a gap in the charts.
const GapAfter = 20 * time.Second

// rateIntervals is over how many polls a rate is taken. The broker updates its
// counters each 5 s, as often as we ask: one interval alone would read 0 and
// then the double (RabbitMQ's own advice is four).
const rateIntervals = 4

// point is what the counters said at a time.
type point struct {
	at time.Time
	n  management.Counters
}

// track is the last points of one queue, oldest first, all of one life of the counters.
type track []point

// add appends p, beginning anew where the counters did or too much time has passed.
func (t track) add(p point) track {
	if last := len(t) - 1; last >= 0 && (fell(t[last].n, p.n) || p.at.Sub(t[last].at) > GapAfter || !p.at.After(t[last].at)) {
		t = nil
	}
	t = append(t, p)
	if extra := len(t) - 1 - rateIntervals; extra > 0 {
		t = t[extra:]
	}
	return t
}

// rates over the track. Unknown without a second point, or where the last point does not say.
func (t track) rates() Rates {
	if len(t) < 2 {
		return Rates{}
	}
	first, last := t[0], t[len(t)-1]
	seconds := last.at.Sub(first.at).Seconds()
	return Rates{
		Publish:   rate(first.n.Publish, last.n.Publish, seconds),
		Deliver:   rate(first.n.Deliver, last.n.Deliver, seconds),
		Ack:       rate(first.n.Ack, last.n.Ack, seconds),
		Redeliver: rate(first.n.Redeliver, last.n.Redeliver, seconds),
	}
}

// rate is per second, to the thousandth, so that equal rates are equal numbers.
// A counter that appeared was 0 before: the broker leaves out what has not happened.
func rate(from, to *int64, seconds float64) *float64 {
	if to == nil || seconds <= 0 {
		return nil
	}
	r := max(0, math.Round(float64(*to-value(from))/seconds*1000)/1000)
	return &r
}

// fell says whether the broker has begun to count anew. Its counters of a queue
// fall together, so one that is smaller or gone speaks for all.
func fell(before, now management.Counters) bool {
	gone := func(b, n *int64) bool { return b != nil && (n == nil || *n < *b) }
	return gone(before.Publish, now.Publish) || gone(before.Deliver, now.Deliver) ||
		gone(before.Ack, now.Ack) || gone(before.Redeliver, now.Redeliver)
}

// more is by how much a counter went up between two polls.
func more(before, now management.Counters, counter func(management.Counters) *int64) int64 {
	n := value(counter(now))
	if fell(before, now) {
		return n
	}
	return max(0, n-value(counter(before)))
}

func redeliveries(c management.Counters) *int64 { return c.Redeliver }

func value(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

// silent says that the broker told nothing but the queue's name, as it does for
// new queues and for some seconds after its start.
func silent(q management.Queue) bool {
	return q.Ready == nil && q.Counters == management.Counters{}
}

// observe makes the queue of a poll from what the broker says and what was
// known. before is nil for a queue not seen before; lastPoll is nil if there
// never was a poll.
func observe(said management.Queue, before *Queue, lastPoll *time.Time, at time.Time) Queue {
	q := Queue{
		VHost: said.VHost, Name: said.Name, Type: said.Type, State: said.State, Policy: said.Policy, Arguments: said.Arguments,
		Ready: said.Ready, Unacked: said.Unacked, Consumers: said.Consumers, Counters: said.Counters, SampledAt: at,
	}
	if silent(said) && before != nil {
		q.Counters = before.Counters
	}
	q.EmptySince = emptySince(q, before)
	if before == nil {
		return q.firstSeen(lastPoll)
	}
	q.CounterSince = before.CounterSince
	q.Redelivered = before.Redelivered
	if q.Counters.Redeliver != nil {
		sum := value(before.Redelivered) + more(before.Counters, q.Counters, redeliveries)
		q.Redelivered = &sum
	}
	return q
}

// firstSeen begins the sum. A queue that the last poll did not see has counted
// everything since then. At the very first poll the broker's count is of a time
// we know nothing of, so ours begins at 0 now.
func (q Queue) firstSeen(lastPoll *time.Time) Queue {
	since := q.SampledAt
	q.Redelivered = q.Counters.Redeliver
	if lastPoll != nil {
		since = *lastPoll
	} else if q.Redelivered != nil {
		q.Redelivered = new(int64)
	}
	q.CounterSince = &since
	return q
}

func emptySince(q Queue, before *Queue) *time.Time {
	if q.Ready == nil || q.Unacked == nil || *q.Ready+*q.Unacked > 0 {
		return nil
	}
	if before != nil && before.EmptySince != nil && q.SampledAt.Sub(before.SampledAt) <= GapAfter {
		return before.EmptySince
	}
	since := q.SampledAt
	return &since
}
