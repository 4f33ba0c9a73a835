package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs/events"
	"github.com/warrenjobs/warren/jobs/tasks"
	"github.com/warrenjobs/warren/store/outbox"
)

// OpenImport returns the progress of the import of a file, and begins one for a new file.
func (s *Store) OpenImport(ctx context.Context, file uuid.UUID) (tasks.Import, error) {
	rows, err := s.pool.Query(ctx, `
		INSERT INTO warren.task_imports (file_id) VALUES ($1) ON CONFLICT (file_id) DO UPDATE SET done = task_imports.done
		RETURNING done, created, refused`, file)
	if err != nil {
		return tasks.Import{}, fmt.Errorf("open the import of file %s: %w", file, err)
	}
	progress, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[tasks.Import])
	if err != nil {
		return progress, fmt.Errorf("open the import of file %s: %w", file, err)
	}
	return progress, nil
}

// Import reads the progress of the import of a file: none if it has not begun.
func (s *Store) Import(ctx context.Context, file uuid.UUID) (progress tasks.Import, err error) {
	err = s.pool.QueryRow(ctx, `SELECT done, created, refused FROM warren.task_imports WHERE file_id = $1`, file).
		Scan(&progress.Done, &progress.Created, &progress.Refused)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return progress, fmt.Errorf("read the import of file %s: %w", file, err)
	}
	return progress, nil
}

// ImportTasks adds the tasks of a batch with their events, keeps the refused lines, and advances
// the import: all in one transaction. It returns tasks.ErrMoved if another run has already advanced
// it.
func (s *Store) ImportTasks(ctx context.Context, b tasks.ImportBatch) (progress tasks.Import, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		row := tx.QueryRow(ctx, `
			UPDATE warren.task_imports SET done = $3, created = created + $4, refused = refused + $5 WHERE file_id = $1 AND done = $2
			RETURNING done, created, refused`, b.File, b.Before, b.Done, len(b.Tasks), len(b.Refused))
		if err := row.Scan(&progress.Done, &progress.Created, &progress.Refused); err != nil {
			return orMoved(err)
		}
		if err := insertRefused(ctx, tx, b.File, b.Refused); err != nil {
			return err
		}
		return insertTasks(ctx, tx, b.Tasks)
	})
	if err != nil {
		return progress, fmt.Errorf("import %d tasks: %w", len(b.Tasks), err)
	}
	return progress, nil
}

func orMoved(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return tasks.ErrMoved
	}
	return err
}

func insertRefused(ctx context.Context, tx pgx.Tx, file uuid.UUID, refused []tasks.LineError) error {
	lines, texts := make([]int, len(refused)), make([]string, len(refused))
	for i, e := range refused {
		lines[i], texts[i] = e.Line, cleanText(e.Error)
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO warren.task_import_errors (file_id, line, error) SELECT $1, * FROM unnest($2::int[], $3::text[])`, file, lines, texts)
	return err
}

// insertTasks adds tasks without jobs in one statement, and their events in another.
func insertTasks(ctx context.Context, tx pgx.Tx, list []tasks.Input) error {
	if len(list) == 0 {
		return nil
	}
	rows := make([]importRow, len(list))
	for i, in := range list {
		rows[i] = importRow{uuid.Must(uuid.NewV7()), in}
	}
	raw, err := json.Marshal(rows)
	if err != nil {
		return fmt.Errorf("write tasks as JSON: %w", err)
	}
	added, err := tx.Query(ctx, `
		INSERT INTO warren.tasks AS t (id, description, priority, start_at, due_at, done, done_at, origin)
		SELECT id, description, priority, start_at, due_at, done, CASE WHEN done THEN now() END, 'import'
		FROM json_to_recordset($1::json) AS x(id uuid, description text, priority text, start_at timestamptz, due_at timestamptz,
			done boolean)
		RETURNING id, description, priority, start_at, due_at, done, done_at, version, origin, created_at, updated_at,
			job_kind, job_args::text, job_queue, job_runs, '', '', NULL::timestamptz, ''`, string(raw))
	if err != nil {
		return err
	}
	created, err := pgx.CollectRows(added, func(row pgx.CollectableRow) (tasks.Task, error) { return scanTask(row) })
	if err != nil {
		return err
	}
	news := make([]events.Event, len(created))
	for i, t := range created {
		news[i] = taskEvent(tasks.EventCreated, t.ID, t)
	}
	return outbox.Publish(ctx, outbox.Pgx(tx), news...)
}

type importRow struct {
	ID uuid.UUID `json:"id"`
	tasks.Input
}

// ImportErrors reads the refused lines of an import, in order, at most limit.
func (s *Store) ImportErrors(ctx context.Context, file uuid.UUID, limit int) ([]tasks.LineError, error) {
	rows, err := s.pool.Query(ctx, `SELECT line, error FROM warren.task_import_errors WHERE file_id = $1 ORDER BY line
		LIMIT $2`, file, limit)
	if err != nil {
		return nil, fmt.Errorf("read the refused lines of file %s: %w", file, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[tasks.LineError])
	if err != nil {
		return nil, fmt.Errorf("read the refused lines of file %s: %w", file, err)
	}
	return list, nil
}

// ExportTasks reads tasks for an export, oldest first, with ids above after, at most limit.
func (s *Store) ExportTasks(ctx context.Context, f tasks.Filter, after uuid.UUID, limit int) ([]tasks.Task, error) {
	how, err := s.textSearch(ctx, f.Text)
	if err != nil {
		return nil, err
	}
	return collectTasks(s.filteredTasks(ctx, f, how).Select(taskColumns).Where("t.id > ?", after).Order("t.id").Limit(limit))
}
