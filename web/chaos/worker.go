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

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/rabbit"
	"github.com/warrenjobs/warren/store"
)

// Order is the work of the ledger: one effect for each that was committed.
type Order struct {
	ID     uuid.UUID `json:"id"`
	Millis int       `json:"millis"` // how long it takes
}

// Kind is jobs.Args'.
func (Order) Kind() string { return "chaos.order" }

// Crash points of an application.
const (
	crashOrderCommitted jobs.CrashPoint = "order-committed"
	crashInHandler      jobs.CrashPoint = "in-handler"
	crashBeforeCommit   jobs.CrashPoint = "before-commit" // the job's row is locked by the handler's transaction
)

// work is a worker process, wired as an application does it.
func work(ctx context.Context, log *slog.Logger) error {
	url := os.Getenv("DATABASE_URL")
	s, err := store.Open(ctx, url)
	if err != nil {
		return err
	}
	defer s.Close()
	db, err := sql.Open("pgx", url)
	if err != nil {
		return fmt.Errorf("open the database of the orders: %w", err)
	}
	defer func() { _ = db.Close() }()
	registry := jobs.NewRegistry()
	jobs.Register(registry, shop{db, log}.fulfil)
	broker := &rabbit.Broker{URL: os.Getenv("AMQP_URL"), Names: rabbit.Names{Prefix: "warren"}, Process: processName(os.Getpid()), Log: log}
	if broker.Deployment, err = deployment(ctx, s); err != nil {
		return err
	}
	info := store.SessionInfo{Process: uuid.Must(uuid.NewV7()), Name: broker.Process, Roles: []string{"worker"}, Queues: []string{jobs.QueueDefault}, Concurrency: concurrency, Prefetch: 4 * concurrency}
	w := &jobs.Worker{Store: s, Consumer: broker, Registry: registry, Deployment: broker.Deployment,
		OpenSession: func(ctx context.Context) (jobs.Session, error) {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			return s.OpenSession(ctx, info)
		},
		Queues: info.Queues, Concurrency: concurrency, Prefetch: 4 * concurrency, Announce: func(string, ...string) {}, Log: log}
	return w.Run(ctx)
}

const concurrency = 10

func processName(pid int) string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return fmt.Sprintf("%s/%d", host, pid)
}

// deployment asks until the database answers.
func deployment(ctx context.Context, s *store.Store) (string, error) {
	for {
		id, err := s.DeploymentID(ctx)
		if err == nil || ctx.Err() != nil {
			return id, err
		}
		sleep(ctx, 200*time.Millisecond)
	}
}

// sleep waits for d and says whether ctx is still alive.
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
	db  *sql.DB
	log *slog.Logger
}

// fulfil writes the effect of an order and completes the job in one transaction.
// It tries again while the database is away: the handler never fails by itself.
func (s shop) fulfil(ctx context.Context, run *jobs.Run, o Order) error {
	if !sleep(ctx, time.Duration(o.Millis)*time.Millisecond/2) {
		return context.Cause(ctx)
	}
	for {
		err := s.write(ctx, run, o)
		if err == nil || errors.Is(err, jobs.ErrStale) || !sleep(ctx, 200*time.Millisecond) {
			return err
		}
		s.log.Warn("write an effect: trying again", "job", run.ID, "error", err)
	}
}

const writeTimeout = 5 * time.Second

func (s shop) write(ctx context.Context, run *jobs.Run, o Order) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	_, err = tx.ExecContext(ctx, `INSERT INTO effects (order_id, job_id, lease, worker) VALUES ($1, $2, $3, $4)`, o.ID, run.ID, run.Lease, processName(os.Getpid()))
	if err != nil {
		return err
	}
	sleep(ctx, time.Duration(o.Millis)*time.Millisecond/2)
	jobs.CrashAt(crashInHandler)
	if err := store.CompleteTx(ctx, tx, run); err != nil {
		return err
	}
	jobs.CrashAt(crashBeforeCommit)
	return tx.Commit()
}
