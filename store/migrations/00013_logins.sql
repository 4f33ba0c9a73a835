-- +goose Up

-- Logins of the dashboard are signed cookies. This is what ends one before its time: a series
-- that is not the deployment's any more (signed out everywhere), or a row (signed out).
ALTER TABLE warren.deployment ADD COLUMN login_series uuid NOT NULL DEFAULT gen_random_uuid();

CREATE TABLE warren.ended_logins (
    id    uuid PRIMARY KEY,
    until timestamptz NOT NULL -- when its cookie is over all the same
);

-- +goose Down
DROP TABLE warren.ended_logins;
ALTER TABLE warren.deployment DROP COLUMN login_series;
