// A shop that publishes events in its own transactions, of three kinds, and two subscribers of them: the
// search index, which keeps the newest version of each order, and the mails, one for each packed order. Beside a running
// Warren: export $(warren env); go run ./examples/events; curl -X POST http://127.0.0.1:3002/orders
package main

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver of database/sql
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/warrenjobs/warren"
	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/events"
)

const tables = `
CREATE TABLE IF NOT EXISTS orders (id bigserial PRIMARY KEY, item text NOT NULL, state text NOT NULL, version bigint NOT NULL DEFAULT 1);
CREATE TABLE IF NOT EXISTS found (id bigint PRIMARY KEY, item text NOT NULL, state text NOT NULL, version bigint NOT NULL);
CREATE TABLE IF NOT EXISTS order_mails (order_id bigint NOT NULL, subject text NOT NULL);`

const exchange = "shop"

// Order is a row of orders, and the body of its events.
type Order struct {
	ID      int64  `json:"id"`
	Item    string `json:"item"`
	State   string `json:"state"`
	Version int64  `json:"version"`
}

type shop struct {
	pool   *pgxpool.Pool
	sql    *sql.DB
	gorm   *gorm.DB
	warren *warren.Client
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	s, err := openShop(ctx, os.Getenv("DATABASE_URL"), os.Getenv("AMQP_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer s.close()
	go func() {
		address := cmp.Or(os.Getenv("LISTEN"), "127.0.0.1:3002")
		log.Printf("curl -X POST http://%s/orders sells a teapot", address)
		log.Println(http.ListenAndServe(address, s.routes())) //nolint:gosec // an example
		stop()
	}()
	if err := s.warren.Run(ctx); err != nil {
		log.Println(err)
	}
}

func (s *shop) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) {
		o, err := s.sell(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(o)
	})
	return mux
}

func openShop(ctx context.Context, database, broker string) (*shop, error) {
	pool, err := pgxpool.New(ctx, database)
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	s := &shop{pool: pool}
	if s.sql, err = sql.Open("pgx", database); err != nil {
		return nil, fmt.Errorf("open the database for database/sql: %w", err)
	}
	if s.gorm, err = gorm.Open(postgres.New(postgres.Config{Conn: s.sql}), &gorm.Config{}); err != nil {
		return nil, fmt.Errorf("open the database for gorm: %w", err)
	}
	s.warren, err = warren.Open(warren.Config{DatabaseURL: database, BrokerURL: broker, Subscribers: []*events.Subscriber{
		events.Subscribe("shop-search", exchange, s.search()),
		events.Subscribe("shop-mail", exchange, s.mail(), jobs.MaxAttempts(5)),
	}})
	if err != nil {
		return nil, err
	}
	if err := s.warren.Migrate(ctx); err != nil {
		return nil, err
	}
	if _, err := pool.Exec(ctx, tables); err != nil {
		return nil, fmt.Errorf("create the tables of the shop: %w", err)
	}
	return s, nil
}

func (s *shop) close() {
	s.warren.Close()
	_ = s.sql.Close()
	s.pool.Close()
}

// search writes each order's newest version to the index, whatever the order of its events. The index and
// the end of the job are one transaction: an event takes effect once.
func (s *shop) search() *events.Mux {
	mux := events.NewMux()
	events.On(mux, "order.#", func(ctx context.Context, d *events.Delivery, o Order) error {
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			newest, err := warren.NewestTx(ctx, warren.Pgx(tx), d, fmt.Sprint("order:", o.ID), o.Version)
			if err != nil {
				return err
			}
			if newest {
				_, err = tx.Exec(ctx, `INSERT INTO found (id, item, state, version) VALUES ($1, $2, $3, $4) ON CONFLICT (id)
					DO UPDATE SET item = excluded.item, state = excluded.state, version = excluded.version`,
					o.ID, o.Item, o.State, o.Version)
			}
			if err != nil {
				return err
			}
			return warren.CompleteTx(ctx, warren.Pgx(tx), d.Run)
		})
	})
	return mux
}

// mail writes a mail about each packed order.
func (s *shop) mail() *events.Mux {
	mux := events.NewMux()
	events.On(mux, "order.packed", func(ctx context.Context, d *events.Delivery, o Order) error {
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO order_mails (order_id, subject) VALUES ($1, $2)`, o.ID, "Your "+o.Item+" is packed")
			if err != nil {
				return err
			}
			return warren.CompleteTx(ctx, warren.Pgx(tx), d.Run)
		})
	})
	return mux
}

// sell creates, changes and packs an order, each step with its event in a transaction of another library.
func (s *shop) sell(ctx context.Context) (Order, error) {
	o := Order{Item: "teapot", State: "created", Version: 1}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `INSERT INTO orders (item, state) VALUES ($1, $2) RETURNING id`, o.Item, o.State).Scan(&o.ID)
		if err != nil {
			return err
		}
		return s.warren.PublishTx(ctx, warren.Pgx(tx), events.JSON(exchange, "order.created", o))
	})
	if err != nil {
		return o, fmt.Errorf("create the order: %w", err)
	}
	if err := s.change(ctx, &o); err != nil {
		return o, fmt.Errorf("change the order %d: %w", o.ID, err)
	}
	err = s.gorm.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		o.State, o.Version = "packed", o.Version+1
		if err := tx.Exec(`UPDATE orders SET state = ?, version = ? WHERE id = ?`, o.State, o.Version, o.ID).Error; err != nil {
			return err
		}
		return s.warren.PublishTx(ctx, warren.Gorm(tx), events.Gob(exchange, "order.packed", o)) // our subscribers are in Go, too
	})
	if err != nil {
		return o, fmt.Errorf("pack the order %d: %w", o.ID, err)
	}
	return o, nil
}

// change gives the order another item.
func (s *shop) change(ctx context.Context, o *Order) error {
	tx, err := s.sql.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // nothing, once it is committed
	o.Item, o.State, o.Version = "blue teapot", "changed", o.Version+1
	_, err = tx.ExecContext(ctx, `UPDATE orders SET item = $1, state = $2, version = $3 WHERE id = $4`, o.Item, o.State, o.Version, o.ID)
	if err != nil {
		return err
	}
	if err := s.warren.PublishTx(ctx, warren.SQL(tx), events.JSON(exchange, "order.changed", *o)); err != nil {
		return err
	}
	return tx.Commit()
}
