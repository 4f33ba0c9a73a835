package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
)

// recentWindow bounds the jobs among which those that ended are looked for: with a long backlog the newest have not.
const recentWindow = 1000

// Recent reads the newest jobs of a kind that have run and ended, at most n, oldest first. It looks at
// the newest 1,000 jobs of the kind. Of each job it reads the id, the state and the times.
func (s *Store) Recent(ctx context.Context, kind string, n int) ([]jobs.Job, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT id, state, started_at, finished_at FROM (
			SELECT id, state, started_at, finished_at FROM (
				SELECT id, state, started_at, finished_at FROM warren.jobs WHERE kind = $1 ORDER BY id DESC LIMIT $2
			) newest WHERE state IN ('completed', 'dead', 'cancelled') AND started_at IS NOT NULL AND finished_at IS NOT NULL
			ORDER BY id DESC LIMIT $3
		) ended ORDER BY id`, kind, recentWindow, n)
	if err != nil {
		return nil, fmt.Errorf("read the newest jobs of the kind %s: %w", kind, err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (j jobs.Job, err error) {
		return j, row.Scan(&j.ID, &j.State, &j.StartedAt, &j.FinishedAt)
	})
	if err != nil {
		return nil, fmt.Errorf("read the newest jobs of the kind %s: %w", kind, err)
	}
	return list, nil
}
