package store

import (
	"context"
	"time"
)

// The statements whose plans are tested.
var (
	DueSQL    = dueSQL
	OldestSQL = oldestSQL
	GoneSQL   = goneSQL
	LostOnes  = lostOnes
	SweepJobs = sweepJobs
)

// Looks knows where looks begin.
type Looks struct{ scanStarts }

// At is what looks.at gives, of moments at second and with the id; it says where a look begins and how far it may conclude.
func (l *Looks) At(second int, id int64, oldest, own uint64) (from, settled int64) {
	g := l.at(position{id, time.Unix(int64(second), 0)}, time.Unix(1, 0), oldest, own)
	_ = l.sawOutbox(g, 0)
	return g.outbox, g.final.id
}

// Restarted is At behind a server that was started anew.
func (l *Looks) Restarted(second int) (from, settled int64) {
	g := l.at(position{0, time.Unix(int64(second), 0)}, time.Unix(int64(second), 0), 1, 1)
	return g.outbox, g.final.id
}

// Ground says where looks begin now.
func (s *Store) Ground(ctx context.Context) (outbox int64, queued map[string]time.Time, err error) {
	g, err := s.scanStart(ctx, 0)
	return g.outbox, g.queued, err
}
