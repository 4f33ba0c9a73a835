package main

import (
	"context"
	"net/url"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren"
	"github.com/warrenjobs/warren/jobs"
)

// warrenSystem is Warren as an application uses it: a client with relay and worker.
type warrenSystem struct {
	*warren.Client
	open func() (*warren.Client, error)
	end  context.CancelFunc
	done chan error
}

func openWarren(ctx context.Context, p place, h *handlers, set settings) (system, error) {
	u, err := url.Parse(p.database)
	if err != nil {
		return nil, err
	}
	u.RawQuery += "&pool_max_conns=" + strconv.Itoa(int(set.pool))
	kind := jobs.Handle(func(ctx context.Context, run *jobs.Run, args orderArgs) error {
		return h.run(ctx, args, func(tx pgx.Tx) error { return warren.CompleteTx(ctx, warren.Pgx(tx), run) })
	})
	w := &warrenSystem{open: func() (*warren.Client, error) {
		return warren.Open(warren.Config{DatabaseURL: u.String(), BrokerURL: p.amqp, ManagementURL: p.management,
			Roles: []warren.Role{warren.RoleRelay, warren.RoleWorker}, Concurrency: set.concurrency, Prefetch: set.prefetch,
			Name: "bench", Log: quietLog()}, kind)
	}}
	if w.Client, err = w.open(); err != nil {
		return nil, err
	}
	if err := w.Migrate(ctx); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

func newJobs(list []orderArgs) []jobs.NewJob {
	out := make([]jobs.NewJob, len(list))
	for i, args := range list {
		out[i] = jobs.New(args)
	}
	return out
}

func (w *warrenSystem) Enqueue(ctx context.Context, tx pgx.Tx, list []orderArgs) error {
	_, err := w.EnqueueManyTx(ctx, warren.Pgx(tx), newJobs(list))
	return err
}

func (w *warrenSystem) Fill(ctx context.Context, list []orderArgs) error {
	_, err := w.EnqueueMany(ctx, newJobs(list))
	return err
}

// Start runs the client, or a new one if it has already run.
func (w *warrenSystem) Start(ctx context.Context) (err error) {
	if w.done != nil {
		w.Close()
		if w.Client, err = w.open(); err != nil {
			return err
		}
	}
	ctx, w.end = context.WithCancel(ctx)
	w.done = make(chan error, 1)
	go func() { w.done <- w.Run(ctx) }()
	return nil
}

// Stop stops the client and returns when every delivery of a job that ran is acknowledged.
func (w *warrenSystem) Stop(context.Context) error {
	w.end()
	return <-w.done
}

func (w *warrenSystem) Acknowledges() bool { return true }
func (w *warrenSystem) Table() string      { return "warren.jobs" }
func (w *warrenSystem) Unfinished() string { return `'scheduled', 'queued', 'running', 'retrying'` }
