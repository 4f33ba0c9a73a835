package main

import (
	"context"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// system is an entrant on a fresh place.
type system interface {
	// Enqueue adds jobs in the caller's transaction.
	Enqueue(ctx context.Context, tx pgx.Tx, list []orderArgs) error
	// Fill adds jobs as fast as the system can, in a transaction of its own.
	Fill(ctx context.Context, list []orderArgs) error
	// Start starts everything that is needed to work jobs.
	Start(ctx context.Context) error
	// Stop stops the system cleanly: every job that ran is completed and acknowledged when it returns.
	Stop(ctx context.Context) error
	// Close releases all other resources.
	Close()
	// Acknowledges reports whether the clock runs until Stop has returned, because acks follow the last completion.
	Acknowledges() bool
	// Table returns the table of jobs, Unfinished the SQL list of the states before their end; "" without a table.
	Table() string
	Unfinished() string
}

// orderArgs are the args of a job in every system.
type orderArgs struct {
	Order   int64  `json:"order"`
	Payload string `json:"payload,omitempty"`
}

// Kind returns the kind of the job in every system.
func (orderArgs) Kind() string { return "bench.order" }

// handlers is the work that jobs do, which is the same in every system.
type handlers struct {
	ran    atomic.Int64                    // handlers that have run
	began  func(order int64, at time.Time) // called at the start of each handler; may be nil
	effect bool                            // each writes a row in the transaction of its completion …
	pool   *pgxpool.Pool                   // … on a connection of the application's own pool
}

// run is the handler; complete completes the job in the transaction of its effect.
func (h *handlers) run(ctx context.Context, args orderArgs, complete func(tx pgx.Tx) error) error {
	if h.began != nil {
		h.began(args.Order, time.Now())
	}
	defer h.ran.Add(1)
	if !h.effect {
		return nil
	}
	return pgx.BeginFunc(ctx, h.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO effects (order_id) VALUES ($1)`, args.Order); err != nil {
			return err
		}
		return complete(tx)
	})
}

// settings are the same for all systems that have them.
type settings struct {
	pool        int32 // connections to PostgreSQL, besides the one or two that each system keeps for LISTEN
	concurrency int   // Warren's
	prefetch    int   // Warren's
	tuned       bool  // River with the settings of its own benchmark, instead of its defaults
}

func quietLog() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// openPool opens a pool of at most size connections.
func openPool(ctx context.Context, url string, size int32) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = size
	return pgxpool.NewWithConfig(ctx, cfg)
}
