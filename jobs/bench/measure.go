package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
)

// clockTick is USER_HZ, the unit of times in /proc: 100 on every Linux that Go runs on.
const clockTick = 100

// usage is CPU time in seconds, and WAL in bytes.
type usage struct{ app, postgres, broker, wal float64 }

func (u usage) total() float64 { return u.app + u.postgres + u.broker }

// since returns what was used between then and u.
func (u usage) since(then usage) usage {
	return usage{u.app - then.app, u.postgres - then.postgres, u.broker - then.broker, u.wal - then.wal}
}

// usage returns the CPU time used so far by this process and by the servers with their running and
// ended children, and the WAL written so far.
func (s *servers) usage(ctx context.Context, pool *pgxpool.Pool) (usage, error) {
	var wal float64
	if err := pool.QueryRow(ctx, `SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8`).Scan(&wal); err != nil {
		return usage{}, fmt.Errorf("read the position of the WAL: %w", err)
	}
	tree := processes()
	u := usage{app: tree[os.Getpid()].own, wal: wal}
	for _, pid := range s.postgresPids {
		u.postgres += tree.sum(pid)
	}
	for _, pid := range s.brokerPids {
		u.broker += tree.sum(pid)
	}
	return u, nil
}

// cpu is the CPU seconds of a process and of its ended children, and the process's parent.
type cpu struct {
	own, ended float64
	parent     int
}

type cpus map[int]cpu

// sum returns the time of a process and all its descendants.
func (c cpus) sum(pid int) float64 {
	total := c[pid].own + c[pid].ended
	for child, p := range c {
		if p.parent == pid {
			total += c.sum(child)
		}
	}
	return total
}

// processes reads the CPU times from /proc. A process that ends meanwhile is counted in its parent.
func processes() cpus {
	all := cpus{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat") // the only error is a bad pattern
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		// The name, in parentheses, may contain anything; the field after it is the state.
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		n := func(i int) float64 { v, _ := strconv.ParseFloat(fields[i], 64); return v }
		all[pid] = cpu{own: (n(11) + n(12)) / clockTick, ended: (n(13) + n(14)) / clockTick, parent: int(n(1))}
	}
	return all
}

// spread formats the median of the values, with the smallest and the largest.
func spread(values []float64, format string) string {
	f := func(v float64) string { return fmt.Sprintf(format, v) }
	return fmt.Sprintf("%s (%s-%s)", f(median(values)), f(slices.Min(values)), f(slices.Max(values)))
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
