package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// engines compares whole engines: all enqueue, work and complete the same jobs.
type engines struct {
	servers     *servers
	set         settings
	rounds      int
	jobs        int
	effects     int
	duration    time.Duration
	producers   int
	batch       int
	modes, only string
	cpuprofile  string
}

// entrant is a system that is compared.
type entrant struct {
	name string
	open func(ctx context.Context, p place, h *handlers, set settings) (system, error)
	mode string // the only mode that it takes part in; empty: all
}

var entrants = []entrant{
	{name: "warren", open: openWarren},
	{name: "river", open: openRiver},
	{name: "hop", open: openHop, mode: "burn-down"},
}

// round is the result of one round of one entrant.
type round struct {
	jobs int // completed jobs
	took time.Duration
	used usage
	note string
}

func (r round) rate() float64 { return float64(r.jobs) / r.took.Seconds() }
func (r round) wal() float64  { return r.used.wal / float64(r.jobs) }
func (r round) cpu() float64  { return r.per1000(r.used.total()) }

func (r round) per1000(seconds float64) float64 { return seconds / float64(r.jobs) * 1000 }

func (r round) String() string {
	return fmt.Sprintf("%8.0f jobs/s  CPU s per 1000 jobs: app %.4f postgres %.4f broker %.4f sum %.4f  WAL %.0f B per job  %s", r.rate(),
		r.per1000(r.used.app), r.per1000(r.used.postgres), r.per1000(r.used.broker), r.cpu(), r.wal(), r.note)
}

// mode is a kind of measurement.
type mode struct {
	name    string
	measure func(e *engines, ctx context.Context, b *bench, short bool) (round, error)
	effect  bool
}

var modes = []mode{{"burn-down", (*engines).burnDown, false}, {"effects", (*engines).withEffects, true}, {"sustained", (*engines).sustained,
	false}}

func runEngine(ctx context.Context, args []string) error {
	e := &engines{set: settings{tuned: true}}
	flags := flag.NewFlagSet("engine", flag.ContinueOnError)
	flags.IntVar(&e.rounds, "rounds", 5, "rounds of each, interleaved, after a short one that is dropped")
	flags.StringVar(&e.modes, "modes", "burn-down,effects,sustained", "what to measure")
	flags.StringVar(&e.only, "only", "", "measure only warren, river or hop")
	flags.IntVar(&e.jobs, "jobs", 100_000, "jobs of a burn-down")
	flags.IntVar(&e.effects, "effects", 20_000, "jobs of a burn-down with effects")
	flags.DurationVar(&e.duration, "duration", 8*time.Second, "clocked time of a sustained round")
	flags.IntVar(&e.producers, "producers", 4, "producers of effects and sustained")
	flags.IntVar(&e.batch, "batch", 1, "orders, each with its job, in one producer's transaction of sustained")
	pool := flags.Int("pool", 16, "connections of the pool of each engine")
	flags.IntVar(&e.set.concurrency, "concurrency", 2000, "Warren's slots")
	flags.IntVar(&e.set.prefetch, "prefetch", 0, "Warren's prefetch; 0 is as concurrency")
	flags.StringVar(&e.cpuprofile, "cpuprofile", "", "write a CPU profile of this process in the last clocked round to the file")
	if err := flags.Parse(args); err != nil {
		return err
	}
	e.set.pool = int32(*pool)
	var err error
	if e.servers, err = startServers(ctx); err != nil {
		return err
	}
	defer e.servers.Close()
	fmt.Printf("%d processors, %s; one process each with a pool of %d\n", runtime.NumCPU(), runtime.Version(), e.set.pool)
	fmt.Println("hop: from memory through the broker and acknowledged, without any database")
	fmt.Printf("Warren with %d slots, prefetch %d; River v0.51.0 with 2000 workers, FetchCooldown 2ms, FetchPollInterval 20ms\n",
		e.set.concurrency, cmp.Or(e.set.prefetch, e.set.concurrency))
	fmt.Printf("burn-down of %d, with effects of %d; sustained for %v by %d producers with %d orders in a transaction\n",
		e.jobs, e.effects, e.duration, e.producers, e.batch)
	return e.compare(ctx)
}

// compare runs a short first round of each entrant, which is dropped, and then lets them take turns,
// so that other load on the machine affects all of them alike.
func (e *engines) compare(ctx context.Context) error {
	rounds := map[string][]round{}
	for n := range e.rounds + 1 {
		for _, m := range modes {
			for _, who := range entrants {
				if !slices.Contains(strings.Split(e.modes, ","), m.name) || e.only != "" && e.only != who.name || who.mode != "" &&
					who.mode != m.name {
					continue
				}
				r, err := e.round(ctx, m, who, n == 0)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", m.name, who.name, err)
				}
				if n > 0 {
					fmt.Printf("%d %-9s %-6s %v\n", n, m.name, who.name, r)
					rounds[m.name+who.name] = append(rounds[m.name+who.name], r)
				}
			}
		}
	}
	summary(rounds)
	return nil
}

// summary prints medians. If the machine has other load too, only CPU and WAL per job are comparable
// with other machines.
func summary(rounds map[string][]round) {
	of := func(m, who string, f func(round) float64) []float64 {
		var list []float64
		for _, r := range rounds[m+who] {
			list = append(list, f(r))
		}
		return list
	}
	for _, m := range modes {
		for _, who := range entrants {
			if rates := of(m.name, who.name, round.rate); len(rates) > 0 {
				fmt.Printf("median of %d: %-9s %-6s %s jobs/s, %s CPU s per 1000 jobs, %s B of WAL per job\n", len(rates), m.name, who.name,
					spread(rates, "%.0f"),
					spread(of(m.name, who.name, round.cpu), "%.4f"), spread(of(m.name, who.name, round.wal), "%.0f"))
			}
		}
	}
	rate := func(m, who string) float64 { return median(of(m, who, round.rate)) }
	beside := func(m string) float64 {
		if rate(m, "river") == 0 { // River was not measured
			return 0
		}
		return rate(m, "warren") / rate(m, "river")
	}
	fmt.Printf("engine=%.0f river=%.0f ratio=%.2f effects_ratio=%.2f sustained=%.0f river_sustained=%.0f\n",
		rate("burn-down", "warren"), rate("burn-down", "river"), beside("burn-down"), beside("effects"), rate("sustained", "warren"),
		rate("sustained", "river"))
}

// bench is a system on a fresh place.
type bench struct {
	system
	h    *handlers
	pool *pgxpool.Pool // of the harness, for its producers and queries
}

// openBench opens the system in a place of its own. The returned function closes it and removes the
// place.
func openBench(ctx context.Context, s *servers, who entrant, h *handlers, set settings, connections int) (*bench, func(), error) {
	place, err := s.newPlace(ctx)
	if err != nil {
		return nil, nil, err
	}
	pool, err := openPool(ctx, place.database, int32(connections))
	if err != nil {
		return nil, nil, err
	}
	if _, err := pool.Exec(ctx, ordersAndEffects); err != nil {
		return nil, nil, err
	}
	if h.effect {
		if h.pool, err = openPool(ctx, place.database, set.pool); err != nil {
			return nil, nil, err
		}
	}
	sys, err := who.open(ctx, place, h, set)
	if err != nil {
		return nil, nil, err
	}
	return &bench{sys, h, pool}, func() {
		sys.Close()
		pool.Close()
		if h.pool != nil {
			h.pool.Close()
		}
		place.remove()
	}, nil
}

func (e *engines) round(ctx context.Context, m mode, who entrant, short bool) (round, error) {
	b, end, err := openBench(ctx, e.servers, who, &handlers{effect: m.effect}, e.set, e.producers+1)
	if err != nil {
		return round{}, err
	}
	defer end()
	// Before the clock starts, so that no checkpoint, with the full-page writes after it, falls into it.
	if _, err := b.pool.Exec(ctx, `CHECKPOINT`); err != nil {
		return round{}, err
	}
	return m.measure(e, ctx, b, short)
}

// burnDown works no-op jobs that were added off the clock: the benchmark that the peers prefer.
func (e *engines) burnDown(ctx context.Context, b *bench, short bool) (round, error) {
	n := e.jobs
	if short {
		n = min(n, 5000)
	}
	if err := b.fill(ctx, n); err != nil {
		return round{}, err
	}
	return e.drain(ctx, b, n)
}

// withEffects burns down jobs that write a row in the transaction that completes them. It fails unless
// every order has its effect.
func (e *engines) withEffects(ctx context.Context, b *bench, short bool) (round, error) {
	n := e.effects
	if short {
		n = min(n, 1000)
	}
	if err := b.order(ctx, e.producers, n); err != nil {
		return round{}, err
	}
	l, err := b.ledger(ctx)
	if err != nil {
		return round{}, err
	}
	r, err := e.drain(ctx, b, l.orders)
	if err != nil {
		return r, err
	}
	if l, err = b.ledger(ctx); err == nil {
		err = l.check()
	}
	r.note = l.String()
	return r, err
}

// drain measures from n committed jobs, with nothing started and an empty broker, until the last
// completion is committed and, for Warren, acknowledged.
func (e *engines) drain(ctx context.Context, b *bench, n int) (round, error) {
	stop, err := e.clock(ctx, b.pool)
	if err != nil {
		return round{}, err
	}
	if err := b.Start(ctx); err != nil {
		return round{}, err
	}
	if err := b.drained(ctx, n); err != nil {
		return round{}, errors.Join(err, b.Stop(ctx))
	}
	if b.Acknowledges() {
		err = b.Stop(ctx)
		r, cerr := stop(n)
		return r, errors.Join(err, cerr)
	}
	r, err := stop(n)
	return r, errors.Join(err, b.Stop(ctx))
}

// sustained lets producers commit one transaction after the other while the engine works, and counts
// the jobs completed between two points in time.
func (e *engines) sustained(ctx context.Context, b *bench, short bool) (round, error) {
	const warmUp = 2 * time.Second
	duration := e.duration
	if short {
		duration = time.Second
	}
	if err := b.Start(ctx); err != nil {
		return round{}, err
	}
	stopProducing := b.produce(ctx, e.producers, e.batch)
	time.Sleep(warmUp)
	before, err := b.completed(ctx)
	if err != nil {
		return round{}, err
	}
	stop, err := e.clock(ctx, b.pool)
	if err != nil {
		return round{}, err
	}
	time.Sleep(duration)
	after, err := b.completed(ctx)
	if err != nil {
		return round{}, err
	}
	r, err := stop(after - before)
	err = errors.Join(err, stopProducing())
	left, lerr := b.unfinished(ctx)
	r.note = fmt.Sprintf("%d left", left)
	return r, errors.Join(err, lerr, b.Stop(ctx))
}

// clock starts the clock. The returned function stops it and returns the round with that many jobs.
func (e *engines) clock(ctx context.Context, pool *pgxpool.Pool) (func(jobs int) (round, error), error) {
	before, err := e.servers.usage(ctx, pool)
	if err != nil {
		return nil, err
	}
	endProfile := e.profile()
	began := time.Now()
	return func(jobs int) (round, error) {
		r := round{jobs: jobs, took: time.Since(began)}
		endProfile()
		after, err := e.servers.usage(ctx, pool)
		r.used = after.since(before)
		return r, err
	}, nil
}

// profile starts a CPU profile if one was requested, and returns the function that ends it.
func (e *engines) profile() func() {
	if e.cpuprofile == "" {
		return func() {}
	}
	f, err := os.Create(e.cpuprofile)
	if err == nil {
		err = pprof.StartCPUProfile(f)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "no profile:", err)
	}
	return func() { pprof.StopCPUProfile(); _ = f.Close() }
}
