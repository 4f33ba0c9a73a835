package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenjobs/warren/jobs/rabbit"
	brokerlocal "github.com/warrenjobs/warren/jobs/rabbit/local"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/store/local"
)

// rig is a private PostgreSQL and a private RabbitMQ with Warren's schema, and
// what measures them. fsync and synchronous_commit are on.
type rig struct {
	dir      string
	postgres *local.Server
	rabbitmq *brokerlocal.Server
	store    *store.Store
	db       *pgxpool.Pool // of the measurements, and of the peers
	broker   *rabbit.Broker
	admin    *amqp.Connection
}

func newRig(ctx context.Context) (_ *rig, err error) {
	r := &rig{}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if r.dir, err = os.MkdirTemp("", "warren-bench-"); err != nil {
		return nil, err
	}
	if err := os.Chmod(r.dir, 0o755); err != nil { // PostgreSQL runs as another user when we are root
		return nil, err
	}
	quiet := slog.New(slog.DiscardHandler)
	if r.postgres, err = local.Start(ctx, local.Options{Dir: r.dir, Log: quiet}); err != nil {
		return nil, err
	}
	if r.rabbitmq, err = brokerlocal.Start(ctx, brokerlocal.Options{Dir: r.dir, Log: quiet}); err != nil {
		return nil, err
	}
	if r.store, err = store.Open(ctx, r.postgres.URL()); err != nil {
		return nil, err
	}
	if err := r.store.Migrate(ctx); err != nil {
		return nil, err
	}
	deployment, err := r.store.DeploymentID(ctx)
	if err != nil {
		return nil, err
	}
	if r.db, err = pgxpool.New(ctx, r.postgres.URL()); err != nil {
		return nil, err
	}
	r.broker = &rabbit.Broker{URL: r.rabbitmq.URL(), Names: rabbit.Names{Prefix: "warren"}, Deployment: deployment, Process: "bench", Log: quiet}
	r.admin, err = amqp.Dial(r.rabbitmq.URL())
	return r, err
}

func (r *rig) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if r.admin != nil {
		_ = r.admin.CloseDeadline(time.Now().Add(time.Second))
	}
	if r.db != nil {
		r.db.Close()
	}
	if r.store != nil {
		r.store.Close()
	}
	if r.rabbitmq != nil {
		_ = r.rabbitmq.Stop(ctx)
	}
	if r.postgres != nil {
		_ = r.postgres.Stop(ctx)
	}
	_ = os.RemoveAll(r.dir)
}

// exec runs statements one by one, outside of a transaction.
func (r *rig) exec(ctx context.Context, statements ...string) error {
	for _, sql := range statements {
		if _, err := r.db.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// reading is what the parts have used up to a moment.
type reading struct {
	at                    time.Time
	app, postgres, broker time.Duration // CPU
	wal                   int64         // bytes
}

// cost is what they used between two readings.
type cost struct {
	took                  time.Duration
	app, postgres, broker time.Duration
	wal                   int64
}

func (c cost) cpu() time.Duration { return c.app + c.postgres + c.broker }

func (r *rig) read(ctx context.Context) (reading, error) {
	m := reading{}
	err := r.db.QueryRow(ctx, `SELECT (pg_current_wal_insert_lsn() - '0/0')::int8`).Scan(&m.wal)
	if err != nil {
		return m, fmt.Errorf("read the position of the log: %w", err)
	}
	m.at, m.app = time.Now(), ownCPU()
	m.postgres, m.broker = cpuOfTree(r.postgres.Pid()), cpuOfTree(r.rabbitmq.Pids()[0])
	return m, nil
}

func (m reading) until(later reading) cost {
	return cost{later.at.Sub(m.at), later.app - m.app, later.postgres - m.postgres, later.broker - m.broker, later.wal - m.wal}
}

func ownCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// cpuOfTree sums up a process, its children that have ended, and those that run.
func cpuOfTree(pid int) time.Duration {
	const tick = time.Second / 100 // USER_HZ
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	var sum int
	for _, file := range stats {
		raw, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		_, after, _ := strings.Cut(string(raw), ") ")
		f := strings.Fields(after) // from the third of proc(5) on
		if len(f) < 15 {
			continue
		}
		self := file == "/proc/"+strconv.Itoa(pid)+"/stat"
		if !self && f[1] != strconv.Itoa(pid) {
			continue
		}
		for i := 11; i <= 14; i++ {
			n, _ := strconv.Atoi(f[i])
			sum += n
		}
	}
	return time.Duration(sum) * tick
}
