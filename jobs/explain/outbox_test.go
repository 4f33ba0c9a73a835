package explain_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/explain"
)

func TestOutboxRow_SaysWhyItIsStillThere(t *testing.T) {
	t.Parallel()
	relay := func(problem string) engine.Process {
		return engine.Process{Details: engine.ProcessDetails{Relay: &engine.RelayStats{Problem: problem}}}
	}
	well := []engine.Process{relay("")}
	job := engine.OutboxRow{JobID: ptr(uuid.New()), Key: "mail"}
	event := engine.OutboxRow{Exchange: ptr("tasks"), Key: "mail"}
	failed := func(r engine.OutboxRow, tries, next int, reason string) engine.OutboxRow {
		r.Tries, r.NextTryAt, r.LastError = tries, ptr(at(next)), &reason
		return r
	}
	paused := explain.OutboxAround{Relays: well, Paused: []engine.PausedQueue{{Queue: "mail", Since: at(-18), By: "anna"}}}
	refusing := explain.OutboxAround{Relays: well, Refusing: []string{"mail"}}
	fine := explain.OutboxAround{Relays: well}
	refused := engine.OutboxRefused + ": negative confirm"
	for _, c := range []struct {
		want   string
		row    engine.OutboxRow
		around explain.OutboxAround
	}{
		{"Not tried yet.", job, fine},
		{"Not tried yet.", event, paused},
		{"Not tried yet.", event, refusing},
		{"Waiting: the queue mail was paused at 2026-11-30 03:11:42 UTC by anna.", job, paused},
		{"Waiting: the queue mail was paused at 2026-11-30 03:11:42 UTC by anna.", failed(job, 2, 4, refused), paused},
		{"Waiting: no relay is running.", failed(job, 2, 4, refused), explain.OutboxAround{}},
		{"Waiting: the relay cannot send: low on memory", failed(event, 2, 4, "x"),
			explain.OutboxAround{Relays: []engine.Process{relay("low on memory")}}},
		{"Not tried yet.", event, explain.OutboxAround{Relays: []engine.Process{relay("low on memory"), relay("")}}},
		{"Waiting behind a message that the queue mail refused.", job, refusing},
		{"Refused: the queue mail is full or takes nothing; next try at 2026-11-30 03:12:04 UTC at the earliest.",
			failed(job, 2, 4, refused), refusing},
		{"Failed, next try at 2026-11-30 03:12:04 UTC: " + engine.OutboxUnconfirmed, failed(job, 1, 4, engine.OutboxUnconfirmed), fine},
		{"Failed 3 times, next try at 2026-11-30 03:12:04 UTC: no queue takes this message: x",
			failed(event, 3, 4, engine.OutboxUnroutable+": x"), fine},
		{"Failed 3 times, the next try is due: x", failed(event, 3, -1, "x"), fine},
	} {
		c.around.Now = now
		require.Equal(t, c.want, explain.OutboxRow(c.row, c.around).String())
	}
}
