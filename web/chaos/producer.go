//go:build unix

package main

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store/outbox"
)

// diary is the producers' record of their orders, one line each, which outlives them: the orders
// that were tried, and those that the database promised to keep.
type diary struct{ file *os.File }

const (
	tried        = 't'
	acknowledged = 'a'
	rolledBack   = 'r'
)

func (d diary) write(what byte, id uuid.UUID) {
	_, _ = fmt.Fprintf(d.file, "%c %s\n", what, id)
}

const producersAtOnce = 8

// produce runs a process that takes orders: it writes an order and its job in one transaction, and
// rolls one in a hundred back on purpose.
func produce(ctx context.Context) error {
	rate, err := strconv.Atoi(os.Getenv("CHAOS_RATE"))
	if err != nil {
		return fmt.Errorf("CHAOS_RATE: %w", err)
	}
	file, err := os.OpenFile(os.Getenv("CHAOS_DIARY"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the diary of the orders: %w", err)
	}
	defer func() { _ = file.Close() }()
	db, err := sql.Open("pgx", os.Getenv("DATABASE_URL"))
	if err != nil {
		return fmt.Errorf("open the database of the orders: %w", err)
	}
	defer func() { _ = db.Close() }()
	// Orders are placed by the clock, so that a slow moment is made up for.
	orders := make(chan struct{}, rate)
	var producers sync.WaitGroup
	db.SetMaxIdleConns(producersAtOnce)
	for range producersAtOnce {
		producers.Go(func() {
			for range orders {
				if !order(context.WithoutCancel(ctx), db, diary{file}, millis()) {
					sleep(ctx, 100*time.Millisecond)
				}
			}
		})
	}
	began, handed := time.Now(), 0
	for sleep(ctx, 5*time.Millisecond) {
		for due := int(time.Since(began).Seconds() * float64(rate)); handed < due; handed++ {
			select {
			case orders <- struct{}{}:
			default: // the database is away: these orders are never placed
			}
		}
	}
	close(orders)
	producers.Wait()
	return nil
}

// order places one order and reports whether the database committed it. One in four is a plain
// order.
func order(ctx context.Context, db *sql.DB, d diary, millis int, opts ...jobs.Option) bool {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	o := Order{ID: uuid.Must(uuid.NewV7()), Millis: millis}
	d.write(tried, o.ID)
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return false
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, `INSERT INTO orders (id) VALUES ($1)`, o.ID); err != nil {
		return false
	}
	var args jobs.Args = o
	if rand.N(4) == 0 {
		args = PlainOrder(o)
	}
	if _, err := outbox.Enqueue(ctx, outbox.SQL(tx), jobs.New(args, append(opts, jobs.MaxAttempts(50))...)); err != nil {
		return false
	}
	if rand.N(100) == 0 {
		d.write(rolledBack, o.ID)
		return tx.Rollback() == nil
	}
	if err := tx.Commit(); err != nil {
		return false // it may have been committed all the same: then it must have its effect
	}
	engine.CrashAt(crashOrderCommitted)
	d.write(acknowledged, o.ID)
	return true
}

// millis is how long an order takes: most are short, some are worth interrupting.
func millis() int {
	switch n := rand.N(100); {
	case n < 80:
		return rand.N(20)
	case n < 97:
		return 100 + rand.N(400)
	}
	return 1000 + rand.N(2000)
}

// promises reads the diary.
func promises(path string) (attempted int, kept, never []string, err error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0, nil, nil, fmt.Errorf("read the diary of the orders: %w", err)
	}
	for line := range strings.Lines(string(raw)) {
		id := strings.TrimSpace(line[1:])
		switch line[0] {
		case tried:
			attempted++
		case acknowledged:
			kept = append(kept, id)
		case rolledBack:
			never = append(never, id)
		}
	}
	return attempted, kept, never, nil
}
