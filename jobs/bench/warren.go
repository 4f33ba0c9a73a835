package main

import (
	"context"
	"log/slog"
	"net/url"
	"strconv"
	"sync"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/rabbit"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/store/outbox"
)

// warrenSystem is ours, wired as the client does: relay and worker in one process,
// with what wakes the relay and what tells pages of changes.
type warrenSystem struct {
	store     *store.Store
	broker    *rabbit.Broker
	announcer *store.Announcer
	registry  *jobs.Registry
	set       settings
	log       *slog.Logger

	stop    context.CancelFunc
	loops   sync.WaitGroup
	silence context.CancelFunc
	speaker sync.WaitGroup
}

func openWarren(ctx context.Context, p place, h *handlers, set settings) (system, error) {
	u, err := url.Parse(p.database)
	if err != nil {
		return nil, err
	}
	u.RawQuery += "&pool_max_conns=" + strconv.Itoa(int(set.pool))
	s, err := store.Open(ctx, u.String())
	if err != nil {
		return nil, err
	}
	w := &warrenSystem{store: s, announcer: s.NewAnnouncer(), set: set, log: quietLog()}
	w.broker = &rabbit.Broker{URL: p.amqp, Names: rabbit.Names{Prefix: "warren"}, Process: "bench", Log: w.log}
	if err := s.Migrate(ctx); err != nil {
		s.Close()
		return nil, err
	}
	if w.broker.Deployment, err = s.DeploymentID(ctx); err == nil {
		_, err = w.broker.ApplyPolicy(ctx, p.manage)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	w.registry, err = jobs.NewRegistry(jobs.Handle(func(ctx context.Context, run *jobs.Run, args orderArgs) error {
		return h.run(ctx, args, func(tx pgx.Tx) error { return outbox.CompleteTx(ctx, outbox.Pgx(tx), run) })
	}))
	return w, err
}

func newJobs(list []orderArgs) []jobs.NewJob {
	out := make([]jobs.NewJob, len(list))
	for i, args := range list {
		out[i] = jobs.New(args)
	}
	return out
}

func (w *warrenSystem) Enqueue(ctx context.Context, tx pgx.Tx, list []orderArgs) error {
	_, err := outbox.Enqueue(ctx, outbox.Pgx(tx), newJobs(list)...)
	return err
}

func (w *warrenSystem) Fill(ctx context.Context, list []orderArgs) error {
	_, err := w.store.Enqueue(ctx, newJobs(list)...)
	return err
}

func (w *warrenSystem) Start(ctx context.Context) error {
	wake := make(chan struct{}, 1)
	health := func(context.Context, string, string) {}
	relay := &jobs.Relay{Outbox: w.store, Publisher: w.broker.NewPublisher(), Wake: wake,
		Announce: w.announcer.Announce, Health: health, Log: w.log}
	worker := &jobs.Worker{Store: w.store, Consumer: w.broker, Registry: w.registry, OpenSession: w.session,
		Deployment: w.broker.Deployment, Queues: []string{jobs.QueueDefault}, Concurrency: w.set.concurrency, Prefetch: w.set.prefetch,
		Announce: w.announcer.Announce, Health: health, Log: w.log}

	speaking, silence := context.WithCancel(context.WithoutCancel(ctx))
	w.silence = silence
	w.speaker.Go(func() { _ = w.announcer.Run(speaking) })
	ctx, w.stop = context.WithCancel(ctx)
	w.loops.Go(func() {
		_ = w.store.Listen(ctx, w.log, store.Listeners{Cancel: func(string) {}, Process: func(string) {}, Wake: func() {
			select {
			case wake <- struct{}{}:
			default:
			}
		}})
	})
	w.loops.Go(func() { _ = relay.Run(ctx) })
	w.loops.Go(func() {
		if err := worker.Run(ctx); err != nil {
			w.log.Error("the worker could not start", "error", err)
		}
	})
	return nil
}

func (w *warrenSystem) session(ctx context.Context) (jobs.Session, error) {
	return w.store.OpenSession(ctx, store.SessionInfo{Process: uuid.Must(uuid.NewV7()), Name: "bench", Roles: []string{"worker"},
		Queues: []string{jobs.QueueDefault}, Concurrency: w.set.concurrency, Prefetch: w.set.prefetch})
}

// Stop returns when every delivery of a job that ran is acknowledged.
func (w *warrenSystem) Stop(context.Context) error {
	w.stop()
	w.loops.Wait()
	w.silence()
	w.speaker.Wait()
	return nil
}

func (w *warrenSystem) Close() { w.store.Close() }

func (w *warrenSystem) Acknowledges() bool { return true }
func (w *warrenSystem) Table() string      { return "jobs" }
func (w *warrenSystem) Unfinished() string { return `'scheduled', 'queued', 'running', 'retrying'` }
