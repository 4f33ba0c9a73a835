// Package store is Warren's access to PostgreSQL: the only package that knows SQL and gorm. Most
// statements are plain pgx, those of the hot paths written with their query plans in mind; lists
// with filters are built with gorm over the same pool.
package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/warrenjobs/warren/store/internal/rules"
)

// Store is a pool of connections to Warren's database. Safe for concurrent use.
type Store struct {
	pool *pgxpool.Pool
	orm  *gorm.DB

	scans scanStarts
}

// Open checks the URL and prepares the pool. It does not connect: an unreachable database is
// reported by the first call that needs it.
func Open(ctx context.Context, url string) (*Store, error) {
	cfg, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	return OpenConfig(ctx, cfg)
}

// OpenLike is Open for the servers, the account and the dialer of an application's pool. The store
// has connections of its own, because they end hanging transactions, which the application may not
// want. The pool may be closed before the store.
func OpenLike(ctx context.Context, pool *pgxpool.Pool) (*Store, error) {
	cfg := pool.Config() // a copy
	cfg.MinConns, cfg.MinIdleConns, cfg.MaxConns = 0, 0, poolSize
	cfg.BeforeAcquire, cfg.PrepareConn = nil, nil //nolint:staticcheck // both are for the application's requests
	cfg.AfterRelease, cfg.BeforeClose = nil, nil
	if cfg.ConnConfig.ValidateConnect == nil {
		cfg.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	cfg.ConnConfig.ConnectTimeout = cmp.Or(cfg.ConnConfig.ConnectTimeout, connectTimeout)
	return OpenConfig(ctx, cfg)
}

// poolSize is the maximum number of connections in a pool, unless DATABASE_URL allows more
// (pool_max_conns). With 16 a burn-down was no faster.
const poolSize = 8

// OpenConfig is Open with a pool configuration of the caller's, for instance with its own dialer.
func OpenConfig(ctx context.Context, cfg *pgxpool.Config) (*Store, error) {
	prepareSession(&cfg.ConnConfig.Config)
	var opened atomic.Pointer[pgxpool.Pool]
	cfg.ConnConfig.OnPgError = keepAfter(&opened)
	cfg.AfterConnect = andThen(cfg.AfterConnect, readTimesAsUTC)
	cfg.MaxConns = max(cfg.MaxConns, poolSize)
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("prepare the database pool: %w", redact(err))
	}
	opened.Store(pool)
	orm, err := gorm.Open(postgres.New(postgres.Config{Conn: stdlib.OpenDBFromPool(pool)}), &gorm.Config{
		SkipDefaultTransaction: true,
		DisableAutomaticPing:   true,
		TranslateError:         true,
		Logger:                 logger.Discard, // errors are returned; gorm's own log would carry payloads
	})
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("prepare gorm: %w", redact(err))
	}
	return &Store{pool: pool, orm: orm}, nil
}

// firstParam is a parameter that servers have since PostgreSQL 14.
const firstParam = "client_connection_check_interval"

// prepareSession makes every connection, pooled or dedicated, set its parameters after it has
// connected: PgBouncer refuses most of them as startup parameters.
func prepareSession(cfg *pgconn.Config) {
	params := cfg.RuntimeParams
	cfg.RuntimeParams = map[string]string{"application_name": "warren"}
	// Otherwise a killed process holds its row locks until TCP notices (engine.md): seen 15 s and
	// more, so 0.5 s.
	params[firstParam] = "1000"
	// A frozen process keeps its connections: without this a relay that hangs would keep its outbox
	// rows locked.
	params["idle_in_transaction_session_timeout"] = rules.IdleInTransaction
	params["timezone"] = "UTC"
	params["jit"] = "off" // compiling a short query takes longer than running it: seen 460 ms
	var sets []string
	var args [][]byte
	for name, value := range params {
		if name == "application_name" || name == "options" { // PgBouncer accepts the first; the second is a list
			cfg.RuntimeParams[name] = value
			continue
		}
		args = append(args, []byte(name), []byte(value))
		sets = append(sets, fmt.Sprintf("set_config($%d, $%d, false)", len(args)-1, len(args)))
	}
	query := "SELECT " + strings.Join(sets, ", ")
	cfg.AfterConnect = andThen(cfg.AfterConnect, func(ctx context.Context, conn *pgconn.PgConn) error {
		if err := conn.ExecParams(ctx, query, args, nil, nil, nil).Read().Err; err != nil {
			return &paramError{err}
		}
		return nil
	})
}

// andThen returns a function that calls first, which may be nil, and then next.
func andThen[C any](first, next func(context.Context, C) error) func(context.Context, C) error {
	if first == nil {
		return next
	}
	return func(ctx context.Context, conn C) error {
		if err := first(ctx, conn); err != nil {
			return err
		}
		return next(ctx, conn)
	}
}

// readTimesAsUTC makes pgx return times in UTC. Otherwise they are in the machine's zone, and the
// API would write them so.
func readTimesAsUTC(_ context.Context, conn *pgx.Conn) error {
	conn.TypeMap().RegisterType(&pgtype.Type{Name: "timestamptz", OID: pgtype.TimestamptzOID,
		Codec: &pgtype.TimestamptzCodec{ScanLocation: time.UTC}})
	return nil
}

// Close waits for the connections in use and closes the pool.
func (s *Store) Close() {
	if db, err := s.orm.DB(); err == nil {
		_ = db.Close() // gorm's sql.DB over the pool has a goroutine of its own
	}
	s.pool.Close()
}

// Connections returns the maximum number of connections in the pool.
func (s *Store) Connections() int { return int(s.pool.Config().MaxConns) }

// Ping returns an error if the database does not answer.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.pool.Ping(ctx); err != nil {
		return fmt.Errorf("reach the database: %w", redact(err))
	}
	return nil
}

// Gorm returns the pool as a *gorm.DB, for callers whose own models live in the same database.
func (s *Store) Gorm() *gorm.DB { return s.orm }

// DeploymentID returns the id that every message of this deployment carries as app_id.
func (s *Store) DeploymentID(ctx context.Context) (string, error) {
	var id uuid.UUID
	if err := s.pool.QueryRow(ctx, `SELECT id FROM warren.deployment`).Scan(&id); err != nil {
		return "", fmt.Errorf("read the deployment's id: %w", err)
	}
	return id.String(), nil
}

// inTx runs do in one transaction and commits if do returns nil.
func (s *Store) inTx(ctx context.Context, do func(tx pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, s.pool, do)
}

// indexOnly makes the statements of a transaction read indexes in their order. The planner relies
// on statistics, and keeps a plan until they change; for the hot tables they are a minute old, and
// know nothing of rows deleted since. Without it, the planner
//   - reads an outbox from end to end that was small when it planned (25 MB a minute later, for
//     each batch),
//   - takes an index that looked small but holds every job that has ever run, and
//   - sorts all waiting jobs for the first claim (80 ms for 100,000).
const indexOnly = `SELECT set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true)`

// byIndex runs one statement with indexOnly in a transaction of its own, in one round trip. read
// may be nil; what it has read is valid only if byIndex returns no error.
func (s *Store) byIndex(ctx context.Context, read func(pgx.Rows) error, sql string, args ...any) error {
	var batch pgx.Batch
	batch.Queue(`BEGIN`)
	batch.Queue(indexOnly)
	statement := batch.Queue(sql, args...)
	if read != nil {
		statement.Query(read)
	}
	batch.Queue(`COMMIT`)
	return s.pool.SendBatch(ctx, &batch).Close()
}

// statementMax bounds how long relays and workers wait for the database: on a half-open connection
// an answer never comes.
const statementMax = 10 * time.Second

func brief(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, statementMax)
}

// uuids is a parameter type for thousands of ids: 16 bytes each, without reflection on each.
type uuids = pgtype.FlatArray[[16]byte]

// isCode reports whether err is a PostgreSQL error with that SQLSTATE.
func isCode(err error, code string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == code
}

// SQLSTATEs that the store distinguishes.
const (
	codeUniqueViolation  = "23505"
	codeDeadlock         = "40P01"
	codeLockNotAvailable = "55P03"
	codeQueryCanceled    = "57014"
	codeUndefinedTable   = "42P01"
	codeReadOnly         = "25006"
)

// redact removes the connection string, and the password in it, from pgx's errors.
func redact(err error) error {
	var parse *pgconn.ParseConfigError
	if errors.As(err, &parse) {
		return errors.New(parseProblem(parse))
	}
	return err
}

const percentEncode = "special characters in user and password must be percent-encoded, such as %2F for /"

func parseProblem(err *pgconn.ParseConfigError) string {
	var bad *url.Error
	if errors.As(err, &bad) { // it may quote a part of the password, taken for a port
		return percentEncode
	}
	inner := errors.Unwrap(err)
	switch {
	case inner == nil:
	case strings.Contains(inner.Error(), "sslmode is invalid"): // such as node's no-verify
		return "sslmode must be disable, allow, prefer, require, verify-ca or verify-full"
	default:
		return inner.Error()
	}
	return percentEncode
}
