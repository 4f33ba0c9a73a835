package engine_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
)

// decisions is engine.md's table: for each state the decision about a delivery of the row's own dispatch.
var decisions = map[jobs.State]engine.ClaimDecision{
	jobs.Scheduled: engine.DecisionStale,
	jobs.Queued:    engine.DecisionClaim,
	jobs.Running:   engine.DecisionWait,
	jobs.Retrying:  engine.DecisionStale,
	jobs.Completed: engine.DecisionStale,
	jobs.Dead:      engine.DecisionStale,
	jobs.Cancelled: engine.DecisionStale,
}

func TestDecide_WhatIsDoneWithADelivery(t *testing.T) {
	t.Parallel()
	require.Len(t, decisions, len(jobs.States))
	for _, state := range jobs.States {
		for _, gone := range []bool{false, true} {
			for delta := -1; delta <= 1; delta++ {
				want := decisions[state]
				switch {
				case delta > 0:
					want = engine.DecisionUnknown
				case delta < 0:
					want = engine.DecisionStale
				case state == jobs.Running && gone:
					want = engine.DecisionTakeOver
				}
				t.Run(fmt.Sprintf("%s, gone %t, dispatch %+d", state, gone, delta), func(t *testing.T) {
					p := engine.Position{Found: true, State: state, Dispatch: 3, HolderGone: gone}
					require.Equal(t, want, engine.Decide(p, 3+delta))
				})
			}
		}
	}
	require.Equal(t, engine.DecisionUnknown, engine.Decide(engine.Position{}, 0), "no such job")
	require.Equal(t, engine.DecisionUnknown, engine.Decide(engine.Position{}, 1), "no such job")
}
