package sim_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// rule is an invariant that holds after every step of any schedule.
type rule string

// The rules. docs/guarantees.md names them as proofs.
const (
	oneRun         = rule("one-run-at-a-time")          // of a job, in workers that are alive and have not given theirs up
	oneRunPerLease = rule("one-run-per-lease")          // a claim starts one run
	moves          = rule("allowed-moves")              // of a job's state, and no lease is skipped
	endedStays     = rule("ended-stays-ended")          // a late result, or a late message, changes nothing
	nextDispatch   = rule("queued-is-a-new-dispatch")   // whatever queues a job
	neverBack      = rule("numbers-never-fall")         // dispatch, lease, and the rows of runs
	leavesRow      = rule("every-run-leaves-a-row")     // when it ends otherwise than by completing
	confirmedFirst = rule("confirmed-before-removed")   // from the outbox
	noHoldUp       = rule("a-held-row-delays-no-other") // statements of the engine do not wait for it
	noSpin         = rule("no-loop-without-a-wait")
	allEnds        = rule("everything-ends")          // once all is well, and nothing is left in outbox and broker
	pageShows      = rule("the-page-shows-every-run") // once, with the outcome that it had
	noHoles        = rule("attempts-have-no-holes")
	oneEffect      = rule("one-effect-per-completion") // with CompleteTx
	recordedOnce   = rule("deliveries-are-recorded-once")
	simulator      = rule("the-simulator-works")
)

// rules counts how often each rule of the engine was met, by name.
type rules struct {
	mu    sync.Mutex
	times map[string]int
}

// meets lists the rules that a run of the simulator must meet, each with the verb that meets it most.
var meets = map[string]string{
	"delivery: claimed in a batch":          "full queue",
	"delivery: left by a batch":             "send twice",
	"delivery: claim":                       "frozen outage",
	"delivery: take over":                   "crash loop",
	"delivery: stale":                       "send twice",
	"delivery: wait for the holder":         "second message",
	"delivery: unknown":                     "unknown jobs",
	"delivery: ended instead of taken over": "cancel and crash",
	"delivery: of a run of this process":    "second message",
	"result: counts":                        "full queue",
	"result: late":                          "late results",
	"result: row held":                      "held rows",
	"CompleteTx: committed":                 "full queue",
	"CompleteTx: not committed":             "frozen outage",
	"outcome: completed":                    "full queue",
	"outcome: failed":                       "full queue",
	"outcome: cancelled":                    "full queue",
	"outcome: released":                     "deploy",
	"outcome: snoozed":                      "full queue",
	"relay: confirmed":                      "full queue",
	"relay: confirmed late":                 "full queue",
	"relay: refused":                        "full queue",
	"scheduler: due":                        "full queue",
	"scheduler: holder gone":                "frozen outage",
	"dead letter: never started":            "dead letters",
	"dead letter: started, older or ended":  "dead letters",
	"reconciler: empty":                     "lost messages",
	"reconciler: overtaken":                 "lost messages",
	"reconciler: gone":                      "lost messages",
}

// known lists the rules of meets, in order.
var known = slices.Sorted(maps.Keys(meets))

func (r *rules) add(name string, n int) {
	if n == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.times == nil {
		r.times = map[string]int{}
	}
	r.times[name] += n
}

// under lists the known rules that were met less than least times.
func (r *rules) under(least int) (list []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range known {
		if r.times[name] < least {
			list = append(list, name)
		}
	}
	return list
}

// least lists the n known rules that were met least often.
func (r *rules) least(n int) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := slices.SortedStableFunc(slices.Values(known), func(a, b string) int { return cmp.Compare(r.times[a], r.times[b]) })
	return list[:n]
}

// table lists the rules and how often each was met.
func (r *rules) table() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := slices.Clone(known)
	for name := range r.times {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "%9d  %s\n", r.times[name], name)
	}
	return b.String()
}
