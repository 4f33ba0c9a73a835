// Package monitor watches the broker: one poller per deployment reads the management API and
// stores the results as history. Jobs do not depend on it: without it, there are no figures about
// the broker, but no messages are lost.
package monitor

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/warrenjobs/warren/jobs/rabbit/management"
)

// Queue is a queue of the broker as last polled. A nil field is unknown, which is not the same as 0.
type Queue struct {
	VHost   string `json:"vhost"`
	Name    string `json:"name"`
	Ready   *int64 `json:"ready"`
	Unacked *int64 `json:"unacked"`
	// Redelivered counts the redeliveries since CounterSince. Unlike the broker's own counter, it
	// is not reset when the broker restarts.
	Redelivered  *int64     `json:"redelivered"`
	CounterSince *time.Time `json:"counter_since"`
	Consumers    *int64     `json:"consumers"`
	Rates        Rates      `json:"rates"`
	SampledAt    time.Time  `json:"sampled_at"`

	Type      string          `json:"-"` // classic, quorum, stream
	State     string          `json:"-"` // as the broker reports it: running, down, …
	Policy    string          `json:"-"`
	Arguments json.RawMessage `json:"-"`
	// EmptySince is the time of the first poll in an unbroken series up to SampledAt that all saw
	// ready + unacked = 0. It is nil if the last poll saw messages or no counts.
	EmptySince *time.Time `json:"-"`
	// Counters are the broker's own, as last reported; a restart resets them.
	Counters Counters `json:"-"`

	Condition
}

// Rates are messages per second over the last polls (20 s), computed from counters.
type Rates struct {
	Publish   *float64 `json:"publish"`
	Deliver   *float64 `json:"deliver"`
	Ack       *float64 `json:"ack"`
	Redeliver *float64 `json:"redeliver"`
}

// Channel is a channel that consumes from Queue or holds messages of it. The broker reports how
// many messages a channel holds, not how many each of its consumers holds.
type Channel struct {
	VHost string `json:"vhost"`
	// Queue is "" for a channel that holds messages but does not consume (it fetched them with
	// basic.get, or its consumers were cancelled).
	Queue      string `json:"queue"`
	Channel    string `json:"channel"`
	Connection string `json:"connection"`
	Client     string `json:"client"` // client-provided name of the connection, such as host/pid; "" if none
	// Consumers counts the channel's consumers on all queues; if there are several, they share Unacked.
	Consumers int `json:"consumers"`
	// Prefetch is how many messages the channel may hold; 0 means no limit.
	Prefetch *int64 `json:"prefetch"`
	Unacked  *int64 `json:"unacked"`
	// HoldingSince is since when the channel has held messages without acknowledging any, as far as this poller has seen.
	HoldingSince *time.Time `json:"holding_since"`
	SampledAt    time.Time  `json:"sampled_at"`
}

// Full reports whether the channel holds its whole prefetch, so that it gets no more messages until it acknowledges some.
func (c Channel) Full() bool {
	return c.Prefetch != nil && c.Unacked != nil && *c.Prefetch > 0 && *c.Unacked >= *c.Prefetch
}

// Times without an acknowledgement after which a channel is pointed out.
const (
	heldBackAfter  = 30 * time.Second
	forgottenAfter = 10 * time.Minute // a message may take a while
)

// HeldBack reports whether the channel is Full and has acknowledged nothing for a while.
func (c Channel) HeldBack(now time.Time) bool { return c.Full() && c.holdsFor(now) > heldBackAfter }

// Forgets reports whether an acknowledgement seems to be forgotten, or the channel's program hangs:
// it is HeldBack, or has held a message for long.
func (c Channel) Forgets(now time.Time) bool {
	return c.HeldBack(now) || positive(c.Unacked) && c.holdsFor(now) > forgottenAfter
}

func (c Channel) holdsFor(now time.Time) time.Duration {
	if c.HoldingSince == nil {
		return 0
	}
	return now.Sub(*c.HoldingSince)
}

// Sample is the state of a queue from At until Until, during which it did not change.
type Sample struct {
	At          time.Time
	Until       time.Time
	Ready       *int64
	Unacked     *int64
	Redelivered *int64
	Consumers   *int64
	Rates       Rates
}

// Sample returns the queue as a sample of its history.
func (q Queue) Sample() Sample {
	return Sample{At: q.SampledAt, Until: q.SampledAt, Ready: q.Ready, Unacked: q.Unacked,
		Redelivered: q.Redelivered, Consumers: q.Consumers, Rates: q.Rates}
}

// Snapshot is the result of one poll.
type Snapshot struct {
	At     time.Time
	Queues []Queue // all existing queues; any other was deleted
	// Total is the sum over the deployment's own queues.
	Total Sample
	// Channels are all channels of the vhosts in ChannelsOf; those of other vhosts were not read.
	Channels   []Channel
	ChannelsOf []string
}

// key identifies a queue.
type key struct{ vhost, name string }

func (q Queue) key() key { return key{q.VHost, q.Name} }

// same reports whether two polls of a queue differ only in their times.
func (q Queue) same(o Queue) bool {
	return q.VHost == o.VHost && q.Name == o.Name && q.Type == o.Type && q.State == o.State && q.Policy == o.Policy &&
		equal(q.Ready, o.Ready) && equal(q.Unacked, o.Unacked) && equal(q.Redelivered, o.Redelivered) && equal(q.Consumers, o.Consumers) &&
		q.Rates.same(o.Rates)
}

func (r Rates) same(o Rates) bool {
	return equal(r.Publish, o.Publish) && equal(r.Deliver, o.Deliver) && equal(r.Ack, o.Ack) && equal(r.Redeliver, o.Redeliver)
}

func (c Channel) same(o Channel) bool {
	return c.VHost == o.VHost && c.Queue == o.Queue && c.Channel == o.Channel && c.Client == o.Client &&
		c.Consumers == o.Consumers && equal(c.Prefetch, o.Prefetch) && equal(c.Unacked, o.Unacked)
}

func equal[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}

// total returns the sums over the queues. A sum is unknown only if all its parts are unknown.
func total(at time.Time, queues []Queue) Sample {
	t := Sample{At: at, Until: at}
	for _, q := range queues {
		t.Ready = plus(t.Ready, q.Ready)
		t.Unacked = plus(t.Unacked, q.Unacked)
		t.Redelivered = plus(t.Redelivered, q.Redelivered)
		t.Consumers = plus(t.Consumers, q.Consumers)
		t.Rates.Publish = plus(t.Rates.Publish, q.Rates.Publish)
		t.Rates.Deliver = plus(t.Rates.Deliver, q.Rates.Deliver)
		t.Rates.Ack = plus(t.Rates.Ack, q.Rates.Ack)
		t.Rates.Redeliver = plus(t.Rates.Redeliver, q.Rates.Redeliver)
	}
	return t
}

func plus[T int64 | float64](a, b *T) *T {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	sum := *a + *b
	return &sum
}

// vhosts returns the distinct vhosts of the queues that which selects, sorted.
func vhosts(queues []Queue, which func(Queue) bool) []string {
	var names []string
	for _, q := range queues {
		if which(q) {
			names = append(names, q.VHost)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func positive(n *int64) bool { return n != nil && *n > 0 }

// Counters are the broker's own totals of a queue.
type Counters = management.Counters
