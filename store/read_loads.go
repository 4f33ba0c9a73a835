package store

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs/engine"
)

// loadRunsMax bounds the ended runs of each sort that loadsOf reads. Where more ended within the
// window, it looks back only as far as they reach.
const loadRunsMax = 5000

// loadsOf adds what each worker of the page did lately, from the rows of its runs: nothing is written
// for it. Runs carry the name of their process, so of two live processes with one name the load is
// not known.
func loadsOf(ctx context.Context, db rowsReader, list []engine.Process, at map[uuid.UUID]int, ids []uuid.UUID) error {
	rows, err := db.Query(ctx, `
		WITH completed AS MATERIALIZED (
			SELECT worker, started_at, finished_at FROM warren.jobs WHERE state = 'completed' AND finished_at > now() - $2::interval
			ORDER BY finished_at DESC LIMIT $3
		), other AS MATERIALIZED (
			SELECT worker, started_at, finished_at FROM warren.attempts WHERE finished_at > now() - $2::interval
			ORDER BY finished_at DESC LIMIT $3
		), reach AS (
			SELECT greatest(now() - $2::interval, (SELECT min(finished_at) FROM completed HAVING count(*) = $3),
				(SELECT min(finished_at) FROM other HAVING count(*) = $3)) AS since
		), windows AS (
			SELECT p.id, p.name, p.started_at, greatest(reach.since, p.started_at) AS since FROM warren.processes p CROSS JOIN reach
			WHERE p.id = ANY($1) AND NOT EXISTS (SELECT FROM warren.processes o WHERE o.name = p.name AND o.id <> p.id AND `+alive+`)
		), ended AS (
			SELECT w.id, count(*) AS runs, max(r.finished_at) AS last,
				sum(extract(epoch FROM r.finished_at - greatest(r.started_at, w.since))) AS seconds
			FROM windows w JOIN (SELECT * FROM completed UNION ALL SELECT * FROM other) r ON r.worker = w.name AND r.finished_at > w.since
			GROUP BY w.id
		), running AS (
			SELECT w.id, sum(extract(epoch FROM now() - greatest(j.started_at, w.since))) AS seconds
			FROM windows w JOIN warren.sessions s ON s.process_id = w.id JOIN warren.jobs j ON j.worker_id = s.id AND j.state = 'running'
			GROUP BY w.id
		)
		SELECT w.id, w.since, coalesce(e.runs, 0),
			(coalesce(e.seconds, 0) + coalesce(r.seconds, 0))::float8 / greatest(extract(epoch FROM now() - w.since), 1)::float8,
			CASE WHEN r.id IS NULL THEN coalesce(e.last, CASE WHEN w.since = w.started_at THEN w.since END) END
		FROM windows w LEFT JOIN ended e ON e.id = w.id LEFT JOIN running r ON r.id = w.id`, ids, engine.LoadWindow, loadRunsMax)
	if err != nil {
		return err
	}
	var process uuid.UUID
	var load engine.ProcessLoad
	var slots float64 // busy on average
	var idle *time.Time
	_, err = pgx.ForEachRow(rows, []any{&process, &load.Since, &load.Runs, &slots, &idle}, func() error {
		if worker := list[at[process]].Worker; worker != nil {
			own := load
			own.BusyShare, own.IdleSince = min(slots/float64(max(worker.Concurrency, 1)), 1), idle
			worker.Load = &own
		}
		return nil
	})
	return err
}
