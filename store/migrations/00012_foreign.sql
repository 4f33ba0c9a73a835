-- +goose Up

-- The properties of adopted messages are kept, too (their body is the args of their job), and how
-- often a message with the same id came again.
ALTER TABLE warren.raw_messages ALTER COLUMN body DROP NOT NULL,
    ADD COLUMN repeats int NOT NULL DEFAULT 0,
    ADD COLUMN repeated_at timestamptz;
ALTER TABLE warren.inbox ADD COLUMN job_id uuid; -- of an adopted message

-- +goose Down
ALTER TABLE warren.inbox DROP COLUMN job_id;
DELETE FROM warren.raw_messages WHERE body IS NULL;
ALTER TABLE warren.raw_messages DROP COLUMN repeated_at, DROP COLUMN repeats, ALTER COLUMN body SET NOT NULL;
