package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// ordersAndEffects is the schema of an application with orders, each of which is to have one effect.
// No unique key prevents a second effect, so that duplicates show.
const ordersAndEffects = `
	CREATE TABLE orders (id bigint PRIMARY KEY);
	CREATE TABLE effects (order_id bigint NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());`

// payload makes a job as large as one with a few fields.
var payload = strings.Repeat("x", 256)

// fill commits n jobs off the clock, with each system's own bulk insert.
func (b *bench) fill(ctx context.Context, n int) error {
	const batch = 5000 // as in River's own bench
	for from := 0; from < n; from += batch {
		list := make([]orderArgs, min(batch, n-from))
		for i := range list {
			list[i].Order = int64(from + i)
		}
		if err := b.Fill(ctx, list); err != nil {
			return err
		}
	}
	_, err := b.pool.Exec(ctx, `ANALYZE`)
	return err
}

var errChanged = errors.New("the customer changed his mind")

// placeOrders commits orders with their jobs in one transaction, or rolls both back on purpose.
func (b *bench) placeOrders(ctx context.Context, first int64, n int, rollBack bool) error {
	list, ids := make([]orderArgs, n), make([]int64, n)
	for i := range list {
		ids[i] = first + int64(i)
		list[i] = orderArgs{Order: ids[i], Payload: payload}
	}
	err := pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO orders SELECT unnest($1::bigint[])`, ids); err != nil {
			return err
		}
		if err := b.Enqueue(ctx, tx, list); err != nil {
			return err
		}
		if rollBack {
			return errChanged
		}
		return nil
	})
	if errors.Is(err, errChanged) {
		return nil
	}
	return err
}

// order lets producers commit n orders in transactions of 20, 1 % of which are rolled back.
func (b *bench) order(ctx context.Context, producers, n int) error {
	const batch = 20
	var next atomic.Int64
	err := parallel(producers, func() error {
		for ctx.Err() == nil {
			i := next.Add(1) - 1
			if i*batch >= int64(n) {
				return nil
			}
			if err := b.placeOrders(ctx, i*batch, batch, i%100 == 50); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	_, err = b.pool.Exec(ctx, `ANALYZE`)
	return err
}

// produce lets producers commit orders, one transaction after the other, until stop is called.
func (b *bench) produce(ctx context.Context, producers, batch int) (stop func() error) {
	var next atomic.Int64
	var stopped atomic.Bool
	ended := make(chan error, 1)
	go func() {
		ended <- parallel(producers, func() error {
			for !stopped.Load() {
				if err := b.placeOrders(ctx, next.Add(int64(batch))-int64(batch), batch, false); err != nil {
					return err
				}
			}
			return nil
		})
	}()
	return func() error { stopped.Store(true); return <-ended }
}

func parallel(n int, do func() error) error {
	var group sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		group.Go(func() { errs[i] = do() })
	}
	group.Wait()
	return errors.Join(errs...)
}

// drained waits until n handlers have run and then until no job is unfinished. It queries the database
// only after the handlers have run: earlier queries would distort the measurement.
func (b *bench) drained(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	for open := true; open; {
		time.Sleep(5 * time.Millisecond)
		if ctx.Err() != nil {
			return fmt.Errorf("%d of %d handlers have run: %w", b.h.ran.Load(), n, ctx.Err())
		}
		if b.h.ran.Load() < int64(n) {
			continue
		}
		if b.Table() == "" { // the system has no table
			return nil
		}
		if err := b.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM `+b.Table()+` WHERE state IN (`+b.Unfinished()+
			`))`).Scan(&open); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) unfinished(ctx context.Context) (int, error) {
	return b.number(ctx, `SELECT count(*) FROM `+b.Table()+` WHERE state IN (`+b.Unfinished()+`)`)
}

func (b *bench) completed(ctx context.Context) (int, error) {
	return b.number(ctx, `SELECT count(*) FROM `+b.Table()+` WHERE state = 'completed'`)
}

func (b *bench) number(ctx context.Context, sql string) (n int, err error) {
	err = b.pool.QueryRow(ctx, sql).Scan(&n)
	return n, err
}

// ledger counts orders and effects that do not match.
type ledger struct{ orders, lost, ghost, dup, stuck int }

func (l ledger) String() string {
	return fmt.Sprintf("orders=%d lost=%d ghost=%d dup=%d stuck=%d", l.orders, l.lost, l.ghost, l.dup, l.stuck)
}

// check returns an error if any order has no effect, any effect no order, or any job is unfinished.
func (l ledger) check() error {
	if l.lost != 0 || l.ghost != 0 || l.stuck != 0 {
		return fmt.Errorf("no result, as the work was not done: %v", l)
	}
	return nil
}

func (b *bench) ledger(ctx context.Context) (l ledger, err error) {
	for _, q := range []struct {
		into *int
		sql  string
	}{
		{&l.orders, `SELECT count(*) FROM orders`},
		{&l.lost, `SELECT count(*) FROM orders WHERE id NOT IN (SELECT order_id FROM effects)`},
		{&l.ghost, `SELECT count(*) FROM effects WHERE order_id NOT IN (SELECT id FROM orders)`},
		{&l.dup, `SELECT count(*) - count(DISTINCT order_id) FROM effects`},
		{&l.stuck, `SELECT count(*) FROM ` + b.Table() + ` WHERE state IN (` + b.Unfinished() + `)`},
	} {
		if *q.into, err = b.number(ctx, q.sql); err != nil {
			return l, err
		}
	}
	return l, nil
}
