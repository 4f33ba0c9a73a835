-- +goose Up

-- When a process of another version than the last one was first seen, for the charts.
CREATE TABLE warren.deploys (
    at      timestamptz PRIMARY KEY DEFAULT clock_timestamp(),
    version text NOT NULL
);

-- +goose Down
DROP TABLE warren.deploys;
