package sim_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/store/outbox"
)

// role is what a process does.
type role string

const (
	worker role = "worker"
	relay  role = "relay"
	keeper role = "keeper" // scheduler and reconciler
	app    role = "app"    // enqueues, and does what operators do
)

// process is one Warren process. The engine in it is the real one; PostgreSQL and RabbitMQ are
// reached over links that the schedule controls.
type process struct {
	w    *world
	name string
	role role
	gen  int
	conf workerConf

	db    *link
	store *store.Store
	pool  *pgxpool.Pool      // the application's, for the transactions of its handlers
	stop  context.CancelFunc // asks it to stop, as SIGTERM does
	done  chan struct{}
	gone  chan struct{} // closed by kill
	wake  chan struct{}

	// Written by the schedule, guarded by rabbit.mu where the process reads them.
	dead, frozen bool
	away         bool      // cut off from RabbitMQ, and both ends notice
	mute         bool      // cut off from RabbitMQ, and neither end notices
	silent       time.Time // since when RabbitMQ has received nothing

	subscriptions []*subscription
}

type workerConf struct {
	queues      []string
	concurrency int
	prefetch    int
}

func (p *process) alive() bool { return p.stop != nil && !p.dead }

// unreachable reports whether RabbitMQ cannot be reached from here. The caller holds rabbit.mu.
func (p *process) unreachable() bool { return p.dead || p.away || p.mute }

func (p *process) silentFor(now time.Time) time.Duration {
	if p.silent.IsZero() {
		return 0
	}
	return now.Sub(p.silent)
}

// start puts a new process in the place of old, which has ended or never ran.
func start(old *process) {
	p := &process{w: old.w, name: old.name, role: old.role, gen: old.gen + 1, conf: old.conf,
		done: make(chan struct{}), gone: make(chan struct{}), wake: make(chan struct{}, 1)}
	p.w.procs[slices.Index(p.w.procs, old)] = p
	p.db = &link{w: p.w, name: p.name}
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	cfg, err := pgxpool.ParseConfig(p.w.url)
	p.w.must(err)
	cfg.ConnConfig.DialFunc = p.db.dial
	p.pool, err = pgxpool.NewWithConfig(ctx, cfg.Copy())
	p.w.must(err)
	p.store, err = store.OpenConfig(ctx, cfg)
	p.w.must(err)
	run := map[role]func(context.Context){worker: p.work, relay: p.relay, keeper: p.keep,
		app: func(ctx context.Context) { <-ctx.Done() }}[p.role]
	p.w.running.Go(func() {
		defer close(p.done)
		run(ctx)
		p.store.Close()
		p.pool.Close()
	})
}

func silentAnnounce(string, ...string) {}

func (p *process) work(ctx context.Context) {
	w := &engine.Worker{Store: workerStore{p.store, p}, Consumer: client{p.w.rabbit, p}, Registry: p.registry(),
		OpenSession: p.session("worker"), Deployment: p.w.deployment,
		Queues: p.conf.queues, Concurrency: p.conf.concurrency, Prefetch: p.conf.prefetch,
		Announce: silentAnnounce, Log: p.w.logOf(p), StopGrace: 5 * time.Second}
	_ = w.Run(ctx)
}

func (p *process) relay(ctx context.Context) {
	r := &engine.Relay{Outbox: p.store, Publisher: client{p.w.rabbit, p}.publisher(), Wake: p.wake, Announce: silentAnnounce,
		ReportHealth: func(context.Context, string, string) {}, Log: p.w.logOf(p)}
	_ = r.Run(ctx)
}

func (p *process) keep(ctx context.Context) {
	scheduler := &engine.Scheduler{Store: keeperStore{p.store, p}, DeadLetters: client{p.w.rabbit, p}, OpenSession: p.session("scheduler"),
		Announce: silentAnnounce, Log: p.w.logOf(p)}
	reconciler := &engine.Reconciler{Store: keeperStore{p.store, p}, Inspect: client{p.w.rabbit, p}.Inspect, VHost: "/", QueuePrefix: "",
		Announce: silentAnnounce, Log: p.w.logOf(p)}
	var loops sync.WaitGroup
	loops.Go(func() { _ = reconciler.Run(ctx) })
	_ = scheduler.Run(ctx)
	loops.Wait()
}

func (p *process) session(role string) func(context.Context) (engine.Session, error) {
	return func(ctx context.Context) (engine.Session, error) {
		return p.store.OpenSession(ctx, store.SessionInfo{Name: fmt.Sprintf("%s.%d", p.name, p.gen), Roles: []string{role},
			Queues: p.conf.queues, Concurrency: p.conf.concurrency, Prefetch: p.conf.prefetch})
	}
}

// --- faults

func (p *process) kill() {
	p.w.rabbit.mu.Lock()
	p.dead, p.frozen = true, false
	p.w.rabbit.mu.Unlock()
	p.db.mu.Lock()
	p.db.dead, p.db.mute = true, false
	p.db.mu.Unlock()
	close(p.gone)
	p.db.severAll()
	p.w.ledger.leave(p)
	p.w.rabbit.leave(p)
	p.stop()
}

func (p *process) freeze(on bool) {
	p.w.rabbit.mu.Lock()
	defer p.w.rabbit.mu.Unlock()
	p.frozen = on
	p.hush(on || p.mute)
	if on {
		return
	}
	for _, s := range p.subscriptions { // it notices now which of them ended meanwhile
		if !s.open {
			s.broke()
		}
	}
}

// hush records since when RabbitMQ has received nothing from the process, or clears that.
func (p *process) hush(on bool) {
	switch {
	case !on:
		p.silent = time.Time{}
	case p.silent.IsZero():
		p.silent = time.Now()
	}
}

// --- handlers

// plan is what the handler of a job does, by the job's args.
type plan struct {
	Steps    int           `json:"steps,omitempty"` // turns of the schedule
	Takes    time.Duration `json:"takes,omitempty"`
	Fails    int           `json:"fails,omitempty"`    // how many attempts fail
	Snoozes  int           `json:"snoozes,omitempty"`  // how many runs are put off
	Ends     string        `json:"ends,omitempty"`     // cancel, permanent, panic, rollback: how the last run ends instead of successfully
	Stubborn bool          `json:"stubborn,omitempty"` // it ignores the end of its context
}

type plain struct{ plan }

func (plain) Kind() string { return "plain" }

type inTx struct{ plan }

func (inTx) Kind() string { return "tx" }

func (p *process) registry() *jobs.Registry {
	r, err := jobs.NewRegistry(
		jobs.Handle(func(ctx context.Context, run *jobs.Run, a plain) error { return p.handle(ctx, run, a.plan, nil) }),
		jobs.Handle(func(ctx context.Context, run *jobs.Run, a inTx) error {
			return p.handle(ctx, run, a.plan, p.completeTx)
		}),
	)
	p.w.must(err)
	return r
}

var errDead = errors.New("the process is dead")

func (p *process) handle(ctx context.Context, run *jobs.Run, plan plan, finish func(context.Context, *jobs.Run, bool) error) (err error) {
	r := p.w.ledger.begin(ctx, p, run, plan)
	if r == nil {
		return errDead
	}
	defer func() { p.w.ledger.end(r, err) }()
	for range plan.Steps {
		if err := p.turn(ctx, r, plan); err != nil {
			return err
		}
	}
	if plan.Takes > 0 {
		select {
		case <-time.After(plan.Takes):
		case <-p.gone:
			return errDead
		case <-ending(ctx, plan):
			return context.Cause(ctx)
		}
	}
	switch n := p.w.ledger.runsOf(run.ID); {
	case run.Attempt <= plan.Fails:
		return errors.New("not this time")
	case n <= plan.Snoozes:
		return jobs.Snooze(3 * time.Second)
	case plan.Ends == "cancel":
		return jobs.Cancel(errors.New("no longer wanted"))
	case plan.Ends == "permanent":
		return jobs.Permanent(errors.New("never"))
	case plan.Ends == "panic" && run.Attempt == 1:
		panic("the handler panics")
	}
	if finish != nil {
		if plan.Stubborn {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
			defer cancel()
		}
		return finish(ctx, run, plan.Ends == "rollback" && run.Attempt == 1)
	}
	return nil
}

// ending returns the end of the context, or nil for a handler that ignores it.
func ending(ctx context.Context, plan plan) <-chan struct{} {
	if plan.Stubborn {
		return nil
	}
	return ctx.Done()
}

// turn waits until the schedule lets the run go on.
func (p *process) turn(ctx context.Context, r *run, plan plan) error {
	select {
	case <-r.turn:
		return nil
	case <-p.gone:
		return errDead
	case <-ending(ctx, plan):
		return context.Cause(ctx)
	}
}

// completeTx writes the effect and the completion in one transaction, which is not committed if
// forget is set.
func (p *process) completeTx(ctx context.Context, run *jobs.Run, forget bool) error {
	tx, err := p.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = tx.Rollback(ctx)
	}()
	if _, err := tx.Exec(ctx, `INSERT INTO sim.effects (job_id, lease) VALUES ($1, $2)`, run.ID, run.Lease); err != nil {
		return err
	}
	if err := outbox.CompleteTx(ctx, outbox.Pgx(tx), run); err != nil {
		return err
	}
	if forget {
		return nil
	}
	return tx.Commit(ctx)
}

// --- what the engine decided, for the table of rules

type workerStore struct {
	*store.Store
	p *process
}

var verdicts = map[engine.ClaimDecision]string{engine.DecisionClaim: "claim", engine.DecisionTakeOver: "take over",
	engine.DecisionStale: "stale",
	engine.DecisionWait:  "wait for the holder", engine.DecisionUnknown: "unknown", engine.DecisionEnded: "ended instead of taken over"}

func (s workerStore) Claim(ctx context.Context, h engine.Holder, in []engine.Delivery) (map[engine.DispatchKey]engine.Claim, error) {
	claims, err := s.Store.Claim(ctx, h, in)
	if err == nil {
		s.p.w.metN("delivery: claimed in a batch", len(claims))
		s.p.w.metN("delivery: left by a batch", len(in)-len(claims))
	}
	return claims, err
}

func (s workerStore) ClaimOne(ctx context.Context, h engine.Holder, in engine.Delivery) (engine.Claim, error) {
	c, err := s.Store.ClaimOne(ctx, h, in)
	if err == nil {
		s.p.w.met("delivery: " + verdicts[c.Decision])
	}
	return c, err
}

func (s workerStore) RecordSameRun(ctx context.Context, h engine.Holder, in engine.Delivery, lease int) error {
	s.p.w.met("delivery: of a run of this process")
	return s.Store.RecordSameRun(ctx, h, in, lease)
}

func (s workerStore) EndRuns(ctx context.Context, results []engine.Result) ([]engine.RunOutcome, error) {
	return s.met(results)(s.Store.EndRuns(ctx, results))
}

// met counts the outcomes of results.
func (s workerStore) met(results []engine.Result) func([]engine.RunOutcome, error) ([]engine.RunOutcome, error) {
	return func(endings []engine.RunOutcome, err error) ([]engine.RunOutcome, error) {
		for i, e := range endings {
			s.p.w.met("result: " + [...]string{"counts", "late", "row held"}[e])
			if e == engine.OutcomeWritten {
				s.p.w.met("outcome: " + cmp.Or(results[i].Outcome, jobs.AttemptReleased))
			}
		}
		return endings, err
	}
}

func (s workerStore) CompletedTx(ctx context.Context, runs []engine.Result) ([]bool, error) {
	done, err := s.Store.CompletedTx(ctx, runs)
	for _, d := range done {
		s.p.w.met("CompleteTx: " + map[bool]string{true: "committed", false: "not committed"}[d])
	}
	return done, err
}

type keeperStore struct {
	*store.Store
	p *process
}

func (s keeperStore) EnqueueDue(ctx context.Context, limit int) ([]uuid.UUID, error) {
	ids, err := s.Store.EnqueueDue(ctx, limit)
	s.p.w.metN("scheduler: due", len(ids))
	return ids, err
}

func (s keeperStore) Recover(ctx context.Context, holder uuid.UUID, limit int) ([]uuid.UUID, error) {
	ids, err := s.Store.Recover(ctx, holder, limit)
	s.p.w.metN("scheduler: holder gone", len(ids))
	return ids, err
}

func (s keeperStore) DispatchDead(ctx context.Context, id uuid.UUID, dispatch int) (bool, error) {
	again, err := s.Store.DispatchDead(ctx, id, dispatch)
	s.p.w.met("dead letter: " + map[bool]string{true: "never started", false: "started, older or ended"}[again])
	return again, err
}

func (s keeperStore) DispatchLost(ctx context.Context, lost engine.Lost, limit int) ([]uuid.UUID, error) {
	ids, err := s.Store.DispatchLost(ctx, lost, limit)
	s.p.w.metN("reconciler: "+lost.Found, len(ids))
	return ids, err
}

// logOf returns a logger that keeps the warnings of a process as events.
func (w *world) logOf(p *process) *slog.Logger {
	plain := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}
	return slog.New(slog.NewTextHandler(eventWriter{w, p}, &slog.HandlerOptions{Level: slog.LevelWarn, ReplaceAttr: plain}))
}

type eventWriter struct {
	w *world
	p *process
}

func (e eventWriter) Write(b []byte) (int, error) {
	e.w.event("%s logs %s", e.p.name, strings.TrimSpace(string(b)))
	return len(b), nil
}
