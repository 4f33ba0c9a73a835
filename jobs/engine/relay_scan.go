package engine

import (
	"context"
	"math"
	"time"
)

// scan decides where a claim of outbox rows starts. Mostly that is where the
// last one ended: what lies below is gone, and reading over it would cost the
// more the longer somebody's transaction keeps PostgreSQL from forgetting it
// (engine.md, "Relay"). But ids are given out before they are committed, so often
// a claim looks back over the last seconds, and seldom, aside from the claims
// that nobody may hold up, something looks over all. For one goroutine.
type scan struct {
	near   int64 // claimed some seconds ago
	last   int64 // what is near next
	lastAt time.Time
	look   lastScan
}

// lastScan is when something last looked back, and how long that took.
type lastScan struct {
	at   time.Time
	took time.Duration
}

const (
	scanNear = 20 * time.Millisecond // at least between looks at the last seconds: rows that were committed out of order
	scanFull = time.Second           // and at all: those that took seconds to commit, and ended backoffs
	scanRare = 15 * time.Second      // at most: a slow answer may have had another reason
	scanOld  = 2 * time.Second       // after this a row counts as near no more
)

// wait is how long after a look the next one comes, if they are at least apart.
func (l lastScan) wait(apart time.Duration) time.Duration {
	return Spaced(apart, l.took, scanRare)
}

// from is where the next claim starts at the latest; reached is how far claims have come.
func (s *scan) from(now time.Time, reached int64) int64 {
	s.reached(now, reached)
	if s.near == 0 || now.Sub(s.look.at) < s.look.wait(scanNear) {
		return math.MaxInt64
	}
	s.look = lastScan{at: now}
	return s.near
}

// took says how long a claim that started there has taken.
func (s *scan) took(from int64, d time.Duration) {
	if from == s.near {
		s.look.took += d
	}
}

// soon has the next claim look at the last seconds.
func (s *scan) soon() { s.look = lastScan{} }

// reached learns how far claims have come, of this relay or another.
func (s *scan) reached(now time.Time, claimed int64) {
	if now.Sub(s.lastAt) >= scanOld {
		s.near, s.last, s.lastAt = s.last, max(s.last, claimed), now
	}
}

// rescan looks over all rows that claims have passed, and sends the next claim
// to the first that is due. A row may be passed that was committed late, or waits
// for its backoff.
func (r *Relay) rescan(ctx context.Context) {
	var look lastScan
	for sleep(ctx, look.wait(scanFull)) {
		began := time.Now()
		id, err := r.Outbox.Overlooked(ctx, OutboxPick{Without: r.waiting()}, r.passed.Load()+1)
		if err != nil {
			r.Log.Debug("relay: look back", "error", err) // the claims say what is wrong
			look = lastScan{}
			continue
		}
		if id > 0 {
			r.overlooked.Store(id)
		}
		look.took = time.Since(began)
	}
}

// from is where the next claims start at the latest.
func (r *Relay) from(now time.Time) int64 {
	from := r.scan.from(now, r.reached())
	passed := r.all.after
	if r.crowded {
		passed = min(r.jobs.after, r.events.after)
	}
	r.passed.Store(passed)
	if id := r.overlooked.Swap(0); id > 0 {
		from = min(from, id-1)
	}
	return from
}
