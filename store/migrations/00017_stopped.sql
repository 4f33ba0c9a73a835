-- +goose Up

-- A process that stops in good order stays listed for some minutes, as a lost one does.
ALTER TABLE warren.processes DROP CONSTRAINT processes_state_check,
    ADD CONSTRAINT processes_state_check CHECK (state IN ('running', 'quiet', 'stopping', 'stopped'));

-- +goose Down
DELETE FROM warren.processes WHERE state = 'stopped';
ALTER TABLE warren.processes DROP CONSTRAINT processes_state_check,
    ADD CONSTRAINT processes_state_check CHECK (state IN ('running', 'quiet', 'stopping'));
