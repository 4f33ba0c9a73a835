package views_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/monitor"
	"github.com/warrenjobs/warren/views"
)

func TestOverview_NamesAForgottenAcknowledgement(t *testing.T) {
	t.Parallel()
	now := time.Now()
	holds := func(client, queue string, prefetch, unacked int64) monitor.Channel {
		since := now.Add(-15 * time.Minute)
		return monitor.Channel{Queue: queue, Channel: "10.0.0.1:5 -> 10.0.0.2:5672 (1)", Client: client,
			Prefetch: &prefetch, Unacked: &unacked, HoldingSince: &since}
	}
	for _, c := range []struct {
		list []monitor.Channel
		says string
	}{
		{[]monitor.Channel{holds("shop", "orders", 5, 5)},
			"shop holds 5 messages of the queue orders and has acknowledged none for 15 m. " +
				"That is its whole prefetch: it gets nothing more until it acknowledges."},
		{[]monitor.Channel{holds("", "", 0, 1), holds("shop", "orders", 5, 5)},
			"10.0.0.1:5 -> 10.0.0.2:5672 (1) holds 1 message and " +
				"has acknowledged none for 15 m. The same is true of 1 other channel."},
	} {
		m := views.NewOverviewModel(views.OverviewFacts{Now: now, Forgotten: c.list})
		require.Equal(t, []string{c.says}, m.Notes)
		require.Contains(t, m.Verdict, "nothing")
		require.False(t, m.Good)
	}
}
