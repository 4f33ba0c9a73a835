-- +goose Up

-- A schedule has a name and is on its own, or belongs to a task. It enqueues a job, or, with kind '', publishes an event.
ALTER TABLE warren.schedules
    ADD COLUMN name          text UNIQUE, -- null: of a task
    ADD COLUMN version       int NOT NULL DEFAULT 1,
    ADD COLUMN origin        text NOT NULL DEFAULT 'task',
    ADD COLUMN max_attempts  int, -- null: the default
    ADD COLUMN timeout_ms    bigint NOT NULL DEFAULT 0,
    ADD COLUMN tags          text[] NOT NULL DEFAULT '{}',
    ADD COLUMN exchange      text,
    ADD COLUMN routing_key   text,
    ADD COLUMN content_type  text,
    ADD COLUMN body          json,
    ADD COLUMN overlap       text NOT NULL DEFAULT 'skip',
    ADD COLUMN catch_up      text NOT NULL DEFAULT 'once',
    ADD COLUMN starts_at     timestamptz,
    ADD COLUMN ends_at       timestamptz,
    ADD COLUMN anchor        timestamptz, -- what "every" counts from; null: created_at
    ADD COLUMN updated_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD COLUMN paused_at     timestamptz, -- then next_at is null
    ADD COLUMN paused_by     text,
    ADD COLUMN paused_reason text;

COMMENT ON COLUMN warren.schedules.last_at IS 'times up to it have been dealt with';

-- The order of the list: trouble first, then by name, then those of tasks.
CREATE INDEX schedules_listed ON warren.schedules (
    (CASE WHEN problem IS NOT NULL THEN 0 WHEN paused_at IS NOT NULL THEN 1 ELSE 2 END), (coalesce(name, '~') COLLATE "C"), id);

-- The times at which a schedule fired, or had to and did not: each once, however many schedulers run.
CREATE TABLE warren.schedule_firings (
    schedule_id uuid NOT NULL REFERENCES warren.schedules ON DELETE CASCADE,
    planned_at  timestamptz NOT NULL,
    fired_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    outcome     text NOT NULL,
    by_name     text, -- who ran it by hand
    job_id      uuid, -- enqueued, or still open
    event_id    uuid,
    missed      int NOT NULL DEFAULT 0, -- further times that were skipped
    missed_from timestamptz,
    missed_to   timestamptz,
    PRIMARY KEY (schedule_id, planned_at)
);

-- +goose Down
DROP TABLE warren.schedule_firings;
DELETE FROM warren.schedules WHERE task_id IS NULL;
DROP INDEX warren.schedules_listed;
ALTER TABLE warren.schedules DROP COLUMN name, DROP COLUMN version, DROP COLUMN origin, DROP COLUMN max_attempts, DROP COLUMN timeout_ms,
    DROP COLUMN tags, DROP COLUMN exchange, DROP COLUMN routing_key, DROP COLUMN content_type, DROP COLUMN body, DROP COLUMN overlap,
    DROP COLUMN catch_up, DROP COLUMN starts_at, DROP COLUMN ends_at, DROP COLUMN anchor, DROP COLUMN updated_at,
    DROP COLUMN paused_at, DROP COLUMN paused_by, DROP COLUMN paused_reason;
