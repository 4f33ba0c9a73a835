-- +goose Up

-- Where an action came from: an address, or the host of the command line.
ALTER TABLE audit ADD COLUMN source text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE audit DROP COLUMN source;
