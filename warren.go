// Package warren runs background jobs on RabbitMQ and PostgreSQL inside any Go
// program: jobs are committed with the program's own data, reach the broker
// through an outbox, are worked by its handlers, and are seen on a dashboard.
//
// A Client is the one place where database, broker, engine and dashboard meet.
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

// Role is one part of Warren's work. Any number of processes may run each.
type Role string

// The roles. RoleWeb has no loop: the program serves Client.Dashboard.
const (
	RoleWeb       Role = "web"
	RoleRelay     Role = "relay"
	RoleWorker    Role = "worker"
	RoleScheduler Role = "scheduler"
	RoleMonitor   Role = "monitor"
)

// Roles are all of them.
var Roles = []Role{RoleWeb, RoleRelay, RoleWorker, RoleScheduler, RoleMonitor}

// Queue says how a queue takes part in the worker's slots.
type Queue struct {
	Weight int // while all queues have jobs, they start in proportion to their weights; 0: 1
	Slots  int // jobs of the queue that run at once; 0: as many as Config.Concurrency
}

// Queues are what a worker works, by name.
type Queues map[string]Queue

func (q Queues) names() []string { return slices.Sorted(maps.Keys(q)) }

func (q Queues) shares() map[string]jobs.Share {
	shares := map[string]jobs.Share{}
	for name, queue := range q {
		if queue != (Queue{}) {
			shares[name] = jobs.Share{Weight: queue.Weight, Limit: queue.Slots}
		}
	}
	return shares
}

// Config says where a Client works and what it does. DatabaseURL and Broker are
// required; the zero value of every other field has a meaning.
type Config struct {
	DatabaseURL string      // PostgreSQL
	Broker      string      // AMQP URL, or several of a cluster, separated by commas
	BrokerTLS   *tls.Config // nil: the machine's authorities
	Management  string      // URL of the broker's management API, or several; "": there is none
	Prefix      string      // of the broker's exchanges and queues; "": warren

	Roles       []Role        // that Run runs; nil: all
	Queues      Queues        // that the worker works; nil: default
	Concurrency int           // jobs that run at once; 0: 10
	Prefetch    int           // messages that the worker holds at once; 0: as Concurrency
	StopGrace   time.Duration // that a stopping worker leaves its handlers; 0: the worker's own
	Retention   *jobs.Retention
	BuiltIn     *kinds.Config // the built-in kinds are known too; nil: they are not

	Environment string       // shown as a badge; production is red
	Name        string       // of this process, as people see it; "": host/pid
	Version     string       // of the program, as people see it
	Listen      string       // address of the dashboard, as people see it
	OwnsServers func() bool  // this process runs the servers itself, as people see it; nil: it does not
	Log         *slog.Logger // nil: slog.Default
}

// check fills what is left open and says everything that is wrong.
func (c *Config) check() error {
	var errs []error
	for _, err := range []error{store.CheckURL(c.DatabaseURL), rabbit.CheckURL(c.Broker)} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	c.Prefix = cmp.Or(c.Prefix, "warren")
	c.Concurrency = cmp.Or(c.Concurrency, 10)
	c.Name = cmp.Or(c.Name, ProcessName())
	if c.Roles == nil {
		c.Roles = Roles
	}
	if len(c.Queues) == 0 {
		c.Queues = Queues{jobs.QueueDefault: {}}
	}
	if c.Retention == nil {
		c.Retention = &jobs.RetentionDefault
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	for _, role := range c.Roles {
		if !slices.Contains(Roles, role) {
			errs = append(errs, fmt.Errorf("%q is not a valid role: it must be one of %v", role, Roles))
		}
	}
	return errors.Join(errs...)
}

// ProcessName is how a process is called in sessions, deliveries and the broker's own UI: host/pid.
func ProcessName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return fmt.Sprintf("%s/%d", host, os.Getpid())
}

// Client is Warren in this process. Its methods are safe for concurrent use;
// two clients in one process do not know each other.
type Client struct {
	cfg       Config
	log       *slog.Logger
	store     *store.Store
	registry  *jobs.Registry
	manage    *management.Client // nil without a management API
	broker    *rabbit.Broker     // its Deployment is known once the schema is there
	announcer *store.Announcer
	app       *handlers.App
	live      *handlers.Hub // tells the pages what changed
	wake      chan struct{} // ends the relay's idle wait
	worker    atomic.Pointer[jobs.Worker]
	relay     *jobs.Relay
	stop      context.CancelFunc // ends Run in good order
	self      jobs.Process       // this process's row, as far as it does not change
	shown     jobs.ProcessState  // what the row last said
	asked     chan struct{}      // somebody wants something of this process

	silence context.CancelFunc // ends the announcer
	spoken  chan struct{}      // it has ended

	policySaid string       // by the log
	waiting    atomic.Value // string: what the database lacks, in a sentence; "" when it is ready or away
}

// Open checks the configuration and the kinds and connects to nothing: servers
// that are away are waited for by Run. The error names everything that is wrong.
// The caller closes the client after Run has returned.
func Open(cfg Config, own ...*jobs.Kind) (*Client, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s, err := store.Open(context.Background(), cfg.DatabaseURL)
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, log: cfg.Log, store: s, announcer: s.NewAnnouncer(), live: handlers.NewHub(),
		wake: make(chan struct{}, 1), asked: make(chan struct{}, 1), spoken: make(chan struct{}),
		self: jobs.Process{ID: uuid.Must(uuid.NewV7()), State: jobs.ProcessRunning}}
	if err := c.wire(own); err != nil {
		s.Close()
		return nil, err
	}
	speaking, silence := context.WithCancel(context.Background())
	c.silence = silence
	go func() {
		defer close(c.spoken)
		_ = c.announcer.Run(speaking)
	}()
	return c, nil
}

func (c *Client) wire(own []*jobs.Kind) (err error) {
	list := own
	if c.cfg.BuiltIn != nil {
		builtIn := *c.cfg.BuiltIn
		builtIn.Tasks, builtIn.Announce = c.store, c.announcer.Announce
		list = append(kinds.BuiltIn(builtIn), own...)
	}
	if c.registry, err = jobs.NewRegistry(list...); err != nil {
		return err
	}
	c.describe()
	c.broker = &rabbit.Broker{URL: c.cfg.Broker, TLS: c.cfg.BrokerTLS, Names: rabbit.Names{Prefix: c.cfg.Prefix},
		Process: c.cfg.Name, Log: c.log}
	if c.cfg.Management != "" {
		if c.manage, err = management.New(c.cfg.Management, management.WithTLS(c.cfg.BrokerTLS.Clone())); err != nil {
			return err
		}
	}
	purger := &jobs.Purger{Store: c.store, Empty: c.broker.PurgeJobQueue, Announce: c.announcer.Announce}
	c.app = &handlers.App{Store: c.store, Registry: c.registry, Purger: purger,
		Announce: c.announcer.Announce, Live: c.live, Metrics: handlers.NewMetrics(c.store),
		VHost: c.broker.VHost(), QueuePrefix: c.broker.Names.QueuePrefix(), DeadQueue: c.broker.Names.Dead(),
		Environment: c.cfg.Environment, Management: c.manage != nil, Process: c.self.ID, Log: c.log,
		Waiting: func() string { why, _ := c.waiting.Load().(string); return why }}
	return nil
}

// Close tells the others what is still to be told and ends the connections.
func (c *Client) Close() {
	c.silence()
	<-c.spoken
	c.store.Close()
}
