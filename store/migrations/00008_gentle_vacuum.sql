-- +goose Up

-- While somebody's transaction keeps PostgreSQL from forgetting, the vacuum of
-- the hot tables comes each minute, in vain, over all that has gone since; without
-- pauses it takes a processor for seconds. With PostgreSQL's own 2 ms it keeps up
-- with 5,000 dirtied pages per second; 1,000 jobs/s leave some 130.
ALTER TABLE warren.jobs RESET (autovacuum_vacuum_cost_delay);
ALTER TABLE warren.outbox RESET (autovacuum_vacuum_cost_delay);

-- +goose Down
ALTER TABLE warren.outbox SET (autovacuum_vacuum_cost_delay = 0);
ALTER TABLE warren.jobs SET (autovacuum_vacuum_cost_delay = 0);
