package engine_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/warrenjobs/warren/jobs/engine"
)

func TestBackoff_TheWaitBeforeARetryGrowsToADay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 2000).Draw(t, "n")
		low, mid, high := engine.Backoff(n, -1), engine.Backoff(n, 0), engine.Backoff(n, 1)
		require.Positive(t, low)
		require.Less(t, low, mid)
		require.Less(t, mid, high)
		require.LessOrEqual(t, mid, engine.Backoff(n+1, 0), "it never shrinks")
		require.LessOrEqual(t, mid, 24*time.Hour)
		require.LessOrEqual(t, high, 27*time.Hour)
	})
	require.Equal(t, 4*time.Second, engine.Backoff(1, 0))
	require.Equal(t, 24*time.Hour, engine.Backoff(1000, 0))
}
