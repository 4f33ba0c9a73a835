-- +goose Up

-- Every warren process, whatever its roles, as it last said itself. Not the lease
-- of what it runs: that is its sessions'.
CREATE TABLE processes (
    id         uuid PRIMARY KEY,
    name       text NOT NULL, -- host/pid
    host       text NOT NULL,
    pid        int NOT NULL,
    roles      text[] NOT NULL,
    version    text NOT NULL,
    state      text NOT NULL CHECK (state IN ('running', 'quiet', 'stopping')),
    -- what an operator asked of it and it has not done yet, and who asked
    wants      text CHECK (wants IN ('quiet', 'resume', 'stop')),
    wanted_by  text NOT NULL DEFAULT '',
    details    json,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);

ALTER TABLE sessions ADD COLUMN process_id uuid;
CREATE INDEX sessions_process ON sessions (process_id);

-- The outbox page: rows that fail, and events. Neither costs the jobs' way in anything.
CREATE INDEX outbox_failing ON outbox (id) WHERE tries > 0;
CREATE INDEX outbox_events ON outbox (id) WHERE job_id IS NULL;

-- +goose Down
DROP INDEX outbox_failing, outbox_events;
ALTER TABLE sessions DROP COLUMN process_id;
DROP TABLE processes;
