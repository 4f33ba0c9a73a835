-- +goose Up

-- An event of another content type than JSON has its bytes in raw instead of body. A column without
-- a value costs nothing: the outbox rows of jobs have no content type, which means JSON.
ALTER TABLE warren.events
    ALTER COLUMN body DROP NOT NULL,
    ADD COLUMN raw bytea,
    ADD COLUMN content_type text NOT NULL DEFAULT 'application/json',
    ADD COLUMN headers json,
    ADD COLUMN required boolean NOT NULL DEFAULT false;
ALTER TABLE warren.outbox ADD COLUMN content_type text;
CREATE INDEX events_exchange ON warren.events (exchange, id);
CREATE INDEX events_unheard ON warren.events (id) WHERE unheard_at IS NOT NULL;

-- The event that a job handles for a subscriber.
ALTER TABLE warren.jobs ADD COLUMN event_id uuid;

-- The patterns by which the queue of a subscriber is bound to its exchange. A dropped one is kept
-- until the broker has removed the binding.
CREATE TABLE warren.bindings (
    subscriber text NOT NULL,
    exchange   text NOT NULL,
    pattern    text NOT NULL,
    bound_at   timestamptz NOT NULL DEFAULT now(),
    dropped_at timestamptz,
    PRIMARY KEY (subscriber, exchange, pattern)
);

-- The newest version of each thing that a subscriber has handled, written in the transaction of the
-- effect.
CREATE TABLE warren.handled_versions (
    subscriber text NOT NULL,
    key        text NOT NULL,
    version    bigint NOT NULL,
    PRIMARY KEY (subscriber, key)
) WITH (fillfactor = 85);

-- How far a replay is: it moves in the transaction that adds the jobs.
CREATE TABLE warren.event_replays (
    job_id  uuid PRIMARY KEY,
    after   uuid NOT NULL,
    read    bigint NOT NULL DEFAULT 0,
    added   bigint NOT NULL DEFAULT 0,
    at      timestamptz NOT NULL DEFAULT now()
);

-- +goose Down
DROP TABLE warren.event_replays, warren.handled_versions, warren.bindings;
ALTER TABLE warren.jobs DROP COLUMN event_id;
DROP INDEX warren.events_unheard, warren.events_exchange;
ALTER TABLE warren.outbox DROP COLUMN content_type;
DELETE FROM warren.events WHERE body IS NULL;
ALTER TABLE warren.events DROP COLUMN required, DROP COLUMN headers, DROP COLUMN content_type, DROP COLUMN raw,
    ALTER COLUMN body SET NOT NULL;
