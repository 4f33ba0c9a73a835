package views_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/views"
)

func queuePage(t *testing.T, m views.QueueModel) string {
	t.Helper()
	m.Base, m.JobQueue, m.Now = "/queues/%2F/warren.jobs.mail", "mail", time.Now()
	var b strings.Builder
	require.NoError(t, views.QueueUpdate(m).Render(context.Background(), &b))
	return b.String()
}

func TestQueues_AQueuesPageSaysThatItIsPausedAndWhatHasDrifted(t *testing.T) {
	page := queuePage(t, views.QueueModel{})
	require.Contains(t, page, "/queues/%2F/warren.jobs.mail/pause")
	require.NotContains(t, page, "Drift")

	operation, since := uuid.New(), time.Now()
	page = queuePage(t, views.QueueModel{Around: jobs.Around{PausedAt: &since, PausedBy: "anna"}, Drift: engine.DriftStats{Repaired: 2,
		Suspects: 1},
		Purge: &engine.Purge{Operation: operation}, PurgeLeft: 7})
	require.Contains(t, page, "by anna")
	require.Contains(t, page, "2 jobs dispatched again in the last hour")
	require.Contains(t, page, "1 more looks lost now and is watched")
	require.Contains(t, page, "/queues/%2F/warren.jobs.mail/resume")
	require.Contains(t, page, "Retry 7 purged jobs")
	require.Contains(t, page, "/purges/"+operation.String()+"/undo")
	require.Contains(t, page, `name="confirm"`, "the name must be typed")
}
