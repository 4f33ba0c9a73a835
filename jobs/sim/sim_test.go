// Package sim_test runs the engine under schedules that a seed decides: the real
// worker, relay, scheduler, reconciler and store beside a real PostgreSQL, with a
// broker in memory and a clock that stands still until the schedule lets time pass.
package sim_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/store/storetest"
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(400) // time counts here, not memory
	code := m.Run()
	storetest.Stop()
	os.Exit(code)
}

const shortRun = 60 // seconds

// size returns how many lanes run side by side, each in a database of its own, and how many lists
// of turns a schedule has. In the short run some schedules should end.
func size(seconds int) (lanes, lists int) {
	if seconds <= shortRun {
		return 1, 2
	}
	return 2, 6
}

// longRun is how many seconds it takes to meet every rule often enough.
const longRun = 600

// TestSim_NoScheduleBreaksARule runs schedules for SIM_SECONDS. A failing one is
// shrunk and printed, with what happened in it.
func TestSim_NoScheduleBreaksARule(t *testing.T) {
	seconds, err := strconv.Atoi(os.Getenv("SIM_SECONDS"))
	if err != nil {
		seconds = shortRun
	}
	lanes, lists := size(seconds)
	var met rules
	var steps, schedules atomic.Int64
	var found, over atomic.Bool // by some lane: the others stop
	defer time.AfterFunc(time.Duration(seconds)*time.Second, func() { over.Store(true) }).Stop()
	t.Run("lanes", func(t *testing.T) {
		for lane := range lanes {
			t.Run(fmt.Sprint(lane), func(t *testing.T) {
				t.Parallel()
				l := newLane(t, &met)
				t.Cleanup(func() {
					if l.failed {
						t.Log(l.story)
					}
				})
				l.over = func() bool { return (found.Load() || over.Load()) && !l.failed }
				rapid.Check(t, func(rt *rapid.T) {
					if !l.failed { // rapid draws the same again from here on
						l.drawn = drawn(met.least(3))
					}
					s := drawSchedule(rt, l.drawn, lists)
					if l.over() {
						return
					}
					schedules.Add(1)
					if l.fails(t, s, &steps) {
						if !found.Swap(true) {
							l.shorten(t, s, &steps)
						}
						rt.Fatal("a rule is broken: the shortest story stands below")
					}
				})
			})
		}
	})
	t.Logf("%d schedules, %d steps\n%s", schedules.Load(), steps.Load(), met.table())
	if seconds >= longRun && !found.Load() {
		require.Empty(t, met.under(1000), "rules that were met less than 1,000 times")
	}
}

// lane is a database in which schedules are played one after the other.
type lane struct {
	url        string
	deployment string
	real       *outside
	pg         *postgres
	reader     *store.Store
	met        *rules
	drawn      []int       // verbs, see drawn
	over       func() bool // reports that no further turns are to be played

	failed   bool
	early    bool            // the rule broke before the last turn had ended
	breaking map[string]bool // schedules that were seen to break a rule
	turns    int             // of the shortest such schedule
	story    string          // of the same schedule
}

// triesToShrink is how often a shorter schedule is tried: goroutines are not scheduled
// deterministically, so a schedule does not break a rule each time.
const triesToShrink = 3

// shorten removes turns from a schedule that breaks a rule, many at a time, as long as it still
// breaks one, for -rapid.shrinktime. rapid then shrinks for as long again, but begins with single
// turns.
func (l *lane) shorten(t *testing.T, s schedule, steps *atomic.Int64) {
	most := flag.Lookup("rapid.shrinktime").Value.(flag.Getter).Get().(time.Duration)
	began := time.Now()
	for size := len(s.turns) / 2; size > 0; size /= 2 {
		for i := 0; i+size <= len(s.turns) && time.Since(began) < most; {
			shorter := s
			shorter.turns = slices.Concat(s.turns[:i], s.turns[i+size:])
			if l.fails(t, shorter, steps) {
				s = shorter
			} else {
				i += size
			}
		}
	}
}

// fails plays the schedule and reports whether it breaks a rule: a schedule that did so once always does.
func (l *lane) fails(t *testing.T, s schedule, steps *atomic.Int64) bool {
	key, tries := s.String(), 1
	if l.failed {
		tries = triesToShrink
	}
	for range tries {
		if l.breaking[key] {
			return true
		}
		n, early, story, broken := l.play(t, s)
		total := steps.Add(int64(n))
		if broken == nil {
			continue
		}
		if !l.failed {
			t.Logf("found after %d steps: %v", total, broken)
		}
		if !l.failed || len(s.turns) <= l.turns {
			l.turns, l.story = len(s.turns), fmt.Sprintf("%v\n%s\n%s", broken, s, story)
		}
		l.failed, l.breaking[key] = true, true
		l.early = early
	}
	return l.breaking[key]
}

func newLane(t *testing.T, met *rules) *lane {
	ctx := t.Context()
	plainURL := storetest.Database(t)
	pg, err := newPostgres(ctx, plainURL)
	require.NoError(t, err)
	_, err = pg.control.Exec(ctx, fakeClock)
	require.NoError(t, err)
	require.NoError(t, pg.control.Close(ctx))
	url := storetest.SearchPath(plainURL, "sim,public,pg_catalog") + "&synchronous_commit=off"
	l := &lane{url: url, real: newOutside(), met: met, breaking: map[string]bool{}}
	l.reader = storetest.Open(t, url)
	l.pg, err = newPostgres(ctx, url)
	require.NoError(t, err)
	_, err = l.pg.control.Exec(ctx, `CREATE TABLE sim.effects (job_id uuid, lease int)`)
	require.NoError(t, err)
	l.deployment, err = l.reader.DeploymentID(ctx)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = l.pg.control.Close(context.Background())
		for _, b := range l.pg.idle {
			_ = b.Close()
		}
		l.real.stop()
	})
	return l
}

const empty = `
	TRUNCATE warren.jobs, warren.outbox, warren.attempts, warren.attempt_logs, warren.deliveries, warren.drift,
		warren.sessions, warren.queue_reached, warren.deleted_jobs, warren.raw_messages, warren.inbox, warren.audit,
		warren.job_queues, sim.effects;
	UPDATE warren.relay_busy SET until = '-infinity', claimed = 0`

// play plays one schedule in a bubble and returns how many steps it took, whether it ended before
// its last turn had, its story, and which rule it broke.
func (l *lane) play(t *testing.T, s schedule) (steps int, early bool, story string, broken error) {
	if _, err := l.pg.control.Exec(context.Background(), empty); err != nil {
		return 0, true, "", err
	}
	synctest.Test(t, func(t *testing.T) {
		w := &world{url: l.url, deployment: l.deployment, real: l.real, pg: l.pg, reader: l.reader, rules: l.met, over: l.over,
			early: l.early,
			began: time.Now(), before: snapshot{}}
		w.rabbit = newRabbit(w)
		w.ledger = &ledger{w: w}
		w.play(s)
		w.end()
		steps, early, story, broken = w.steps, !w.ended, w.story(), w.violated
	})
	return steps, early, story, broken
}

// end kills everything, so that the bubble can end.
func (w *world) end() {
	w.unlock()
	for _, p := range w.procs {
		if p.alive() {
			p.kill()
		}
	}
	w.running.Wait()
	w.asked.Wait()
	for _, p := range w.procs {
		if p.db != nil {
			p.db.severAll()
		}
	}
}
