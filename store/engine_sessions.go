package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store/internal/rules"
)

// sessionLockSpace is the first half of the advisory lock keys of sessions.
const sessionLockSpace = 0x7761 // "wa"

// SessionInfo describes a process.
type SessionInfo struct {
	Process     uuid.UUID // that holds the lease
	Name        string    // of the process
	Roles       []string
	Version     string
	Queues      []string
	Concurrency int
	Prefetch    int
}

// Session is the lease of one process: a row that expires unless it is renewed, and an advisory
// lock on a dedicated connection, which the kernel ends with the process. Safe for concurrent use.
type Session struct {
	store *Store
	info  SessionInfo
	id    uuid.UUID
	key   int64

	// busy is held while conn is in use. It is a channel, like the lock of package engine.
	busy chan struct{}
	conn *pgx.Conn
}

// OpenSession adds the session's row and takes its lock.
func (s *Store) OpenSession(ctx context.Context, info SessionInfo) (*Session, error) {
	ses := &Session{store: s, info: info, id: uuid.Must(uuid.NewV7()), busy: make(chan struct{}, 1)}
	if err := ses.insert(ctx); err != nil {
		return nil, err
	}
	conn, err := ses.connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := ses.lock(ctx, conn); err != nil {
		return nil, err
	}
	return ses, nil
}

func (ses *Session) insert(ctx context.Context) error {
	queues := ses.info.Queues
	if queues == nil {
		queues = []string{}
	}
	err := ses.store.pool.QueryRow(ctx, `
		WITH worked AS ( -- from now on these queues are known, also while no worker works them
			INSERT INTO warren.job_queues (name) SELECT unnest($5::text[]) ON CONFLICT DO NOTHING
		)
		INSERT INTO warren.sessions (id, name, roles, version, queues, concurrency, prefetch, expires_at, process_id)
		VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp() + $8, $9) RETURNING lock_key`,
		ses.id, ses.info.Name, ses.info.Roles, ses.info.Version, queues, ses.info.Concurrency, ses.info.Prefetch, engine.SessionTTL,
		uuid.NullUUID{UUID: ses.info.Process, Valid: ses.info.Process != uuid.Nil},
	).Scan(&ses.key)
	if err != nil {
		return fmt.Errorf("open a session: %w", redact(err))
	}
	return nil
}

func (ses *Session) connect(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, ses.store.pool.Config().ConnConfig)
	if err != nil {
		return nil, fmt.Errorf("connect for the session's lock: %w", redact(err))
	}
	return conn, nil
}

var errLockHeld = errors.New("take the session's lock: an earlier connection still holds it")

// lock takes the advisory lock on conn, which becomes the session's connection; on failure it
// closes conn. The caller must hold busy.
func (ses *Session) lock(ctx context.Context, conn *pgx.Conn) error {
	var locked bool
	err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1, $2::int)`, sessionLockSpace, ses.key).Scan(&locked)
	switch {
	case err != nil:
		err = fmt.Errorf("take the session's lock: %w", err)
	case !locked:
		err = errLockHeld
	default:
		ses.conn = conn
		return nil
	}
	_ = conn.Close(context.WithoutCancel(ctx))
	return err
}

// unlock releases the lock by closing its connection. The caller must hold busy.
func (ses *Session) unlock(ctx context.Context) {
	if ses.conn != nil {
		_ = ses.conn.Close(ctx)
		ses.conn = nil
	}
}

// Holder returns the identity that the session writes on the jobs it runs.
func (ses *Session) Holder() engine.Holder {
	return engine.Holder{Session: ses.id, Name: ses.info.Name}
}

// Renew extends the expiry, on the connection that holds the lock, so that handlers that use the
// whole pool cannot delay it. If that connection broke, or its server no longer takes writes, Renew
// goes on with another one and takes the lock there once the server has released it: renewing needs
// no lock. It returns jobs.ErrLost if the session had expired: its jobs may be another process's by
// now, and the process needs a new session.
func (ses *Session) Renew(ctx context.Context) error {
	ses.busy <- struct{}{}
	defer func() { <-ses.busy }()
	if ses.conn != nil && !ses.conn.IsClosed() {
		err := ses.renew(ctx, ses.conn)
		if err == nil || errors.Is(err, jobs.ErrLost) || ctx.Err() != nil {
			return err
		}
	}
	ses.unlock(ctx)
	conn, err := ses.connect(ctx)
	if err != nil {
		return err
	}
	if err := ses.renew(ctx, conn); err != nil {
		_ = conn.Close(context.WithoutCancel(ctx))
		return err
	}
	if err := ses.lock(ctx, conn); !errors.Is(err, errLockHeld) {
		return err
	}
	return nil
}

func (ses *Session) renew(ctx context.Context, conn *pgx.Conn) error {
	tag, err := conn.Exec(ctx, `
		UPDATE warren.sessions SET renewed_at = clock_timestamp(), expires_at = clock_timestamp() + $2
		WHERE id = $1 AND expires_at > clock_timestamp()`, ses.id, engine.SessionTTL)
	if err != nil {
		return fmt.Errorf("renew the session: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return jobs.ErrLost
	}
	return nil
}

// Close removes the row if the session holds no running job, and releases the lock. Idempotent.
func (ses *Session) Close(ctx context.Context) error {
	_, err := ses.store.pool.Exec(ctx, `
		DELETE FROM warren.sessions s WHERE id = $1 AND NOT EXISTS (SELECT FROM warren.jobs WHERE worker_id = s.id AND state = 'running')`,
		ses.id)
	ses.busy <- struct{}{}
	defer func() { <-ses.busy }()
	ses.unlock(ctx)
	if err != nil {
		return fmt.Errorf("close the session: %w", err)
	}
	return nil
}

// CancelRequested lists the runs, by job and lease, that the session holds and whose cancellation
// was requested.
func (ses *Session) CancelRequested(ctx context.Context) ([]engine.Result, error) {
	rows, err := ses.store.pool.Query(ctx, `
		SELECT id, lease FROM warren.jobs WHERE worker_id = $1 AND state = 'running' AND cancel_requested_at IS NOT NULL
			LIMIT 1000`, ses.id)
	if err != nil {
		return nil, fmt.Errorf("look for cancelled jobs: %w", err)
	}
	return pgx.CollectRows(rows, readRun)
}

// Running lists the runs, by job and lease, that the session holds.
func (ses *Session) Running(ctx context.Context) ([]engine.Result, error) {
	rows, err := ses.store.pool.Query(ctx, `SELECT id, lease FROM warren.jobs WHERE worker_id = $1 AND state = 'running'`, ses.id)
	if err != nil {
		return nil, fmt.Errorf("look for the session's jobs: %w", err)
	}
	return pgx.CollectRows(rows, readRun)
}

func readRun(row pgx.CollectableRow) (r engine.Result, err error) {
	err = row.Scan(&r.JobID, &r.Lease)
	return r, err
}

// Workers counts the live worker processes and how many jobs they can run at once.
func (s *Store) Workers(ctx context.Context) (processes, slots int, err error) {
	err = s.pool.QueryRow(ctx, `
		SELECT count(*), coalesce(sum(concurrency), 0) FROM warren.sessions
		WHERE 'worker' = ANY(roles) AND expires_at > clock_timestamp()`).Scan(&processes, &slots)
	if err != nil {
		return 0, 0, fmt.Errorf("count the workers: %w", err)
	}
	return processes, slots, nil
}

// goneSQL finds expired sessions that hold running jobs, and holders without a session, whose ids
// lie between those of the sessions. It does not read the jobs that live workers hold or held. It
// finds none unless session $1 was renewed in the last $2.
const goneSQL = `
WITH RECURSIVE gaps AS (
	SELECT id AS after, lead(id, 1, 'ffffffff-ffff-ffff-ffff-ffffffffffff') OVER (ORDER BY id) AS before
	FROM (SELECT id FROM warren.sessions UNION ALL VALUES ('00000000-0000-0000-0000-000000000000'::uuid)) s
), missing AS (
	SELECT gaps.before, h.worker_id FROM gaps CROSS JOIN LATERAL (` + holderBetween + `) h
	UNION ALL
	SELECT gaps.before, h.worker_id FROM missing gaps (before, after) CROSS JOIN LATERAL (` + holderBetween + `) h
), expired AS (
	SELECT s.id FROM warren.sessions s CROSS JOIN LATERAL (SELECT FROM warren.jobs WHERE state = 'running' AND worker_id BETWEEN s.id
		AND s.id ORDER BY worker_id LIMIT 1) h
	WHERE s.expires_at < clock_timestamp()
)
SELECT id FROM (SELECT id FROM expired UNION ALL SELECT worker_id FROM missing) gone (id)
WHERE EXISTS (SELECT FROM warren.sessions o WHERE o.id = $1 AND o.renewed_at > clock_timestamp() - $2::interval) LIMIT 1000`

const holderBetween = `SELECT worker_id FROM warren.jobs WHERE state = 'running' AND worker_id > gaps.after AND worker_id < gaps.before
	ORDER BY worker_id LIMIT 1`

// GoneHolders lists the holders of running jobs whose session has expired or no longer exists. It
// returns none unless the caller's own session was renewed in the last 2 s, because a stalled
// database delays every renewal. The caller must call it twice, 2 s apart, and act on holders
// listed both times.
func (s *Store) GoneHolders(ctx context.Context, own uuid.UUID) ([]uuid.UUID, error) {
	var list []uuid.UUID
	err := s.byIndex(ctx, func(rows pgx.Rows) (err error) {
		list, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		return err
	}, goneSQL, own, engine.SessionRenew)
	if err != nil {
		return nil, fmt.Errorf("look for holders that are gone: %w", err)
	}
	return list, nil
}

// Recover takes up to limit running jobs from a holder that is gone, and returns their ids: each
// gets a crash, the next dispatch and an outbox row, or ends as poison or cancelled.
func (s *Store) Recover(ctx context.Context, holder uuid.UUID, limit int) ([]uuid.UUID, error) {
	var moved []uuid.UUID
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT id FROM warren.jobs WHERE worker_id = $1 AND state `+rules.From(jobs.EngineRecover)+`
			ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED`, holder, limit)
		if err != nil {
			return err
		}
		if moved, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID]); err != nil {
			return err
		}
		for _, id := range moved {
			if err := recoverOne(ctx, tx, id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("recover the jobs of a worker that is gone: %w", err)
	}
	return moved, nil
}

func recoverOne(ctx context.Context, tx pgx.Tx, id uuid.UUID) error {
	row, _, err := lockJob(ctx, tx, id)
	if err != nil {
		return err
	}
	if err := recordCrash(ctx, tx, id, row); err != nil {
		return err
	}
	if end, why := endAfterCrash(row); end != "" {
		return endJob(ctx, tx, id, end, why)
	}
	_, err = tx.Exec(ctx, `
		WITH moved AS (
			UPDATE warren.jobs SET state = 'queued', dispatch = dispatch + 1, queued_at = clock_timestamp(), progress = NULL
			WHERE id = $1 RETURNING id, dispatch, queue, kind, args, state, trace
		), noted AS (
			INSERT INTO warren.drift (job_id, queue, dispatch, found) SELECT id, queue, dispatch, $2 FROM moved
		) `+rules.Dispatched, id, jobs.DriftHolder)
	return err
}

// SweepSessions removes rows that expired over a minute ago and hold no running job.
func (s *Store) SweepSessions(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, `
		DELETE FROM warren.sessions s WHERE expires_at < clock_timestamp() - interval '1 minute'
			AND NOT EXISTS (SELECT FROM warren.jobs WHERE worker_id = s.id AND state = 'running')`)
	if err != nil {
		return fmt.Errorf("sweep old sessions: %w", err)
	}
	return nil
}
