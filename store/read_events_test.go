package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/events"
	"github.com/warrenjobs/warren/store/outbox"
)

func TestEvents_AreCountedByWhatBecameOfThemAndFoundByTheirAge(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	var keys []events.Event
	for _, key := range []string{"waits", "unheard", "dead", "old"} {
		keys = append(keys, events.JSON("shop", key, 1))
	}
	require.NoError(t, transactions["pgx.Tx"](s, conn, func(tx outbox.Tx) error { return outbox.Publish(t.Context(), tx, keys...) }))
	execute(t, conn, `DELETE FROM warren.outbox WHERE routing_key <> 'waits'`)
	execute(t, conn, `UPDATE warren.events SET unheard_at = now() WHERE routing_key = 'unheard'`)
	for range 2 { // subscribers
		dead := addIn(t, s, conn, jobs.Dead)
		execute(t, conn, `UPDATE warren.jobs SET event_id = (SELECT id FROM warren.events WHERE routing_key = 'dead') WHERE id = $1`, dead)
	}
	addIn(t, s, conn, jobs.Dead)
	execute(t, conn, `UPDATE warren.jobs SET event_id = (SELECT id FROM warren.events WHERE routing_key = 'old') WHERE id = $1`,
		addIn(t, s, conn, jobs.Completed))
	execute(t, conn, `UPDATE warren.events SET id = $1 WHERE routing_key = 'old'`, uuid.UUID{6: 0x70, 8: 0x80})

	n, err := s.EventCounts(t.Context())
	require.NoError(t, err)
	require.Equal(t, engine.EventCounts{Waiting: new(jobs.Count(1)), Unheard: new(jobs.Count(1)), Dead: new(jobs.Count(1))}, n)
	for _, c := range []struct {
		within time.Duration
		want   int
	}{{0, 4}, {time.Hour, 3}} {
		page, err := s.Events(t.Context(), engine.EventFilter{Within: c.within}, jobs.Cursor{}, 10)
		require.NoError(t, err)
		require.Len(t, page.Items, c.want)
	}
}
