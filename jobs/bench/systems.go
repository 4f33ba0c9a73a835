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

// system is one of those that are compared, on a fresh place.
type system interface {
	// Enqueue adds jobs in the caller's transaction.
	Enqueue(ctx context.Context, tx pgx.Tx, list []orderArgs) error
	// Fill adds jobs as fast as the system can, in a transaction of its own.
	Fill(ctx context.Context, list []orderArgs) error
	// Start starts all that it takes to work on jobs.
	Start(ctx context.Context) error
	// Stop ends it in good order, when every job that ran is settled on all sides.
	Stop(ctx context.Context) error
	// Close frees the rest.
	Close()
	// Acknowledges says whether the clock goes on until Stop has returned, as acks follow the last completion.
	Acknowledges() bool
	// Table has the jobs, with these states before their end.
	Table() string
	Unfinished() string
}

// orderArgs is what a job of either system carries.
type orderArgs struct {
	Order   int64  `json:"order"`
	Payload string `json:"payload,omitempty"`
}

// Kind is the name of the job in both systems.
func (orderArgs) Kind() string { return "bench.order" }

// handlers is what jobs do, the same in both systems.
type handlers struct {
	ran    atomic.Int64                    // how many have run
	began  func(order int64, at time.Time) // nil where nobody asks
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

// settings are the same for both systems where both have them.
type settings struct {
	pool        int32 // connections to PostgreSQL, beside the one or two that each keeps to listen
	concurrency int   // Warren's
	prefetch    int   // Warren's
	tuned       bool  // River with its bench's settings, instead of its defaults
}

func quietLog() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// openPool is for the harness's own questions and its producers' transactions.
func openPool(ctx context.Context, url string, size int32) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = size
	return pgxpool.NewWithConfig(ctx, cfg)
}
