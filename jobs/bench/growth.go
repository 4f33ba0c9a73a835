package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren"
	"github.com/warrenjobs/warren/web"
)

// growth measures the cost of a job when many jobs have finished before it, and when a transaction
// holds an old snapshot.
type growth struct {
	servers    *servers
	set        settings
	jobs       int64
	rate       float64
	rounds     int
	hold       time.Duration
	statements int
}

// table is a deployment with a number of finished jobs.
type table struct {
	*bench
	end   func()
	place place
	rows  int
	*timing
	next int64 // id of the next order
	cpu  []float64
	wal  []float64
}

func runGrowth(ctx context.Context, args []string) error {
	g := &growth{set: settings{pool: 16}}
	flags := flag.NewFlagSet("growth", flag.ContinueOnError)
	rows := flags.String("rows", "10000,1000000,10000000", "finished jobs in the table; the ratios are of the last to the first")
	flags.Int64Var(&g.jobs, "jobs", 60_000, "jobs of a round: by default a minute's, which is how often autovacuum looks")
	flags.Float64Var(&g.rate, "rate", 1000, "jobs offered per second")
	flags.IntVar(&g.rounds, "rounds", 3, "rounds with each number of rows, interleaved")
	flags.DurationVar(&g.hold, "hold", 10*time.Minute, "how long a transaction is held open; 0 leaves that out")
	flags.IntVar(&g.set.concurrency, "concurrency", 100, "slots of the worker")
	flags.IntVar(&g.statements, "statements", 0,
		"print so many statements that took longest in each round; only beside a server of yours that has pg_stat_statements")
	if err := flags.Parse(args); err != nil {
		return err
	}
	sizes, err := numbers(*rows)
	if err != nil {
		return err
	}
	if g.servers, err = startServers(ctx); err != nil {
		return err
	}
	defer g.servers.Close()
	if err := g.enoughDisk(sizes); err != nil {
		return err
	}
	fmt.Printf("%d jobs of a round, %.0f per second offered, each with an order in a transaction of its own; relay, worker with %d "+
		"slots, scheduler and monitor in one process\n", g.jobs, g.rate, g.set.concurrency)
	last, err := g.grow(ctx, sizes)
	if err != nil {
		return err
	}
	if g.hold > 0 {
		held, err := g.held(ctx, sizes[0])
		if err != nil {
			return fmt.Errorf("with a transaction held open: %w", err)
		}
		last += " " + held
	}
	fmt.Println(last)
	return nil
}

// bytesPerRow is the disk space of a finished job, with its indexes and its WAL; 880 measured.
const bytesPerRow = 1000

// enoughDisk returns an error if the disk with the private server's data is too small.
func (g *growth) enoughDisk(sizes []int) error {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(g.servers.dir, &disk); err != nil {
		return fmt.Errorf("look how much room %s has: %w", g.servers.dir, err)
	}
	need := uint64(3 << 30) // WAL, queues, and the data of the rounds
	for _, n := range sizes {
		need += uint64(n) * bytesPerRow
	}
	if free := disk.Bavail * uint64(disk.Bsize); free < need {
		return fmt.Errorf("%s has %d MiB left and the tables need about %d: set TMPDIR to a larger disk, or --rows to fewer", g.servers.dir,
			free>>20, need>>20)
	}
	return nil
}

// grow takes turns between tables of different sizes.
func (g *growth) grow(ctx context.Context, sizes []int) (string, error) {
	var tables []*table
	defer func() {
		for _, t := range tables {
			t.end()
		}
	}()
	for _, n := range sizes {
		began := time.Now()
		t, err := g.newTable(ctx, n)
		if err != nil {
			return "", fmt.Errorf("fill %d rows: %w", n, err)
		}
		tables = append(tables, t)
		if _, err := t.pool.Exec(ctx,
			`ALTER TABLE warren.jobs SET (autovacuum_enabled = off); ALTER TABLE warren.outbox SET (autovacuum_enabled = off)`,
			pgx.QueryExecModeSimpleProtocol); err != nil {
			return "", err // autovacuum is off, as each round vacuums
		}
		fmt.Printf("%d finished jobs are there after %s: %s\n", n, time.Since(began).Round(time.Second), t.sizes(ctx))
	}
	for round := range g.rounds + 1 { // the first round is dropped: it reads the table into memory
		for _, t := range tables {
			if err := g.round(ctx, t, round > 0); err != nil {
				return "", fmt.Errorf("%d rows: %w", t.rows, err)
			}
		}
	}
	for _, t := range tables {
		fmt.Printf("%9d rows: CPU %s ms per job, WAL %s bytes per job; %s\n", t.rows, spread(t.cpu, "%.3f"), spread(t.wal, "%.0f"),
			t.sizes(ctx))
	}
	first, last := tables[0], tables[len(tables)-1]
	return fmt.Sprintf("cpu_ratio=%.2f wal_ratio=%.2f", median(last.cpu)/median(first.cpu), median(last.wal)/median(first.wal)), nil
}

func (g *growth) newTable(ctx context.Context, rows int) (*table, error) {
	t := &table{rows: rows, timing: &timing{committed: map[int64]time.Time{}, took: map[int64]float64{}}}
	who := entrant{name: "warren", open: func(ctx context.Context, p place, h *handlers, set settings) (system, error) {
		t.place = p
		return openWarren(ctx, p, h, set)
	}}
	var err error
	if t.bench, t.end, err = openBench(ctx, g.servers, who, &handlers{began: t.began}, g.set, 16); err != nil {
		return nil, err
	}
	if err := t.fill(ctx); err != nil {
		t.end()
		return nil, err
	}
	return t, nil
}

// finishedSQL adds finished jobs, spread over a day that ended an hour ago, with ids in the order of
// time as our own ids are: those from $1 to $2 of $3.
const finishedSQL = `
INSERT INTO warren.jobs (id, kind, queue, args, state, attempt, max_attempts, run_at, created_at, dispatch, queued_at, sent_at, lease,
	worker_id, worker, started_at, finished_at)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(hash, 1, 3) || '8' || substr(hash, 4, 15))::uuid,
	'bench.order', 'default', json_build_object('order', -i, 'payload', repeat('x', 256)),
	'completed', 1, 5, at, at, 1, at, at + interval '4 ms', 1,
	'0197a000-0000-7000-8000-000000000000', 'bench', at + interval '6 ms', at + interval '7 ms'
FROM (SELECT i, md5(i::text) AS hash, now() - interval '25 hours' + i * (interval '1 day' / $3::float8) AS at
	FROM generate_series($1::bigint, $2::bigint) i) x`

func (t *table) fill(ctx context.Context) error {
	const chunk = 100_000
	for from := 0; from < t.rows; from += chunk {
		if _, err := t.pool.Exec(ctx, finishedSQL, from+1, min(from+chunk, t.rows), t.rows); err != nil {
			return err
		}
	}
	for _, sql := range []string{`VACUUM ANALYZE`, `CHECKPOINT`} {
		if _, err := t.pool.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// sizes returns the sizes of the hot tables and their numbers of dead rows, as text.
func (t *table) sizes(ctx context.Context) string {
	var text string
	err := t.pool.QueryRow(ctx, `SELECT string_agg(format('%s %s + indexes %s, %s dead rows', relname, pg_size_pretty(pg_table_size(relid)),
		pg_size_pretty(pg_indexes_size(relid)), n_dead_tup), '; ' ORDER BY relname)
		FROM pg_stat_user_tables WHERE relname IN ('jobs', 'outbox')`).Scan(&text)
	if err != nil {
		return err.Error()
	}
	return text
}

// round measures a steady stream from enqueue to the last handler, and the vacuum of the rows that it
// left dead. The vacuum is run here because autovacuum might run it in the round of another table, as
// all tables are on one server, and it would be counted there.
func (g *growth) round(ctx context.Context, t *table, counts bool) (err error) {
	if _, err := t.pool.Exec(ctx, `CHECKPOINT`); err != nil {
		return err
	}
	stop, err := g.start(ctx, t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if _, err := g.stream(ctx, t, int64(2*g.rate)); err != nil { // warm-up
		return err
	}
	if err := g.resetStatements(ctx, t); err != nil {
		return err
	}
	before, err := g.servers.usage(ctx, t.pool)
	if err != nil {
		return err
	}
	ms, err := g.stream(ctx, t, g.jobs)
	if err != nil {
		return err
	}
	if _, err := t.pool.Exec(ctx, `VACUUM warren.jobs, warren.outbox`); err != nil {
		return err
	}
	after, err := g.servers.usage(ctx, t.pool)
	if err != nil {
		return err
	}
	used, n := after.since(before), float64(g.jobs)
	fmt.Printf("%9d rows: CPU ms per job: app %.3f postgres %.3f broker %.3f sum %.3f  WAL %.0f B per job  p50 %.1f p99 %.1f ms%s\n",
		t.rows,
		used.app/n*1000, used.postgres/n*1000, used.broker/n*1000, used.total()/n*1000, used.wal/n, percentile(ms, 50), percentile(ms, 99),
		map[bool]string{false: " (dropped)"}[counts])
	if counts {
		t.cpu, t.wal = append(t.cpu, used.total()/n*1000), append(t.wal, used.wal/n)
	}
	return g.printStatements(ctx, t)
}

// start starts the harness's relay and worker, for its own kind of job, and the other roles that read
// the tables: scheduler and monitor.
func (g *growth) start(ctx context.Context, t *table) (stop func() error, err error) {
	if err := t.Start(ctx); err != nil {
		return nil, err
	}
	others, end := context.WithCancel(ctx)
	cfg := web.Config{DatabaseURL: t.place.database, AMQPURL: t.place.amqp, ManagementURL: g.servers.management,
		Data: g.servers.dir, Listen: "127.0.0.1:8080", Prefix: "warren", LogFormat: "text", Queues: []string{"default"}, Concurrency: 1}
	var wait sync.WaitGroup
	var failed error
	wait.Go(func() {
		failed = web.Run(others, cfg, []warren.Role{warren.RoleScheduler, warren.RoleMonitor}, quietLog())
	})
	return func() error {
		end()
		wait.Wait()
		return errors.Join(failed, t.Stop(ctx))
	}, nil
}

// stream offers n jobs, waits until all their handlers have run, and returns the times in ms from
// commit to the start of the handler, sorted.
func (g *growth) stream(ctx context.Context, t *table, n int64) ([]float64, error) {
	first := t.next
	t.next += n
	if err := t.offer(ctx, t.bench, load{"", g.rate}, first, n); err != nil {
		return nil, err
	}
	ms, err := t.take(ctx, first, n)
	if err != nil {
		return nil, err
	}
	for t.h.ran.Load() < t.next { // without a query: under a held snapshot it would distort the measurement
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		time.Sleep(5 * time.Millisecond)
	}
	return ms, nil
}

// held measures the first and the last minute of a steady stream while a snapshot is held, which keeps
// all rows that die after it from being vacuumed.
func (g *growth) held(ctx context.Context, rows int) (_ string, err error) {
	t, err := g.newTable(ctx, rows)
	if err != nil {
		return "", err
	}
	defer t.end()
	stop, err := g.start(ctx, t)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if _, err := g.stream(ctx, t, int64(10*g.rate)); err != nil { // warm-up
		return "", err
	}
	conn, err := pgx.Connect(ctx, t.place.database)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, sql := range []string{`BEGIN ISOLATION LEVEL REPEATABLE READ`, `SELECT count(*) FROM warren.outbox`} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return "", err
		}
	}
	window := min(time.Minute, g.hold/4)
	first, err := g.window(ctx, t, window)
	if err != nil {
		return "", err
	}
	fmt.Printf("hold, first %s: %s; %s\n", window, first, t.sizes(ctx))
	for left := g.hold - 2*window; left > 0; left -= window {
		w, err := g.window(ctx, t, min(window, left))
		if err != nil {
			return "", err
		}
		fmt.Printf("hold, then: %s\n", w)
	}
	last, err := g.window(ctx, t, window)
	if err != nil {
		return "", err
	}
	fmt.Printf("hold, last %s after %s: %s; %s\n", window, g.hold, last, t.sizes(ctx))
	return fmt.Sprintf("hold_cpu_ratio=%.2f hold_p99_first=%.2f hold_p99_last=%.2f hold_p99_ratio=%.2f", last.cpu/first.cpu, first.p99,
		last.p99, last.p99/first.p99), nil
}

// window is the cost and the latency of the jobs of a period.
type window struct {
	cpu      float64 // ms per job
	used     usage   // per job
	p50, p99 float64
}

func (w window) String() string {
	return fmt.Sprintf("CPU ms per job: app %.3f postgres %.3f broker %.3f sum %.3f  WAL %.0f B per job  p50 %.1f p99 %.1f ms",
		w.used.app*1000, w.used.postgres*1000, w.used.broker*1000, w.cpu, w.used.wal, w.p50, w.p99)
}

// window offers jobs for d, in real time, and measures them.
func (g *growth) window(ctx context.Context, t *table, d time.Duration) (w window, err error) {
	if err := g.resetStatements(ctx, t); err != nil {
		return w, err
	}
	before, err := g.servers.usage(ctx, t.pool)
	if err != nil {
		return w, err
	}
	n := int64(d.Seconds() * g.rate)
	ms, err := g.stream(ctx, t, n)
	if err != nil {
		return w, err
	}
	after, err := g.servers.usage(ctx, t.pool)
	if err != nil {
		return w, err
	}
	used := after.since(before)
	w.used = usage{used.app / float64(n), used.postgres / float64(n), used.broker / float64(n), used.wal / float64(n)}
	w.cpu, w.p50, w.p99 = w.used.total()*1000, percentile(ms, 50), percentile(ms, 99)
	return w, g.printStatements(ctx, t)
}

func (g *growth) resetStatements(ctx context.Context, t *table) error {
	if g.statements == 0 {
		return nil
	}
	_, err := t.pool.Exec(ctx, `CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
		SELECT pg_stat_statements_reset()`, pgx.QueryExecModeSimpleProtocol)
	return err
}

func (g *growth) printStatements(ctx context.Context, t *table) error {
	if g.statements == 0 {
		return nil
	}
	rows, err := t.pool.Query(ctx, `
		SELECT format('    %s ms, %s calls, %s rows, %s blocks hit, %s read, %s B of log  %s', round(total_exec_time::numeric, 1), calls,
			rows, shared_blks_hit, shared_blks_read, wal_bytes,
			left(regexp_replace(query, '\s+', ' ', 'g'), 110))
		FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY total_exec_time DESC
			LIMIT $1`, g.statements)
	if err != nil {
		return err
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, line := range lines {
		fmt.Println(line)
	}
	return err
}
