-- +goose NO TRANSACTION
-- +goose Up

-- The lists of ended jobs are sorted by when they ended, that of scheduled jobs by when they are
-- due; that of retrying jobs by jobs_due, and few jobs run. Built beside running processes: a
-- failed build is dropped and begun anew.
DROP INDEX CONCURRENTLY IF EXISTS warren.jobs_ended;
CREATE INDEX CONCURRENTLY jobs_ended ON warren.jobs (state, finished_at) WHERE state IN ('completed', 'dead', 'cancelled');
DROP INDEX CONCURRENTLY IF EXISTS warren.jobs_finished; -- jobs_ended instead: ending a job costs as many indexes as before
DROP INDEX CONCURRENTLY IF EXISTS warren.jobs_scheduled;
CREATE INDEX CONCURRENTLY jobs_scheduled ON warren.jobs (run_at) WHERE state = 'scheduled';

-- +goose Down
DROP INDEX CONCURRENTLY IF EXISTS warren.jobs_scheduled;
DROP INDEX CONCURRENTLY IF EXISTS warren.jobs_finished;
CREATE INDEX CONCURRENTLY jobs_finished ON warren.jobs (finished_at) WHERE state IN ('completed', 'dead', 'cancelled');
DROP INDEX CONCURRENTLY IF EXISTS warren.jobs_ended;
