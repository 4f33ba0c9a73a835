-- +goose Up

-- What a run logged: the newest lines, a JSON array. total counts all that it
-- ever logged, so that a write that comes late replaces nothing newer.
CREATE TABLE warren.attempt_logs (
    job_id uuid NOT NULL,
    lease  int NOT NULL,
    total  bigint NOT NULL,
    lines  json NOT NULL,
    PRIMARY KEY (job_id, lease)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0, toast.autovacuum_vacuum_scale_factor = 0.02);

-- +goose Down
DROP TABLE warren.attempt_logs;
