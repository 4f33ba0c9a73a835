package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// scanStarts remembers how far scans over waiting rows may skip ahead. While another
// transaction holds a snapshot, the indexes keep the dead versions of all rows that have
// left them since: hundreds of thousands after some minutes, in front of the first live
// one. A range that a scan found empty stays empty once every transaction has ended that
// could still insert into it.
//
// Scans start at the beginning while there are few dead rows, every fullScanEvery, and
// after a restart of the server.
type scanStarts struct {
	mu      sync.Mutex
	last    position
	next    position  // final once every transaction before nextXID has ended
	nextXID uint64    // 0: no next
	final   position  // no open transaction can insert before it
	started time.Time // the server's start time
	wholeAt time.Time // when scans last started at the beginning

	outbox int64                // up to this id, the outbox has no live rows except failed ones
	queued map[string]time.Time // by queue: no job that was queued until then still waits
}

// position is a place in the outbox, by id, and among the jobs that wait, by the database's clock.
type position struct {
	id int64
	at time.Time
}

// scanStart is where a scan starts.
type scanStart struct {
	known  bool // false: at the beginning
	outbox int64
	queued map[string]time.Time
	final  position // an empty range that ends before it stays empty
}

const (
	fullScanEvery = 30 * time.Minute
	scanMargin    = time.Second // an id or a time may be taken shortly before its transaction has an xid
	manyDeadRows  = 20_000      // dead rows, by the statistics
)

// scanStart returns where a scan may start, and must be called before it. claimed is an id of the
// outbox that the caller knows to have been assigned.
func (s *Store) scanStart(ctx context.Context, claimed int64) (scanStart, error) {
	var now position
	var started time.Time
	var oldest, own uint64
	err := s.pool.QueryRow(ctx, `
		SELECT clock_timestamp(), greatest($1, (SELECT claimed FROM warren.relay_busy)), pg_postmaster_start_time(),
			pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
			CASE WHEN pg_stat_get_dead_tuples('warren.jobs'::regclass) + pg_stat_get_dead_tuples('warren.outbox'::regclass) > $2 THEN
				pg_current_xact_id()::text::bigint ELSE 0 END`,
		claimed, manyDeadRows).Scan(&now.at, &now.id, &started, &oldest, &own)
	if err != nil {
		return scanStart{}, fmt.Errorf("see how far transactions have ended: %w", err)
	}
	return s.scans.at(now, started, oldest, own), nil
}

// at advances the start. All transactions before oldest have ended, and all before own have begun;
// own is 0 while there are few dead rows. (The snapshot's xmax would not do: it follows the last
// transaction that ended, not the last that began.)
func (l *scanStarts) at(now position, started time.Time, oldest, own uint64) scanStart {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !started.Equal(l.started) || l.last.at.Sub(now.at) > scanMargin {
		l.started, l.wholeAt = started, time.Time{}
		l.last, l.next, l.nextXID, l.final = now, position{}, 0, position{}
	}
	if now.at.Sub(l.wholeAt) > fullScanEvery {
		l.outbox, l.queued, l.wholeAt = 0, nil, now.at
	}
	if l.nextXID != 0 && oldest >= l.nextXID {
		l.final, l.nextXID = l.next, 0
	}
	if now.at.Sub(l.last.at) >= scanMargin {
		if l.nextXID == 0 && own != 0 {
			l.next, l.nextXID = l.last, own
		}
		l.last = now
	}
	if own == 0 {
		return scanStart{final: l.final}
	}
	return scanStart{true, l.outbox, l.queued, l.final}
}

// outboxFrom returns the id up to which the outbox has no live rows except failed ones. claimed is
// as for scanStart.
func (s *Store) outboxFrom(ctx context.Context, claimed int64) (int64, error) {
	g, err := s.scanStart(ctx, claimed)
	if err != nil || !g.known {
		return 0, err
	}
	var first int64
	err = s.pool.QueryRow(ctx, `SELECT id FROM warren.outbox WHERE id > $1 AND tries = 0 ORDER BY id LIMIT 1`, g.outbox).Scan(&first)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return 0, fmt.Errorf("find the first row of the outbox: %w", err)
	}
	return s.scans.sawOutbox(g, first), nil
}

// sawOutbox records the id of the first live row that has not failed, 0 if there is none, and
// returns the new start.
func (l *scanStarts) sawOutbox(g scanStart, first int64) int64 {
	gone := g.final.id
	if first > 0 {
		gone = min(gone, first-1)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outbox = gone
	return gone
}

// sawQueued records when the oldest waiting job of each queue was queued.
func (l *scanStarts) sawQueued(g scanStart, queues []queueWait) {
	gone := make(map[string]time.Time, len(queues))
	for _, q := range queues {
		gone[q.queue] = g.final.at
		if q.since != nil && !q.since.After(g.final.at) {
			gone[q.queue] = q.since.Add(-time.Microsecond)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queued = gone
}

// queueWait is a queue and the time since which its oldest job has waited; nil if no job waits.
type queueWait struct {
	queue string
	since *time.Time
}

// oldestSQL reads the oldest waiting job of each queue that workers have reached ($1 and $2: where
// to start), and jumps in jobs_waiting from one of the other queues to the next. Its cost grows
// with the number of queues, not of jobs.
const oldestSQL = `
WITH RECURSIVE known AS (
	SELECT r.queue, coalesce(f.after, '-infinity') AS after FROM warren.queue_reached r LEFT
		JOIN unnest($1::text[], $2::timestamptz[]) f (queue, after) USING (queue)
), gaps AS (
	SELECT queue AS after, lead(queue) OVER (ORDER BY queue) AS before FROM (SELECT queue FROM known UNION ALL VALUES ('')) k
), others AS (
	SELECT gaps.before, o.queue, o.queued_at FROM gaps CROSS JOIN LATERAL (` + oldestBetween + `) o
	UNION ALL
	SELECT gaps.before, o.queue, o.queued_at FROM others gaps (before, after) CROSS JOIN LATERAL (` + oldestBetween + `) o
)
SELECT queue, queued_at FROM others
UNION ALL
SELECT queue, (SELECT queued_at FROM warren.jobs j WHERE state = 'queued' AND j.queue = known.queue AND queued_at > known.after
	ORDER BY queued_at LIMIT 1) FROM known`

// oldestBetween selects the oldest job of the first queue in a gap; the last gap has no end.
const oldestBetween = `
		(SELECT queue, queued_at FROM warren.jobs WHERE state = 'queued' AND queue > gaps.after AND queue < gaps.before
			ORDER BY queue, queued_at LIMIT 1)
		UNION ALL
		(SELECT queue, queued_at FROM warren.jobs WHERE state = 'queued' AND queue > gaps.after AND gaps.before IS NULL
			ORDER BY queue, queued_at LIMIT 1)`

// oldestQueued lists the queues that have or had jobs, each with the time since which its oldest
// job has waited.
func (s *Store) oldestQueued(ctx context.Context) ([]queueWait, error) {
	g, err := s.scanStart(ctx, 0)
	if err != nil {
		return nil, err
	}
	names, after := make([]string, 0, len(g.queued)), make([]time.Time, 0, len(g.queued))
	for name, at := range g.queued {
		names, after = append(names, name), append(after, at)
	}
	var list []queueWait
	err = s.byIndex(ctx, func(rows pgx.Rows) (err error) {
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (q queueWait, err error) {
			return q, row.Scan(&q.queue, &q.since)
		})
		return err
	}, oldestSQL, names, after)
	if err != nil {
		return nil, fmt.Errorf("find the oldest jobs that wait: %w", err)
	}
	s.scans.sawQueued(g, list)
	return list, nil
}
