package monitor

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// health of a monitor is not of interest here.
type forgetful struct{ Store }

func (forgetful) SaveHealth(context.Context, string, bool, string, any) (bool, error) {
	return false, nil
}

func TestMonitor_ABrokerThatIsAwayIsAskedMoreOftenAndOneThatAnswersBadlyLessOften(t *testing.T) {
	t.Parallel()
	var reach error
	m := &Monitor{Store: forgetful{}, Reach: func(context.Context) error { return reach }}
	require.Equal(t, 5*time.Second, m.pause())
	m.failures = 4
	require.NoError(t, m.unwatched(t.Context(), "Its management API does not answer."))
	require.Equal(t, 30*time.Second, m.pause())
	reach = errors.New("connection refused")
	require.ErrorIs(t, m.unwatched(t.Context(), ""), reach)
	require.Equal(t, 2*time.Second, m.pause())
	reach = nil
	require.NoError(t, m.unwatched(t.Context(), "Its management API does not answer."))
	require.Equal(t, 5*time.Second, m.pause(), "it has just come back")
}
