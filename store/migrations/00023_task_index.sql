-- +goose Up

-- The full-text index of tasks, kept by the subscriber tasks.search and by jobs of the kind
-- tasks.reindex, in the order of the versions. The row of a deleted task stays, without words, so
-- that a late event does not bring it back.
CREATE TABLE warren.task_index (
    task_id uuid PRIMARY KEY,
    version int NOT NULL, -- of the task that the words are of
    words   tsvector      -- null: the task was deleted
) WITH (fillfactor = 90);
CREATE INDEX task_index_words ON warren.task_index USING gin (words);

-- The build of the index that runs or was the last: it moves in the transaction that writes the words.
CREATE TABLE warren.task_index_build (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    job_id      uuid,
    began_at    timestamptz,
    after       uuid, -- tasks up to this one are done
    tasks       bigint NOT NULL DEFAULT 0,
    complete_at timestamptz, -- of the last complete build; null: there was none
    covers      timestamptz  -- when that one began: it has every change before
);
INSERT INTO warren.task_index_build DEFAULT VALUES;

-- +goose Down
DROP TABLE warren.task_index_build, warren.task_index;
