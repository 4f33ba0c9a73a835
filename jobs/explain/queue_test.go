package explain_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/explain"
)

func TestExplain_SaysWhetherTheJobsOfAQueueGetDone(t *testing.T) {
	t.Parallel()
	type facts = *explain.QueueFacts
	waiting := func(n int, seconds int) func(facts) {
		return func(f facts) {
			f.Waiting, f.Ready = ptr(jobs.Count(n)), ptr(int64(n))
			if n > 0 {
				f.Oldest = ptr(at(-seconds))
			}
		}
	}
	rates := func(in, out float64) func(facts) { return func(f facts) { f.In, f.Out = &in, &out } }
	busy := func(n int) func(facts) { return func(f facts) { f.Busy = n } }
	growing := func(f facts) { f.Growing = true }
	alone := func(f facts) { f.Workers, f.Slots, f.Consumers = 0, 0, ptr(int64(0)) }
	paused := func(f facts) { f.PausedAt, f.PausedBy = ptr(at(-60)), "anna" }
	stale := func(f facts) { f.Fresh = false }
	foreign := func(f facts) { f.Own, f.Around, f.Waiting = false, jobs.Around{Now: now}, nil }
	for _, c := range []struct {
		say  string
		when []func(facts)
	}{
		{"No jobs waiting.", nil},
		{"Keeping up: no jobs waiting, 3/s in and 2.9/s out.", []func(facts){rates(3, 2.94), busy(1)}},
		{"Keeping up: jobs wait less than 5 s, <0.1/s in and 1,234/s out.", []func(facts){waiting(9, 4), rates(0.01, 1234), growing}},
		{"1 job waits since 2026-11-30 03:11:50 UTC.", []func(facts){waiting(1, 10)}},
		{"2,500 jobs wait, the oldest since 2026-11-30 03:11:00 UTC; 3/s in and 3/s out.", []func(facts){waiting(2500, 60), rates(3, 3)}},
		{"10,000+ jobs wait, the oldest since 2026-11-30 03:11:00 UTC.", []func(facts){waiting(jobs.CountCap, 60)}},
		{"Falling behind: 123 jobs wait, the oldest since 2026-11-30 03:00:00 UTC; 2.7/s in and 0/s out.",
			[]func(facts){waiting(123, 720), rates(2.7, 0), growing}},
		{"123 jobs wait, the oldest since 2026-11-30 03:00:00 UTC.", []func(facts){waiting(123, 720), rates(2.7, 0), growing, stale}},
		{"Catching up: 90 jobs wait, the oldest since 2026-11-30 03:11:00 UTC, for about 45 s at this pace; 1/s in and 3/s out.",
			[]func(facts){waiting(90, 60), rates(1, 3)}},
		{"All 4 slots of its workers are busy: 3 jobs wait, the oldest since 2026-11-30 03:11:00 UTC.",
			[]func(facts){waiting(3, 60), busy(4)}},

		{"No worker consumes this queue.", []func(facts){alone}},
		{"No worker consumes this queue: 531 jobs wait, the oldest since 2026-11-30 02:12:00 UTC.",
			[]func(facts){alone, waiting(531, 3600)}},
		{"No worker consumes this queue, but the broker counts 1 consumer: 1 job waits since 2026-11-30 03:11:00 UTC.",
			[]func(facts){alone, waiting(1, 60), func(f facts) { f.Consumers = ptr(int64(1)) }}},
		{"No worker consumes this queue.", []func(facts){alone, stale, func(f facts) { f.Consumers = ptr(int64(1)) }}},
		{"1 job waits since 2026-11-30 03:11:00 UTC.", []func(facts){alone, waiting(1, 60), func(f facts) { f.External = true }}},
		{"All its workers are quiet or stopping and take no new jobs: 2 jobs wait, the oldest since 2026-11-30 03:11:00 UTC.",
			[]func(facts){waiting(2, 60), func(f facts) { f.Quiet = f.Workers }}},
		{"The number of waiting jobs is not known: counting them took too long.", []func(facts){func(f facts) { f.Waiting = nil }}},

		{"Paused since 2026-11-30 03:11:00 UTC by anna: 2 jobs wait, the oldest since 2026-11-30 03:11:30 UTC. " +
			"Jobs that the broker already has are still processed.", []func(facts){paused, alone, waiting(2, 30)}},
		{"Paused since 2026-11-30 03:11:00 UTC by anna: new jobs wait until it is resumed.", []func(facts){paused}},
		{"The broker does not have this queue now. 1 job waits since 2026-11-30 03:11:00 UTC.",
			[]func(facts){waiting(1, 60), func(f facts) { f.Gone = true }}},
		{"The broker reports this queue as down: it may not deliver messages.", []func(facts){func(f facts) { f.State = "down" }}},
		{"No jobs waiting.", []func(facts){stale, func(f facts) { f.State = "down" }}},

		{"No messages waiting: 2/s in and 2/s out.", []func(facts){foreign, rates(2, 2)}},
		{"No messages waiting, and no consumers.", []func(facts){alone, foreign}},
		{"Nothing consumes this queue: 7 messages wait.", []func(facts){alone, waiting(7, 60), foreign}},
		{"7 messages wait; 2/s in and 2/s out.", []func(facts){waiting(7, 60), foreign, rates(2, 2)}},
		{"Falling behind: 1 message waits; 2/s in and 1/s out.", []func(facts){waiting(1, 60), foreign, rates(2, 1), growing}},
		{"1 message waits for the scheduler, which takes the dead letters from here.",
			[]func(facts){waiting(1, 60), foreign, func(f facts) { f.Dead = true }}},
		{"No scheduler takes the dead letters from here: 1 message waits.",
			[]func(facts){alone, waiting(1, 60), foreign, func(f facts) { f.Dead = true }}},
		{"Its state is not known: the broker has not been asked in the last seconds, or did not say.", []func(facts){foreign, stale}},
	} {
		f := explain.QueueFacts{Own: true, Fresh: true, Ready: ptr(int64(0)), Consumers: ptr(int64(2)), Waiting: ptr(jobs.Count(0)),
			Around: jobs.Around{Known: true, Workers: 2, Slots: 4, Now: now}}
		for _, change := range c.when {
			change(&f)
		}
		require.Equal(t, c.say, explain.OfQueue(f).String())
	}
}

func TestExplain_LinksTheJobsAndTheWorkersOfAQueue(t *testing.T) {
	t.Parallel()
	f := explain.QueueFacts{Own: true, Waiting: ptr(jobs.Count(3)), Around: jobs.Around{Known: true, Workers: 1, Quiet: 1, Now: time.Now()}}
	names := map[explain.Name]string{}
	for _, p := range explain.OfQueue(f) {
		names[p.Name] += p.Text
	}
	require.Equal(t, "3 jobs", names[explain.QueuedJobs])
	require.Equal(t, "All its workers", names[explain.Workers])
}
