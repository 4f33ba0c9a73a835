package monitor

import (
	"cmp"
	"slices"
	"time"

	"github.com/warrenjobs/warren/jobs/rabbit/management"
)

// attribute returns which channels hold messages of which queues: a row for each channel and
// queue that it consumes from, and one for a channel that holds messages without consuming.
// Unacked is unknown while the broker has no statistics of the channel.
func attribute(
	vhost string, channels []management.Channel, consumers []management.Consumer, client map[string]string, at time.Time,
) []Channel {
	open := map[string]management.Channel{}
	for _, ch := range channels {
		open[ch.Name] = ch
	}
	of := map[string][]management.Consumer{}
	for _, c := range consumers {
		of[c.Channel] = append(of[c.Channel], c)
	}
	var rows []Channel
	for name, cs := range of {
		ch := open[name]
		row := Channel{VHost: vhost, Channel: name, Connection: cs[0].Connection, Client: client[cs[0].Connection],
			Consumers: len(cs), Prefetch: capacity(ch, cs), Unacked: ch.Unacked, SampledAt: at}
		for _, queue := range queuesOf(cs) {
			row.Queue = queue
			rows = append(rows, row)
		}
	}
	for name, ch := range open {
		if len(of[name]) == 0 && positive(ch.Unacked) {
			rows = append(rows, Channel{VHost: vhost, Channel: name, Connection: ch.Connection, Client: client[ch.Connection],
				Prefetch: ch.GlobalPrefetch, Unacked: ch.Unacked, SampledAt: at})
		}
	}
	slices.SortFunc(rows, func(a, b Channel) int {
		return cmp.Or(cmp.Compare(a.Queue, b.Queue), cmp.Compare(a.Channel, b.Channel))
	})
	return rows
}

func queuesOf(cs []management.Consumer) []string {
	var names []string
	for _, c := range cs {
		names = append(names, c.Queue)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// capacity returns how many unacked messages the channel may hold: its own prefetch limit, or the
// sum of its consumers' limits. 0 means no limit.
func capacity(ch management.Channel, cs []management.Consumer) *int64 {
	if positive(ch.GlobalPrefetch) {
		return ch.GlobalPrefetch
	}
	var sum int64
	for _, c := range cs {
		switch {
		case !c.AckNeeded:
			continue // holds nothing
		case c.Prefetch == nil:
			return nil
		case *c.Prefetch == 0:
			return new(int64)
		}
		sum += *c.Prefetch
	}
	return &sum
}

// hold records since when a channel has held messages without acknowledging any.
type hold struct {
	acked int64
	since time.Time
}

// holding returns the holds of the channels after a poll, given those before it.
func holding(before map[string]hold, channels []management.Channel, at time.Time) map[string]hold {
	now := map[string]hold{}
	for _, ch := range channels {
		if !positive(ch.Unacked) {
			continue
		}
		acked := value(ch.Counters.Ack)
		h, had := before[ch.Name]
		if !had || h.acked != acked {
			h = hold{acked: acked, since: at}
		}
		now[ch.Name] = h
	}
	return now
}
