-- +goose Up

-- The few jobs that run and were asked to stop: each worker looks for its own
-- every 2 s, and jobs_holder is full of what has just ended while somebody's
-- transaction keeps PostgreSQL from forgetting it.
CREATE INDEX jobs_cancelling ON warren.jobs (worker_id) WHERE state = 'running' AND cancel_requested_at IS NOT NULL;

-- +goose Down
DROP INDEX warren.jobs_cancelling;
