package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/tasks"
	"github.com/warrenjobs/warren/store/outbox"
)

// indexSQL writes rows of the index: the newest version wins, and a deleted task stays deleted. The
// same version is written again, as a build may repair its words.
const indexSQL = `
INSERT INTO warren.task_index AS i (task_id, version, words)
SELECT id, version, array_to_tsvector(string_to_array(words, ' '))
FROM unnest($1::uuid[], $2::int[], $3::text[]) x (id, version, words) ORDER BY id
ON CONFLICT (task_id) DO UPDATE SET version = excluded.version, words = excluded.words
WHERE i.words IS NOT NULL AND (excluded.words IS NULL OR i.version < excluded.version
	OR i.version = excluded.version AND i.words <> excluded.words)`

// IndexTask writes a change of a task to the full-text index and completes the run, in one
// transaction. Errors: jobs.ErrStale.
func (s *Store) IndexTask(ctx context.Context, run *jobs.Run, change tasks.Indexed) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if err := writeIndex(ctx, tx, []tasks.Indexed{change}); err != nil {
			return err
		}
		return outbox.CompleteTx(ctx, outbox.Pgx(tx), run)
	})
	if err != nil {
		return fmt.Errorf("index task %s: %w", change.ID, err)
	}
	return nil
}

func writeIndex(ctx context.Context, tx pgx.Tx, list []tasks.Indexed) error {
	ids, versions, words := make([]uuid.UUID, len(list)), make([]int, len(list)), make([]*string, len(list))
	for i, t := range list {
		ids[i], versions[i] = t.ID, t.Version
		if !t.Deleted {
			text := strings.Join(tasks.Words(t.Description), " ")
			words[i] = &text
		}
	}
	_, err := tx.Exec(ctx, indexSQL, ids, versions, words)
	return err
}

// StartFirstIndex enqueues the job, of the kind tasks.reindex, that builds the full-text index, if
// it was never complete: the subscriber receives only what changes from its binding on. Without
// tasks there is nothing to build. The caller has bound the subscriber. It is idempotent, as the
// job has a unique key.
func (s *Store) StartFirstIndex(ctx context.Context, job jobs.NewJob) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		var complete, some bool
		err := tx.QueryRow(ctx, `
			SELECT complete_at IS NOT NULL, EXISTS (SELECT FROM warren.tasks) FROM warren.task_index_build FOR UPDATE`).
			Scan(&complete, &some)
		if err != nil || complete {
			return err
		}
		if some {
			_, err = outbox.Enqueue(ctx, outbox.Pgx(tx), job)
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE warren.task_index_build SET complete_at = now(), covers = now()`)
		return err
	})
	if err != nil {
		return fmt.Errorf("start the first build of the index of tasks: %w", err)
	}
	return nil
}

// BuildTaskIndex does the next step of the build of the full-text index that a job does: it indexes
// at most limit tasks after those of the steps before, and marks tasks that are gone as deleted, in
// one transaction with how far it is. Changes beside it may be indexed before or after it.
func (s *Store) BuildTaskIndex(ctx context.Context, job uuid.UUID, limit int) (done tasks.IndexBuild, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `
			UPDATE warren.task_index_build SET job_id = $1,
				began_at = CASE WHEN job_id IS NOT DISTINCT FROM $1 THEN began_at ELSE clock_timestamp() END,
				after = CASE WHEN job_id IS NOT DISTINCT FROM $1 THEN after END,
				tasks = CASE WHEN job_id IS NOT DISTINCT FROM $1 THEN tasks ELSE 0 END
			RETURNING coalesce(after, '00000000-0000-0000-0000-000000000000'), tasks`, job).Scan(&done.After, &done.Tasks)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `
			SELECT id, version, description, false FROM warren.tasks WHERE id > $1 ORDER BY id LIMIT $2`, done.After, limit)
		if err != nil {
			return err
		}
		list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[tasks.Indexed])
		if err != nil {
			return err
		}
		before, last := done.After, uuid.Max
		if done.More = len(list) == limit; done.More {
			last = list[len(list)-1].ID
		}
		if err := writeIndex(ctx, tx, list); err != nil {
			return err
		}
		if err := forgetGone(ctx, tx, before, last); err != nil {
			return err
		}
		done.After, done.Tasks = last, done.Tasks+int64(len(list))
		_, err = tx.Exec(ctx, `
			UPDATE warren.task_index_build SET after = $1, tasks = $2,
				complete_at = CASE WHEN $3 THEN complete_at ELSE clock_timestamp() END,
				covers = CASE WHEN $3 THEN covers ELSE began_at END`, done.After, done.Tasks, done.More)
		return err
	})
	if err != nil {
		return done, fmt.Errorf("build the index of tasks: %w", err)
	}
	return done, nil
}

// forgetGone marks the tasks of a range of ids that are in the index and not in the table any more
// as deleted. A row of the index that this statement sees was written after its task.
func forgetGone(ctx context.Context, tx pgx.Tx, after, last uuid.UUID) error {
	_, err := tx.Exec(ctx, `
		UPDATE warren.task_index i SET words = NULL WHERE task_id > $1 AND task_id <= $2 AND words IS NOT NULL
			AND NOT EXISTS (SELECT FROM warren.tasks t WHERE t.id = i.task_id)`, after, last)
	return err
}

// CountTasks returns about how many tasks there are, as PostgreSQL's statistics have it.
func (s *Store) CountTasks(ctx context.Context) (n int64, err error) {
	err = s.pool.QueryRow(ctx, `SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'warren.tasks'::regclass`).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("estimate the number of tasks: %w", err)
	}
	return n, nil
}

// taskIndexKept is a condition: the index was built, and a worker has subscribed to what changes.
const taskIndexKept = `EXISTS (SELECT FROM warren.task_index_build WHERE complete_at IS NOT NULL)
	AND EXISTS (SELECT FROM warren.bindings WHERE subscriber = '` + tasks.Search + `' AND dropped_at IS NULL)`

// TaskIndex reads how the full-text index is. A change that no queue took, or whose job is dead or
// cancelled, counts as one that it lacks, until a later build.
func (s *Store) TaskIndex(ctx context.Context) (state tasks.IndexState, err error) {
	err = s.pool.QueryRow(ctx, `
		SELECT `+taskIndexKept+`, complete_at IS NULL AND job_id IS NOT NULL, (
			SELECT count(*) FROM (
				SELECT id, created_at FROM warren.events WHERE exchange = $1 AND routing_key LIKE 'tasks.event.%' ORDER BY id DESC LIMIT $3
			) e
			WHERE created_at >= b.covers AND (
				NOT EXISTS (SELECT FROM warren.inbox WHERE consumer = 'adopt:' || $2::text
					AND app_id = (SELECT id::text FROM warren.deployment) AND message_id = e.id::text)
				OR EXISTS (SELECT FROM warren.jobs j WHERE j.event_id = e.id AND j.kind = $2 AND j.state <> 'completed')
				AND NOT EXISTS (SELECT FROM warren.jobs j WHERE j.event_id = e.id AND j.kind = $2 AND j.state = 'completed')))
		FROM warren.task_index_build b`, tasks.Exchange, tasks.Search, tasks.BehindMax).
		Scan(&state.Kept, &state.Building, &state.Behind)
	if err != nil {
		return state, fmt.Errorf("read how the index of tasks is: %w", err)
	}
	return state, nil
}

// textSearch is how a list of tasks is searched for a text.
type textSearch struct {
	id    uuid.UUID // of the only task, if the text is an id
	words string    // a tsquery for the index; "": look at the descriptions
	few   bool      // tasks have the words, at most jobs.CountCap
}

// textSearch decides how to search for a text.
func (s *Store) textSearch(ctx context.Context, text string) (how textSearch, err error) {
	if how.id, err = uuid.Parse(text); err == nil {
		return how, nil
	}
	words := tasks.Words(text)
	if len(words) == 0 {
		return how, nil
	}
	var kept bool
	if err := s.pool.QueryRow(ctx, `SELECT `+taskIndexKept).Scan(&kept); err != nil {
		return how, fmt.Errorf("read whether the index of tasks is kept: %w", err)
	}
	if !kept {
		return how, nil
	}
	how.words = "'" + strings.Join(words, "':* & '") + "':*" // letters and digits: no word has a quote
	err = s.pool.QueryRow(ctx, `SELECT count(*) <= $2 FROM (SELECT FROM warren.task_index WHERE words @@ $1::text::tsquery LIMIT $2 + 1) x`,
		how.words, jobs.CountCap).Scan(&how.few)
	if err != nil {
		return how, fmt.Errorf("search the index of tasks: %w", err)
	}
	return how, nil
}
