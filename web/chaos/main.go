//go:build unix

// Command chaos breaks a whole deployment of Warren, again and again, and then checks the ledger:
// every order that was committed must have exactly one effect. docs/guarantees.md states what is
// promised; make chaos tests it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/warrenjobs/warren"
	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/web"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		return process(ctx, os.Args[1])
	}
	var o options
	flag.BoolVar(&o.brief, "brief", false, "each crash point and a few storms, once")
	flag.StringVar(&o.only, "only", "", "only these storms, separated by commas")
	flag.StringVar(&o.keep, "keep", "", "folder for logs and data, kept afterwards")
	flag.Parse()
	o.minutes, o.rate, o.seed = setting("CHAOS_MINUTES", 5), setting("CHAOS_RATE", 40),
		uint64(setting("CHAOS_SEED", int(time.Now().UnixNano()%1e9)))
	return o.run(ctx)
}

// process runs one process of the deployment: all of them are this program.
func process(ctx context.Context, role string) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	switch role {
	case "worker":
		return work(ctx, log)
	case "producer":
		return produce(ctx)
	}
	cfg, err := web.LoadConfig()
	if err != nil {
		return err
	}
	return web.Run(ctx, cfg, []warren.Role{warren.Role(role)}, log)
}

type options struct {
	brief   bool
	only    string
	keep    string
	minutes int
	rate    int // orders per second
	seed    uint64
}

func setting(name string, otherwise int) int {
	n, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		return otherwise
	}
	return n
}

// chaos is one deployment that is broken again and again.
type chaos struct {
	servers  *servers
	fleet    *fleet
	ledger   ledger
	random   *rand.Rand
	absences []absence
	off      string                                                          // this program with a clock that may be off, once it is built
	place    func(ctx context.Context, millis int, opts ...jobs.Option) bool // places one order
	log      *slog.Logger
	result   *result
}

func (o options) run(ctx context.Context) (err error) {
	dir := o.keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "warren-chaos-"); err != nil {
			return fmt.Errorf("make a folder: %w", err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
	}
	fmt.Printf("seed=%d\n", o.seed)
	r := &result{tally: map[string]*count{}}
	if err := o.deploy(ctx, filepath.Join(dir, "plain"), openServers, storms(), r); err != nil {
		return err
	}
	if !o.brief {
		o.minutes = 0 // each once: one round is long enough
		if err := o.deploy(ctx, filepath.Join(dir, "cluster"), openCluster, clusterStorms(), r); err != nil {
			return err
		}
	}
	return r.report()
}

// deploy starts the deployment, runs the storms on it, and adds the outcome to the result.
func (o options) deploy(
	ctx context.Context, dir string, open func(context.Context, string) (*servers, error), list []storm, r *result,
) error {
	if list = o.choose(list); len(list) == 0 {
		return nil
	}
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return fmt.Errorf("make a folder: %w", err)
		}
		if err := os.Chmod(d, 0o755); err != nil { // PostgreSQL may run as another user, who must be able to enter
			return fmt.Errorf("open the folder: %w", err)
		}
	}
	servers, err := open(ctx, dir)
	if err != nil {
		return err
	}
	defer servers.close()
	c, err := o.prepare(ctx, dir, servers)
	if err != nil {
		return err
	}
	c.result = r
	defer c.end()
	if err := c.start(); err != nil {
		return err
	}
	c.stormOn(ctx, list, o)
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return c.close(ctx, filepath.Join(dir, "diary"))
}

// choose leaves out the storms that the options exclude.
func (o options) choose(list []storm) []storm {
	return slices.DeleteFunc(list, func(s storm) bool {
		if o.only != "" {
			return !slices.Contains(strings.Split(o.only, ","), s.name)
		}
		return o.brief && !s.brief
	})
}

func (o options) prepare(ctx context.Context, dir string, servers *servers) (*chaos, error) {
	c := &chaos{servers: servers, random: rand.New(rand.NewPCG(o.seed, 0)), log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	if err := migrate(ctx, servers.pgURL); err != nil {
		return nil, err
	}
	var err error
	if c.ledger, err = newLedger(ctx, servers.pgURL); err != nil {
		return nil, err
	}
	if c.fleet, err = newFleet(servers, dir, o.rate); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, "diary"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the diary of the orders: %w", err)
	}
	c.place = func(ctx context.Context, millis int, opts ...jobs.Option) bool {
		return order(ctx, c.ledger.db, diary{file}, millis, opts...)
	}
	return c, nil
}

func migrate(ctx context.Context, url string) error {
	s, err := store.Open(ctx, url)
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Migrate(ctx)
}

func (c *chaos) start() error {
	for _, s := range append(c.fleet.system(), c.fleet.producer) {
		if err := s.start(); err != nil {
			return err
		}
	}
	return nil
}

// end kills the processes that still run.
func (c *chaos) end() {
	for _, s := range append(c.fleet.system(), c.fleet.producer) {
		if s.process != nil {
			s.kill()
		}
	}
}

// burst places orders in addition to those of the producer.
func (c *chaos) burst(ctx context.Context, n int) {
	for range n {
		c.place(ctx, millis())
	}
}

// stormOn runs every storm at least once, in a random order, and continues until the time is over.
func (c *chaos) stormOn(ctx context.Context, list []storm, o options) {
	until := time.Now().Add(time.Duration(o.minutes) * time.Minute)
	for round := 0; ; round++ {
		c.random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		for _, s := range list {
			if ctx.Err() != nil || round > 0 && time.Now().After(until) {
				return
			}
			c.raise(ctx, s, o.brief)
		}
		if o.brief || o.only != "" || time.Now().After(until) {
			return
		}
	}
}

const (
	crashed = `SELECT count(*) FROM warren.attempts WHERE outcome = 'crashed'`
	// hit are the jobs that lost a worker, or are about to, and have not finished since.
	hit = `SELECT count(*) FROM warren.jobs WHERE ` + unfinished + ` AND (crashes > 0 OR worker <> ALL($1::text[]))`
	// old are the jobs of orders that were placed before a time.
	old         = `SELECT count(*) FROM warren.jobs WHERE ` + unfinished + ` AND created_at < $1`
	balanceWait = 100 * time.Second
)

// raise runs one storm and waits until the jobs that it hit have finished: a job that loses three
// workers is dead by design, and so no job meets three storms.
func (c *chaos) raise(ctx context.Context, s storm, brief bool) {
	t := c.result.of(s.name)
	before, _ := c.ledger.number(ctx, crashed)
	c.log.Info("storm", "name", s.name)
	began := time.Now()
	err := s.rage(ctx, c)
	raged := time.Since(began)
	err = errors.Join(err, c.balance(ctx, brief))
	after, _ := c.ledger.number(ctx, crashed)
	t.runs, t.took, t.balanced, t.crashed = t.runs+1, t.took+raged, max(t.balanced, time.Since(began)-raged), t.crashed+after-before
	if err != nil {
		t.failed++
		c.result.failed = append(c.result.failed, fmt.Sprintf("%s: %v", s.name, err))
		c.log.Error("a storm that was not weathered", "storm", s.name, "error", err)
		return
	}
	c.log.Info("weathered", "name", s.name, "took", raged.Round(time.Millisecond), "settled",
		(time.Since(began) - raged).Round(time.Millisecond), "crashed", after-before)
}

// balance waits until the jobs that lost a worker have finished and, unless brief, all jobs that
// exist now.
func (c *chaos) balance(ctx context.Context, brief bool) error {
	now := time.Now()
	left, err := c.ledger.await(ctx, balanceWait, hit, c.fleet.alive())
	if !brief && left == 0 && err == nil {
		left, err = c.ledger.await(ctx, balanceWait, old, now)
	}
	if left > 0 {
		err = fmt.Errorf("%d jobs were not done %s later", left, balanceWait)
	}
	return err
}

const drainWait = 3 * time.Minute

// close stops the producer, waits until all jobs have finished, and adds the balance to the result.
func (c *chaos) close(ctx context.Context, diary string) error {
	if err := c.fleet.producer.stop(); err != nil {
		return err
	}
	if _, err := c.ledger.await(ctx, drainWait, `SELECT count(*) FROM warren.jobs WHERE `+unfinished); err != nil {
		return err
	}
	b, err := c.ledger.balance(ctx, diary, c.fleet.downtimes())
	if err != nil {
		return err
	}
	c.result.books = c.result.books.plus(b)
	for _, a := range c.absences {
		seconds, err := c.ledger.replaced(ctx, a)
		if err != nil {
			return err
		}
		if a.frozen {
			c.result.frozen = append(c.result.frozen, seconds...)
		} else {
			c.result.killed = append(c.result.killed, seconds...)
		}
	}
	return nil
}
