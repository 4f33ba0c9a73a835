-- +goose NO TRANSACTION
-- +goose Up

-- The list of open tasks by due time, those without one last.
DROP INDEX CONCURRENTLY IF EXISTS warren.tasks_by_due;
CREATE INDEX CONCURRENTLY tasks_by_due ON warren.tasks (coalesce(due_at, 'infinity'), id) WHERE NOT done;

-- +goose Down
DROP INDEX CONCURRENTLY IF EXISTS warren.tasks_by_due;
