package monitor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/rabbit/management"
)

func TestChannels_UnackedIsAttributedToTheQueuesOfItsChannel(t *testing.T) {
	t.Parallel()
	channels := []management.Channel{
		{Name: "a (1)", Connection: "a", Unacked: n(3)},
		{Name: "a (2)", Connection: "a", Unacked: n(7)},
		{Name: "b (1)", Connection: "b", Unacked: n(1), GlobalPrefetch: n(0)},
		{Name: "b (2)", Connection: "b", Unacked: n(0)},
	}
	consumes := func(channel, queue string, prefetch int64) management.Consumer {
		return management.Consumer{VHost: "/", Queue: queue, Channel: channel, Connection: channel[:1], Prefetch: n(prefetch),
			AckNeeded: true}
	}
	consumers := []management.Consumer{
		consumes("a (1)", "one", 3),
		consumes("a (2)", "one", 5), consumes("a (2)", "two", 5), consumes("a (2)", "two", 5),
		consumes("c (1)", "two", 0),
	}
	rows := attribute("/", channels, consumers, map[string]string{"a": "worker@host/1"}, start)
	row := func(queue, channel, client string, consumers int, prefetch, unacked *int64) Channel {
		return Channel{VHost: "/", Queue: queue, Channel: channel, Connection: channel[:1], Client: client,
			Consumers: consumers, Prefetch: prefetch, Unacked: unacked, SampledAt: start}
	}
	require.Equal(t, []Channel{
		row("", "b (1)", "", 0, n(0), n(1)),                 // holds without consuming
		row("one", "a (1)", "worker@host/1", 1, n(3), n(3)), // its own
		row("one", "a (2)", "worker@host/1", 3, n(15), n(7)),
		row("two", "a (2)", "worker@host/1", 3, n(15), n(7)), // shared by three consumers
		row("two", "c (1)", "", 1, n(0), nil),                // unacked not known yet, no limit
	}, rows)
	require.True(t, rows[1].Full(), "holds its whole prefetch")
	require.False(t, rows[2].Full())
	require.False(t, rows[4].Full(), "without a limit it is never full")
}

func TestChannels_HoldsSinceItLastAcked(t *testing.T) {
	t.Parallel()
	look := func(before map[string]hold, after time.Duration, unacked, acked int64) map[string]hold {
		return holding(before, []management.Channel{{Name: "c", Unacked: n(unacked), Counters: Counters{Ack: n(acked)}}}, start.Add(after))
	}
	h := look(nil, 0, 1, 0)
	h = look(h, 5*time.Second, 4, 0)
	require.Equal(t, start, h["c"].since, "more of them is still no ack")
	h = look(h, 10*time.Second, 4, 1)
	require.Equal(t, start.Add(10*time.Second), h["c"].since)
	require.Empty(t, look(h, 15*time.Second, 0, 5))
}
