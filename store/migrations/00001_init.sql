-- +goose Up

-- Warren's tables have a schema of their own, and every statement names it: it
-- may run in the transaction of an application whose search_path is another, with
-- tables of the same names. Where an administrator has made it, no right to make
-- schemas is needed.
-- +goose StatementBegin
DO $$ BEGIN
    IF to_regnamespace('warren') IS NULL THEN
        CREATE SCHEMA warren;
    END IF;
END $$;
-- +goose StatementEnd

-- The deployment: its id travels as app_id of every message, so that two
-- deployments on one broker never run each other's jobs.
CREATE TABLE warren.deployment (
    one        boolean PRIMARY KEY DEFAULT true CHECK (one),
    id         uuid NOT NULL DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO warren.deployment DEFAULT VALUES;

CREATE TABLE warren.jobs (
    id                  uuid PRIMARY KEY,
    kind                text NOT NULL,
    queue               text NOT NULL,
    args                json NOT NULL,
    state               text NOT NULL CHECK (state IN ('scheduled', 'queued', 'running', 'retrying', 'completed', 'dead', 'cancelled')),
    attempt             int NOT NULL DEFAULT 0,
    max_attempts        int NOT NULL,
    run_at              timestamptz NOT NULL DEFAULT now(),
    created_at          timestamptz NOT NULL DEFAULT now(),
    origin              text NOT NULL DEFAULT 'app',
    unique_key          text,
    tags                text[] NOT NULL DEFAULT '{}',
    timeout_ms          bigint NOT NULL DEFAULT 0,
    -- raised by the statement that sets queued and writes the outbox row
    dispatch            int NOT NULL DEFAULT 0,
    queued_at           timestamptz,
    sent_at             timestamptz,
    -- raised by each claim and take-over; lease and worker stay on the finished row
    lease               int NOT NULL DEFAULT 0,
    worker_id           uuid,
    worker              text,
    started_at          timestamptz,
    finished_at         timestamptz,
    crashes             int NOT NULL DEFAULT 0,
    cancel_requested_at timestamptz,
    progress            json,
    output              json,
    last_error          text,
    retry_of            uuid
) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX jobs_state ON warren.jobs (state, id);
CREATE INDEX jobs_kind ON warren.jobs (kind, id);
CREATE INDEX jobs_queue ON warren.jobs (queue, id);
CREATE INDEX jobs_due ON warren.jobs (run_at) WHERE state IN ('scheduled', 'retrying');
CREATE INDEX jobs_holder ON warren.jobs (worker_id) WHERE state = 'running';
CREATE INDEX jobs_waiting ON warren.jobs (queue, queued_at) WHERE state = 'queued';
CREATE INDEX jobs_finished ON warren.jobs (finished_at) WHERE state IN ('completed', 'dead', 'cancelled');
CREATE UNIQUE INDEX jobs_unique_key ON warren.jobs (unique_key)
    WHERE unique_key IS NOT NULL AND state IN ('scheduled', 'queued', 'running', 'retrying');

-- Messages that wait for the relay. A job's row has job_id and dispatch and goes
-- to the queue named by routing_key; an event names its exchange.
CREATE TABLE warren.outbox (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id      uuid,
    dispatch    int,
    exchange    text,
    routing_key text NOT NULL,
    message_id  uuid NOT NULL DEFAULT gen_random_uuid(),
    type        text NOT NULL,
    headers     json,
    body        bytea NOT NULL,
    required    boolean NOT NULL DEFAULT true,
    created_at  timestamptz NOT NULL DEFAULT now(),
    not_before  timestamptz NOT NULL DEFAULT '-infinity',
    tries       int NOT NULL DEFAULT 0,
    last_error  text
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX outbox_job ON warren.outbox (job_id) WHERE job_id IS NOT NULL;

-- Relays that have work say so here; while one is busy nobody needs to wake it
-- (NOTIFY in every caller's transaction would serialise their commits).
CREATE UNLOGGED TABLE warren.relay_busy (
    one   boolean PRIMARY KEY DEFAULT true CHECK (one),
    until timestamptz NOT NULL
);
INSERT INTO warren.relay_busy (until) VALUES ('-infinity');

-- Runs that have ended otherwise than by completing. The completed or running
-- one is on the job's row and costs no second write.
CREATE TABLE warren.attempts (
    job_id      uuid NOT NULL,
    lease       int NOT NULL,
    number      int NOT NULL,
    dispatch    int NOT NULL,
    worker      text NOT NULL,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    outcome     text NOT NULL,
    error       text NOT NULL DEFAULT '',
    error_class text NOT NULL DEFAULT '',
    stack       text NOT NULL DEFAULT '',
    PRIMARY KEY (job_id, lease)
);
CREATE INDEX attempts_finished ON warren.attempts (finished_at);

-- Deliveries that were more than the plain first one: redeliveries, stale ones,
-- take-overs. The plain one is read off the job or the attempt.
CREATE TABLE warren.deliveries (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id         uuid NOT NULL,
    dispatch       int NOT NULL,
    lease          int,
    queue          text NOT NULL,
    at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    worker         text NOT NULL,
    from_worker    text,
    redelivered    boolean NOT NULL,
    delivery_count int NOT NULL,
    outcome        text NOT NULL
);
CREATE INDEX deliveries_job ON warren.deliveries (job_id, id);
CREATE INDEX deliveries_at ON warren.deliveries (at) WHERE redelivered;
CREATE INDEX deliveries_queue ON warren.deliveries (queue, id) WHERE redelivered;

-- Messages of strangers, as they came, for the dead job that was made of them.
CREATE TABLE warren.raw_messages (
    job_id      uuid PRIMARY KEY,
    exchange    text NOT NULL,
    routing_key text NOT NULL,
    properties  json NOT NULL,
    body        bytea NOT NULL
);

-- Message ids that a consumer has handled, written in the transaction of its effects.
CREATE TABLE warren.inbox (
    consumer   text NOT NULL,
    app_id     text NOT NULL,
    message_id text NOT NULL,
    handled_at timestamptz NOT NULL DEFAULT now(),
    digest     bytea,
    PRIMARY KEY (consumer, app_id, message_id)
);
CREATE INDEX inbox_handled ON warren.inbox (handled_at);

-- One row per process: the lease of everything it holds. A worker also holds an
-- advisory lock of its lock_key on a connection of its own.
CREATE TABLE warren.sessions (
    id          uuid PRIMARY KEY,
    lock_key    bigint GENERATED ALWAYS AS IDENTITY,
    name        text NOT NULL,
    roles       text[] NOT NULL,
    version     text NOT NULL,
    queues      text[] NOT NULL DEFAULT '{}',
    concurrency int NOT NULL DEFAULT 0,
    prefetch    int NOT NULL DEFAULT 0,
    started_at  timestamptz NOT NULL DEFAULT now(),
    renewed_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    stopping    boolean NOT NULL DEFAULT false
);

-- How the parts of the deployment do, by the process that knows.
CREATE TABLE warren.health (
    component  text PRIMARY KEY,
    ok_at      timestamptz,
    down_since timestamptz,
    message    text NOT NULL DEFAULT '',
    details    json,
    at         timestamptz NOT NULL DEFAULT now()
);

-- What operators set for a job queue.
CREATE TABLE warren.job_queues (
    name             text PRIMARY KEY,
    paused_at        timestamptz,
    external         boolean NOT NULL DEFAULT false,
    report_within_ms bigint NOT NULL DEFAULT 3600000
);

-- The broker as last seen. Unknown is null, never 0.
CREATE TABLE warren.broker_queues (
    id            bigint PRIMARY KEY, -- of vhost and name: a queue that comes back has its history again
    vhost         text NOT NULL,
    name          text NOT NULL,
    type          text NOT NULL DEFAULT '',
    state         text NOT NULL DEFAULT '',
    policy        text NOT NULL DEFAULT '',
    arguments     json,
    ready         bigint,
    unacked       bigint,
    consumers     bigint,
    -- counter as the broker says it, and our own sum that survives its resets
    redeliver_raw bigint,
    redelivered   bigint,
    counter_since timestamptz,
    publish_raw   bigint,
    deliver_raw   bigint,
    ack_raw       bigint,
    publish_rate  double precision,
    deliver_rate  double precision,
    ack_rate      double precision,
    redeliver_rate double precision,
    empty_since   timestamptz,
    sampled_at    timestamptz NOT NULL,
    UNIQUE (vhost, name)
) WITH (fillfactor = 50);

CREATE TABLE warren.queue_samples (
    queue_id       bigint NOT NULL,
    resolution     int NOT NULL, -- seconds: 5, 60, 600
    at             timestamptz NOT NULL,
    until          timestamptz NOT NULL, -- a queue that does not change only moves this
    ready          bigint,
    unacked        bigint,
    redelivered    bigint,
    consumers      bigint,
    publish_rate   double precision,
    deliver_rate   double precision,
    ack_rate       double precision,
    redeliver_rate double precision,
    PRIMARY KEY (queue_id, resolution, at)
) WITH (fillfactor = 80);
CREATE INDEX queue_samples_age ON warren.queue_samples (resolution, at); -- not until: it moves with every poll

CREATE TABLE warren.broker_channels (
    vhost      text NOT NULL,
    queue      text NOT NULL,
    channel    text NOT NULL,
    connection text NOT NULL,
    client     text NOT NULL DEFAULT '',
    consumers  int NOT NULL,
    prefetch   int,
    unacked    bigint,
    holding_since timestamptz, -- holds messages since then and has acked none
    sampled_at timestamptz NOT NULL,
    PRIMARY KEY (vhost, queue, channel)
);

-- What the deployment did, for the charts of the overview: counts of the
-- seconds before "at", and how much waited at that moment (ages in seconds).
CREATE TABLE warren.activity (
    at             timestamptz PRIMARY KEY,
    seconds        double precision NOT NULL,
    completed      bigint NOT NULL,
    failed         bigint NOT NULL,
    redelivered    bigint NOT NULL,
    outbox_waiting bigint NOT NULL,
    outbox_age     double precision NOT NULL,
    oldest_queued  double precision NOT NULL
);

-- Who did what to what.
CREATE TABLE warren.audit (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     timestamptz NOT NULL DEFAULT now(),
    actor  text NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    reason text NOT NULL DEFAULT '',
    details json
);
CREATE INDEX audit_target ON warren.audit (target, id);

-- +goose Down
DROP TABLE warren.audit, warren.activity, warren.broker_channels, warren.queue_samples, warren.broker_queues, warren.job_queues, warren.health, warren.sessions, warren.inbox,
    warren.raw_messages, warren.deliveries, warren.attempts, warren.relay_busy, warren.outbox, warren.jobs, warren.deployment;
