package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/monitor"
)

func TestMarks_ArePausesOfTheQueueAndDeploys(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	ctx := t.Context()
	started := func(version string) engine.Process {
		p := engine.Process{ID: uuid.Must(uuid.NewV7()), Name: "w", Host: "h", Roles: []string{"web"}, Version: version,
			State: engine.ProcessRunning}
		heartbeat(t, s, p, "")
		heartbeat(t, s, p, "")
		return p
	}
	execute(t, conn, `INSERT INTO warren.job_queues (name) VALUES ('mail'), ('media')`)
	first := started("v1")
	require.NoError(t, s.EndProcess(ctx, first.ID))
	started("v1") // a restart is not a deploy
	require.NoError(t, s.PauseQueue(ctx, "mail", somebody))
	require.NoError(t, s.PauseQueue(ctx, "media", somebody))
	second := started("v2")
	started("v1") // during the deploy
	require.NoError(t, s.ResumeQueue(ctx, "mail", somebody))
	require.NoError(t, s.EndProcess(ctx, second.ID))
	started("v2")

	marks := func(queue string, from, to time.Duration) (list []string) {
		now := time.Now()
		found, err := s.Marks(ctx, queue, now.Add(from), now.Add(to))
		require.NoError(t, err)
		for _, m := range found {
			list = append(list, string(m.Kind)+" "+m.Name+" "+m.By)
		}
		return list
	}
	require.Equal(t, []string{"queue.pause mail somebody", "deploy v2 ", "queue.resume mail somebody"},
		marks("mail", -time.Hour, time.Hour))
	require.Len(t, marks("", -time.Hour, time.Hour), 4)
	require.Empty(t, marks("mail", -2*time.Hour, -time.Hour))
}

func TestActivity_TheMomentsOfAStepAreOne(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	execute(t, conn, `INSERT INTO warren.activity (at, seconds, completed, failed, redelivered, outbox_waiting, outbox_age, oldest_queued)
		SELECT '2026-11-21T12:00:00Z'::timestamptz + i * interval '10 s', 10, 20, 1, 2, i, i, 0 FROM generate_series(0, 359) i`)
	fine, err := s.Activity(t.Context(), noon, noon.Add(15*time.Minute))
	require.NoError(t, err)
	require.Len(t, fine, 91)
	coarse, err := s.Activity(t.Context(), noon, noon.Add(24*time.Hour))
	require.NoError(t, err)
	require.Len(t, coarse, 12)
	coarse[0].At = coarse[0].At.UTC()
	require.Equal(t, monitor.Moment{At: noon.Add(290 * time.Second), Seconds: 300, Completed: 600, Failed: 30, Redelivered: 60,
		OutboxWaiting: 29, OutboxAge: 29}, coarse[0])
}
