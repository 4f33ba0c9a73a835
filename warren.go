// Package warren runs background jobs on RabbitMQ and PostgreSQL inside any Go program: jobs are
// committed with the program's own data, reach the broker through an outbox, are worked by its
// handlers, and are shown on a dashboard.
//
// A Client wires database, broker, engine and dashboard together.
package warren

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/warrenjobs/warren/handlers"
	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/events"
	"github.com/warrenjobs/warren/jobs/kinds"
	"github.com/warrenjobs/warren/jobs/messages"
	"github.com/warrenjobs/warren/jobs/rabbit"
	"github.com/warrenjobs/warren/jobs/rabbit/management"
	"github.com/warrenjobs/warren/jobs/tasks"
	"github.com/warrenjobs/warren/store"
)

// Role is one part of Warren's work. Any number of processes may run each.
type Role string

// The roles. A program with RoleWeb serves Client.Dashboard.
const (
	RoleWeb       Role = "web"
	RoleRelay     Role = "relay"
	RoleWorker    Role = "worker"
	RoleScheduler Role = "scheduler"
	RoleMonitor   Role = "monitor"
)

// Roles lists every role.
func Roles() (list []Role) {
	for _, name := range engine.ProcessRoles {
		list = append(list, Role(name))
	}
	return list
}

// Queue sets a queue's share of the worker's slots.
type Queue struct {
	Weight int // while all queues have jobs, jobs start in proportion to the weights; 0: 1
	Slots  int // jobs of the queue that run at once; 0: as many as Config.Concurrency
}

// Queues maps the name of each queue that the worker works to its share.
type Queues map[string]Queue

func (q Queues) names() []string { return slices.Sorted(maps.Keys(q)) }

func (q Queues) shares() map[string]engine.QueueConfig {
	shares := map[string]engine.QueueConfig{}
	for name, queue := range q {
		if queue != (Queue{}) {
			shares[name] = engine.QueueConfig{Weight: queue.Weight, Limit: queue.Slots}
		}
	}
	return shares
}

// Config sets the servers that a Client uses and what it does. DatabaseURL or Pool, and BrokerURL
// are required; the zero value of every other field is valid.
type Config struct {
	DatabaseURL string // PostgreSQL
	// Pool is the application's pool: the client connects to the same servers with the same account
	// and dialer, on connections of its own.
	Pool *pgxpool.Pool

	BrokerURL     string      // AMQP, of a node or of several of a cluster, separated by commas
	BrokerTLS     *tls.Config // also for the management API; nil: as the URL says
	ManagementURL string      // of the broker's HTTP API, or several; "": there is none
	Prefix        string      // of the broker's exchanges and queues; "": warren

	Roles       []Role            // that Run runs; none: all
	Queues      Queues            // that the worker works; none: default
	Concurrency int               // jobs that run at once; 0: 10
	Prefetch    int               // messages that the worker holds at once; 0: as Concurrency
	StopGrace   time.Duration     // for handlers to end when the worker stops; 0: 20 s
	Retention   *engine.Retention // start from a copy of engine.RetentionDefault, as a field of 0 keeps for ever; nil: the default
	// Subscribers are handlers of events. The worker works their queues, beside Queues.
	Subscribers []*events.Subscriber
	// BuiltIn: also work the kinds dots, http and mail, and with the queue default keep the index of
	// tasks; Open sets Tasks and Announce; nil: do not.
	BuiltIn *kinds.Config

	Name          string       // of this process, wherever it is shown, by the rules of CheckName; "": host/pid
	Version       string       // of the program, on the Workers page; "": not shown
	DashboardAddr string       // on the Workers page
	OwnsServers   func() bool  // reports whether the process runs the servers itself, for the Workers page; nil: it does not
	Environment   string       // a badge on each page; production is red
	Log           *slog.Logger // nil: slog.Default
}

// Limits of a Config.
const (
	ConcurrencyMax = 10_000
	PrefetchMax    = 2000 // a quorum queue accepts no more
)

// check fills in the defaults and returns every problem in one error.
func (c *Config) check() error {
	c.Prefix = cmp.Or(c.Prefix, "warren")
	c.Concurrency = cmp.Or(c.Concurrency, 10)
	if c.Log == nil {
		c.Log = slog.Default()
	}
	c.Roles = slices.Clone(c.Roles)
	if len(c.Roles) == 0 {
		c.Roles = Roles()
	}
	c.Queues = maps.Clone(c.Queues)
	if len(c.Queues) == 0 {
		c.Queues = Queues{jobs.QueueDefault: {}}
	}
	receiving := subscriberNames(c.Subscribers)
	if c.keepsTaskIndex() {
		receiving = append(receiving, tasks.Search)
	}
	for _, name := range receiving {
		if _, set := c.Queues[name]; !set {
			c.Queues[name] = Queue{}
		}
	}
	keep := engine.RetentionDefault
	if c.Retention != nil {
		keep = *c.Retention
	}
	c.Retention = &keep
	return errors.Join(c.checkName(), c.checkServers(), c.checkRoles(), c.checkSubscribers(), c.checkWorker())
}

// keepsTaskIndex reports whether the worker runs the built-in subscribers: one that works the queue
// of the built-in kinds does, and one that was started for other queues has nothing else to do.
func (c *Config) keepsTaskIndex() bool {
	_, works := c.Queues[jobs.QueueDefault]
	return works && c.BuiltIn != nil && slices.Contains(c.Roles, RoleWorker)
}

const nameMax = 64

// CheckName returns an error if a process cannot have the name. A name has no blanks, as a connection
// to the broker is recognised by the name that its own begins with, up to a blank.
func CheckName(name string) error {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:@"
	if name == "" || len(name) > nameMax || strings.Trim(name, allowed) != "" {
		return fmt.Errorf("it must be 1 to %d letters, digits and characters of . _ - / : @", nameMax)
	}
	return nil
}

func (c *Config) checkName() error {
	if c.Name == "" {
		c.Name = ProcessName()
		return nil
	}
	if err := CheckName(c.Name); err != nil {
		return fmt.Errorf("warren.Config.Name is %q: %w", c.Name, err)
	}
	return nil
}

func (c *Config) checkServers() error {
	errs := []error{c.checkDatabase(), rabbit.CheckURL(c.BrokerURL)}
	if err := rabbit.CheckPrefix(c.Prefix); err != nil {
		errs = append(errs, fmt.Errorf("warren.Config.Prefix is %q: %w", c.Prefix, err))
	}
	if c.BrokerTLS == nil && errs[1] == nil {
		var err error
		c.BrokerTLS, err = rabbit.TLS(c.BrokerURL, rabbit.Files{})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c *Config) checkDatabase() error {
	switch {
	case c.Pool == nil:
		return store.CheckURL(c.DatabaseURL)
	case c.DatabaseURL != "":
		return errors.New("warren.Config has both a DatabaseURL and a Pool: give it one of them")
	}
	return nil
}

func (c *Config) openStore() (*store.Store, error) {
	if c.Pool != nil {
		return store.OpenLike(context.Background(), c.Pool)
	}
	return store.Open(context.Background(), c.DatabaseURL)
}

func (c *Config) checkRoles() error {
	for i, role := range c.Roles {
		if !slices.Contains(Roles(), role) {
			return fmt.Errorf("warren.Config.Roles has %q: it must be one of %v", role, Roles())
		}
		if slices.Contains(c.Roles[:i], role) {
			return fmt.Errorf("warren.Config.Roles has %q twice", role)
		}
	}
	return nil
}

func subscriberNames(list []*events.Subscriber) []string {
	names := make([]string, len(list))
	for i, s := range list {
		names[i] = s.Name()
	}
	return names
}

func (c *Config) checkSubscribers() error {
	var errs []error
	for _, s := range c.Subscribers {
		if err := s.Check(); err != nil {
			errs = append(errs, fmt.Errorf("warren.Config.Subscribers: %w", err))
		}
	}
	return errors.Join(errs...)
}

func (c *Config) checkWorker() error {
	var errs []error
	if c.Concurrency < 1 || c.Concurrency > ConcurrencyMax {
		errs = append(errs, fmt.Errorf("warren.Config.Concurrency is %d: it must be between 1 and %d", c.Concurrency, ConcurrencyMax))
	}
	if c.Prefetch < 0 || c.Prefetch > PrefetchMax {
		errs = append(errs, fmt.Errorf("warren.Config.Prefetch is %d: it must be between 1 and %d, or 0 for the concurrency",
			c.Prefetch, PrefetchMax))
	}
	for name, q := range c.Queues {
		if jobs.CheckQueue(name) != nil {
			errs = append(errs, fmt.Errorf("warren.Config.Queues has %q, which is not a valid name of a queue", name))
		}
		if q.Weight < 0 || q.Slots < 0 {
			errs = append(errs, fmt.Errorf("warren.Config.Queues has %q with weight %d and %d slots: neither may be negative",
				name, q.Weight, q.Slots))
		}
	}
	return errors.Join(errs...)
}

// ProcessName returns the name of a process that was given none, in sessions, deliveries and the
// broker's own UI: host/pid.
func ProcessName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return fmt.Sprintf("%s/%d", host, os.Getpid())
}

// Client runs Warren in this process. Several clients in one process are independent of each other.
type Client struct {
	cfg       Config
	log       *slog.Logger
	store     *store.Store
	registry  *jobs.Registry
	manage    *management.Client // nil without a management API
	broker    *rabbit.Broker     // its Deployment is set once the schema exists
	announcer *store.Announcer
	app       *handlers.App
	live      *handlers.Hub // notifies open pages of changes
	wake      chan struct{} // ends the relay's idle wait
	worker    atomic.Pointer[engine.Worker]
	relay     *engine.Relay
	stop      context.CancelFunc  // ends Run gracefully
	self      engine.Process      // the fields of this process's row that do not change
	shown     engine.ProcessState // the state that the row had last
	asked     chan struct{}       // a command for this process is pending
	indexing  chan struct{}       // the subscriber that indexes tasks is bound

	stopAnnouncer context.CancelFunc
	announcerDone chan struct{}
	serves        atomic.Bool   // Dashboard or HealthHandler was called
	served        chan struct{} // closed when serves becomes true

	loggedPolicy string       // the problem that was logged last
	waiting      atomic.Value // string: a sentence on what the database lacks; "" when it is ready or away
}

// Open checks the configuration and the kinds, and names every problem in its error. It does not
// connect: Run waits for servers that are away. The caller closes the client after Run has
// returned.
func Open(cfg Config, own ...*jobs.Kind) (*Client, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s, err := cfg.openStore()
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, log: cfg.Log, store: s, announcer: s.NewAnnouncer(), live: handlers.NewHub(),
		wake: make(chan struct{}, 1), asked: make(chan struct{}, 1),
		indexing: make(chan struct{}, 1), announcerDone: make(chan struct{}), served: make(chan struct{}),
		self: engine.Process{ID: uuid.Must(uuid.NewV7()), State: engine.ProcessRunning}}
	if err := c.wire(own); err != nil {
		s.Close()
		return nil, err
	}
	var announcing context.Context
	announcing, c.stopAnnouncer = context.WithCancel(context.Background())
	go func() {
		defer close(c.announcerDone)
		_ = c.announcer.Run(announcing)
	}()
	return c, nil
}

func (c *Client) wire(own []*jobs.Kind) (err error) {
	var builtIn kinds.Config
	if c.cfg.BuiltIn != nil {
		builtIn = *c.cfg.BuiltIn
	}
	builtIn.Tasks, builtIn.Events, builtIn.Announce = c.store, c.store, c.announcer.Announce
	if c.cfg.keepsTaskIndex() {
		c.cfg.Subscribers = append(slices.Clone(c.cfg.Subscribers), kinds.Subscribers(builtIn)...)
	}
	list := append(kinds.OfPages(builtIn), own...)
	if c.cfg.BuiltIn != nil {
		list = append(kinds.BuiltIn(builtIn), own...)
	}
	for _, s := range c.cfg.Subscribers {
		list = append(list, s.Kind())
	}
	if c.registry, err = jobs.NewRegistry(list...); err != nil {
		return err
	}
	c.describe()
	c.broker = &rabbit.Broker{URL: c.cfg.BrokerURL, TLS: c.cfg.BrokerTLS, Names: rabbit.Names{Prefix: c.cfg.Prefix},
		Process: c.cfg.Name, Log: c.log, Subscribers: subscriberNames(c.cfg.Subscribers)}
	if c.cfg.ManagementURL != "" {
		if c.manage, err = management.New(c.cfg.ManagementURL, management.WithTLS(c.cfg.BrokerTLS.Clone())); err != nil {
			return err
		}
	}
	purger := &engine.Purger{Store: c.store, Empty: c.broker.PurgeJobQueue, Announce: c.announcer.Announce}
	byHand := c.broker.ByHand(c.manage)
	c.app = &handlers.App{Store: c.store, Registry: c.registry, Purger: purger, Broker: byHand,
		Tails: messages.NewTails(byHand, func(topic string) { c.live.Change(store.Change{Topic: topic}) }),
		Live:  c.live, Metrics: handlers.NewMetrics(c.store),
		VHost: c.broker.VHost(), QueuePrefix: c.broker.Names.QueuePrefix(), DeadQueue: c.broker.Names.Dead(),
		Results:     c.broker.Names.Results(),
		Environment: c.cfg.Environment, Management: c.manage != nil, Process: c.self.ID, Log: c.log,
		Waiting: func() string { why, _ := c.waiting.Load().(string); return why }}
	return nil
}

// Close sends the last notifications, for at most 1 s, ends live streams and
// closes the connections. Call it once, after Run has returned.
func (c *Client) Close() {
	c.live.Close()
	c.app.Tails.Close()
	c.stopAnnouncer()
	<-c.announcerDone
	c.store.Close()
}
