-- +goose Up

-- The tables are in the schema warren (those of a database before this version
-- have been moved there, see store/adopt.go): older binaries look for them elsewhere.
UPDATE warren.deployment SET serves_from = 9;

-- +goose Down
UPDATE warren.deployment SET serves_from = 1;
