package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrPooler means that DATABASE_URL leads through a pooler that lends a server connection for one
// transaction only, so that LISTEN and session locks do not work.
var ErrPooler = errors.New("DATABASE_URL leads through a pooler in transaction mode (PgBouncer's pool_mode = transaction), where " +
	"LISTEN and advisory locks do not work: " +
	"give it the server's own port, or a pool with pool_mode = session")

// poolerLooks is the number of checks: other clients of the pool may interfere between two checks,
// but not between all of them.
const poolerLooks = 5

// checkPooler returns ErrPooler for a transaction pooler. A connection that goes straight to the
// server, or keeps one server connection for its lifetime, is fine.
func (s *Store) checkPooler(ctx context.Context) error {
	pooled, err := s.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("reach the database: %w", redact(err))
	}
	defer pooled.Release()
	// A pooler without a free server lets the second connection wait.
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(pooled.Conn().Config().ConnectTimeout, connectTimeout))
	defer cancel()
	one := pooled.Conn()
	first, err := backend(ctx, one.PgConn(), `SELECT pg_backend_pid()`)
	if err != nil {
		return fmt.Errorf("look for a pooler: %w", err)
	}
	if first == one.PgConn().PID() { // no pooler: a pooler makes up process ids of its own
		return nil
	}
	two, err := pgx.ConnectConfig(ctx, s.pool.Config().ConnConfig)
	if err != nil {
		return fmt.Errorf("reach the database: %w", redact(err))
	}
	defer func() { _ = two.Close(context.WithoutCancel(ctx)) }()
	for range poolerLooks {
		other, err := backend(ctx, two.PgConn(), `BEGIN; SELECT pg_backend_pid()`)
		if isCode(err, "08P01") { // a pooler in statement mode refuses a transaction
			return ErrPooler
		}
		if err != nil {
			return fmt.Errorf("look for a pooler: %w", err)
		}
		again, err := backend(ctx, one.PgConn(), `SELECT pg_backend_pid()`)
		if err != nil {
			return fmt.Errorf("look for a pooler: %w", err)
		}
		if other == first || again != first { // a session keeps its server connection to itself
			return ErrPooler
		}
		if _, err := two.PgConn().Exec(ctx, `ROLLBACK`).ReadAll(); err != nil {
			return fmt.Errorf("look for a pooler: %w", err)
		}
	}
	return nil
}

// backend runs sql and returns the process id in its last result.
func backend(ctx context.Context, conn *pgconn.PgConn, sql string) (uint32, error) {
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return 0, err
	}
	last := results[len(results)-1]
	if len(last.Rows) != 1 {
		return 0, errors.New("the server did not give its process id")
	}
	pid, err := strconv.ParseUint(string(last.Rows[0][0]), 10, 32)
	return uint32(pid), err
}
