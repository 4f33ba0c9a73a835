package monitor

import (
	"math"
	"time"

	"github.com/warrenjobs/warren/jobs/rabbit/management"
)

// GapAfter is the longest time between two polls for which the time between them counts as known.
// After a longer one there is no rate, no "still empty", and a gap in the charts.
const GapAfter = 20 * time.Second

// rateIntervals is the number of poll intervals that a rate is averaged over. The broker updates
// its counters every 5 s, as often as we poll: a single interval would show 0 and then twice the
// rate (RabbitMQ's own advice is four). Redeliveries are rare and shown per minute: theirs is
// averaged over minuteIntervals, so that it is the number of the last minute and not a multiple of it.
const (
	rateIntervals   = 4
	minuteIntervals = 12
)

// point is the counters at one time.
type point struct {
	at time.Time
	n  management.Counters
}

// track is the last points of one queue, oldest first, all since the last reset of its counters.
type track []point

// add appends p. It starts a new track if the counters were reset or the last point is too old.
func (t track) add(p point) track {
	if last := len(t) - 1; last >= 0 && (fell(t[last].n, p.n) || p.at.Sub(t[last].at) > GapAfter || !p.at.After(t[last].at)) {
		t = nil
	}
	t = append(t, p)
	return t.last(minuteIntervals)
}

// last returns the points of the last n intervals.
func (t track) last(n int) track { return t[max(0, len(t)-1-n):] }

// rates returns the rates over the track. They are unknown with fewer than two points, or if the
// last point has no counter at all.
func (t track) rates() Rates {
	if len(t) < 2 || t[len(t)-1].n == (management.Counters{}) {
		return Rates{}
	}
	minute, first, last := t[0], t.last(rateIntervals)[0], t[len(t)-1]
	seconds := last.at.Sub(first.at).Seconds()
	return Rates{
		Publish:   rate(first.n.Publish, last.n.Publish, seconds),
		Deliver:   rate(first.n.Deliver, last.n.Deliver, seconds),
		Ack:       rate(first.n.Ack, last.n.Ack, seconds),
		Redeliver: rate(minute.n.Redeliver, last.n.Redeliver, last.at.Sub(minute.at).Seconds()),
	}
}

// rate returns the rate per second, rounded to thousandths so that equal rates are equal numbers.
// A missing counter is 0: the broker omits counters of events that have not happened.
func rate(from, to *int64, seconds float64) *float64 {
	if seconds <= 0 {
		return nil
	}
	r := max(0, math.Round(float64(value(to)-value(from))/seconds*1000)/1000)
	return &r
}

// fell reports whether the broker has reset its counters of a queue. They are reset together, so
// one that is smaller or missing is proof for all.
func fell(before, now management.Counters) bool {
	gone := func(b, n *int64) bool { return b != nil && (n == nil || *n < *b) }
	return gone(before.Publish, now.Publish) || gone(before.Deliver, now.Deliver) ||
		gone(before.Ack, now.Ack) || gone(before.Redeliver, now.Redeliver)
}

// more returns by how much a counter increased between two polls.
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

// silent reports whether the broker returned only the queue's name, as it does for new queues and
// for some seconds after its start.
func silent(q management.Queue) bool {
	return q.Ready == nil && q.Counters == management.Counters{}
}

// observe returns the state of a queue after a poll, from the broker's answer and the state
// before. before is nil for a new queue; lastPoll is nil if there never was a poll.
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

// firstSeen starts the sum of redeliveries of a new queue. If there was a poll before, the queue
// did not exist then, so the broker's count covers the time since. At the very first poll the
// broker's count covers an unknown time, so the sum starts at 0.
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
