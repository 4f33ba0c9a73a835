-- +goose Up

-- The kinds that some process handles or describes, as it last said, so that every
-- process can offer and check them.
CREATE TABLE warren.kinds (
    name       text PRIMARY KEY,
    definition json NOT NULL, -- jobs.Definition
    handled    boolean NOT NULL, -- whoever said so has the handler: nobody who only describes it replaces that
    program    text NOT NULL,
    version    text NOT NULL,
    seen_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Kinds whose jobs a worker gave back because it has no handler for them.
CREATE TABLE warren.unknown_kinds (
    kind   text NOT NULL,
    queue  text NOT NULL,
    worker text NOT NULL,
    since  timestamptz NOT NULL DEFAULT clock_timestamp(),
    at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (kind, queue)
);

-- +goose Down
DROP TABLE warren.unknown_kinds, warren.kinds;
