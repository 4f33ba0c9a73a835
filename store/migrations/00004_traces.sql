-- +goose Up

-- The W3C headers, traceparent and tracestate, that every message of the job
-- carries: a retry goes on in the trace of the enqueue. Null without a trace.
ALTER TABLE warren.jobs ADD COLUMN trace json;

-- The oldest warren, by the number of its last migration, that this schema
-- serves. A migration that only adds leaves it. One that takes away, or changes
-- what is there, sets it to the number of the migration since which no warren
-- needs that any more.
ALTER TABLE warren.deployment ADD COLUMN serves_from int NOT NULL DEFAULT 1;

-- +goose Down
ALTER TABLE warren.deployment DROP COLUMN serves_from;
ALTER TABLE warren.jobs DROP COLUMN trace;
