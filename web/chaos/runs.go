//go:build unix

package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
)

// databaseClock is this process's copy of the database's clock: read once, and advanced by the
// monotonic clock. The statements that record runs cannot take the time themselves, as a statement
// may hang for a minute in a failing network and be executed then. And the clock of this process
// may be off.
type databaseClock struct{ database, here time.Time }

func (c databaseClock) now() time.Time { return c.database.Add(time.Since(c.here)) }

// askClock asks until the database has answered ten times, and uses the fastest answer.
func askClock(ctx context.Context, db *sql.DB) (clock databaseClock, err error) {
	fastest := time.Hour
	for answers := 0; answers < 10; {
		var c databaseClock
		one, cancel := context.WithTimeout(ctx, writeTimeout)
		asked := time.Now()
		err := db.QueryRowContext(one, `SELECT clock_timestamp()`).Scan(&c.database)
		took := time.Since(asked)
		cancel()
		if err != nil {
			if !sleep(ctx, 200*time.Millisecond) {
				return clock, fmt.Errorf("ask for the database's clock: %w", err)
			}
			continue
		}
		answers++
		if took < fastest {
			c.here = asked.Add(took / 2)
			clock, fastest = c, took
		}
	}
	return clock, nil
}

// runLog records in the ledger when each run started and ended.
type runLog struct {
	db     *sql.DB
	clock  databaseClock
	ctx    context.Context // of the process
	ending sync.WaitGroup  // ends that are being written
}

// record calls the handler between the start and the end of a run. The start is
// written before the handler does anything, so that a run whose process is killed
// is known. The end is when the handler returned or its context ended, whichever
// was first; it is written in the background, also when the database comes back
// only later, so that the handler does not keep its slot.
func (l *runLog) record(ctx context.Context, run *jobs.Run, handler func(id uuid.UUID) error) (err error) {
	r := recordedRun{id: uuid.Must(uuid.NewV7()), job: run.ID, lease: run.Lease, started: l.clock.now()}
	end := sync.OnceFunc(func() { r.ended = l.clock.now() })
	stop := context.AfterFunc(ctx, end)
	defer func() {
		stop()
		end()
		r.finished = err == nil
		l.ending.Go(func() { l.writeEnd(r) })
	}()
	for l.writeStart(ctx, r) != nil {
		if !sleep(ctx, 200*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
	return handler(r.id)
}

// recordedRun is one call of a handler.
type recordedRun struct {
	id, job        uuid.UUID
	lease          int
	started, ended time.Time
	finished       bool // the handler returned no error
}

func (l *runLog) writeStart(ctx context.Context, r recordedRun) error {
	return l.exec(ctx, `INSERT INTO runs (id, job_id, lease, worker, started_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
		r.id, r.job, r.lease, processName(os.Getpid()), r.started)
}

// writeEnd retries until the end is written; a process that stops tries once more. It writes the
// start as well, as the statement that was to write it may still hang somewhere.
func (l *runLog) writeEnd(r recordedRun) {
	for l.exec(context.WithoutCancel(l.ctx), `
		INSERT INTO runs (id, job_id, lease, worker, started_at, ended_at, finished) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (id) DO UPDATE SET ended_at = excluded.ended_at, finished = excluded.finished`,
		r.id, r.job, r.lease, processName(os.Getpid()), r.started, r.ended, r.finished) != nil {
		if !sleep(l.ctx, 200*time.Millisecond) {
			return
		}
	}
}

func (l *runLog) exec(ctx context.Context, query string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	_, err := l.db.ExecContext(ctx, query, args...)
	return err
}
