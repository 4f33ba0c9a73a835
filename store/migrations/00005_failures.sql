-- +goose Up

-- warren_failure is an error message without what differs from job to job: its
-- first line, with ids, numbers, addresses and quoted text as placeholders. Jobs
-- of one kind with the same result failed for the same reason. It calls nothing
-- but PostgreSQL's own functions, since an index depends on it; whoever changes
-- it must build jobs_failure again.
-- +goose StatementBegin
CREATE FUNCTION warren_failure(message text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
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
CREATE INDEX jobs_failure ON jobs ((md5(kind || ' ' || warren_failure(last_error))::uuid), finished_at, id) WHERE state = 'dead';

-- +goose Down
DROP INDEX jobs_failure;
DROP FUNCTION warren_failure;
