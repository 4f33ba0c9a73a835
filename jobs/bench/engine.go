package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// fillBatch is how many jobs one statement adds off the clock, as in River's own bench.
const fillBatch = 5000

// engine is one measurement of whole engines beside each other.
type engine struct {
	servers    *servers
	set        settings
	rounds     int
	jobs       int
	only       string
	cpuprofile string
}

// entrant is one of those that are compared.
type entrant struct {
	name string
	open func(ctx context.Context, p place, h *handlers, set settings) (system, error)
}

var entrants = []entrant{{"warren", openWarren}, {"river", openRiver}}

func runEngine(ctx context.Context, args []string) error {
	e := &engine{set: settings{tuned: true}}
	flags := flag.NewFlagSet("engine", flag.ContinueOnError)
	flags.IntVar(&e.rounds, "rounds", 5, "rounds of each, interleaved")
	flags.IntVar(&e.jobs, "jobs", 100_000, "jobs of a burn-down")
	flags.StringVar(&e.only, "only", "", "measure only warren or river")
	flags.StringVar(&e.cpuprofile, "cpuprofile", "", "write a CPU profile of the clocked time of this process to the file")
	pool := flags.Int("pool", 16, "connections of the pool of each")
	flags.IntVar(&e.set.concurrency, "concurrency", 1000, "Warren's slots")
	flags.IntVar(&e.set.prefetch, "prefetch", 0, "Warren's prefetch; 0 is as concurrency")
	if err := flags.Parse(args); err != nil {
		return err
	}
	e.set.pool = int32(*pool)
	var err error
	if e.servers, err = startServers(ctx); err != nil {
		return err
	}
	defer e.servers.Close()
	fmt.Printf("%d processors, %s; pool of %d, one process each; Warren with %d slots, River v0.51.0 with 2000 workers, FetchCooldown 2 ms, FetchPollInterval 20 ms\n",
		runtime.NumCPU(), runtime.Version(), e.set.pool, e.set.concurrency)
	return e.burnDowns(ctx)
}

// burnDowns drops a short first round of each, then takes turns.
func (e *engine) burnDowns(ctx context.Context) error {
	rates := map[string][]float64{}
	for round := range e.rounds + 1 {
		for _, who := range entrants {
			if e.only != "" && e.only != who.name {
				continue
			}
			jobs := e.jobs
			if round == 0 {
				jobs = min(jobs, 10_000)
			}
			took, used, err := e.burnDown(ctx, who, jobs, round > 0)
			if err != nil {
				return fmt.Errorf("%s: %w", who.name, err)
			}
			if round == 0 {
				continue
			}
			n := float64(jobs)
			rates[who.name] = append(rates[who.name], n/took.Seconds())
			fmt.Printf("burn-down %-6s %8.0f jobs/s  CPU s per 1000 jobs: app %.4f postgres %.4f broker %.4f sum %.4f  WAL %.0f B per job\n", who.name,
				n/took.Seconds(), used.app/n*1000, used.postgres/n*1000, used.broker/n*1000, used.total()/n*1000, used.wal/n)
		}
	}
	for _, who := range entrants {
		if len(rates[who.name]) > 0 {
			fmt.Printf("burn-down %-6s median %s jobs/s\n", who.name, spread(rates[who.name], "%.0f"))
		}
	}
	return nil
}

// burnDown measures from n committed jobs, with nothing started, to the last
// completion committed and, for Warren, acknowledged.
func (e *engine) burnDown(ctx context.Context, who entrant, n int, profile bool) (took time.Duration, used usage, err error) {
	place, err := e.servers.newPlace(ctx)
	if err != nil {
		return 0, usage{}, err
	}
	defer place.remove()
	h := &handlers{}
	sys, err := who.open(ctx, place, h, e.set)
	if err != nil {
		return 0, usage{}, err
	}
	defer sys.Close()
	pool, err := openPool(ctx, place.database, 2)
	if err != nil {
		return 0, usage{}, err
	}
	defer pool.Close()
	if err := fill(ctx, pool, sys, n); err != nil {
		return 0, usage{}, err
	}
	before, err := e.servers.usage(ctx, pool)
	if err != nil {
		return 0, usage{}, err
	}
	if profile {
		defer e.profile()()
	}
	began := time.Now()
	if err := sys.Start(ctx); err != nil {
		return 0, usage{}, err
	}
	err = h.drained(ctx, pool, sys, n)
	if who.name == "river" { // its completion is all there is
		took = time.Since(began)
	}
	err = errors.Join(err, sys.Stop(ctx))
	if took == 0 {
		took = time.Since(began)
	}
	after, uerr := e.servers.usage(ctx, pool)
	return took, after.since(before), errors.Join(err, uerr)
}

// fill commits n jobs. The checkpoint comes before, so that neither pays in the
// clock for the full pages after it.
func fill(ctx context.Context, pool *pgxpool.Pool, sys system, n int) error {
	if _, err := pool.Exec(ctx, `CHECKPOINT`); err != nil {
		return err
	}
	for from := 0; from < n; from += fillBatch {
		list := make([]orderArgs, min(fillBatch, n-from))
		for i := range list {
			list[i].Order = int64(from + i)
		}
		if err := sys.Fill(ctx, list); err != nil {
			return err
		}
	}
	_, err := pool.Exec(ctx, `ANALYZE`)
	return err
}

// drained waits until n handlers have run and then until no job is unfinished.
// It asks the database only then: before that the question would cost what is measured.
func (h *handlers) drained(ctx context.Context, pool *pgxpool.Pool, sys system, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for open := true; open; {
		time.Sleep(time.Millisecond)
		if ctx.Err() != nil {
			return fmt.Errorf("%d of %d handlers have run: %w", h.ran.Load(), n, ctx.Err())
		}
		if h.ran.Load() < int64(n) {
			continue
		}
		if err := pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM `+sys.Table()+` WHERE `+sys.Unfinished()+`)`).Scan(&open); err != nil {
			return err
		}
	}
	return nil
}

func (h *handlers) start(order int64) {
	if h.began != nil {
		h.began(order, time.Now())
	}
}

// profile starts a CPU profile, if one was asked for, and returns what ends it.
func (e *engine) profile() func() {
	if e.cpuprofile == "" {
		return func() {}
	}
	f, err := os.Create(e.cpuprofile)
	if err != nil || pprof.StartCPUProfile(f) != nil {
		return func() {}
	}
	return func() { pprof.StopCPUProfile(); _ = f.Close() }
}
