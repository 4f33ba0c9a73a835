package main

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/monitor"
	"github.com/warrenjobs/warren/jobs/tasks"
	"github.com/warrenjobs/warren/web/demo"
)

// queueNames are the broker's queues with this in their names.
func (d *deployment) queueNames(part string) (names []string) {
	d.t.Helper()
	for _, q := range list[monitor.Queue](d, "queues") {
		if strings.Contains(q.Name, part) {
			names = append(names, q.Name)
		}
	}
	return names
}

func TestDemo_FillsARunningWarrenAndGoesWithoutATrace(t *testing.T) {
	d := deploy(t)
	d.start()
	d.ready()
	mine := d.submit("dots", `{"text":"mine"}`, "--queue", demo.QueueArchive)

	shop := d.start("demo")
	listed := func(query string) []jobs.Job { return list[jobs.Job](d, "jobs?"+query) }
	for _, kind := range []string{"demo.invoice", "demo.thumbnail", "demo.newsletter"} {
		d.until("jobs of the kind "+kind+" complete", func() bool { return len(listed("state=completed&kind="+kind)) > 0 })
	}
	d.until("the report that kills its workers is dead", func() bool {
		return slices.ContainsFunc(listed("state=dead&kind=demo.report"), func(j jobs.Job) bool { return j.Crashes == engine.CrashesMax })
	})
	d.until("a foreign message is a dead job", func() bool { return len(listed("state=dead&kind=legacy.order-shipped")) > 0 })
	bought := slices.DeleteFunc(listed("kind=demo.invoice&limit=50"), func(j jobs.Job) bool { return j.TaskID != nil })
	require.NotEmpty(t, bought)
	for _, j := range bought {
		require.Equal(t, "demo", j.Origin)
		require.Contains(t, j.Tags, "demo")
	}
	all := func() []tasks.Task { return list[tasks.Task](d, "tasks?view=all") }
	require.Greater(t, len(all()), 10)
	d.until("its queues are seen", func() bool { return len(d.queueNames("demo-")) == len(demo.Queues) })
	_, errs, code := d.warren("demo", "--remove")
	require.Equal(t, exitRefused, code)
	require.Contains(t, errs, "a demo runs")

	require.NoError(t, shop.cmd.Process.Signal(syscall.SIGINT))
	<-shop.done
	require.Zero(t, shop.cmd.ProcessState.ExitCode())
	require.Contains(t, shop.log.String(), "warren demo --remove")
	d.until("what ran is given back, also by a worker that was killed in the last moment",
		func() bool { return len(listed("state=running")) == 0 })

	out, errs, code := d.warren("demo", "--remove")
	require.Zero(t, code, errs)
	require.Contains(t, out, "Removed ")
	require.Empty(t, all())
	left := slices.DeleteFunc(listed(""), func(j jobs.Job) bool { return j.Kind == tasks.Search }) // the index follows the tasks
	require.Len(t, left, 1, "jobs of others stay")
	require.Equal(t, mine, left[0].ID.String())
	d.until("its queues are gone, but for that of the job of somebody else", func() bool { return len(d.queueNames("demo-")) <= 1 })
}

func TestDemo_DoesNotRunInProductionOrWithoutAWarren(t *testing.T) {
	d := deploy(t)
	d.env = append(d.env, "WARREN_ENV=Production")
	_, errs, code := d.warren("demo")
	require.Equal(t, exitRefused, code)
	require.Contains(t, errs, "does not belong there")
	d.env = append(os.Environ(), "WARREN_DATA="+d.dir)
	_, errs, code = d.warren("demo")
	require.Equal(t, exitRefused, code)
	require.Contains(t, errs, "no Warren is running in")
	_, _, code = d.warren("demo", "--for", "0s")
	require.Equal(t, exitUsage, code)
}
