package engine

import (
	"context"
	"math"
	"time"
)

// scan decides where a claim of outbox rows starts. Usually that is the cursor, where
// the last claim ended: the rows below it have been removed, but while another
// transaction holds a snapshot PostgreSQL keeps their dead versions, and reading over
// them gets slower (engine.md, "Relay"). Ids are assigned before commit, so rows can
// appear below the cursor. Recent ids are therefore rescanned often, by the claims
// themselves, and all ids every second or so by Relay.rescan. Not safe for concurrent use.
type scan struct {
	near   int64 // the cursor of some seconds ago: a rescan of recent ids starts there
	last   int64 // the next near
	lastAt time.Time
	look   lastScan
}

// lastScan is when the last rescan started and how long it took.
type lastScan struct {
	at   time.Time
	took time.Duration
}

const (
	scanNear = 20 * time.Millisecond // between rescans of recent ids, for rows that were committed out of order
	scanFull = time.Second           // between rescans of all ids, for slow commits and backoffs that have ended
	scanRare = 15 * time.Second      // at most between rescans, however slow the last one was
	scanOld  = 2 * time.Second       // the age at which an id is no longer recent
)

// wait is the pause after a rescan, at least apart.
func (l lastScan) wait(apart time.Duration) time.Duration {
	return Spaced(apart, l.took, scanRare)
}

// from is the id at which the next claim starts at the latest; reached is the cursor.
func (s *scan) from(now time.Time, reached int64) int64 {
	s.reached(now, reached)
	if s.near == 0 || now.Sub(s.look.at) < s.look.wait(scanNear) {
		return math.MaxInt64
	}
	s.look = lastScan{at: now}
	return s.near
}

// took records the duration of a claim that started at from.
func (s *scan) took(from int64, d time.Duration) {
	if from == s.near {
		s.look.took += d
	}
}

// soon makes the next claim rescan recent ids.
func (s *scan) soon() { s.look = lastScan{} }

// reached moves near to where the cursor, this relay's or another's, was at least scanOld ago.
func (s *scan) reached(now time.Time, claimed int64) {
	if now.Sub(s.lastAt) >= scanOld {
		s.near, s.last, s.lastAt = s.last, max(s.last, claimed), now
	}
}

// rescan looks for due rows below the cursor that were committed late or whose backoff has ended,
// and makes the next claim start at the first of them.
func (r *Relay) rescan(ctx context.Context) {
	var look lastScan
	for sleep(ctx, look.wait(scanFull)) {
		began := time.Now()
		id, err := r.Outbox.Overlooked(ctx, OutboxPick{Without: r.waiting()}, r.passed.Load()+1)
		if err != nil {
			r.Log.Debug("relay: rescan", "error", err) // the claims report the problem
			look = lastScan{}
			continue
		}
		if id > 0 {
			r.overlooked.Store(id)
		}
		look.took = time.Since(began)
	}
}

// from is the id at which the next claims start at the latest.
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
