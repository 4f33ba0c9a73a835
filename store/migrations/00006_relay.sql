-- +goose Up

-- How far relays have come in the outbox: each goes on from where the furthest was.
ALTER TABLE warren.relay_busy ADD COLUMN claimed bigint NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE warren.relay_busy DROP COLUMN claimed;
