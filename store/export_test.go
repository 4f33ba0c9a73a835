package store

import (
	"context"
	"io"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"github.com/warrenjobs/warren/jobs"
)

// The statements whose plans are tested.
var (
	DueSQL    = dueSQL
	OldestSQL = oldestSQL
	GoneSQL   = goneSQL
	LostOnes  = lostOnes("$2", "$3", repairs)
	DeadSQL   = deadSQL
	OpenSQL   = openSQL
	SweepJobs = sweepJobs
)

// Writable is the job that stands for a message which cannot be run.
var Writable = writable

// ParseURL parses DATABASE_URL.
var ParseURL = parseURL

// ParseKeys parses a cursor as the key of each list.
func ParseKeys(c jobs.Cursor) []error {
	_, _, err1 := keyOf[int64](c)
	_, _, err2 := keyOf[uuid.UUID](c)
	_, _, err3 := keyOf[timeKey](c)
	_, _, err4 := keyOf[queueKey](c)
	return []error{err1, err2, err3, err4}
}

// JobsSQL returns the statement that reads the first page of a list.
func (s *Store) JobsSQL(ctx context.Context, f jobs.Filter) string {
	q, err := s.jobsFrom(ctx, f, jobs.Cursor{}, 50)
	if err != nil {
		return err.Error()
	}
	stmt := q.Session(&gorm.Session{DryRun: true}).Find(&[]map[string]any{}).Statement
	return q.Explain(stmt.SQL.String(), stmt.Vars...)
}

// ScanStarts exposes scanStarts.
type ScanStarts struct{ scanStarts }

// At calls scanStarts.at for a position at that second and id. It returns the id from which scans
// start, and the id up to which an empty range stays empty.
func (l *ScanStarts) At(second int, id int64, oldest, own uint64) (from, final int64) {
	g := l.at(position{id, time.Unix(int64(second), 0)}, time.Unix(1, 0), oldest, own)
	_ = l.sawOutbox(g, 0)
	return g.outbox, g.final.id
}

// Restarted is At after a restart of the server.
func (l *ScanStarts) Restarted(second int) (from, final int64) {
	g := l.at(position{0, time.Unix(int64(second), 0)}, time.Unix(int64(second), 0), 1, 1)
	return g.outbox, g.final.id
}

// ScanStart returns where scans start now.
func (s *Store) ScanStart(ctx context.Context) (outbox int64, queued map[string]time.Time, err error) {
	g, err := s.scanStart(ctx, 0)
	return g.outbox, g.queued, err
}

// OpenDocumentBy is OpenDocument with that many bytes at once.
func (s *Store) OpenDocumentBy(ctx context.Context, id uuid.UUID, part Document, most int) io.Reader {
	return &documentReader{ctx: ctx, store: s, id: id, part: part, most: most, next: 1}
}
