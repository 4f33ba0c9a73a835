package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
)

// Waiting reads what surrounds the queued jobs of a list, which says why each of them waits.
func (s *Store) Waiting(ctx context.Context, list []jobs.Job) ([]jobs.Detail, error) {
	var waiting []*jobs.Detail
	for _, j := range list {
		if j.State == jobs.Queued {
			waiting = append(waiting, &jobs.Detail{Job: j})
		}
	}
	if len(waiting) == 0 {
		return nil, nil
	}
	details := make([]jobs.Detail, len(waiting))
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		return readAround(ctx, tx, waiting)
	})
	if err != nil {
		return nil, fmt.Errorf("read what %d jobs wait for: %w", len(waiting), err)
	}
	for i, d := range waiting {
		details[i] = *d
	}
	return details, nil
}

// readSurroundings reads who could move on a job that has not ended, and who holds it.
func readSurroundings(ctx context.Context, tx pgx.Tx, d *jobs.Detail) error {
	if d.State.Ended() {
		return nil
	}
	if err := readAround(ctx, tx, []*jobs.Detail{d}); err != nil {
		return err
	}
	err := tx.QueryRow(ctx, `
		SELECT s.renewed_at, a.heard_at
		FROM warren.jobs j LEFT JOIN warren.sessions s ON s.id = j.worker_id AND j.state = 'running'
			LEFT JOIN warren.awaited_reports a ON a.job_id = j.id AND a.dispatch = j.dispatch
		WHERE j.id = $1`, d.ID).Scan(&d.Around.HolderSeen, &d.Around.HeardAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	return err
}

// readAround reads who could move on the jobs. Except for the outbox its tables have a row per process,
// queue or running job.
func readAround(ctx context.Context, tx pgx.Tx, list []*jobs.Detail) error {
	if err := readOutbox(ctx, tx, list); err != nil {
		return err
	}
	type place struct{ queue, kind string }
	var queues, kinds []string
	jobsIn := map[place][]*jobs.Detail{}
	for _, d := range list {
		at := place{d.Queue, d.Kind}
		if jobsIn[at] == nil {
			queues, kinds = append(queues, d.Queue), append(kinds, d.Kind)
		}
		jobsIn[at] = append(jobsIn[at], d)
	}
	rows, err := tx.Query(ctx, aroundSQL, queues, kinds, engine.UnknownKindFor, engine.ProcessSilent)
	if err != nil {
		return err
	}
	var at place
	a := jobs.Around{Known: true}
	_, err = pgx.ForEachRow(rows, append([]any{&at.queue, &at.kind}, aroundFields(&a)...), func() error {
		for _, d := range jobsIn[at] {
			next := d.Around.NextTry
			d.Around = a
			d.Around.NextTry = next
		}
		return nil
	})
	return err
}

// AroundQueues reads, for each of the job queues, who consumes it and who paused it.
func (s *Store) AroundQueues(ctx context.Context, queues []string) (map[string]jobs.Around, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	around := map[string]jobs.Around{}
	anyKind := make([]string, len(queues))
	rows, err := s.pool.Query(ctx, aroundSQL, queues, anyKind, engine.UnknownKindFor, engine.ProcessSilent)
	if err != nil {
		return nil, fmt.Errorf("read who consumes %d queues: %w", len(queues), err)
	}
	var queue, kind string
	a := jobs.Around{Known: true}
	_, err = pgx.ForEachRow(rows, append([]any{&queue, &kind}, aroundFields(&a)...), func() error {
		around[queue] = a
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read who consumes %d queues: %w", len(queues), err)
	}
	return around, nil
}

// AroundQueue reads who consumes a job queue, and who paused it.
func (s *Store) AroundQueue(ctx context.Context, queue string) (jobs.Around, error) {
	around, err := s.AroundQueues(ctx, []string{queue})
	return around[queue], err
}

func aroundFields(a *jobs.Around) []any {
	return []any{&a.Relays, &a.Schedulers, &a.Workers, &a.Quiet, &a.Silent, &a.Slots, &a.Busy, &a.External, &a.ReportWithin, &a.Unhandled,
		&a.PausedAt, &a.PausedBy, &a.Now}
}

// aroundSQL reads, for each queue of $1 with the kind at the same place in $2, who could run its jobs.
var aroundSQL = `
	WITH alive AS (
		SELECT roles FROM warren.processes WHERE ` + alive + `
	), consumers AS (
		SELECT s.id, s.queues, s.concurrency, coalesce(p.state IN ('quiet', 'stopping'), false) AS quiet,
			coalesce(p.seen_at < clock_timestamp() - $4::interval, false) AS silent, p.details::jsonb -> 'kinds' AS kinds
		FROM warren.sessions s LEFT JOIN warren.processes p ON p.id = s.process_id
		WHERE 'worker' = ANY(s.roles) AND s.expires_at > clock_timestamp()
	)
	SELECT at.queue, at.kind,
		(SELECT count(*) FROM alive WHERE 'relay' = ANY(roles)), (SELECT count(*) FROM alive WHERE 'scheduler' = ANY(roles)),
		c.workers, c.quiet, c.silent, c.slots, (SELECT count(*) FROM warren.jobs WHERE state = 'running' AND worker_id = ANY(c.ids)),
		coalesce(q.external, false), coalesce(q.report_within_ms, 0) * interval '1 ms',
		NOT c.handled AND EXISTS (
			SELECT FROM warren.unknown_kinds u WHERE u.kind = at.kind AND u.queue = at.queue AND u.at > clock_timestamp() - $3::interval),
		q.paused_at, CASE WHEN q.paused_at IS NULL THEN '' ELSE coalesce(q.paused_by, '') END, clock_timestamp()
	FROM unnest($1::text[], $2::text[]) AS at (queue, kind)
	LEFT JOIN warren.job_queues q ON q.name = at.queue
	CROSS JOIN LATERAL (
		SELECT count(*) AS workers, count(*) FILTER (WHERE quiet) AS quiet, count(*) FILTER (WHERE silent) AS silent,
			coalesce(sum(concurrency) FILTER (WHERE NOT quiet AND NOT silent), 0) AS slots,
			array_agg(id) FILTER (WHERE NOT quiet AND NOT silent) AS ids, coalesce(bool_or(kinds ? at.kind), false) AS handled
		FROM consumers WHERE at.queue = ANY(queues)
	) c`

// readOutbox reads which of the jobs wait in the outbox, and how the relay fared with them.
func readOutbox(ctx context.Context, tx pgx.Tx, list []*jobs.Detail) error {
	ids := make([]uuid.UUID, len(list))
	for i, d := range list {
		ids[i] = d.ID
	}
	rows, err := tx.Query(ctx, `SELECT job_id, dispatch, coalesce(last_error, ''), NOT `+relayable+`,
			CASE WHEN tries > 0 AND not_before > clock_timestamp() THEN not_before END
		FROM warren.outbox WHERE job_id = ANY($1)`, ids)
	if err != nil {
		return err
	}
	var id uuid.UUID
	var row jobs.Detail
	_, err = pgx.ForEachRow(rows, []any{&id, &row.Dispatch, &row.OutboxError, &row.QueuePaused, &row.Around.NextTry}, func() error {
		i := slices.IndexFunc(list, func(d *jobs.Detail) bool { return d.ID == id && d.Dispatch == row.Dispatch })
		if i >= 0 {
			d := list[i]
			d.InOutbox, d.OutboxError, d.QueuePaused, d.Around.NextTry = true, row.OutboxError, row.QueuePaused, row.Around.NextTry
		}
		return nil
	})
	return err
}
