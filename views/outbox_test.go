package views_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/explain"
	"github.com/warrenjobs/warren/views"
)

func TestOutbox_SaysInWordsWhatIsInTheWay(t *testing.T) {
	now := time.Now()
	since := now.Add(-2 * time.Minute)
	queue := func(name string) string { return "/queues/" + name }
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
	well := []engine.Process{relay("")}
	low := "the broker takes no messages: connection blocked: low on memory"
	for name, c := range map[string]struct {
		facts          views.OutboxFacts
		verdict, block string
		state          string
	}{
		"no relay": {views.OutboxFacts{}, "sending is blocked: no relay is running.", "No relay is running. Start one: warren relay,",
			"dead"},
		"relay gone": {views.OutboxFacts{RelaySeen: since}, "sending is blocked: no relay is running.",
			"No relay is running (none for 2 m).", "dead"},
		"blocked": {views.OutboxFacts{Relays: []engine.Process{relay(low)}}, "sending is blocked: the relay h/1 cannot send.",
			"The relay h/1 has been unable to send for 2 m: " + low + ".", "dead"},
		"one of two blocked": {views.OutboxFacts{Relays: []engine.Process{relay(low), relay("")}},
			"some are held up: the relay h/1 cannot send.", low, "dead"},
		"full queue": {views.OutboxFacts{Relays: well, Failures: fails(engine.OutboxErrorGroup{Job: true, Key: "mail", Rows: 2,
			Error: engine.OutboxRefused + ": x"})}, "some are held up: mail refuses messages.",
			"Sent when there is room: 2 messages wait, oldest 2 m.", "dead"},
		"unroutable": {views.OutboxFacts{Relays: well, Failures: fails(engine.OutboxErrorGroup{Exchange: "orders", Key: "k", Rows: 1,
			Error: engine.OutboxUnroutable + ": x"})}, "some are held up: no queue takes k.",
			"No queue takes what is sent to exchange orders, key k: 1 message waits", "dead"},
		"slow": {views.OutboxFacts{Relays: well, Failures: fails(engine.OutboxErrorGroup{Job: true, Key: "mail", Rows: 1,
			Error: engine.OutboxUnconfirmed})}, "some are held up: the broker is slow to confirm.",
			"The broker is slow to confirm messages to queue mail: 1 message waits", "dead"},
		"a pause": {views.OutboxFacts{Relays: well, Paused: []engine.PausedQueue{{Queue: "mail", Since: since, By: "anna",
			Waiting: 2}}}, "some are held up: mail is paused.", "mail was paused 2 m ago by anna. 2 jobs waiting.", "retrying"},
		"anything": {views.OutboxFacts{Relays: well, Failures: fails(engine.OutboxErrorGroup{Job: true, Key: "mail", Rows: 1,
			Error: "odd"})}, "some are held up: 1 message to queue mail is failing.",
			"1 message to queue mail is failing, oldest 2 m: odd", "dead"},
		"a long write": {views.OutboxFacts{Relays: well, Transactions: []engine.OpenTransaction{{PID: 7, Since: since, Writes: true}}},
			"some are held up: a transaction has been open for 2 m.", "A transaction has been open for 2 m (database process 7, " +
				"user –, application –, –). What it enqueued is sent once it commits.", "retrying"},
	} {
		c.facts.Now, c.facts.Waiting = now, 3
		m := views.NewOutboxNumbers(c.facts, queue)
		require.Equal(t, "3 messages not sent yet; "+c.verdict, m.Verdict, name)
		require.Equal(t, c.state, m.State, name)
		require.Len(t, m.Blocks, 1, name)
		require.Contains(t, m.Blocks[0].Text, c.block, name)
	}
	m := views.NewOutboxNumbers(views.OutboxFacts{Now: now, Relays: well}, queue)
	require.Equal(t, "completed", m.State)
	require.Equal(t, "The outbox is empty.", m.Verdict)
	several := views.OutboxFacts{Now: now, Relays: well, Paused: []engine.PausedQueue{{Queue: "a"}, {Queue: "b"}, {Queue: "c"}}}
	require.Equal(t, "The outbox is empty; some are held up: a is paused, b is paused and 1 more.",
		views.NewOutboxNumbers(several, queue).Verdict)
}

func TestOutbox_TabsCountWhatTheFiguresCountAndAnEmptyOutboxHasNoEmptyTable(t *testing.T) {
	t.Parallel()
	list := func(f engine.OutboxFilter, rows []engine.OutboxRow, facts views.OutboxFacts) views.OutboxListModel {
		return views.NewOutboxList(jobs.Page[engine.OutboxRow]{Items: rows}, f, jobs.Cursor{}, facts, explain.OutboxAround{},
			func(string) string { return "" })
	}
	m := list(engine.OutboxAll, []engine.OutboxRow{{ID: 1}}, views.OutboxFacts{Waiting: 5, Events: 2, Failing: 1})
	counts := map[string]string{}
	for _, tab := range m.Tabs {
		counts[tab.Label] = tab.Count
	}
	require.Equal(t, map[string]string{"All": "5", "Failing": "1", "Jobs": "3", "Events": "2"}, counts)
	require.False(t, m.Nothing)
	require.True(t, list(engine.OutboxAll, nil, views.OutboxFacts{}).Nothing)
	require.False(t, list(engine.OutboxEvents, nil, views.OutboxFacts{}).Nothing, "its table says what the filter hides")
}
