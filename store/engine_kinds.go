package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
)

// SaveKinds records, for the other processes, the kinds that a program of that version handles or
// describes.
func (s *Store) SaveKinds(ctx context.Context, program, version string, list []jobs.Definition) error {
	var batch pgx.Batch
	for _, d := range list {
		raw, err := json.Marshal(d)
		if err != nil {
			return fmt.Errorf("write the kind %s: %w", d.Name, err)
		}
		batch.Queue(`
			INSERT INTO warren.kinds AS k (name, definition, handled, program, version) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (name) DO UPDATE SET definition = excluded.definition, handled = excluded.handled, program = excluded.program,
				version = excluded.version, seen_at = excluded.seen_at
			WHERE excluded.handled OR NOT k.handled`, d.Name, string(raw), d.Handled, cleanText(program), cleanText(version))
	}
	if err := s.pool.SendBatch(ctx, &batch).Close(); err != nil {
		return fmt.Errorf("write the kinds of this process: %w", err)
	}
	return nil
}

// Kinds lists the kinds that a process has recorded in the last week, by name.
func (s *Store) Kinds(ctx context.Context) ([]jobs.Definition, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT definition::text FROM warren.kinds WHERE seen_at > now() - interval '7 days' ORDER BY name LIMIT 1000`)
	if err != nil {
		return nil, fmt.Errorf("read the kinds: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (d jobs.Definition, err error) {
		var raw string
		if err := row.Scan(&raw); err != nil {
			return d, err
		}
		return d, json.Unmarshal([]byte(raw), &d)
	})
	if err != nil {
		return nil, fmt.Errorf("read the kinds: %w", err)
	}
	return list, nil
}

// SaveUnknownKind records that a worker of the queue gave back a job of a kind that it has no
// handler for.
func (s *Store) SaveUnknownKind(ctx context.Context, kind, queue, worker string) error {
	_, err := s.pool.Exec(ctx, `
		INSERT INTO warren.unknown_kinds AS u (kind, queue, worker) VALUES ($1, $2, $3)
		ON CONFLICT (kind, queue) DO UPDATE SET worker = excluded.worker, at = excluded.at,
			since = CASE WHEN u.at < clock_timestamp() - $4::interval THEN excluded.since ELSE u.since END`,
		kind, queue, cleanText(worker), engine.UnknownKindFor)
	if err != nil {
		return fmt.Errorf("note that the kind %s is unknown: %w", kind, err)
	}
	return nil
}

// UnknownKinds lists the kinds whose jobs wait because no live worker of their queue has a handler.
// Those of external queues are other programs' business.
func (s *Store) UnknownKinds(ctx context.Context) ([]engine.UnknownKind, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT kind, queue, worker, since FROM warren.unknown_kinds u
		WHERE at > clock_timestamp() - $1::interval AND NOT EXISTS (SELECT FROM warren.job_queues q WHERE q.name = u.queue AND q.external)
		AND NOT EXISTS (
			SELECT FROM warren.sessions s JOIN warren.processes p ON p.id = s.process_id
			WHERE u.queue = ANY(s.queues) AND s.expires_at > clock_timestamp() AND p.details::jsonb -> 'kinds' ? u.kind)
		ORDER BY since LIMIT 20`, engine.UnknownKindFor)
	if err != nil {
		return nil, fmt.Errorf("read the unknown kinds: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[engine.UnknownKind])
	if err != nil {
		return nil, fmt.Errorf("read the unknown kinds: %w", err)
	}
	return list, nil
}
