package web

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
)

func TestTerminal_AForeignTextIsOneLineAndSteersNothing(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"\x1b[31mred\x1b[0m": `\u001b[31mred\u001b[0m`, "first\nfake\trow": `first\nfake\trow`, "a\r\nb": `a\u000d\nb`,
		"\u009b31m \u202e \a": `\u009b31m \u202e \u0007`, "\x7f\b\v\f\x00": `\u007f\u0008\u000b\u000c\u0000`,
		"\x1b]0;pwned\x07": `\u001b]0;pwned\u0007`, "\u2066x\u2069\u200f\u061c": `\u2066x\u2069\u200f\u061c`,
		"\u2028\u2029\u0085": `\u2028\u2029\u0085`, "\x9b31m\xff": "\uFFFD31m\uFFFD", "grüße 👩‍🚀 日本": "grüße 👩‍🚀 日本",
	} {
		require.Equal(t, want, cell(text))
	}
}

func TestTerminal_ARowStaysOneRowAndJSONTheSameJSON(t *testing.T) {
	t.Parallel()
	const hostile = "\x1b[2J\u009b\x7f\u202e\nnext\tcell\f"
	var table strings.Builder
	w := tabwriter.NewWriter(terminal{&table}, 0, 0, 2, ' ', 0)
	row(w, "1", hostile, errors.New(hostile))
	require.NoError(t, w.Flush())
	require.Equal(t, 1, strings.Count(table.String(), "\n"))

	var out strings.Builder
	raw := json.RawMessage(`{"raw":"` + "\u009b\u202e\x7f" + `"}`)
	require.NoError(t, json.NewEncoder(terminal{&out}).Encode(jobs.Job{Kind: hostile, Args: raw}))
	var back jobs.Job
	require.NoError(t, json.Unmarshal([]byte(out.String()), &back))
	require.Equal(t, hostile, back.Kind)
	require.JSONEq(t, string(raw), string(back.Args))
	for _, printed := range []string{table.String(), strings.TrimSuffix(out.String(), "\n")} {
		require.False(t, strings.ContainsFunc(strings.TrimSuffix(printed, "\n"), steers), printed)
	}
}

func TestEnqueue_WaitingSaysWhy(t *testing.T) {
	t.Parallel()
	now, reason := time.Now(), "no route to host\nmore"
	old := now.Add(-time.Minute)
	queued := jobs.Job{State: jobs.Queued, Queue: "mail", QueuedAt: &now}
	for want, d := range map[string]jobs.Detail{
		"":                       {Job: jobs.Job{State: jobs.Running}},
		"Retries at ":            {Job: jobs.Job{State: jobs.Retrying, Attempt: 1, MaxAttempts: 5, RunAt: now, LastError: &reason}},
		"queue mail was paused ": {Job: queued, InOutbox: true, QueuePaused: true, Around: jobs.Around{Known: true, PausedAt: &now}},
		"sent: the queue is full": {Job: queued, InOutbox: true, OutboxError: "the queue is full",
			Around: jobs.Around{Known: true, Relays: 1}},
		"no worker consumes the queue mail": {Job: jobs.Job{State: jobs.Queued, Queue: "mail", QueuedAt: &old},
			Around: jobs.Around{Known: true, Relays: 1}},
		"Scheduled: runs at ": {Job: jobs.Job{State: jobs.Scheduled, RunAt: now}},
	} {
		why := whyWaiting(d, now)
		require.Contains(t, why, want)
		require.NotContains(t, why, "\n")
		if want == "" {
			require.Empty(t, why)
		}
	}
	require.Empty(t, whyWaiting(jobs.Detail{Job: queued}, now))
}
