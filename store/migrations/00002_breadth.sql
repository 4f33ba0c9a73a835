-- +goose Up

-- Where an action came from: an address, or the host of the command line.
ALTER TABLE warren.audit ADD COLUMN source text NOT NULL DEFAULT '';

-- What a person wants done. version rises with each change: it orders the
-- events of a task and makes a second editor's stale save visible.
CREATE TABLE warren.tasks (
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
CREATE INDEX tasks_open ON warren.tasks (id) WHERE NOT done;
CREATE INDEX tasks_done ON warren.tasks (id) WHERE done;
CREATE INDEX tasks_priority ON warren.tasks (priority, id);
CREATE INDEX tasks_undated ON warren.tasks (priority, id) WHERE NOT done AND due_at IS NULL;
CREATE INDEX tasks_demo ON warren.tasks (id) WHERE origin = 'demo';
CREATE INDEX tasks_due ON warren.tasks (due_at, id) WHERE NOT done AND due_at IS NOT NULL;

-- A rule that enqueues a job again and again. A task may own one.
CREATE TABLE warren.schedules (
    id         uuid PRIMARY KEY,
    task_id    uuid UNIQUE REFERENCES warren.tasks ON DELETE CASCADE,
    rule       text NOT NULL, -- cron of five fields, or "every 10m"
    zone       text NOT NULL,
    kind       text NOT NULL,
    args       json NOT NULL,
    queue      text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(), -- what "every" counts from
    next_at    timestamptz, -- null: it does not fire
    last_at    timestamptz
);
CREATE INDEX schedules_next ON warren.schedules (next_at) WHERE next_at IS NOT NULL;

ALTER TABLE warren.jobs ADD COLUMN task_id uuid;
CREATE INDEX jobs_task ON warren.jobs (task_id, id) WHERE task_id IS NOT NULL;

-- Facts that happened. An event waits while an outbox row has its message id:
-- no write per event says that it was sent.
CREATE TABLE warren.events (
    id          uuid PRIMARY KEY, -- the message id
    exchange    text NOT NULL,
    routing_key text NOT NULL,
    body        json NOT NULL,
    task_id     uuid,
    created_at  timestamptz NOT NULL DEFAULT now(),
    unheard_at  timestamptz -- the broker had no queue for it then
);
CREATE INDEX events_task ON warren.events (task_id, id) WHERE task_id IS NOT NULL;
CREATE INDEX events_age ON warren.events (created_at);
CREATE INDEX outbox_event ON warren.outbox (message_id) WHERE job_id IS NULL;

-- Files that people upload and jobs write, in pieces, so that neither side
-- ever holds a whole one in memory.
CREATE TABLE warren.files (
    id         uuid PRIMARY KEY,
    name       text NOT NULL,
    media_type text NOT NULL,
    size       bigint NOT NULL DEFAULT 0,
    complete   boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX files_age ON warren.files (created_at);
CREATE INDEX files_unfinished ON warren.files (created_at) WHERE NOT complete;

CREATE TABLE warren.file_chunks (
    file_id uuid NOT NULL REFERENCES warren.files ON DELETE CASCADE,
    start   bigint NOT NULL, -- offset of the first byte in the file
    data    bytea NOT NULL,
    PRIMARY KEY (file_id, start)
);

-- How far the import of a file is. It moves in the transaction that adds the
-- tasks: killed anywhere, an import neither repeats nor skips a line.
CREATE TABLE warren.task_imports (
    file_id uuid PRIMARY KEY REFERENCES warren.files ON DELETE CASCADE,
    done    bigint NOT NULL DEFAULT 0, -- bytes of the file
    created int NOT NULL DEFAULT 0,
    refused int NOT NULL DEFAULT 0
);

CREATE TABLE warren.task_import_errors (
    file_id uuid NOT NULL REFERENCES warren.files ON DELETE CASCADE,
    line    int NOT NULL,
    error   text NOT NULL,
    PRIMARY KEY (file_id, line)
);

-- Every warren process, whatever its roles, as it last said itself. Not the lease
-- of what it runs: that is its sessions'.
CREATE TABLE warren.processes (
    id         uuid PRIMARY KEY,
    name       text NOT NULL, -- host/pid
    host       text NOT NULL,
    pid        int NOT NULL,
    roles      text[] NOT NULL,
    version    text NOT NULL,
    state      text NOT NULL CHECK (state IN ('running', 'quiet', 'stopping')),
    -- what an operator asked of it and it has not done yet, and who asked
    wants      text CHECK (wants IN ('quiet', 'resume', 'stop')),
    wanted_by  text NOT NULL DEFAULT '',
    details    json,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);

ALTER TABLE warren.sessions ADD COLUMN process_id uuid;
CREATE INDEX sessions_process ON warren.sessions (process_id);

-- The outbox page: rows that fail, and events. Neither costs the jobs' way in anything.
CREATE INDEX outbox_failing ON warren.outbox (id) WHERE tries > 0;
CREATE INDEX outbox_events ON warren.outbox (id) WHERE job_id IS NULL;

-- The audit page filters by who, by what, and by the name of the target: what
-- follows its kind in job:0198c5f2-….
CREATE INDEX audit_actor ON warren.audit (actor, id);
CREATE INDEX audit_action ON warren.audit (action, id);
CREATE INDEX audit_target_name ON warren.audit (substr(target, strpos(target, ':') + 1), id);

-- warren.failure is an error message without what differs from job to job: its
-- first line, with ids, numbers, addresses and quoted text as placeholders. Jobs
-- of one kind with the same result failed for the same reason. It calls nothing
-- but PostgreSQL's own functions, since an index depends on it; whoever changes
-- it must build jobs_failure again.
-- +goose StatementBegin
CREATE FUNCTION warren.failure(message text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    m text := left(split_part(ltrim(coalesce(message, ''), E' \t\r\n'), E'\n', 1), 1000);
    before text;
BEGIN
    FOR again IN 1..20 LOOP -- a placeholder may uncover what the rules before it look for
        before := m;
        m := regexp_replace(m, '\s+', ' ', 'g');
        -- quoted text; an apostrophe inside a word quotes nothing
        m := regexp_replace(m, '"(\\.|[^"\\])*"', '<s>', 'g');
        m := regexp_replace(m, '(^|[^A-Za-z0-9])''[^'']*''', '\1<s>', 'g');
        m := regexp_replace(m, '`[^`]*`', '<s>', 'g');
        m := regexp_replace(m, '[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+[A-Za-z0-9]', '<email>', 'g');
        m := regexp_replace(m, '\?[A-Za-z0-9_.%-]+=[^ ,;)<]*', '?<s>', 'g');
        m := regexp_replace(m, '[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}', '<id>', 'gi');
        m := regexp_replace(m, '\[[0-9a-f]*:[0-9a-f:.]+\](:[0-9]+)?', '<addr>', 'gi');
        m := regexp_replace(m, '[0-9]{1,3}(\.[0-9]{1,3}){3}(:[0-9]+)?', '<addr>', 'g');
        m := regexp_replace(m, '[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9:.]+(Z|[+-][0-9:]+)?)?', '<time>', 'g');
        m := regexp_replace(m, '0x[0-9a-f]+', '<id>', 'gi');
        -- letters and digits mixed: hex from 7 characters on, what goes back and forth from 8, anything from 20
        m := regexp_replace(m, '(?<![A-Za-z0-9])(?=[a-f]*[0-9])(?=[0-9]*[a-f])[0-9a-f]{7,}(?![A-Za-z0-9])', '<id>', 'gi');
        m := regexp_replace(m, '(?<![A-Za-z0-9])(?=[A-Za-z]*[0-9]+[A-Za-z]+[0-9])[A-Za-z0-9]{8,}', '<id>', 'g');
        m := regexp_replace(m, '(?<![A-Za-z0-9])(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9]{20,}', '<id>', 'g');
        m := regexp_replace(m, 'http/[0-9.]+', 'HTTP', 'gi');
        -- the number of an order, an invoice, in a path
        m := regexp_replace(m, '(?<=[A-Za-z][-_/])[0-9][0-9a-z]*([.,:][0-9][0-9a-z]*)*', '<id>', 'gi');
        -- a status says what is wrong, other numbers do not; "x509" and "sha256" are words
        m := regexp_replace(m, '(?<![A-Za-z0-9])(?<!(status|code|http|answered|sqlstate|errno)[ :=]{1,2})[0-9][0-9a-zµ]*([.,:][0-9][0-9a-zµ]*)*', '<n>', 'gi');
        m := regexp_replace(m, '(?<=[A-Za-z])[0-9]{4,}', '<n>', 'g');
        m := rtrim(left(ltrim(m), 300));
        EXIT WHEN m = before;
    END LOOP;
    RETURN m;
END
$$;
-- +goose StatementEnd

-- A group of failures is all dead jobs with one key; its newest and oldest are at the ends of its part of the index.
CREATE INDEX jobs_failure ON warren.jobs ((md5(kind || ' ' || warren.failure(last_error))::uuid), finished_at, id) WHERE state = 'dead';

-- +goose Down
DROP INDEX warren.jobs_failure;
DROP FUNCTION warren.failure;
DROP INDEX warren.audit_target_name, warren.audit_action, warren.audit_actor;
DROP INDEX warren.outbox_failing, warren.outbox_events;
ALTER TABLE warren.sessions DROP COLUMN process_id;
DROP TABLE warren.processes;
DROP TABLE warren.task_import_errors, warren.task_imports, warren.file_chunks, warren.files, warren.events, warren.schedules;
DROP INDEX warren.outbox_event;
ALTER TABLE warren.jobs DROP COLUMN task_id;
DROP TABLE warren.tasks;
ALTER TABLE warren.audit DROP COLUMN source;
