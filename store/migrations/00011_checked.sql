-- +goose Up

-- Identifies the args and the schema against which they were checked when the job was enqueued
-- (jobs.Kind.CheckRun): what was checked and has not changed is not checked again before its run.
ALTER TABLE warren.jobs ADD COLUMN checked bigint;

-- +goose Down
ALTER TABLE warren.jobs DROP COLUMN checked;
