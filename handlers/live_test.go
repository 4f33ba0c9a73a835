package handlers

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/store"
)

func TestWhatChangedBetweenThePageAndItsConnectionIsTold(t *testing.T) {
	t.Parallel()
	h := NewHub()
	h.Change(store.Change{Topic: jobs.TopicJobs, IDs: []string{"7"}})
	told := func(rendered time.Time, topics ...string) map[string]int {
		cl, ok := h.join(topics, rendered)
		require.True(t, ok)
		return cl.take()
	}
	before, after := time.Now().Add(-time.Minute), time.Now().Add(time.Minute)
	require.Equal(t, map[string]int{"jobs": 1, "job-7": 1}, told(before, "jobs", "job-7", "queues"))
	require.Empty(t, told(after, "jobs", "job-7"))
	require.Empty(t, told(time.Time{}, "jobs"), "a client that tells no time gets only what comes")
}
