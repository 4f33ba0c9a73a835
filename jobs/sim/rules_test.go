package sim_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// rules counts how often each rule of the engine was met, by name.
type rules struct {
	mu    sync.Mutex
	times map[string]int
}

// known are the rules that a run must meet.
var known = []string{
	"delivery: claimed in a batch", "delivery: left by a batch", "delivery: claim", "delivery: take over", "delivery: stale",
	"delivery: wait for the holder", "delivery: unknown", "delivery: ended instead of taken over", "delivery: of a run of this process",
	"result: counts", "result: late", "result: row held", "CompleteTx: committed", "CompleteTx: not committed",
	"outcome: completed", "outcome: failed", "outcome: cancelled", "outcome: released", "outcome: snoozed",
	"relay: confirmed", "relay: confirmed late", "relay: refused",
	"scheduler: due", "scheduler: holder gone", "dead letter: never started", "dead letter: started, older or ended",
	"reconciler: empty", "reconciler: overtaken", "reconciler: gone",
}

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
