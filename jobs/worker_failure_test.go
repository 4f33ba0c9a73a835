package jobs_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/warrenjobs/warren/jobs"
)

func TestTheWaitBeforeARetryGrowsToADay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 2000).Draw(t, "n")
		low, mid, high := jobs.Backoff(n, -1), jobs.Backoff(n, 0), jobs.Backoff(n, 1)
		require.Positive(t, low)
		require.Less(t, low, mid)
		require.Less(t, mid, high)
		require.LessOrEqual(t, mid, jobs.Backoff(n+1, 0), "it never shrinks")
		require.LessOrEqual(t, mid, 24*time.Hour)
		require.LessOrEqual(t, high, 27*time.Hour)
	})
	require.Equal(t, 4*time.Second, jobs.Backoff(1, 0))
	require.Equal(t, 24*time.Hour, jobs.Backoff(1000, 0))
}
