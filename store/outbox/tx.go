// Package outbox writes jobs, events and the completion of a run in the caller's transactions. A program
// that only enqueues and publishes needs nothing else; package warren works jobs.
package outbox

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Tx is an open transaction of the caller's, on the database that has Warren's tables: made by Pgx,
// SQL, Wrap or, from a *gorm.DB, by warren.Gorm. It is as safe for concurrent use as the
// transaction that it wraps. Every use of the zero Tx returns an error.
type Tx struct {
	query func(ctx context.Context, sql string, args ...any) ([]string, error)
}

// texts runs a statement that returns one column of text.
func (tx Tx) texts(ctx context.Context, sql string, args ...any) ([]string, error) {
	if tx.query == nil {
		return nil, errors.New("the zero outbox.Tx is not a transaction: make one with Pgx, SQL or warren.Gorm")
	}
	return tx.query(ctx, sql, args...)
}

// Pgx wraps a transaction of pgx.
func Pgx(tx pgx.Tx) Tx { return queries(tx.Query) }

// Pool returns a Tx in which each call is a transaction of its own, committed when the call
// returns.
func Pool(pool *pgxpool.Pool) Tx { return queries(pool.Query) }

// SQL wraps a transaction of database/sql.
func SQL(tx *sql.Tx) Tx { return Wrap(tx) }

// Conn is a connection of database/sql that is in a transaction.
type Conn interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Wrap is for libraries on top of database/sql, whose transactions implement Conn. It cannot tell a
// transaction from a connection without one, on which jobs would outlive the caller's rollback.
func Wrap(tx Conn) Tx {
	return Tx{query: func(ctx context.Context, sql string, args ...any) ([]string, error) {
		rows, err := tx.QueryContext(ctx, sql, args...)
		if err != nil {
			return nil, err
		}
		defer func() { _ = rows.Close() }()
		var out []string
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				return nil, err
			}
			out = append(out, strings.Clone(s))
		}
		return out, rows.Err()
	}}
}

func queries(query func(ctx context.Context, sql string, args ...any) (pgx.Rows, error)) Tx {
	return Tx{query: func(ctx context.Context, sql string, args ...any) ([]string, error) {
		rows, err := query(ctx, sql, args...)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, pgx.RowTo[string])
	}}
}
