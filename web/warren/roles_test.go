package main

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/monitor"
)

// roles starts the five roles as five processes, with two workers that run one job at a time.
func (d *deployment) roles() (workers map[string]*proc) {
	d.t.Helper()
	for _, role := range []string{"web", "relay", "scheduler", "monitor"} {
		d.start(role)
	}
	workers = map[string]*proc{}
	for range 2 {
		w := d.start("worker", "--concurrency", "1", "--prefetch", "1")
		workers[w.name()] = w
	}
	d.ready()
	return workers
}

func TestRoles_FiveProcessesWorkAJobThatTheCommandLineWaitsFor(t *testing.T) {
	d := deploy(t)
	d.roles()
	out, errs, code := d.warren("enqueue", "dots", `{"text":"Hi."}`, "--wait")
	require.Zero(t, code, errs)
	require.Contains(t, out, "completed")
}

func TestRoles_AKilledWorkersJobIsTakenOverAndTheKillIsSeen(t *testing.T) {
	d := deploy(t)
	workers := d.roles()
	d.until("the monitor counts", func() bool { // changes before its first sample are not in its sum
		_, ok := d.queue("warren.jobs.default")
		return ok
	})
	id := d.submit("dots", `{"text":"........"}`)
	first := *d.inState(id, jobs.Running).Worker
	workers[first].kill()

	d.until("the other worker has it", func() bool { j := d.job(id); return j.Worker != nil && *j.Worker != first })
	j := d.inState(id, jobs.Completed)

	require.Equal(t, 1, j.Crashes)
	require.Len(t, j.Attempts, 2)
	require.Equal(t, []string{jobs.AttemptCrashed, jobs.AttemptCompleted}, []string{j.Attempts[0].Outcome, j.Attempts[1].Outcome})
	require.Len(t, j.Deliveries, 2)
	require.False(t, j.Deliveries[0].Redelivered)
	require.Equal(t, first, j.Deliveries[0].Worker)
	require.True(t, j.Deliveries[1].Redelivered)
	require.NotEqual(t, first, j.Deliveries[1].Worker)

	var history struct{ Items []jobs.Redelivery }
	path := "/api/v1/queues/" + d.vhost.Name + "/warren.jobs.default"
	require.Equal(t, http.StatusOK, d.do("GET", path+"/redeliveries", "", &history))
	require.Len(t, history.Items, 1)
	require.Equal(t, first, *history.Items[0].FromWorker)
	d.until("the queue's counter shows the redelivery", func() bool {
		q, ok := d.queue("warren.jobs.default")
		return ok && q.Redelivered != nil && *q.Redelivered > 0
	})
}

// queue returns the queue of this deployment as the monitor last saw it.
func (d *deployment) queue(name string) (monitor.Queue, bool) {
	d.t.Helper()
	for _, q := range list[monitor.Queue](d, "queues?limit=200") {
		if q.VHost == d.vhost.Name && q.Name == name {
			return q, true
		}
	}
	return monitor.Queue{}, false
}

func TestRoles_KillsAndRestartsOverPrefetchedJobsLeaveNoneDead(t *testing.T) {
	d := deploy(t)
	for _, role := range []string{"web", "relay", "scheduler"} {
		d.start(role)
	}
	d.ready()
	blocker := d.submit("dots", `{"text":"`+dotsText(30)+`"}`)
	d.submitMany(10, "dots", `{"text":"x"}`)
	for range 10 {
		w := d.start("worker", "--concurrency", "1", "--prefetch", "11")
		d.until("the worker runs the long job and holds the others", func() bool {
			j := d.job(blocker)
			return j.State == jobs.Running && *j.Worker == w.name()
		})
		w.kill()
		if d.job(blocker).Crashes >= engine.CrashesMax-1 { // the long job itself must not become poison here
			break
		}
	}
	_, _, _ = d.warren("jobs", "cancel", blocker)
	for range 10 {
		w := d.start("worker", "--concurrency", "1", "--prefetch", "1", "--queue", "elsewhere,default")
		w.stop()
	}
	d.start("worker")
	d.until("all short jobs are completed", func() bool {
		return len(list[jobs.Job](d, "jobs?state=completed")) >= 10
	})
	require.Empty(t, list[jobs.Job](d, "jobs?state=dead"))
}

func TestRoles_ThePoisonJobIsDeadAfterThreeCrashesAndItsNeighboursAreNot(t *testing.T) {
	d := deploy(t)
	for _, role := range []string{"web", "relay", "scheduler"} {
		d.start(role)
	}
	d.ready()
	poison := d.submit("dots", `{"text":"`+dotsText(60)+`"}`)
	neighbour := d.submit("dots", `{"text":"x"}`)
	for range engine.CrashesMax {
		w := d.start("worker", "--concurrency", "1", "--prefetch", "10")
		d.until("the worker runs the poison job", func() bool {
			j := d.job(poison)
			return j.State == jobs.Running && *j.Worker == w.name()
		})
		w.kill()
	}
	d.start("worker", "--concurrency", "1", "--prefetch", "10")
	j := d.inState(poison, jobs.Dead)
	require.Contains(t, *j.LastError, "died 3 times")
	require.Len(t, j.Attempts, 3)
	d.inState(neighbour, jobs.Completed)
}

func dotsText(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = '.'
	}
	return string(b)
}
