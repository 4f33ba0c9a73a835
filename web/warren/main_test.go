package main

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
)

// asProgram makes this test binary the program of a team with a kind of its own.
const asProgram = "WARREN_TEST_AS_PROGRAM"

type greeting struct {
	Name string `json:"name" jsonschema:"title=Who is greeted"`
}

func (greeting) Kind() string { return "team.greeting" }

func greet(_ context.Context, run *jobs.Run, args greeting) error {
	return run.Output("Hello, " + args.Name)
}

func TestMain_WorksOffersAndSubmitsTheProgramsOwnKinds(t *testing.T) {
	d := deploy(t)
	d.binary, d.env = os.Args[0], append(d.env, asProgram+"=1")
	d.start()
	d.ready()
	out, errs, code := d.warren("enqueue", "team.greeting", `{"name":"Ann"}`, "--wait", "--json")
	require.Zero(t, code, errs)
	require.Contains(t, out, `"Hello, Ann"`)
	require.Contains(t, out, `"max_attempts":2`, "its kind's default")
	form := d.page("/jobs/new?kind=team.greeting")
	require.Contains(t, form, "Who is greeted")
	require.Regexp(t, `If empty: \s*<span class="mono">2</span>`, form)
	_, errs, code = d.warren("enqueue", "team.greeting", `{"nam":"Ann"}`)
	require.Equal(t, exitRefused, code)
	require.Contains(t, errs, "args.name")
	_, errs, code = d.warren("enqueue", "dots", `{"text":"built in"}`, "--wait")
	require.Zero(t, code, errs)
}
