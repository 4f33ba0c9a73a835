-- +goose NO TRANSACTION
-- +goose Up

-- operation names the purge that cancelled a job, or the retry of its group that dispatched it
-- again, until it is retried once more. The jobs of an operation are listed in every state.
DROP INDEX CONCURRENTLY IF EXISTS warren.operation_jobs;
CREATE INDEX CONCURRENTLY operation_jobs ON warren.jobs (operation, id) WHERE operation IS NOT NULL;
DROP INDEX CONCURRENTLY IF EXISTS warren.jobs_operation;

-- +goose Down
DROP INDEX CONCURRENTLY IF EXISTS warren.jobs_operation;
CREATE INDEX CONCURRENTLY jobs_operation ON warren.jobs (operation, id) WHERE operation IS NOT NULL AND state = 'cancelled';
DROP INDEX CONCURRENTLY IF EXISTS warren.operation_jobs;
