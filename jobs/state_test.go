package jobs_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
)

func TestState_EachActionIsAllowedOrSaysWhyNot(t *testing.T) {
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

func TestState_OnlyTheSevenStatesAreStates(t *testing.T) {
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
