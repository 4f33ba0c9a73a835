package engine_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/engine"
)

func TestLeaderlessQueues_AQueueIsDeletedOnlyIfItHasNoLeaderForLongAndConfirmsNothing(t *testing.T) {
	t.Parallel()
	type look struct {
		leaderless, unconfirmed string
		err                     error
	}
	away := errors.New("the management API is away")
	for name, c := range map[string]struct {
		looks   []look
		deleted []int // in which rounds
	}{
		"without a leader, and nothing is confirmed": {[]look{{"q", "q", nil}, {"q", "q", nil}, {"q", "q", nil}, {"q", "q", nil}},
			[]int{4}},
		"so also when it was declared again": {[]look{{"q", "q", nil}, {"q", "q", nil}, {"q", "q", nil}, {"q", "q", nil}, {"q", "q", nil},
			{"q", "q", nil}, {"q", "q", nil}, {"q", "q", nil}}, []int{4, 8}},
		"it has one in between": {[]look{{"q", "q", nil}, {"q", "q", nil}, {"", "q", nil}, {"q", "q", nil}, {"q", "q", nil},
			{"q", "q", nil}}, nil},
		"nobody looked in between": {[]look{{"q", "q", nil}, {"q", "q", nil}, {"", "", away}, {"q", "q", nil}, {"q", "q", nil},
			{"q", "q", nil}}, nil},
		"everything is confirmed": {[]look{{"q", "", nil}, {"q", "", nil}, {"q", "", nil}, {"q", "", nil}, {"q", "", nil}}, nil},
		"another queue confirms nothing": {[]look{{"q", "r", nil}, {"q", "r", nil}, {"q", "r", nil}, {"q", "r", nil}, {"q", "r", nil}},
			nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			round := 0
			var deleted []int
			names := func(name string) []string {
				if name == "" {
					return nil
				}
				return []string{name}
			}
			s := &engine.LeaderlessQueues{
				Every: time.Microsecond, Log: slog.New(slog.DiscardHandler),
				Leaderless: func(context.Context) ([]string, error) {
					if round++; round > len(c.looks) {
						cancel()
						return nil, nil
					}
					return names(c.looks[round-1].leaderless), c.looks[round-1].err
				},
				Unconfirmed: func(context.Context) ([]string, error) { return names(c.looks[round-1].unconfirmed), nil },
				Delete: func(_ context.Context, queue string) error {
					require.Equal(t, "q", queue)
					deleted = append(deleted, round)
					return nil
				},
			}
			require.NoError(t, s.Run(ctx))
			require.Equal(t, c.deleted, deleted)
		})
	}
}
