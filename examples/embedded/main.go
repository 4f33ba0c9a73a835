// Command embedded is the smallest application with Warren inside, on net/http and
// pgx: POST /orders saves an order and enqueues its shipping in one transaction; the
// dashboard is below /admin/jobs, for this machine alone. Beside a running Warren:
// export $(warren env); go run ./examples/embedded; curl -X POST http://127.0.0.1:3001/orders
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/warrenjobs/warren"
	"github.com/warrenjobs/warren/jobs"
)

const table = `CREATE TABLE IF NOT EXISTS orders_to_ship (id bigserial PRIMARY KEY, shipped bool NOT NULL DEFAULT false)`

// Ship are the args of the job that ships an order.
type Ship struct {
	Order int64 `json:"order"`
}

// Kind is the name of these jobs.
func (Ship) Kind() string { return "orders.ship" }

// ship marks an order as shipped; the mark and the completion of the job are one transaction.
func ship(db *pgxpool.Pool) func(context.Context, *jobs.Run, Ship) error {
	return func(ctx context.Context, run *jobs.Run, args Ship) error {
		return pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `UPDATE orders_to_ship SET shipped = true WHERE id = $1`, args.Order); err != nil {
				return err
			}
			return warren.CompleteTx(ctx, warren.Pgx(tx), run)
		})
	}
}

// order saves an order with its job and returns its id.
func order(ctx context.Context, db *pgxpool.Pool, client *warren.Client) (id int64, err error) {
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `INSERT INTO orders_to_ship DEFAULT VALUES RETURNING id`).Scan(&id); err != nil {
			return err
		}
		_, err := client.EnqueueTx(ctx, warren.Pgx(tx), Ship{id})
		return err
	})
	return id, err
}

func routes(db *pgxpool.Pool, client *warren.Client) (http.Handler, error) {
	dashboard, err := client.Dashboard(warren.At("/admin/jobs"))
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/admin/jobs/", dashboard)
	mux.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) {
		id, err := order(r.Context(), db, client)
		if err != nil {
			log.Println("save an order:", err)
			http.Error(w, "The order was not saved.", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(map[string]int64{"id": id})
	})
	return mux, nil
}

func run(ctx context.Context) error {
	db, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.Exec(ctx, table); err != nil {
		return err
	}
	client, err := warren.Open(warren.Config{Pool: db, BrokerURL: os.Getenv("AMQP_URL"),
		ManagementURL: os.Getenv("RABBITMQ_MANAGEMENT_URL")}, jobs.Handle(ship(db)))
	if err != nil {
		return err
	}
	defer client.Close()
	handler, err := routes(db, client)
	if err != nil {
		return err
	}
	server := &http.Server{Addr: cmp.Or(os.Getenv("LISTEN"), "127.0.0.1:3001"), Handler: handler}
	server.RegisterOnShutdown(client.EndStreams)
	go func() {
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			log.Fatal(err)
		}
	}()
	log.Printf("orders on http://%s, its jobs on http://%[1]s/admin/jobs/", server.Addr)
	err = client.Run(ctx)
	return errors.Join(err, server.Shutdown(context.WithoutCancel(ctx)))
}

func main() {
	ctx, _ := signal.NotifyContext(context.Background(), os.Interrupt)
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}
