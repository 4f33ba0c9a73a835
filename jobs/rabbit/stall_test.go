package rabbit

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStallDetector_AConsumerThatHearsNothingTwiceWhileMessagesWaitIsStalled(t *testing.T) {
	t.Parallel()
	type look struct {
		heard   int64
		full    bool
		waiting int
	}
	for name, c := range map[string]struct {
		looks   []look
		stalled bool
	}{
		"it hears nothing and messages wait":   {[]look{{0, false, 3}, {0, false, 3}}, true},
		"after it has heard some":              {[]look{{7, false, 3}, {7, false, 3}, {7, false, 3}}, true},
		"once is not enough":                   {[]look{{7, false, 3}, {7, false, 3}}, false},
		"it hears some in between":             {[]look{{7, false, 3}, {7, false, 3}, {8, false, 3}, {8, false, 3}}, false},
		"none waits in between":                {[]look{{7, false, 3}, {7, false, 3}, {7, false, 0}, {7, false, 3}}, false},
		"it has as many as it may":             {[]look{{7, true, 3}, {7, true, 3}, {7, true, 3}, {7, true, 3}}, false},
		"it had as many as it may in between":  {[]look{{7, false, 3}, {7, false, 3}, {7, true, 3}, {7, false, 3}}, false},
		"nothing waits: a queue without a job": {[]look{{7, false, 0}, {7, false, 0}, {7, false, 0}}, false},
	} {
		var e stallDetector
		stalled := false
		for _, l := range c.looks {
			stalled = e.silent(l.heard, l.full) && e.stalled(l.waiting)
		}
		require.Equal(t, c.stalled, stalled, name)
	}
}
