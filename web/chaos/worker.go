//go:build unix

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren"
	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store/outbox"
)

// Order is an order whose effects the ledger checks: exactly one if it was committed.
type Order struct {
	ID     uuid.UUID `json:"id"`
	Millis int       `json:"millis"` // how long it takes
}

// Kind is jobs.Args'.
func (Order) Kind() string { return "chaos.order" }

// PlainOrder is an order whose handler does not use CompleteTx: it has at least
// one effect, and at most one for each of its runs.
type PlainOrder Order

// Kind is jobs.Args'.
func (PlainOrder) Kind() string { return "chaos.plain-order" }

// Crash points of an application.
const (
	crashOrderCommitted engine.CrashPoint = "order-committed"
	crashInHandler      engine.CrashPoint = "in-handler"
	crashBeforeCommit   engine.CrashPoint = "before-commit" // the job's row is locked by the handler's transaction
)

// work runs a worker process, as an application has it.
func work(ctx context.Context, log *slog.Logger) error {
	url := os.Getenv("DATABASE_URL")
	db, err := sql.Open("pgx", url)
	if err != nil {
		return fmt.Errorf("open the database of the orders: %w", err)
	}
	defer func() { _ = db.Close() }()
	db.SetMaxIdleConns(2 * concurrency) // each handler, and the ends of runs: reconnecting costs more than the work
	clock, err := askClock(ctx, db)
	if err != nil {
		return err
	}
	runs := &runLog{db: db, clock: clock, ctx: ctx}
	defer runs.ending.Wait()
	sh := shop{db, runs, log}
	client, err := warren.Open(warren.Config{DatabaseURL: url, BrokerURL: os.Getenv("AMQP_URL"),
		ManagementURL: os.Getenv("RABBITMQ_MANAGEMENT_URL"),
		Roles:         []warren.Role{warren.RoleWorker}, Queues: warren.Queues{os.Getenv("CHAOS_QUEUE"): {}},
		Concurrency: concurrency, Prefetch: 4 * concurrency, Log: log}, jobs.Handle(sh.fulfil), jobs.Handle(sh.fulfilPlain))
	if err != nil {
		return err
	}
	defer client.Close()
	return client.Run(ctx)
}

const concurrency = 10

func processName(pid int) string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return fmt.Sprintf("%s/%d", host, pid)
}

// sleep waits for d and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// shop is the application: its orders and their effects.
type shop struct {
	db   *sql.DB
	runs *runLog
	log  *slog.Logger
}

// fulfil writes the effect of an order and completes the job in one transaction.
func (s shop) fulfil(ctx context.Context, run *jobs.Run, o Order) error {
	return s.handle(ctx, run, o, s.write)
}

// fulfilPlain writes the effect of an order. The worker completes the job afterwards.
func (s shop) fulfilPlain(ctx context.Context, run *jobs.Run, o PlainOrder) error {
	return s.handle(ctx, run, Order(o), s.writePlain)
}

// handle works on an order and writes its effect. It retries while the database is away: the
// handler never fails by itself.
func (s shop) handle(ctx context.Context, run *jobs.Run, o Order, write func(context.Context, *jobs.Run, effect) error) error {
	return s.runs.record(ctx, run, func(id uuid.UUID) error {
		all := time.Duration(o.Millis) * time.Millisecond
		e := effect{run: id, order: o.ID, takes: min(all/2, time.Second)}
		if !sleep(ctx, all-e.takes) {
			return context.Cause(ctx)
		}
		for {
			err := write(ctx, run, e)
			if err == nil || errors.Is(err, jobs.ErrStale) || !sleep(ctx, 200*time.Millisecond) {
				return err
			}
			s.log.Warn("write an effect: trying again", "job", run.ID, "error", err)
		}
	})
}

// effect is the effect that a run writes.
type effect struct {
	run, order uuid.UUID
	takes      time.Duration // half of the work, up to a second: the rest comes before
}

const (
	writeTimeout = 5 * time.Second
	// writeEffect writes a plain effect once for each run, so that the handler may retry it.
	writeEffect = `INSERT INTO effects (run_id, order_id, job_id, lease, worker, plain) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT DO NOTHING`
)

func (s shop) write(ctx context.Context, run *jobs.Run, e effect) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, writeEffect, e.run, e.order, run.ID, run.Lease, processName(os.Getpid()), false); err != nil {
		return err
	}
	sleep(ctx, e.takes)
	engine.CrashAt(crashInHandler)
	if err := outbox.CompleteTx(ctx, outbox.SQL(tx), run); err != nil {
		return err
	}
	engine.CrashAt(crashBeforeCommit)
	return tx.Commit()
}

func (s shop) writePlain(ctx context.Context, run *jobs.Run, e effect) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	sleep(ctx, e.takes)
	engine.CrashAt(crashInHandler)
	_, err := s.db.ExecContext(ctx, writeEffect, e.run, e.order, run.ID, run.Lease, processName(os.Getpid()), true)
	return err
}
