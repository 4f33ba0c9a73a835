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
	nearScan glance
	fullScan glance
}

// glance is when a claim last looked back, and how long that took.
type glance struct {
	at   time.Time
	took time.Duration
}

const (
	scanNear  = 20 * time.Millisecond // at least between looks at the last seconds: rows that were committed out of order
	scanFull  = time.Second           // and at all: those that took seconds to commit, and ended backoffs
	scanShare = 50                    // each look is at most this part of the time …
	scanRare  = 15 * time.Second      // … but not less often: a slow answer may have had another reason
	scanOld   = 2 * time.Second       // after this a row counts as near no more
)

func (l *glance) due(now time.Time, apart time.Duration) bool {
	if now.Sub(l.at) < min(max(apart, scanShare*l.took), scanRare) {
		return false
	}
	*l = glance{at: now}
	return true
}

// from is where the next claim starts at the latest; reached is how far claims have come.
func (s *scan) from(now time.Time, reached int64) int64 {
	switch {
	case s.fullScan.due(now, scanFull):
		s.reached(now, reached)
		return 0
	case s.near > 0 && s.nearScan.due(now, scanNear):
		return s.near
	}
	return math.MaxInt64
}

// took says how long a claim that started there has taken.
func (s *scan) took(from int64, d time.Duration) {
	switch from {
	case 0:
		s.fullScan.took += d
	case s.near:
		s.nearScan.took += d
	}
}

// soon has the next claim look at the last seconds.
func (s *scan) soon() { s.nearScan = glance{} }

// reached learns how far claims have come, of this relay or another.
func (s *scan) reached(now time.Time, claimed int64) {
	if now.Sub(s.lastAt) >= scanOld {
		s.near, s.last, s.lastAt = s.last, max(s.last, claimed), now
	}
}
