package engine_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
)

// decisions are engine.md's table: for each state the verdict on a delivery of the row's own dispatch.
var decisions = map[jobs.State]engine.Verdict{
	jobs.Scheduled: engine.VerdictStale,
	jobs.Queued:    engine.VerdictClaim,
	jobs.Running:   engine.VerdictWait,
	jobs.Retrying:  engine.VerdictStale,
	jobs.Completed: engine.VerdictStale,
	jobs.Dead:      engine.VerdictStale,
	jobs.Cancelled: engine.VerdictStale,
}

func TestWhatIsDoneWithADelivery(t *testing.T) {
	t.Parallel()
	require.Len(t, decisions, len(jobs.States))
	for _, state := range jobs.States {
		for _, gone := range []bool{false, true} {
			for delta := -1; delta <= 1; delta++ {
				want := decisions[state]
				switch {
				case delta > 0:
					want = engine.VerdictUnknown
				case delta < 0:
					want = engine.VerdictStale
				case state == jobs.Running && gone:
					want = engine.VerdictTakeOver
				}
				t.Run(fmt.Sprintf("%s, gone %t, dispatch %+d", state, gone, delta), func(t *testing.T) {
					p := engine.Position{Found: true, State: state, Dispatch: 3, HolderGone: gone}
					require.Equal(t, want, engine.Decide(p, 3+delta))
				})
			}
		}
	}
	require.Equal(t, engine.VerdictUnknown, engine.Decide(engine.Position{}, 0), "no such job")
	require.Equal(t, engine.VerdictUnknown, engine.Decide(engine.Position{}, 1), "no such job")
}
