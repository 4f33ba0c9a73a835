package jobs

import (
	"math"
	"time"
)

// scan decides where a claim of outbox rows starts. Mostly that is where the
// last one ended: what lies below is gone, and reading over it would cost the
// more the longer somebody's transaction keeps PostgreSQL from forgetting it
// (engine.md, "Relay"). But ids are given out before they are committed, so now
// and then a claim looks back: often over the last seconds, seldom over all.
type scan struct {
	near     int64 // claimed some seconds ago
	last     int64 // what is near next
	lastAt   time.Time
	nearScan time.Time
	fullScan time.Time
	fullTook time.Duration
}

const (
	scanNear  = 20 * time.Millisecond // rows that were committed out of order
	scanFull  = time.Second           // those that took seconds, and ended backoffs, at least …
	scanShare = 50                    // … and at most this part of the time …
	scanRare  = 15 * time.Second      // … but not less often: a slow answer may have had another reason
	scanOld   = 2 * time.Second       // after this a row counts as near no more
)

// from is where the next claim starts at the latest; reached is how far claims have come.
func (s *scan) from(now time.Time, reached int64) int64 {
	switch {
	case now.Sub(s.fullScan) > min(max(scanFull, scanShare*s.fullTook), scanRare):
		s.fullScan, s.fullTook = now, 0
		s.reached(now, reached)
		return 0
	case now.Sub(s.nearScan) > scanNear:
		s.nearScan = now
		return s.near
	}
	return math.MaxInt64
}

// took says how long the claim that started there has taken.
func (s *scan) took(from int64, d time.Duration) {
	if from == 0 {
		s.fullTook = max(s.fullTook, d)
	}
}

// reached learns how far claims have come, of this relay or another.
func (s *scan) reached(now time.Time, claimed int64) {
	if now.Sub(s.lastAt) >= scanOld {
		s.near, s.last, s.lastAt = s.last, max(s.last, claimed), now
	}
}
