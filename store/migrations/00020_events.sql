-- +goose NO TRANSACTION
-- +goose Up

-- An event of another content type than JSON has its bytes in raw instead of body. A column without
-- a value costs nothing: the outbox rows of jobs have no content type, which means JSON.
ALTER TABLE warren.events
    ALTER COLUMN body DROP NOT NULL,
    ADD COLUMN IF NOT EXISTS raw bytea,
    ADD COLUMN IF NOT EXISTS content_type text NOT NULL DEFAULT 'application/json',
    ADD COLUMN IF NOT EXISTS headers json,
    ADD COLUMN IF NOT EXISTS required boolean NOT NULL DEFAULT false;
ALTER TABLE warren.outbox ADD COLUMN IF NOT EXISTS content_type text;
DROP INDEX CONCURRENTLY IF EXISTS warren.events_exchange;
CREATE INDEX CONCURRENTLY events_exchange ON warren.events (exchange, id);
DROP INDEX CONCURRENTLY IF EXISTS warren.events_unheard;
CREATE INDEX CONCURRENTLY events_unheard ON warren.events (id) WHERE unheard_at IS NOT NULL;

-- The event that a job handles for a subscriber.
ALTER TABLE warren.jobs ADD COLUMN IF NOT EXISTS event_id uuid;
DROP INDEX CONCURRENTLY IF EXISTS warren.jobs_event;
CREATE INDEX CONCURRENTLY jobs_event ON warren.jobs (event_id) WHERE event_id IS NOT NULL;

-- The patterns by which the queue of a subscriber is bound to its exchange. A dropped one is kept
-- until the broker has removed the binding.
CREATE TABLE IF NOT EXISTS warren.bindings (
    subscriber text NOT NULL,
    exchange   text NOT NULL,
    pattern    text NOT NULL,
    bound_at   timestamptz NOT NULL DEFAULT now(),
    dropped_at timestamptz,
    PRIMARY KEY (subscriber, exchange, pattern)
);

-- The newest version of each thing that a subscriber has handled, written in the transaction of the
-- effect.
CREATE TABLE IF NOT EXISTS warren.handled_versions (
    subscriber text NOT NULL,
    key        text NOT NULL,
    version    bigint NOT NULL,
    PRIMARY KEY (subscriber, key)
) WITH (fillfactor = 85);

-- How far a replay is: it moves in the transaction that adds the jobs.
CREATE TABLE IF NOT EXISTS warren.event_replays (
    job_id uuid PRIMARY KEY,
    after  uuid NOT NULL, -- the last event that was read
    added  bigint NOT NULL DEFAULT 0,
    at     timestamptz NOT NULL DEFAULT now()
);

-- +goose Down
DROP TABLE IF EXISTS warren.event_replays, warren.handled_versions, warren.bindings;
DROP INDEX CONCURRENTLY IF EXISTS warren.jobs_event;
ALTER TABLE warren.jobs DROP COLUMN IF EXISTS event_id;
DROP INDEX CONCURRENTLY IF EXISTS warren.events_unheard;
DROP INDEX CONCURRENTLY IF EXISTS warren.events_exchange;
ALTER TABLE warren.outbox DROP COLUMN IF EXISTS content_type;
DELETE FROM warren.events WHERE body IS NULL;
ALTER TABLE warren.events DROP COLUMN IF EXISTS required, DROP COLUMN IF EXISTS headers, DROP COLUMN IF EXISTS content_type,
    DROP COLUMN IF EXISTS raw, ALTER COLUMN body SET NOT NULL;
