package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/handlers"
	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/kinds"
	"github.com/warrenjobs/warren/jobs/rabbit"
	"github.com/warrenjobs/warren/jobs/rabbit/management"
	"github.com/warrenjobs/warren/store"
)

// Version of the binary; set by the build.
var Version = "dev"

// Role is one part of Warren's work. Any number of processes may run each.
type Role string

// The roles.
const (
	RoleWeb       Role = "web"
	RoleRelay     Role = "relay"
	RoleWorker    Role = "worker"
	RoleScheduler Role = "scheduler"
	RoleMonitor   Role = "monitor"
)

// Roles are all of them; plain `warren` runs them in one process.
var Roles = []Role{RoleWeb, RoleRelay, RoleWorker, RoleScheduler, RoleMonitor}

// process is one running warren.
type process struct {
	cfg       Config
	roles     []Role
	log       *slog.Logger
	name      string
	store     *store.Store
	registry  *jobs.Registry
	manage    *management.Client // nil without a management API
	broker    *rabbit.Broker     // its Deployment is known once the schema is there
	announcer *store.Announcer
	wake      chan struct{} // ends the relay's idle wait
	worker    atomic.Pointer[jobs.Worker]
	relay     *jobs.Relay
	private   *Private          // nil with servers of one's own
	stop      func(cause error) // ends this process in good order
	self      jobs.Process      // this process's row, as far as it does not change
	shown     jobs.ProcessState // what the row last said
	asked     chan struct{}     // somebody wants something of this process
	live      *handlers.Hub     // tells the pages what changed

	policySaid string       // by the log
	waiting    atomic.Value // string: what the database lacks, in a sentence; "" when it is ready or away
}

// Run runs the roles, with the built-in kinds and the program's own, until ctx ends and then stops in good order. An error means
// that it could not start, or that its private servers cannot be had any more;
// a database or broker that is away is waited for.
func Run(ctx context.Context, cfg Config, roles []Role, log *slog.Logger, own ...*jobs.Kind) (err error) {
	if err := cfg.Check(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ctx, flush, err := tracing(ctx, log)
	if err != nil {
		return err
	}
	defer flush()
	listener, err := listenFor(cfg, roles)
	if err != nil {
		return err
	}
	if listener != nil {
		defer func() { _ = listener.Close() }()
	}
	private, err := openPrivate(ctx, &cfg, log)
	if err != nil {
		return err
	}
	if private != nil {
		defer func() { err = errors.Join(err, closePrivate(private)) }()
	}
	p, err := newProcess(ctx, cfg, roles, log, own)
	if err != nil {
		return err
	}
	defer p.store.Close()
	p.private = private
	return p.run(ctx, listener)
}

// listenFor takes the port before anything is started: a taken one is found at once.
func listenFor(cfg Config, roles []Role) (net.Listener, error) {
	addr := cfg.MetricsListen
	if slices.Contains(roles, RoleWeb) {
		addr = cfg.Listen
	}
	if addr == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s (%w): stop what uses it, or set another address with WARREN_LISTEN", addr, err)
	}
	return l, nil
}

func openPrivate(ctx context.Context, cfg *Config, log *slog.Logger) (*Private, error) {
	postgres, rabbitmq := cfg.Private()
	if !postgres && !rabbitmq {
		return nil, nil
	}
	private, err := OpenPrivate(ctx, PrivateOptions{Dir: cfg.Data, Postgres: postgres, RabbitMQ: rabbitmq, Log: log})
	if err != nil {
		return nil, err
	}
	if postgres {
		cfg.DatabaseURL = private.DatabaseURL()
	}
	if rabbitmq {
		cfg.AMQPURL, cfg.ManagementURL = private.AMQPURL(), private.ManagementURL()
	}
	return private, nil
}

func closePrivate(private *Private) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return private.Close(ctx)
}

func newProcess(ctx context.Context, cfg Config, roles []Role, log *slog.Logger, own []*jobs.Kind) (*process, error) {
	kindsConfig, err := cfg.kinds()
	if err != nil {
		return nil, err
	}
	s, err := store.Open(ctx, cfg.DatabaseURL)
	if err != nil {
		return nil, err
	}
	p := &process{cfg: cfg, roles: roles, log: log, name: processName(), store: s,
		announcer: s.NewAnnouncer(), wake: make(chan struct{}, 1), asked: make(chan struct{}, 1), live: handlers.NewHub(),
		self: jobs.Process{ID: uuid.Must(uuid.NewV7()), State: jobs.ProcessRunning}}
	p.describe()
	kindsConfig.Tasks, kindsConfig.Announce = s, p.announcer.Announce
	if p.registry, err = newRegistry(kindsConfig, own); err != nil {
		s.Close()
		return nil, err
	}
	p.broker = &rabbit.Broker{URL: cfg.AMQPURL, Names: rabbit.Names{Prefix: cfg.Prefix}, Process: p.name, Log: log}
	if p.broker.TLS, err = cfg.brokerTLS(); err != nil {
		return nil, err
	}
	if cfg.ManagementURL != noManagement {
		p.manage, err = management.New(cfg.ManagementURL, management.WithTLS(p.broker.TLS.Clone()))
	}
	return p, err
}

func newRegistry(cfg kinds.Config, own []*jobs.Kind) (*jobs.Registry, error) {
	return jobs.NewRegistry(append(kinds.BuiltIn(cfg), own...)...)
}

// run starts web at once, so that people see what is missing, and the other
// roles when the schema is there.
func (p *process) run(ctx context.Context, listener net.Listener) error {
	var loops sync.WaitGroup
	defer loops.Wait()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p.stop = cancel
	// What other loops say while they stop must still be told: the announcer goes last.
	speaking, stopSpeaking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSpeaking()
	loops.Go(func() { _ = p.announcer.Run(speaking) })
	loops.Go(func() { p.listen(ctx) })

	var serving sync.WaitGroup
	if listener != nil {
		serving.Go(func() {
			if err := p.serve(ctx, listener); err != nil {
				cancel(err)
			}
		})
	}
	if err := p.migrate(ctx); err != nil {
		cancel(err)
	}
	if ctx.Err() == nil {
		p.log.Info("warren is running", "version", Version, "roles", p.roles)
		p.runRoles(ctx)
	}
	<-ctx.Done()
	serving.Wait()
	var asked stopAsked
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) && !errors.As(cause, &asked) {
		return cause
	}
	return nil
}

// runRoles blocks until ctx ends and every role with it.
func (p *process) runRoles(ctx context.Context) {
	start := map[Role]func(context.Context) error{
		RoleRelay: p.runRelay, RoleWorker: p.runWorker, RoleScheduler: p.runScheduler, RoleMonitor: p.runMonitor,
	}
	p.policyFirst(ctx)
	if slices.Contains(p.roles, RoleWorker) {
		p.worker.Store(p.newWorker())
	}
	if slices.Contains(p.roles, RoleRelay) {
		p.relay = p.newRelay()
	}
	var presence sync.WaitGroup
	defer presence.Wait()
	present, leave := context.WithCancel(context.WithoutCancel(ctx))
	defer leave()
	presence.Go(func() { p.present(ctx, present) })
	var running sync.WaitGroup
	for _, role := range p.roles {
		if run := start[role]; run != nil {
			running.Go(func() { _ = run(ctx) })
		}
	}
	<-ctx.Done() // the role web has no loop
	running.Wait()
}

// migrate waits for a database that is away or lacks a right, and gives up on
// one that must not be migrated or cannot be worked with.
func (p *process) migrate(ctx context.Context) error {
	told := ""
	for {
		err := p.prepare(ctx)
		if err == nil {
			p.waiting.Store("")
			return nil
		}
		if errors.Is(err, store.ErrTooNew) || errors.Is(err, store.ErrPooler) {
			return err
		}
		why := p.store.Explain(err)
		p.waiting.Store(why)
		if say := cmp.Or(why, "away"); say != told {
			p.log.Warn("waiting for the database", "error", cmp.Or(why, err.Error()))
			told = say
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

func (p *process) prepare(ctx context.Context) error {
	if err := p.store.Migrate(ctx); err != nil {
		return err
	}
	id, err := p.store.DeploymentID(ctx)
	p.broker.Deployment = id
	return err
}

// listen receives the notifications of other processes until ctx ends.
func (p *process) listen(ctx context.Context) {
	_ = p.store.Listen(ctx, p.log, store.Listeners{Wake: p.wakeRelay, Cancel: func(id string) { p.cancelJob(ctx, id) }, Process: p.ask,
		Change: p.live.Change, Reconnected: p.live.Lost})
}

func (p *process) wakeRelay() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// health is a jobs.Health.
func (p *process) health(ctx context.Context, component, problem string) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	p.saveHealth(ctx, component, problem, nil)
}

// saveHealth is health with details for the pages.
func (p *process) saveHealth(ctx context.Context, component, problem string, details any) {
	changed, err := p.store.SaveHealth(ctx, component, problem == "", problem, details)
	if err != nil {
		p.log.Debug("write health", "component", component, "error", err)
	}
	if changed {
		p.announcer.Announce(jobs.TopicHealth)
	}
}

// session describes this process in the database.
func (p *process) session(role Role) func(ctx context.Context) (jobs.Session, error) {
	info := store.SessionInfo{Process: p.self.ID, Name: p.name, Roles: []string{string(role)}, Version: Version}
	if role == RoleWorker {
		info.Queues, info.Concurrency, info.Prefetch = p.cfg.Queues, p.cfg.Concurrency, p.cfg.Prefetch
	}
	return func(ctx context.Context) (jobs.Session, error) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return p.store.OpenSession(ctx, info)
	}
}
