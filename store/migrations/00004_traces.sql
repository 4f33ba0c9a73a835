-- +goose Up

-- The W3C headers, traceparent and tracestate, that every message of the job
-- carries: a retry goes on in the trace of the enqueue. Null without a trace.
ALTER TABLE jobs ADD COLUMN trace json;

-- +goose Down
ALTER TABLE jobs DROP COLUMN trace;
