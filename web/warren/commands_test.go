package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
)

func TestCommands_ClientCommandsSpeakTableAndJSONAndExitCodes(t *testing.T) {
	d := deploy(t)
	d.start()
	d.ready()

	id := d.submit("dots", `{"text":"x"}`, "--at", "+1h", "--tag", "a,b", "--max-attempts", "2", "--timeout", "30s")
	out, _, code := d.warren("jobs", "show", id, "--json")
	require.Zero(t, code)
	var j jobs.Detail
	require.NoError(t, json.Unmarshal([]byte(out), &j))
	require.Equal(t, jobs.Scheduled, j.State)
	require.Equal(t, []string{"a", "b"}, j.Tags)

	for _, list := range [][]string{{"jobs", "list", "--state", "scheduled"}, {"jobs", "--state", "scheduled"}} {
		out, _, code = d.warren(list...)
		require.Zero(t, code)
		require.Contains(t, out, id, "the noun alone lists")
	}
	out, _, code = d.warren("jobs", "list", "--json")
	require.Zero(t, code)
	var list struct{ Items []jobs.Job }
	require.NoError(t, json.Unmarshal([]byte(out), &list))
	require.Len(t, list.Items, 1)

	_, errs, code := d.warren("jobs", "retry", id)
	require.Equal(t, exitRefused, code)
	require.Contains(t, errs, "cannot be retried")
	_, _, code = d.warren("jobs", "run", id)
	require.Zero(t, code)
	d.inState(id, jobs.Completed)
	_, _, code = d.warren("jobs", "delete", id, "--reason", "test")
	require.Zero(t, code)
	_, errs, code = d.warren("jobs", "show", id)
	require.Equal(t, exitRefused, code)
	require.Contains(t, errs, "no such job")

	for _, bad := range [][]string{
		{"enqueue"}, {"enqueue", "dots", `{"text":"x"}`, "--at", "tomorrow"}, {"jobs", "show", "nope"},
		{"jobs", "list", "--state", "odd"}, {"jobs", "list", "--limit", "0"}, {"nope"}, {"--nope"}, {"jobs", "nope"}, {"tasks", "nope"},
		{"workers", "nope"}, {"queues", "nope"},
	} {
		_, errs, code := d.warren(bad...)
		require.Equal(t, exitUsage, code, "%v: %s", bad, errs)
		require.Contains(t, errs, " --help")
	}
	for _, refused := range [][]string{
		{"enqueue", "nope"}, {"enqueue", "dots"}, {"enqueue", "dots", `{"text":""}`}, {"enqueue", "dots", `{`},
		{"enqueue", "dots", `{"text":"x","more":1}`},
	} {
		_, errs, code := d.warren(refused...)
		require.Equal(t, exitRefused, code, "%v: %s", refused, errs)
		require.NotEmpty(t, errs)
	}
}

func TestCommands_WaitExitsWithOneWhenTheJobEndsDead(t *testing.T) {
	d := deploy(t)
	d.start()
	d.ready()
	_, _, code := d.warren("enqueue", "dots", `{"text":"....."}`, "--timeout", "100ms", "--max-attempts", "1", "--wait")
	require.Equal(t, exitRefused, code)
}

func TestCommands_AUniqueKeyGivesTheOpenJob(t *testing.T) {
	d := deploy(t)
	d.start()
	d.ready()
	body := `{"kind":"dots","args":{"text":"x"},"unique_key":"one","run_at":"+1h"}`
	var first, second struct {
		ID        string
		Duplicate bool
	}
	require.Equal(t, 201, d.do("POST", "/api/v1/jobs", body, &first))
	require.Equal(t, 200, d.do("POST", "/api/v1/jobs", body, &second))
	require.Equal(t, first.ID, second.ID)
	require.True(t, second.Duplicate)
}
