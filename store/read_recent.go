package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
)

// recentWindow bounds the jobs among which those that ended last are looked for.
const recentWindow = 1000

// recentSQL looks at the newest jobs of the kind, and at the jobs of any kind that ended last in each state: where jobs
// of the kind are many or slow, the newest have not ended, or have all ended well.
var recentSQL = `
	WITH ended AS (
		(SELECT id, state, started_at, finished_at, kind FROM warren.jobs WHERE kind = $1 ORDER BY id DESC LIMIT $2)
		UNION
		SELECT last.* FROM unnest(ARRAY['completed', 'dead', 'cancelled']) AS of(state), LATERAL (
			SELECT id, state, started_at, finished_at, kind FROM warren.jobs WHERE state = of.state
				AND state IN ('completed', 'dead', 'cancelled') ORDER BY finished_at DESC LIMIT $2
		) last WHERE kind = $1
	)
	SELECT id, state, started_at, finished_at FROM (
		SELECT * FROM ended WHERE state IN ('completed', 'dead', 'cancelled') AND started_at IS NOT NULL AND finished_at IS NOT NULL
		ORDER BY finished_at DESC, id DESC LIMIT $3
	) newest ORDER BY finished_at, id`

// Recent reads the jobs of a kind that have run and ended last, at most n, in that order. It looks at the newest 1,000
// jobs of the kind, and at the last 1,000 of any kind that ended in each state. Of each job it reads the id, the state
// and the times.
func (s *Store) Recent(ctx context.Context, kind string, n int) ([]jobs.Job, error) {
	rows, err := s.pool.Query(ctx, recentSQL, kind, recentWindow, n)
	if err != nil {
		return nil, fmt.Errorf("read the last jobs of the kind %s: %w", kind, err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (j jobs.Job, err error) {
		return j, row.Scan(&j.ID, &j.State, &j.StartedAt, &j.FinishedAt)
	})
	if err != nil {
		return nil, fmt.Errorf("read the last jobs of the kind %s: %w", kind, err)
	}
	return list, nil
}
