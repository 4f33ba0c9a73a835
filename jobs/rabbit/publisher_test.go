package rabbit

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPublisher_AConnectionThatRefusesGivesWayAtOnceAndThenLessOften(t *testing.T) {
	t.Parallel()
	p := &Publisher{}
	at := time.Now()
	refusedAfter := func(d time.Duration) bool {
		at = at.Add(d)
		p.hear(&sender{}) // a new connection each time
		return p.replaces(p.heard, at)
	}
	require.True(t, refusedAfter(0))
	require.False(t, p.replaces(&sender{}, at), "it has given way already")
	require.False(t, refusedAfter(400*time.Millisecond))
	require.True(t, refusedAfter(200*time.Millisecond))
	require.False(t, refusedAfter(900*time.Millisecond))
	for range 10 {
		refusedAfter(time.Second)
	}
	replaced := 0
	for range 60 { // a queue that stays full, published to once a second
		if refusedAfter(time.Second) {
			replaced++
		}
	}
	require.Equal(t, 12, replaced, "every 5 s")
	require.True(t, refusedAfter(2*time.Minute), "another story")
	require.True(t, refusedAfter(600*time.Millisecond))
}
