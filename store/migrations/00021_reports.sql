-- +goose Up

-- The open jobs that workers of other programs have, as far as is known: those that they said they
-- started, and those that were overtaken on an external queue. A row counts while its job is open in
-- that dispatch; heard_at is when that worker last reported, or when the job was seen to be overtaken.
CREATE TABLE warren.awaited_reports (
    job_id   uuid PRIMARY KEY,
    queue    text NOT NULL,
    dispatch int NOT NULL,
    heard_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE INDEX awaited_reports_heard ON warren.awaited_reports (queue, heard_at);

-- +goose Down
DROP TABLE warren.awaited_reports;
