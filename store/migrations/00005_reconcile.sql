-- +goose Up

-- Where database and broker disagreed about a job, and which dispatch mended it.
CREATE TABLE drift (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id   uuid NOT NULL,
    queue    text NOT NULL,
    dispatch int NOT NULL, -- the new one
    found    text NOT NULL, -- empty, gone, overtaken, purged: its message was not in the broker; holder: its worker was gone
    at       timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX drift_job ON drift (job_id, id);
CREATE INDEX drift_at ON drift (at);

-- The newest dispatch of each queue of which a worker has seen the first
-- delivery: what was dispatched well before it and still waits was overtaken.
CREATE TABLE queue_reached (
    queue         text PRIMARY KEY,
    dispatched_at timestamptz NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 100, autovacuum_vacuum_scale_factor = 0);

-- Jobs that were deleted while a message of theirs may still be on its way: it is stale, not unknown.
CREATE TABLE deleted_jobs (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX deleted_jobs_at ON deleted_jobs (at);

-- Relays leave the jobs of a paused queue in the outbox; held_until pauses it
-- for the moment of a purge, and ends by itself should the purger die.
ALTER TABLE job_queues ADD COLUMN paused_by text NOT NULL DEFAULT '', ADD COLUMN held_until timestamptz;

-- The purge that cancelled a job, until it is retried.
ALTER TABLE jobs ADD COLUMN operation uuid;
CREATE INDEX jobs_operation ON jobs (operation, id) WHERE operation IS NOT NULL AND state = 'cancelled';

-- A share of a large table is too much to wait for: with 10 million jobs 2 %
-- are 200,000 dead rows. The small tables are written all the time and must stay small.
ALTER TABLE jobs SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
ALTER TABLE relay_busy SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);
ALTER TABLE sessions SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);
ALTER TABLE processes SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);
ALTER TABLE health SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);
ALTER TABLE broker_queues SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- +goose Down
ALTER TABLE broker_queues RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold);
ALTER TABLE health RESET (fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold);
ALTER TABLE processes RESET (fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold);
ALTER TABLE sessions RESET (fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold);
ALTER TABLE relay_busy RESET (fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold);
ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0.01);
ALTER TABLE outbox RESET (autovacuum_vacuum_threshold);
ALTER TABLE jobs SET (autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE jobs RESET (autovacuum_vacuum_threshold, autovacuum_analyze_scale_factor);
DROP INDEX jobs_operation;
ALTER TABLE jobs DROP COLUMN operation;
ALTER TABLE job_queues DROP COLUMN paused_by, DROP COLUMN held_until;
DROP TABLE deleted_jobs, queue_reached, drift;
