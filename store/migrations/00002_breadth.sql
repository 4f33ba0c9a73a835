-- +goose Up

-- Where an action came from: an address, or the host of the command line.
ALTER TABLE audit ADD COLUMN source text NOT NULL DEFAULT '';

-- What a person wants done. version rises with each change: it orders the
-- events of a task and makes a second editor's stale save visible.
CREATE TABLE tasks (
    id          uuid PRIMARY KEY,
    description text NOT NULL,
    priority    text NOT NULL DEFAULT 'none' CHECK (priority IN ('none', 'low', 'medium', 'high')),
    start_at    timestamptz,
    due_at      timestamptz,
    done        boolean NOT NULL DEFAULT false,
    done_at     timestamptz,
    version     int NOT NULL DEFAULT 1,
    origin      text NOT NULL DEFAULT 'app',
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    -- the job that it owns, if any, and when that runs
    job_kind    text,
    job_args    json,
    job_queue   text,
    job_runs    text CHECK (job_runs IN ('now', 'start', 'schedule')),
    job_rule    text,
    job_zone    text,
    CHECK ((job_kind IS NULL) = (job_runs IS NULL))
);
CREATE INDEX tasks_open ON tasks (id) WHERE NOT done;
CREATE INDEX tasks_done ON tasks (id) WHERE done;
CREATE INDEX tasks_priority ON tasks (priority, id) WHERE NOT done;
CREATE INDEX tasks_due ON tasks (due_at, id) WHERE NOT done AND due_at IS NOT NULL;

-- A rule that enqueues a job again and again. A task may own one.
CREATE TABLE schedules (
    id         uuid PRIMARY KEY,
    task_id    uuid UNIQUE REFERENCES tasks ON DELETE CASCADE,
    rule       text NOT NULL, -- cron of five fields, or "every 10m"
    zone       text NOT NULL,
    kind       text NOT NULL,
    args       json NOT NULL,
    queue      text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(), -- what "every" counts from
    next_at    timestamptz, -- null: it does not fire
    last_at    timestamptz
);
CREATE INDEX schedules_next ON schedules (next_at) WHERE next_at IS NOT NULL;

ALTER TABLE jobs ADD COLUMN task_id uuid;
CREATE INDEX jobs_task ON jobs (task_id, id) WHERE task_id IS NOT NULL;

-- Facts that happened. An event waits while an outbox row has its message id:
-- no write per event says that it was sent.
CREATE TABLE events (
    id          uuid PRIMARY KEY, -- the message id
    exchange    text NOT NULL,
    routing_key text NOT NULL,
    body        json NOT NULL,
    task_id     uuid,
    created_at  timestamptz NOT NULL DEFAULT now(),
    unheard_at  timestamptz -- the broker had no queue for it then
);
CREATE INDEX events_task ON events (task_id, id) WHERE task_id IS NOT NULL;
CREATE INDEX events_age ON events (created_at);
CREATE INDEX outbox_event ON outbox (message_id) WHERE job_id IS NULL;

-- Files that people upload and jobs write, in pieces, so that neither side
-- ever holds a whole one in memory.
CREATE TABLE files (
    id         uuid PRIMARY KEY,
    name       text NOT NULL,
    media_type text NOT NULL,
    size       bigint NOT NULL DEFAULT 0,
    complete   boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX files_age ON files (created_at);

CREATE TABLE file_chunks (
    file_id uuid NOT NULL REFERENCES files ON DELETE CASCADE,
    start   bigint NOT NULL, -- offset of the first byte in the file
    data    bytea NOT NULL,
    PRIMARY KEY (file_id, start)
);

-- How far the import of a file is. It moves in the transaction that adds the
-- tasks: killed anywhere, an import neither repeats nor skips a line.
CREATE TABLE task_imports (
    file_id uuid PRIMARY KEY REFERENCES files ON DELETE CASCADE,
    done    bigint NOT NULL DEFAULT 0, -- bytes of the file
    created int NOT NULL DEFAULT 0,
    refused int NOT NULL DEFAULT 0
);

CREATE TABLE task_import_errors (
    file_id uuid NOT NULL REFERENCES files ON DELETE CASCADE,
    line    int NOT NULL,
    error   text NOT NULL,
    PRIMARY KEY (file_id, line)
);

-- +goose Down
DROP TABLE task_import_errors, task_imports, file_chunks, files, events, schedules;
DROP INDEX outbox_event;
ALTER TABLE jobs DROP COLUMN task_id;
DROP TABLE tasks;
ALTER TABLE audit DROP COLUMN source;
