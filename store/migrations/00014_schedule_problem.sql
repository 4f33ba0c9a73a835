-- +goose Up

-- Why a schedule cannot fire, although its rule was valid once: the zone is unknown
-- to the process that looked. next_at is then when it is tried again.
ALTER TABLE warren.schedules ADD COLUMN problem text;

-- Schedules that stopped for such a reason are tried again; a rule that never matches stops again.
UPDATE warren.schedules SET next_at = now(), problem = 'It has not been tried again yet.' WHERE next_at IS NULL;

-- +goose Down
ALTER TABLE warren.schedules DROP COLUMN problem;
