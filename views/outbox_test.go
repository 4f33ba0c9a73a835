package views_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/views"
)

func TestOutbox_SaysInWordsWhatIsInTheWay(t *testing.T) {
	now := time.Now()
	since := now.Add(-2 * time.Minute)
	relay := func(problem string) engine.Process {
		p := engine.Process{Name: "h/1", State: engine.ProcessRunning,
			Details: engine.ProcessDetails{Relay: &engine.RelayStats{Problem: problem}}}
		if problem != "" {
			p.Details.Relay.Since = &since
		}
		return p
	}
	fails := func(g engine.OutboxErrorGroup) []engine.OutboxErrorGroup {
		g.Since = since
		return []engine.OutboxErrorGroup{g}
	}
	gone := relay("")
	gone.State = engine.ProcessIsGone
	well := []engine.Process{relay("")}
	low := "the broker takes no messages: connection blocked: low on memory"
	for name, c := range map[string]struct {
		facts views.OutboxFacts
		want  string
	}{
		"no relay":   {views.OutboxFacts{}, "No relay runs: messages wait until somebody starts one"},
		"relay gone": {views.OutboxFacts{Relays: []engine.Process{gone}, RelaySeen: since}, "No relay runs (none for 2 m): "},
		"blocked": {views.OutboxFacts{Relays: []engine.Process{relay(low)}},
			"The relay h/1 has been unable to send for 2 m: " + low + "."},
		"full queue": {views.OutboxFacts{Relays: well, Failures: fails(engine.OutboxErrorGroup{Job: true, Key: "mail", Rows: 2,
			Error: engine.OutboxRefused + ": x"})}, "The queue mail is full, or takes nothing: the broker refuses 2 messages for it"},
		"unroutable": {views.OutboxFacts{Relays: well, Failures: fails(engine.OutboxErrorGroup{Exchange: "orders", Key: "k", Rows: 1,
			Error: engine.OutboxUnroutable + ": x"})}, "No queue takes what is sent to exchange orders, key k: 1 message waits"},
		"slow": {views.OutboxFacts{Relays: well, Failures: fails(engine.OutboxErrorGroup{Job: true, Key: "mail", Rows: 1,
			Error: engine.OutboxUnconfirmed})}, "The broker is slow to confirm: 1 message to queue mail waits"},
		"a pause": {views.OutboxFacts{Relays: well, Paused: []engine.PausedQueue{{Queue: "mail", Since: since, By: "anna",
			Waiting: 2}}}, "The queue mail has been paused for 2 m by anna: 2 jobs wait until somebody resumes it."},
		"anything": {views.OutboxFacts{Relays: well, Failures: fails(engine.OutboxErrorGroup{Job: true, Key: "mail", Rows: 1,
			Error: "odd"})}, "1 message to queue mail fails, the oldest for 2 m: odd"},
		"a long write": {views.OutboxFacts{Relays: well, Transactions: []engine.OpenTransaction{{PID: 7, Since: since, Writes: true}}},
			"A transaction has been open for 2 m (process 7 of the database, user –, application –, –): what it enqueued is not sent " +
				"before it commits"},
	} {
		c.facts.Now, c.facts.Waiting = now, 3
		m := views.NewOutboxNumbers(c.facts)
		require.False(t, m.Good, name)
		require.Equal(t, "3 messages wait, and sending is blocked.", m.Verdict)
		require.Len(t, m.Blocks, 1, name)
		require.Contains(t, m.Blocks[0], c.want, name)
	}
	m := views.NewOutboxNumbers(views.OutboxFacts{Now: now, Relays: well})
	require.True(t, m.Good)
	require.Empty(t, m.Blocks)
}
