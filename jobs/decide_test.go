package jobs_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
)

// decisions are engine.md's table: for each state the verdict on a delivery of the row's own dispatch.
var decisions = map[jobs.State]jobs.Verdict{
	jobs.Scheduled: jobs.VerdictStale,
	jobs.Queued:    jobs.VerdictClaim,
	jobs.Running:   jobs.VerdictWait,
	jobs.Retrying:  jobs.VerdictStale,
	jobs.Completed: jobs.VerdictStale,
	jobs.Dead:      jobs.VerdictStale,
	jobs.Cancelled: jobs.VerdictStale,
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
					want = jobs.VerdictUnknown
				case delta < 0:
					want = jobs.VerdictStale
				case state == jobs.Running && gone:
					want = jobs.VerdictTakeOver
				}
				t.Run(fmt.Sprintf("%s, gone %t, dispatch %+d", state, gone, delta), func(t *testing.T) {
					p := jobs.Position{Found: true, State: state, Dispatch: 3, HolderGone: gone}
					require.Equal(t, want, jobs.Decide(p, 3+delta))
				})
			}
		}
	}
	require.Equal(t, jobs.VerdictUnknown, jobs.Decide(jobs.Position{}, 0), "no such job")
	require.Equal(t, jobs.VerdictUnknown, jobs.Decide(jobs.Position{}, 1), "no such job")
}

func TestEachActionIsAllowedOrSaysWhyNot(t *testing.T) {
	t.Parallel()
	for _, action := range []jobs.Action{jobs.ActionRetry, jobs.ActionCancel, jobs.ActionRun, jobs.ActionDelete} {
		require.NotEmpty(t, action.AllowedFrom())
		for _, state := range jobs.States {
			ok, why := action.Allowed(state)
			require.Equal(t, ok, why == "", "%s a %s job", action, state)
		}
	}
}

func TestState_WhatEndedIsOnlyEverRetried(t *testing.T) {
	t.Parallel()
	for _, from := range jobs.States {
		for _, to := range jobs.States {
			switch {
			case from.Ended():
				require.Equal(t, to == jobs.Queued, from.MayBecome(to), "%s to %s", from, to)
			case to == jobs.Running:
				require.Equal(t, from == jobs.Queued || from == jobs.Running, from.MayBecome(to), "%s to %s", from, to)
			case from != jobs.Running:
				require.Equal(t, to == jobs.Queued || to == jobs.Cancelled, from.MayBecome(to), "%s to %s", from, to)
			}
		}
	}
}

func TestOnlyTheSevenStatesAreStates(t *testing.T) {
	t.Parallel()
	require.Len(t, jobs.States, 7)
	for _, s := range jobs.States {
		parsed, err := jobs.ParseState(string(s))
		require.NoError(t, err)
		require.Equal(t, s, parsed)
	}
	for _, s := range []string{"", "Queued", "lost", "queued "} {
		_, err := jobs.ParseState(s)
		require.Error(t, err)
	}
}
