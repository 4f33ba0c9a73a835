package store

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs/engine"
)

// SaveProgress writes the progress of runs that still hold their lease. It skips locked rows, such
// as that of a handler that is about to complete its job.
func (s *Store) SaveProgress(ctx context.Context, updates []engine.ProgressUpdate) error {
	ctx, cancel := brief(ctx)
	defer cancel()
	ids, leases, values := make([]uuid.UUID, len(updates)), make([]int, len(updates)), make([]string, len(updates))
	for i, u := range updates {
		ids[i], leases[i], values[i] = u.JobID, u.Lease, *progressText(&u.Progress)
	}
	_, err := s.pool.Exec(ctx, `
		WITH free AS (
			SELECT id FROM warren.jobs WHERE id = ANY($1) AND state = 'running' ORDER BY id FOR UPDATE SKIP LOCKED
		)
		UPDATE warren.jobs j SET progress = d.value::json
		FROM unnest($1::uuid[], $2::int[], $3::text[]) AS d(id, lease, value) JOIN free USING (id)
		WHERE j.id = d.id AND j.state = 'running' AND j.lease = d.lease`, ids, leases, values)
	if err != nil {
		return fmt.Errorf("save the progress of %d jobs: %w", len(updates), err)
	}
	return nil
}
