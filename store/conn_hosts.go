package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// DATABASE_URL may name several hosts, of which one takes writes at a time: a primary and its
// standbys. Every connection, pooled or dedicated, goes to the host that takes writes, and is
// dropped when its server stops taking writes.

const (
	connectTimeout = 5 * time.Second // per host, unless connect_timeout is given
	// serverSilent is how long a connection outlives a server that vanished without closing it,
	// such as a machine that lost power. TCP alone takes 15 minutes.
	serverSilent = 15 * time.Second
	// A host that did not answer gets only silentDial for the next silentFor: otherwise each new
	// connection would wait the full connectTimeout for it before it tries the next host.
	silentFor  = time.Minute
	silentDial = 500 * time.Millisecond
)

// errReadOnly means that the server of a dedicated connection no longer takes writes.
var errReadOnly = errors.New("the server takes no writes any more")

// parseURL parses DATABASE_URL, for connections to a server that takes writes.
func parseURL(raw string) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(raw)
	if err != nil {
		return nil,
			fmt.Errorf("DATABASE_URL is not a PostgreSQL URL (postgres://user:password@host:5432/name, or with several hosts as "+
				"host1:5432,host2:5432): %w", redact(err))
	}
	params, _ := url.ParseQuery(queryOf(raw))
	if !params.Has("pool_max_conns") {
		cfg.MaxConns = poolSize
	}
	switch want := params.Get("target_session_attrs"); want {
	case "", "any", "read-write", "primary":
	default:
		return nil, fmt.Errorf("DATABASE_URL asks for target_session_attrs=%s: Warren writes, so it must be read-write, or be left out",
			want)
	}
	if err := checkParams(&cfg.ConnConfig.Config); err != nil {
		return nil, err
	}
	cfg.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	cfg.ConnConfig.ConnectTimeout = cmp.Or(cfg.ConnConfig.ConnectTimeout, connectTimeout)
	d := &dialer{silent: map[string]time.Time{}}
	d.KeepAliveConfig = net.KeepAliveConfig{Enable: true, Idle: serverSilent / 3, Interval: serverSilent / 3, Count: 2}
	d.Control = endWhenSilent
	cfg.ConnConfig.DialFunc = d.dial
	return cfg, nil
}

// queryOf returns the query of DATABASE_URL. A password may have a ? in it.
func queryOf(raw string) string {
	_, rest, _ := strings.Cut(raw, "://")
	authority, path, _ := strings.Cut(rest, "/")
	hosts := authority[strings.LastIndex(authority, "@")+1:]
	_, query, _ := strings.Cut(hosts+"/"+path, "?")
	return query
}

// keepAfter returns a handler that reports whether a connection is still usable after an error. If
// its server no longer takes writes, neither it nor the rest of the pool is: the pool is reset, and
// new connections go to the server that does.
func keepAfter(pool *atomic.Pointer[pgxpool.Pool]) pgconn.PgErrorHandler {
	return func(_ *pgconn.PgConn, err *pgconn.PgError) bool {
		if err.Code != codeReadOnly {
			return !strings.EqualFold(err.Severity, "FATAL") // as without this
		}
		if p := pool.Load(); p != nil {
			p.Reset()
		}
		return false
	}
}

// CheckURL returns an error that explains in a sentence what is wrong with DATABASE_URL, without
// its password.
func CheckURL(raw string) error {
	if strings.ContainsFunc(raw, unicode.IsControl) {
		return errors.New("DATABASE_URL has a line break or another control character in it")
	}
	scheme, rest, _ := strings.Cut(raw, "://")
	authority, _, _ := strings.Cut(strings.SplitN(rest, "?", 2)[0], "/")
	if scheme != "postgres" && scheme != "postgresql" && foreignScheme(scheme) != "" {
		return errors.New(foreignScheme(scheme))
	}
	if scheme != "postgres" && scheme != "postgresql" || authority == "" && !strings.Contains(rest, "host=") {
		return errors.New("DATABASE_URL is not a PostgreSQL URL: it must look like postgres://user:password@host:5432/name")
	}
	_, err := parseURL(raw)
	return err
}

// dialer remembers which addresses did not answer. Safe for concurrent use.
type dialer struct {
	net.Dialer
	mu     sync.Mutex
	silent map[string]time.Time // when each address last timed out
}

func (d *dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	dialling := ctx
	if d.wasSilent(addr) {
		var cancel context.CancelFunc
		dialling, cancel = context.WithTimeout(ctx, silentDial)
		defer cancel()
	}
	conn, err := d.DialContext(dialling, network, addr)
	var timeout net.Error
	d.mu.Lock()
	defer d.mu.Unlock()
	if errors.As(err, &timeout) && timeout.Timeout() {
		d.silent[addr] = time.Now()
	} else {
		delete(d.silent, addr)
	}
	return conn, err
}

func (d *dialer) wasSilent(addr string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	since, was := d.silent[addr]
	return was && time.Since(since) < silentFor
}

// takesWrites returns errReadOnly if the server of a dedicated connection no longer takes writes. A
// primary that became a standby keeps its connections and answers queries, but locks on it mean
// nothing any more, and no notifications are sent there.
func takesWrites(ctx context.Context, conn *pgx.Conn) error {
	var readOnly bool
	if err := conn.QueryRow(ctx, `SELECT current_setting('transaction_read_only')::bool`).Scan(&readOnly); err != nil {
		return err
	}
	if readOnly {
		return errReadOnly
	}
	return nil
}
