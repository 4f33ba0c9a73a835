-- +goose Up

-- The audit page filters by who, by what, and by the name of the target: what
-- follows its kind in job:0198c5f2-….
CREATE INDEX audit_actor ON audit (actor, id);
CREATE INDEX audit_action ON audit (action, id);
CREATE INDEX audit_target_name ON audit (substr(target, strpos(target, ':') + 1), id);

-- +goose Down
DROP INDEX audit_target_name, audit_action, audit_actor;
