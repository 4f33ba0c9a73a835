package store

import (
	"context"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
)

// The actions on the status of a group, in the audit log.
var markActions = map[jobs.FailureStatus]string{
	jobs.FailureOpen: "failures.reopen", jobs.FailureKnown: "failures.known", jobs.FailureFixed: "failures.fixed",
}

// MarkFailure gives a group a status from now on, whatever it had, and returns the group. The note of a known or fixed
// group is kept with it, and every note in the audit log. It returns jobs.ErrNotFound if no dead job is in the group,
// a jobs.NotAllowedError if a group that is open is to be opened, and jobs.FieldErrors for a note that is too long.
func (s *Store) MarkFailure(
	ctx context.Context, key uuid.UUID, status jobs.FailureStatus, note string, by jobs.Actor,
) (g jobs.FailureGroup, err error) {
	if utf8.RuneCountInString(note) > jobs.FailureNoteMax {
		return g, jobs.FieldErrors{{Field: "note", Message: fmt.Sprintf("must have at most %d characters", jobs.FailureNoteMax)}}
	}
	if g, err = s.Failure(ctx, key); err != nil {
		return g, err
	}
	if status == jobs.FailureOpen && g.Status == jobs.FailureOpen {
		return g, &jobs.NotAllowedError{Why: "This failure is open already."}
	}
	by.Reason = note
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		if err := writeMark(ctx, tx, key, status, note, by); err != nil {
			return err
		}
		was := map[string]any{"kind": g.Kind, "error": g.Error, "was": g.Status}
		return audit(ctx, tx, by, markActions[status], failureTarget(key), was)
	})
	if err != nil {
		return g, fmt.Errorf("mark failure %s as %s: %w", key, status, err)
	}
	return s.Failure(ctx, key)
}

func writeMark(ctx context.Context, tx pgx.Tx, key uuid.UUID, status jobs.FailureStatus, note string, by jobs.Actor) error {
	if status == jobs.FailureOpen {
		_, err := tx.Exec(ctx, `DELETE FROM warren.failure_marks WHERE key = $1`, key)
		return err
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO warren.failure_marks (key, status, note, actor) VALUES ($1, $2, $3, $4)
		ON CONFLICT (key) DO UPDATE SET status = excluded.status, note = excluded.note, actor = excluded.actor, at = excluded.at,
			seen_at = excluded.seen_at`, key, status, cleanText(note), cleanText(by.Name))
	return err
}

// markHasJobs is whether a dead job is in the group of the mark m. As an EXISTS it could be planned as a join that
// normalises the errors of all dead jobs.
const markHasJobs = `(SELECT true FROM warren.jobs WHERE state = 'dead' AND ` + failureKey + ` = m.key LIMIT 1) IS TRUE`

// quietJobs are up to most jobs of each group that ask for no attention as it is known, or was marked as fixed after they died.
// The bound by the mark, also of the known, has the planner expect few jobs and read them in the order of the index.
func quietJobs(most string) string {
	return `FROM warren.failure_marks m CROSS JOIN LATERAL (
		SELECT FROM warren.jobs WHERE state = 'dead' AND ` + failureKey + ` = m.key AND finished_at > $1
			AND finished_at <= CASE WHEN m.status = 'fixed' THEN m.at ELSE 'infinity' END
		ORDER BY finished_at DESC LIMIT ` + most + `) quiet`
}

// deadSQL counts the dead jobs, those of known groups and these groups, and, where at most $3 are dead, the quiet ones. It names
// all states of jobs_ended, so that the planner sees that the index has these jobs.
var deadSQL = `
SELECT n, EXISTS (SELECT FROM warren.failure_marks),
	(SELECT count(*) FROM (SELECT ` + quietJobs("$3 + 1") + ` WHERE m.status = 'known' LIMIT $3 + 1) x),
	(SELECT count(*) ` + quietJobs("1") + ` WHERE m.status = 'known'),
	CASE WHEN n <= $3 THEN (SELECT count(*) ` + quietJobs("$3") + `) ELSE 0 END
FROM (SELECT count(*) AS n FROM (SELECT FROM warren.jobs WHERE state IN ('completed', 'dead', 'cancelled') AND state = 'dead'
	AND finished_at > $1 LIMIT $2) x) dead`

// openSQL counts the dead jobs that ask for attention group by group, without reading the others.
const openSQL = failureKeys + `
SELECT count(*) FROM (
	SELECT FROM found LEFT JOIN warren.failure_marks m USING (key) CROSS JOIN LATERAL (
		SELECT FROM warren.jobs WHERE state = 'dead' AND ` + failureKey + ` = found.key AND finished_at > greatest($2, m.at)
		ORDER BY finished_at DESC LIMIT $3) dead
	WHERE m.status IS DISTINCT FROM 'known' LIMIT $3) x`

// DeadJobs counts the jobs that have died since a time and are still dead. Where many are, and groups are marked, the open ones are
// counted among the first jobs.FailuresMax groups.
func (s *Store) DeadJobs(ctx context.Context, since time.Time) (n jobs.DeadCounts, err error) {
	var dead, quiet jobs.Count
	var marked bool
	err = s.pool.QueryRow(ctx, deadSQL, since, jobs.CountCap+1, jobs.FailureCountCap).
		Scan(&dead, &marked, &n.Known, &n.KnownFailures, &quiet)
	if err != nil {
		return n, fmt.Errorf("count dead jobs: %w", err)
	}
	if !marked || dead <= jobs.FailureCountCap {
		n.Open = dead - quiet
		return n, nil
	}
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		if err := onIndex(ctx, tx); err != nil {
			return err
		}
		return tx.QueryRow(ctx, openSQL, jobs.FailuresMax, since, jobs.CountCap+1).Scan(&n.Open)
	})
	if err != nil {
		return n, fmt.Errorf("count dead jobs of open failures: %w", err)
	}
	return n, nil
}
