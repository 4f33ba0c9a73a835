package store

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// leadLockSpace is the first half of the advisory lock keys of leaders.
	leadLockSpace = 0x6c65 // "le"
	// leadEvery is how often the other processes try to lead, and how often the leader checks that
	// it still does. Polling beats waiting in pg_advisory_lock, which would hold a snapshot open,
	// and vacuum back, for as long as another process leads.
	leadEvery = time.Second
	// leadLost is the idle time after which PostgreSQL ends the leader's session: a frozen process,
	// or one behind a dead link, leads no longer.
	leadLost = 15 * time.Second
)

var errLeadLost = errors.New("another process may lead now: the connection that held the lead broke")

// Lead blocks until this process is the leader of that name, of which a deployment has one, and
// then calls run. When the database connection that holds the lead breaks, run's ctx ends, and Lead
// tries again once run has returned. Lead returns nil when ctx ends, otherwise the error that run
// returned by itself.
func (s *Store) Lead(ctx context.Context, name string, run func(ctx context.Context) error) error {
	for ctx.Err() == nil {
		ran, err := s.leadOnce(ctx, name, run)
		if ran {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(leadEvery):
		}
	}
	return nil
}

// leadOnce tries to lead. ran reports whether run returned by itself.
func (s *Store) leadOnce(ctx context.Context, name string, run func(ctx context.Context) error) (ran bool, err error) {
	conn, err := s.leadConn(ctx, name)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if !takeLead(ctx, conn, name) {
		return false, nil
	}
	leading, lose := context.WithCancelCause(ctx)
	defer lose(nil)
	held := make(chan struct{})
	go func() {
		defer close(held)
		lose(holdLead(leading, conn))
	}()
	err = run(leading)
	lost := errors.Is(context.Cause(leading), errLeadLost)
	lose(nil)
	<-held // holdLead uses the connection until then
	if lost || ctx.Err() != nil {
		return false, nil
	}
	return true, err
}

func (s *Store) leadConn(ctx context.Context, name string) (*pgx.Conn, error) {
	cfg := s.pool.Config().ConnConfig.Copy()
	cfg.RuntimeParams["application_name"] += " lead " + name
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to lead %s: %w", name, redact(err))
	}
	if _, err := conn.Exec(ctx, fmt.Sprintf(`SET idle_session_timeout = %d`, leadLost.Milliseconds())); err != nil {
		_ = conn.Close(context.WithoutCancel(ctx))
		return nil, fmt.Errorf("prepare to lead %s: %w", name, err)
	}
	return conn, nil
}

// takeLead polls for the lock until it leads; it returns false if the connection or ctx ends first.
func takeLead(ctx context.Context, conn *pgx.Conn, name string) bool {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(name))
	for {
		var leads bool
		err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1, $2)`, leadLockSpace, int32(hash.Sum32())).Scan(&leads)
		if err != nil || leads {
			return leads
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(leadEvery):
		}
	}
}

// holdLead checks the connection until ctx ends (nil) or a check fails (errLeadLost).
func holdLead(ctx context.Context, conn *pgx.Conn) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(leadEvery):
		}
		ping, cancel := context.WithTimeout(ctx, leadLost/2)
		err := takesWrites(ping, conn)
		cancel()
		if err != nil && ctx.Err() == nil {
			return errLeadLost
		}
	}
}
