-- +goose NO TRANSACTION
-- +goose Up

-- The board, and the list of one priority, are sorted by when tasks are due. Built beside running
-- processes: a failed build is dropped and begun anew.
DROP INDEX CONCURRENTLY IF EXISTS warren.tasks_on_board;
CREATE INDEX CONCURRENTLY tasks_on_board ON warren.tasks (priority, coalesce(due_at, 'infinity'), id) WHERE NOT done;
DROP INDEX CONCURRENTLY IF EXISTS warren.tasks_undated; -- nothing reads it any more

-- +goose Down
CREATE INDEX CONCURRENTLY tasks_undated ON warren.tasks (priority, id) WHERE NOT done AND due_at IS NULL;
DROP INDEX CONCURRENTLY IF EXISTS warren.tasks_on_board;
