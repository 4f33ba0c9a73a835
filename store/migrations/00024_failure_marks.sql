-- +goose Up

-- What somebody said about a group of failures. The key is that of the index jobs_failure. A fixed group
-- in which a job died after at is open again: that is read, never written.
CREATE TABLE warren.failure_marks (
    key     uuid PRIMARY KEY,
    status  text NOT NULL CHECK (status IN ('known', 'fixed')),
    note    text NOT NULL DEFAULT '',
    actor   text NOT NULL,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp() -- when it last had a dead job, to the day; the mark goes long after that
);

-- +goose Down
DROP TABLE warren.failure_marks;
