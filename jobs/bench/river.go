package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// peer is River in one process.
type peer struct {
	pool   *pgxpool.Pool
	client *river.Client[pgx.Tx]
}

type peerWorker struct {
	river.WorkerDefaults[orderArgs]
	h *handlers
}

// Work does the same as Warren's handler.
func (w *peerWorker) Work(ctx context.Context, job *river.Job[orderArgs]) error {
	return w.h.run(ctx, job.Args, func(tx pgx.Tx) error {
		_, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
		return err
	})
}

func openRiver(ctx context.Context, p place, h *handlers, set settings) (system, error) {
	pool, err := openPool(ctx, p.database, set.pool)
	if err != nil {
		return nil, err
	}
	driver := riverpgxv5.New(pool)
	migrator, err := rivermigrate.New(driver, nil)
	if err != nil {
		return nil, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, &peerWorker{h: h})
	cfg := &river.Config{Logger: quietLog(), Workers: workers, Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 100}}}
	if set.tuned { // as in cmd/river/riverbench
		cfg.FetchCooldown, cfg.FetchPollInterval = 2*time.Millisecond, 20*time.Millisecond
		cfg.Queues[river.QueueDefault] = river.QueueConfig{MaxWorkers: 2000}
	}
	client, err := river.NewClient(driver, cfg)
	return &peer{pool: pool, client: client}, err
}

func insertParams(list []orderArgs) []river.InsertManyParams {
	out := make([]river.InsertManyParams, len(list))
	for i, args := range list {
		out[i] = river.InsertManyParams{Args: args}
	}
	return out
}

func (p *peer) Enqueue(ctx context.Context, tx pgx.Tx, list []orderArgs) error {
	if len(list) == 1 {
		_, err := p.client.InsertTx(ctx, tx, list[0], nil)
		return err
	}
	_, err := p.client.InsertManyFastTx(ctx, tx, insertParams(list))
	return err
}

func (p *peer) Fill(ctx context.Context, list []orderArgs) error {
	_, err := p.client.InsertManyFast(ctx, insertParams(list))
	return err
}

func (p *peer) Start(ctx context.Context) error { return p.client.Start(ctx) }
func (p *peer) Stop(ctx context.Context) error  { return p.client.Stop(ctx) }
func (p *peer) Close()                          { p.pool.Close() }

func (p *peer) Acknowledges() bool { return false }
func (p *peer) Table() string      { return "river_job" }
func (p *peer) Unfinished() string {
	return `'available', 'running', 'retryable', 'scheduled', 'pending'`
}
