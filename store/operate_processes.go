package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
)

// processChannel is notified with the id of a process for which a command was recorded.
const processChannel = "warren_process"

// Heartbeat writes the state of a process, by the database's clock; the first one inserts its row.
// A version that no process had is recorded as a deploy.
// done is the command that the process has carried out since its last heartbeat, or "". Heartbeat
// returns the command that waits for the process, or "", and the name of the actor who gave it.
func (s *Store) Heartbeat(
	ctx context.Context, p engine.Process, done engine.ProcessCommand,
) (command engine.ProcessCommand, by string, err error) {
	details, err := json.Marshal(p.Details)
	if err != nil {
		return "", "", fmt.Errorf("write the process: %w", err)
	}
	err = s.pool.QueryRow(ctx, `
		WITH deployed AS (
			INSERT INTO warren.deploys (version)
			SELECT $6 WHERE NOT EXISTS (SELECT FROM warren.processes WHERE version = $6)
				AND $6 IS DISTINCT FROM (SELECT version FROM warren.deploys ORDER BY at DESC LIMIT 1)
			ON CONFLICT DO NOTHING
		)
		INSERT INTO warren.processes AS p (id, name, host, pid, roles, version, state, details)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::json)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state, details = excluded.details, seen_at = clock_timestamp(),
			wants = CASE WHEN p.wants <> $9 THEN p.wants END
		RETURNING coalesce(wants, ''), wanted_by`,
		p.ID, cleanText(p.Name), cleanText(p.Host), p.PID, p.Roles, p.Version, p.State, string(details), done).Scan(&command, &by)
	if err != nil {
		return "", "", fmt.Errorf("write the process: %w", err)
	}
	return command, by, nil
}

// EndProcess records that a process has stopped in good order. Idempotent.
func (s *Store) EndProcess(ctx context.Context, id uuid.UUID) error {
	if _, err := s.pool.Exec(ctx, `
		UPDATE warren.processes SET state = 'stopped', wants = NULL, seen_at = clock_timestamp() WHERE id = $1`, id); err != nil {
		return fmt.Errorf("write that the process has stopped: %w", err)
	}
	return nil
}

// SweepProcesses removes processes without a heartbeat for engine.ProcessKeep.
func (s *Store) SweepProcesses(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, `DELETE FROM warren.processes WHERE seen_at < clock_timestamp() - $1::interval`, engine.ProcessKeep)
	if err != nil {
		return fmt.Errorf("sweep old processes: %w", err)
	}
	return nil
}

// AskProcess asks a process to go quiet, to resume or to stop, wakes it, and returns it as it is
// then. The process obeys within 2 s, or once its database is back. Errors: jobs.ErrNotFound,
// *jobs.NotAllowedError if the process cannot obey the command in its state.
func (s *Store) AskProcess(ctx context.Context, id uuid.UUID, command engine.ProcessCommand, by jobs.Actor) (engine.Process, error) {
	var p engine.Process
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT `+processColumns+` FROM warren.processes p WHERE id = $1 FOR UPDATE`, id)
		if err != nil {
			return err
		}
		p, err = pgx.CollectExactlyOneRow(rows, scanProcess)
		if errors.Is(err, pgx.ErrNoRows) {
			return jobs.ErrNotFound
		}
		if err != nil {
			return err
		}
		if why := p.Refuses(command); why != "" {
			return &jobs.NotAllowedError{Why: why}
		}
		if _, err := tx.Exec(ctx, `UPDATE warren.processes SET wants = $2, wanted_by = $3 WHERE id = $1`, id, command,
			cleanText(by.Name)); err != nil {
			return err
		}
		if err := audit(ctx, tx, by, "process."+string(command), "process:"+p.Name, map[string]any{"id": id, "roles": p.Roles,
			"state": p.State}); err != nil {
			return err
		}
		p.Command = &command
		_, err = tx.Exec(ctx, `SELECT pg_notify($1, $2)`, processChannel, id.String())
		return err
	})
	if err != nil {
		return p, fmt.Errorf("ask a process to %s: %w", command, err)
	}
	return p, nil
}

// alive is the condition of a live process: it has sent a heartbeat lately, and has not stopped.
var alive = fmt.Sprintf(`(state <> 'stopped' AND seen_at >= clock_timestamp() - interval '%g seconds')`, engine.ProcessGone.Seconds())

var processColumns = `p.id, p.name, p.host, p.pid, p.roles, p.version,
	CASE WHEN ` + alive + ` OR state = 'stopped' THEN p.state ELSE 'gone' END, p.wants, p.started_at, p.seen_at, p.details::text`

func scanProcess(row pgx.CollectableRow) (p engine.Process, err error) {
	var details *string
	if err := row.Scan(&p.ID, &p.Name, &p.Host, &p.PID, &p.Roles, &p.Version, &p.State, &p.Command, &p.StartedAt, &p.SeenAt,
		&details); err != nil {
		return p, err
	}
	if details != nil {
		_ = json.Unmarshal([]byte(*details), &p.Details) // fields that another version lacks stay unknown
	}
	return p, nil
}

// ProcessDigest returns a text that changes when a process comes, goes, falls silent or is in another state.
func (s *Store) ProcessDigest(ctx context.Context) (digest string, err error) {
	err = s.pool.QueryRow(ctx, `
		SELECT coalesce(md5(string_agg(concat(id, state, wants, seen_at < clock_timestamp() - $1::interval, `+alive+`), ''
			ORDER BY id)), '') FROM warren.processes`, engine.ProcessSilent).Scan(&digest)
	if err != nil {
		return "", fmt.Errorf("read which processes there are: %w", err)
	}
	return digest, nil
}

// processKey is the key of the list of processes.
type processKey struct {
	Name string
	ID   uuid.UUID
}

// Processes reads a page of the processes with their runs, by name.
func (s *Store) Processes(ctx context.Context, f engine.ProcessFilter, c jobs.Cursor, limit int) (jobs.Page[engine.Process], error) {
	page, _, err := s.ProcessesWithTotals(ctx, f, c, limit)
	return page, err
}

// ProcessesWithTotals reads a page of the processes with their runs, by name, and the totals of all that are alive, as of one moment.
func (s *Store) ProcessesWithTotals(
	ctx context.Context, f engine.ProcessFilter, c jobs.Cursor, limit int,
) (page jobs.Page[engine.Process], totals engine.ProcessTotals, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	err = pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if page, err = listProcesses(ctx, tx, f, c, limit); err != nil {
			return err
		}
		totals, err = processTotals(ctx, tx)
		return err
	})
	if err != nil {
		return page, totals, fmt.Errorf("list processes: %w", err)
	}
	return page, totals, nil
}

func listProcesses(
	ctx context.Context, tx pgx.Tx, f engine.ProcessFilter, c jobs.Cursor, limit int,
) (page jobs.Page[engine.Process], err error) {
	key, first, err := keyOf[processKey](c)
	if err != nil {
		return page, err
	}
	comparison, direction := seek(c, false)
	rows, err := tx.Query(ctx, `
		SELECT `+processColumns+` FROM warren.processes p
		WHERE ($1 = '' OR $1 = ANY(roles)) AND (NOT $2 OR `+alive+`) AND ($3 OR (name COLLATE "C", id) `+comparison+` ($4 COLLATE "C", $5))
		ORDER BY name COLLATE "C" `+direction+`, id `+direction+` LIMIT $6`,
		f.Role, f.Alive, first, key.Name, key.ID, limit+1)
	if err != nil {
		return page, err
	}
	list, err := pgx.CollectRows(rows, scanProcess)
	if err != nil {
		return page, err
	}
	page = pageOf(list, c, limit, func(p engine.Process) any { return processKey{p.Name, p.ID} })
	return page, workersOf(ctx, tx, page.Items)
}

// goneMax bounds how many processes GoneProcesses reads.
const goneMax = 5000

// GoneProcesses reads the processes with the role, or with any, that are gone or have stopped in the
// last engine.ProcessKeep, the latest first, without their runs.
func (s *Store) GoneProcesses(ctx context.Context, role string) ([]engine.Process, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT `+processColumns+` FROM warren.processes p
		WHERE NOT `+alive+` AND seen_at >= clock_timestamp() - $2::interval AND ($1 = '' OR $1 = ANY(roles))
		ORDER BY seen_at DESC, id LIMIT $3`, role, engine.ProcessKeep, goneMax)
	if err != nil {
		return nil, fmt.Errorf("list the processes that are gone: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanProcess)
	if err != nil {
		return nil, fmt.Errorf("list the processes that are gone: %w", err)
	}
	return list, nil
}

// Process reads one process with its runs. Errors: jobs.ErrNotFound.
func (s *Store) Process(ctx context.Context, id uuid.UUID) (engine.Process, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+processColumns+` FROM warren.processes p WHERE id = $1`, id)
	if err != nil {
		return engine.Process{}, fmt.Errorf("read a process: %w", err)
	}
	p, err := pgx.CollectExactlyOneRow(rows, scanProcess)
	if errors.Is(err, pgx.ErrNoRows) {
		return p, jobs.ErrNotFound
	}
	one := []engine.Process{p}
	if err == nil {
		err = workersOf(ctx, s.pool, one)
	}
	if err != nil {
		return p, fmt.Errorf("read a process: %w", err)
	}
	return one[0], nil
}

// workersOf adds the workers, their runs and their loads: one query each for all processes of the page.
func workersOf(ctx context.Context, db rowsReader, list []engine.Process) error {
	at := make(map[uuid.UUID]int, len(list))
	ids := make([]uuid.UUID, len(list))
	for i, p := range list {
		at[p.ID], ids[i] = i, p.ID
	}
	rows, err := db.Query(ctx, `
		SELECT s.process_id, s.queues, s.concurrency, s.prefetch, s.renewed_at, s.expires_at,
			(SELECT count(*) FROM warren.jobs j WHERE j.worker_id = s.id AND j.state = 'running')
		FROM warren.sessions s WHERE s.process_id = ANY($1) AND 'worker' = ANY(s.roles) ORDER BY s.id`, ids)
	if err != nil {
		return err
	}
	var process uuid.UUID
	var w engine.ProcessWorker
	_, err = pgx.ForEachRow(rows, []any{&process, &w.Queues, &w.Concurrency, &w.Prefetch, &w.RenewedAt, &w.ExpiresAt, &w.Busy},
		func() error {
			worker := w
			if before := list[at[process]].Worker; before != nil { // the process lost its lease and has a new one
				worker.Busy += before.Busy
			}
			worker.Queues, w.Queues, worker.Running = w.Queues, nil, []engine.ProcessRun{}
			list[at[process]].Worker = &worker
			return nil
		})
	if err != nil {
		return err
	}
	rows, err = db.Query(ctx, `
		SELECT s.process_id, j.id, j.kind, j.queue, j.attempt, j.max_attempts, j.lease, j.started_at, j.progress::text
		FROM warren.sessions s CROSS JOIN LATERAL (
			SELECT * FROM warren.jobs WHERE worker_id = s.id AND state = 'running' ORDER BY started_at, id LIMIT $2
		) j WHERE s.process_id = ANY($1) ORDER BY j.started_at, j.id`, ids, engine.ProcessRunsMax)
	if err != nil {
		return err
	}
	var run engine.ProcessRun
	var progress *string
	_, err = pgx.ForEachRow(rows, []any{&process, &run.JobID, &run.Kind, &run.Queue, &run.Attempt, &run.MaxAttempts, &run.Lease,
		&run.StartedAt, &progress}, func() error {
		r := run
		if progress != nil {
			_ = json.Unmarshal([]byte(*progress), &r.Progress) // written by a worker
		}
		run.Progress = nil
		if worker := list[at[process]].Worker; worker != nil {
			worker.Running = append(worker.Running, r)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return loadsOf(ctx, db, list, at, ids)
}

// processTotals sums up all processes that are alive. What a silent one runs is not known.
func processTotals(ctx context.Context, tx pgx.Tx) (t engine.ProcessTotals, err error) {
	err = tx.QueryRow(ctx, `
		WITH alive AS (
			SELECT *, seen_at < clock_timestamp() - $1::interval AS silent FROM warren.processes WHERE `+alive+`
		), leases AS (
			SELECT s.concurrency, p.state, (SELECT count(*) FROM warren.jobs j WHERE j.worker_id = s.id AND j.state = 'running') AS busy
			FROM warren.sessions s JOIN alive p ON p.id = s.process_id AND NOT p.silent
			WHERE 'worker' = ANY(s.roles) AND s.expires_at > clock_timestamp()
		)
		SELECT (SELECT count(*) FROM alive), (SELECT count(*) FROM alive WHERE silent),
			(SELECT count(*) FROM alive WHERE 'worker' = ANY(roles)), (SELECT count(*) FROM alive WHERE state = 'quiet'),
			(SELECT coalesce(sum(concurrency), 0) FROM leases WHERE state <> 'quiet'), (SELECT coalesce(sum(busy), 0) FROM leases),
			(SELECT coalesce(array_agg(DISTINCT version ORDER BY version), '{}') FROM alive), clock_timestamp()`,
		engine.ProcessSilent).Scan(&t.Processes, &t.Silent, &t.Workers, &t.Quiet, &t.Slots, &t.Busy, &t.Versions, &t.At)
	return t, err
}

// rowsReader is a pool or a transaction.
type rowsReader interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}
