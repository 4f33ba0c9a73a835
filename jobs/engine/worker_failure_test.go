package engine_test

import (
	"errors"
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

func TestFailure_KeepsNoPasswordOfAURL(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`dial "postgres://app:hunter2@db.example:5432/app?x=1": refused`: `dial "postgres://app:***@db.example:5432/app?x=1": refused`,
		"set SMTP_URL (such as smtp://user:password@host:587)":           "set SMTP_URL (such as smtp://user:***@host:587)",
		"amqps://:p%40ss@mq and redis+tls://u:p@ss@[::1]:1/0":            "amqps://:***@mq and redis+tls://u:***@[::1]:1/0",
		"GET https://a.example:80/a?mail=b@c.example: status 500":        "GET https://a.example:80/a?mail=b@c.example: status 500",
		"https://a@b.example, mailto:b@c.example, a:b@c, http://":        "https://a@b.example, mailto:b@c.example, a:b@c, http://",
	} {
		require.Equal(t, want, engine.ErrorText(errors.New(text)))
	}
}
