package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
)

// logsShown bounds the attempts of one job whose logs are read.
const logsShown = 10

// saveLogsSQL replaces the logs of runs whose lease is the job's last. The lease stays on a
// finished row, because the last lines may arrive after the end.
const saveLogsSQL = `
INSERT INTO warren.attempt_logs AS l (job_id, lease, total, lines)
SELECT d.id, d.lease, d.total, d.lines::json
FROM unnest($1::uuid[], $2::int[], $3::bigint[], $4::text[]) AS d(id, lease, total, lines)
	JOIN warren.jobs j ON j.id = d.id AND j.lease = d.lease
ORDER BY d.id
ON CONFLICT (job_id, lease) DO UPDATE SET total = excluded.total, lines = excluded.lines WHERE l.total < excluded.total`

// SaveLogs writes the log lines of runs, in one statement. Lines of a run that has been replaced
// are dropped.
func (s *Store) SaveLogs(ctx context.Context, updates []engine.LogUpdate) error {
	n := len(updates)
	ids, leases, totals, lines := make([]uuid.UUID, n), make([]int, n), make([]int64, n), make([]string, n)
	for i, u := range updates {
		ids[i], leases[i], totals[i], lines[i] = u.JobID, u.Lease, int64(u.Total), string(u.Lines)
	}
	if _, err := s.pool.Exec(ctx, saveLogsSQL, ids, leases, totals, lines); err != nil {
		return fmt.Errorf("save the log lines of %d jobs: %w", n, err)
	}
	return nil
}

// attemptLog is the log of one attempt.
type attemptLog struct {
	Lease int
	Total int
	Lines []byte
}

// readLogs reads the logs of the newest attempts.
func readLogs(ctx context.Context, tx pgx.Tx, id uuid.UUID) ([]attemptLog, error) {
	rows, err := tx.Query(ctx, `SELECT lease, total, lines::text FROM warren.attempt_logs WHERE job_id = $1 ORDER BY lease DESC
		LIMIT $2`, id, logsShown)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[attemptLog])
}

// withLogs adds each log to its attempt.
func withLogs(attempts []jobs.Attempt, logs []attemptLog) error {
	for _, l := range logs {
		for i := range attempts {
			a := &attempts[i]
			if a.Lease != l.Lease {
				continue
			}
			if err := json.Unmarshal(l.Lines, &a.Log); err != nil {
				return fmt.Errorf("read the log of attempt %d: %w", a.Number, err)
			}
			a.LogDropped = l.Total - len(a.Log)
		}
	}
	return nil
}
