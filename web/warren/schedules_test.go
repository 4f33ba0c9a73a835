package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/schedule"
)

func TestSchedules_TheCommandLineAddsPausesRunsAndDeletesThem(t *testing.T) {
	d := deploy(t)
	_, errs, code := d.warren("migrate")
	require.Zero(t, code, errs)
	out, errs, code := d.warren("schedules", "add", "ticker", "--rule", "every 1s", "--event", "ping",
		"--exchange", "amq.topic", "--body", "7", "--catch-up-all", "--json")
	require.Zero(t, code, errs)
	var made schedule.Schedule
	require.NoError(t, json.Unmarshal([]byte(out), &made))
	require.Equal(t, "ping", made.Event.Key)
	out, errs, code = d.warren("schedules", "pause", "ticker", "--reason", "not yet")
	require.Zero(t, code, errs)
	require.Contains(t, out, "paused")
	_, errs, code = d.warren("schedules", "pause", "ticker")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "paused already")
	out, _, code = d.warren("schedules", "run", "ticker")
	require.Zero(t, code)
	require.Contains(t, out, "published")
	out, _, code = d.warren("schedules")
	require.Zero(t, code)
	require.Contains(t, out, "not yet")
	_, _, code = d.warren("schedules", "resume", "ticker")
	require.Zero(t, code)
	_, errs, code = d.warren("schedules", "add", "x", "--rule", "sometimes", "--kind", "dots", "--args", `{"text":"."}`)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "is not a valid rule")
	_, _, code = d.warren("schedules", "delete", "ticker")
	require.Zero(t, code)
	_, errs, code = d.warren("schedules", "run", "ticker")
	require.Equal(t, 1, code)
	require.Contains(t, errs, `there is no schedule "ticker"`)
}
