package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs/monitor"
)

// marksMax is the number of marks of each kind that a chart shows.
const marksMax = 25

// Marks reads what was done between from and to that may explain a change in a chart: pauses and
// resumptions of the queue, or of all queues if it is "", and deploys. It returns the newest 25 of
// each kind, oldest first.
func (s *Store) Marks(ctx context.Context, queue string, from, to time.Time) ([]monitor.Mark, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.pool.Query(ctx, `
		SELECT a.at, k.kind, substr(a.target, 7), a.actor, a.reason
		FROM unnest(ARRAY['queue.pause', 'queue.resume']) k (kind) CROSS JOIN LATERAL (
			SELECT * FROM warren.audit WHERE action = k.kind AND ($1 = '' OR target = 'queue:' || $1) AND at BETWEEN $2 AND $3
			ORDER BY id DESC LIMIT $4
		) a
		UNION ALL (
			SELECT at, 'deploy', version, '', '' FROM warren.deploys
			WHERE at BETWEEN $2 AND $3 AND at > (SELECT min(at) FROM warren.deploys) ORDER BY at DESC LIMIT $4
		)
		ORDER BY 1`, queue, from, to, marksMax)
	if err != nil {
		return nil, fmt.Errorf("read the marks of charts: %w", err)
	}
	marks, err := pgx.CollectRows(rows, pgx.RowToStructByPos[monitor.Mark])
	if err != nil {
		return nil, fmt.Errorf("read the marks of charts: %w", err)
	}
	return marks, nil
}
