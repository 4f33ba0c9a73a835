-- +goose Up

-- Where database and broker disagreed about a job, and which dispatch mended it.
CREATE TABLE warren.drift (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id   uuid NOT NULL,
    queue    text NOT NULL,
    dispatch int NOT NULL, -- the new one
    found    text NOT NULL, -- empty, gone, overtaken, purged: its message was not in the broker; holder: its worker was gone
    at       timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX drift_job ON warren.drift (job_id, id);
CREATE INDEX drift_at ON warren.drift (at);

-- The newest dispatch of each queue of which a worker has seen the first
-- delivery: what was dispatched well before it and still waits was overtaken.
CREATE TABLE warren.queue_reached (
    queue         text PRIMARY KEY,
    dispatched_at timestamptz NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 100, autovacuum_vacuum_scale_factor = 0);

-- Jobs that were deleted while a message of theirs may still be on its way: it is stale, not unknown.
CREATE TABLE warren.deleted_jobs (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX deleted_jobs_at ON warren.deleted_jobs (at);

-- Relays leave the jobs of a paused queue in the outbox; held_until pauses it
-- for the moment of a purge, and ends by itself should the purger die.
ALTER TABLE warren.job_queues ADD COLUMN paused_by text NOT NULL DEFAULT '', ADD COLUMN held_until timestamptz;

-- The purge that cancelled a job, until it is retried.
ALTER TABLE warren.jobs ADD COLUMN operation uuid;
CREATE INDEX jobs_operation ON warren.jobs (operation, id) WHERE operation IS NOT NULL AND state = 'cancelled';

-- A share of a large table is too much to wait for: with 10 million jobs 2 %
-- are 200,000 dead rows. The small tables are written all the time and must stay small.
ALTER TABLE warren.jobs SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE warren.outbox SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
ALTER TABLE warren.relay_busy SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);
ALTER TABLE warren.sessions SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);
ALTER TABLE warren.processes SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);
ALTER TABLE warren.health SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);
ALTER TABLE warren.broker_queues SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- +goose Down
ALTER TABLE warren.broker_queues RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold);
ALTER TABLE warren.health RESET (fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold);
ALTER TABLE warren.processes RESET (fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold);
ALTER TABLE warren.sessions RESET (fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold);
ALTER TABLE warren.relay_busy RESET (fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold);
ALTER TABLE warren.outbox SET (autovacuum_vacuum_scale_factor = 0.01);
ALTER TABLE warren.outbox RESET (autovacuum_vacuum_threshold);
ALTER TABLE warren.jobs SET (autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE warren.jobs RESET (autovacuum_vacuum_threshold, autovacuum_analyze_scale_factor);
DROP INDEX warren.jobs_operation;
ALTER TABLE warren.jobs DROP COLUMN operation;
ALTER TABLE warren.job_queues DROP COLUMN paused_by, DROP COLUMN held_until;
DROP TABLE warren.deleted_jobs, warren.queue_reached, warren.drift;
