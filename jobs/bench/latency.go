package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// latency measures the time from the call of commit to the start of the handler.
type latency struct {
	servers    *servers
	set        settings
	rounds     int
	idle, busy time.Duration
}

// load is a rate of orders. Idle and busy are the two cases in which the wake-up of a relay matters.
type load struct {
	name      string
	perSecond float64
}

var idleLoad, busyLoad = load{"idle", 1}, load{"busy", 100}

// latencyEntrants take turns. The floor is the lower limit for any engine on a broker.
var latencyEntrants = []entrant{
	{name: "warren", open: openWarren},
	{name: "floor", open: openFloor},
	{name: "river_default", open: openRiver},
	{name: "river_tuned", open: func(ctx context.Context, p place, h *handlers, set settings) (system, error) {
		set.tuned = true
		return openRiver(ctx, p, h, set)
	}},
}

func runLatency(ctx context.Context, args []string) error {
	var l latency
	flags := flag.NewFlagSet("latency", flag.ContinueOnError)
	flags.IntVar(&l.rounds, "rounds", 5, "rounds of each, interleaved")
	flags.DurationVar(&l.idle, "idle", 10*time.Second, "time of a round at 1 job/s")
	flags.DurationVar(&l.busy, "busy", 4*time.Second, "time of a round at 100 jobs/s")
	flags.IntVar(&l.set.concurrency, "concurrency", 100, "Warren's slots; River has 100 workers by default")
	pool := flags.Int("pool", 16, "connections of the pool of each engine")
	if err := flags.Parse(args); err != nil {
		return err
	}
	l.set.pool = int32(*pool)
	var err error
	if l.servers, err = startServers(ctx); err != nil {
		return err
	}
	defer l.servers.Close()
	fmt.Printf("%d processors, %s; one process each with a pool of %d; from the call of commit to the start of the handler\n",
		runtime.NumCPU(), runtime.Version(), l.set.pool)
	return l.compare(ctx)
}

// percentiles holds one percentile of each round, by load and entrant.
type percentiles map[string][]float64

func (l *latency) compare(ctx context.Context) error {
	p50, p99 := percentiles{}, percentiles{}
	for n := range l.rounds {
		for _, who := range latencyEntrants {
			if err := l.round(ctx, who, p50, p99); err != nil {
				return fmt.Errorf("%s: %w", who.name, err)
			}
		}
		fmt.Printf("round %d of %d is done\n", n+1, l.rounds)
	}
	for _, at := range []load{idleLoad, busyLoad} {
		for _, who := range latencyEntrants {
			key := at.name + who.name
			fmt.Printf("%3.0f jobs/s  %-13s p50 %s ms  p99 %s ms\n", at.perSecond, who.name, spread(p50[key], "%.2f"),
				spread(p99[key], "%.2f"))
		}
	}
	of := func(p percentiles, at load, who string) float64 { return median(p[at.name+who]) }
	fmt.Printf("p50=%.2f p99=%.2f idle_p50=%.2f idle_p99=%.2f floor_p50=%.2f floor_p99=%.2f river_default_p50=%.2f river_tuned_p50=%.2f\n",
		of(p50, busyLoad, "warren"), of(p99, busyLoad, "warren"), of(p50, idleLoad, "warren"), of(p99, idleLoad, "warren"),
		of(p50, busyLoad, "floor"), of(p99, busyLoad, "floor"), of(p50, busyLoad, "river_default"), of(p50, busyLoad, "river_tuned"))
	return nil
}

// round measures one entrant alone, idle and then busy.
func (l *latency) round(ctx context.Context, who entrant, p50, p99 percentiles) error {
	t := &timing{committed: map[int64]time.Time{}, took: map[int64]float64{}}
	b, end, err := openBench(ctx, l.servers, who, &handlers{began: t.began}, l.set, 16)
	if err != nil {
		return err
	}
	defer end()
	if err := b.Start(ctx); err != nil {
		return err
	}
	first := int64(0)
	for _, at := range []struct {
		load
		d time.Duration
	}{{load{"warm-up", 20}, time.Second}, {idleLoad, l.idle}, {busyLoad, l.busy}} {
		n := int64(at.d.Seconds() * at.perSecond)
		if err := t.offer(ctx, b, at.load, first, n); err != nil {
			return err
		}
		ms, err := t.take(ctx, first, n)
		if err != nil {
			return fmt.Errorf("%s: %w", at.name, err)
		}
		first += n
		p50[at.name+who.name] = append(p50[at.name+who.name], percentile(ms, 50))
		p99[at.name+who.name] = append(p99[at.name+who.name], percentile(ms, 99))
	}
	return b.Stop(ctx)
}

// timing records when orders were committed, and how many ms later their handlers started.
type timing struct {
	mu        sync.Mutex
	committed map[int64]time.Time
	took      map[int64]float64
}

func (t *timing) commits(order int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.committed[order] = time.Now()
}

func (t *timing) began(order int64, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, again := t.took[order]; !again {
		t.took[order] = float64(at.Sub(t.committed[order])) / float64(time.Millisecond)
	}
}

// offer places n orders at the rate, in real time and each in its own goroutine, so that a slow order
// does not delay the next one. Their times are jittered, so that they do not run in step with a timer
// of the system.
func (t *timing) offer(ctx context.Context, b *bench, at load, first, n int64) error {
	errs := make(chan error, n)
	gap := time.Duration(float64(time.Second) / at.perSecond)
	began := time.Now()
	for i := range n {
		time.Sleep(time.Until(began.Add(time.Duration(i)*gap + rand.N(gap/2))))
		go func() { errs <- t.place(ctx, b, first+i) }()
	}
	for range n {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

func (t *timing) place(ctx context.Context, b *bench, order int64) error {
	err := pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO orders VALUES ($1)`, order); err != nil {
			return err
		}
		defer t.commits(order) // the commit follows at once
		return b.Enqueue(ctx, tx, []orderArgs{{Order: order, Payload: payload}})
	})
	if f, ok := b.system.(*floor); ok && err == nil {
		err = f.send(ctx, order)
	}
	return err
}

// take waits for the handlers of n orders and returns their times, sorted.
func (t *timing) take(ctx context.Context, first, n int64) ([]float64, error) {
	deadline := time.Now().Add(time.Minute)
	for {
		t.mu.Lock()
		var ms []float64
		for order := first; order < first+n; order++ {
			if v, ok := t.took[order]; ok {
				ms = append(ms, v)
			}
		}
		t.mu.Unlock()
		if int64(len(ms)) == n {
			slices.Sort(ms)
			return ms, nil
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return nil, fmt.Errorf("%d of %d handlers have started", len(ms), n)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// percentile returns the p-th percentile of sorted values, by nearest rank.
func percentile(sorted []float64, p float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, int(math.Ceil(p/100*float64(len(sorted))))-1)]
}
