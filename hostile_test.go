package warren_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren"
	"github.com/warrenjobs/warren/store/storetest"
	"github.com/warrenjobs/warren/views"
	"github.com/warrenjobs/warren/views/browsertest"
)

// markup is a text that would be more than text wherever a page did not escape it.
const markup = `</textarea></title></script>"'><img src=//evil.example/i onerror=alert(1)><script src=//evil.example/s></script>` +
	`<a href="javascript:alert(1)" onfocus=alert(1) autofocus>` + "\u202e`"

// Whoever names queues, messages, connections and workers, or writes args, errors and tasks, gets no
// script and no request into anybody's browser.
func TestDashboard_ShowsTheTextsOfOthersAsText(t *testing.T) {
	t.Parallel()
	database := storetest.Migrated(t)
	c, err := warren.Open(warren.Config{DatabaseURL: database, BrokerURL: "amqp://127.0.0.1:1/"})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	conn, err := pgx.Connect(t.Context(), database)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	for _, sql := range []string{
		`INSERT INTO warren.jobs (id, kind, queue, args, state, max_attempts, origin, unique_key, tags, worker, started_at, finished_at,
			queued_at, progress, output, last_error, attempt, lease, task_id)
		SELECT gen_random_uuid(), $1, $1, jsonb_build_object($1, $1), s, 5, $1, $1 || s, ARRAY[$1], $1, now(),
			CASE WHEN s IN ('dead', 'completed') THEN now() END, now(), jsonb_build_object('message', $1), to_jsonb($1), $1, 1, 1,
			gen_random_uuid()
		FROM unnest(ARRAY['dead', 'completed', 'running', 'queued', 'retrying', 'scheduled']) s`,
		`INSERT INTO warren.attempts (job_id, lease, number, dispatch, worker, started_at, finished_at, outcome, error, error_class, stack)
		SELECT id, 9, 1, 1, $1, now(), now(), 'failed', $1, $1, $1 FROM warren.jobs`,
		`INSERT INTO warren.deliveries (job_id, dispatch, queue, worker, from_worker, redelivered, delivery_count, outcome)
		SELECT id, 1, $1, $1, $1, true, 1, 'stale' FROM warren.jobs`,
		`INSERT INTO warren.raw_messages (job_id, exchange, routing_key, properties, body)
		SELECT id, $1, $1, jsonb_build_object('headers', jsonb_build_object($1, $1)), convert_to($1, 'UTF8') FROM warren.jobs`,
		`INSERT INTO warren.outbox (job_id, dispatch, exchange, routing_key, type, body, tries, last_error)
		SELECT id, 1, $1, $1, $1, convert_to($1, 'UTF8'), 3, $1 FROM warren.jobs WHERE state = 'queued'`,
		`INSERT INTO warren.tasks (id, description, job_kind, job_args, job_queue, job_runs, job_rule, job_zone)
		SELECT task_id, $1, $1, jsonb_build_object($1, $1), $1, 'schedule', $1, $1 FROM warren.jobs`,
		`INSERT INTO warren.schedules (id, task_id, rule, zone, kind, args, queue, next_at, problem)
		SELECT gen_random_uuid(), id, $1, $1, $1, '{}', $1, now(), $1 FROM warren.tasks`,
		`INSERT INTO warren.schedules (id, name, rule, zone, kind, args, queue, exchange, routing_key, content_type, body, problem,
			paused_by,
			paused_reason, paused_at)
		SELECT gen_random_uuid(), $1 || n, $1, $1, $1, '{}', $1, nullif($1, n), $1, $1, to_json($1), CASE WHEN n <> '' THEN $1 END,
			$1, $1, now()
		FROM unnest(ARRAY['', '2']) n`,
		`INSERT INTO warren.schedule_firings (schedule_id, planned_at, outcome, by_name, event_id)
		SELECT id, now(), $1, $1, gen_random_uuid() FROM warren.schedules`,
		`INSERT INTO warren.broker_queues (id, vhost, name, type, state, policy, arguments, ready, unacked, sampled_at)
		VALUES (1, $1, $1, $1, $1, $1, jsonb_build_object($1, $1), 1, 1, now())`,
		`INSERT INTO warren.broker_channels (vhost, queue, channel, connection, client, consumers, prefetch, unacked, holding_since,
			sampled_at)
		VALUES ($1, $1, $1, $1, $1, 1, 1, 1, now() - interval '1 hour', now())`,
		`INSERT INTO warren.processes (id, name, host, pid, roles, version, state, wants, wanted_by)
		VALUES (gen_random_uuid(), $1, $1, 1, ARRAY['worker', $1], $1, 'running', 'quiet', $1)`,
		`INSERT INTO warren.sessions (id, name, roles, version, queues, expires_at, process_id)
		SELECT gen_random_uuid(), $1, roles, $1, ARRAY[$1], now() + interval '1 day', id FROM warren.processes`,
		`INSERT INTO warren.health (component, down_since, message) VALUES ('broker', now(), $1)`,
		`INSERT INTO warren.job_queues (name, paused_at, paused_by) VALUES ($1, now(), $1)`,
		`INSERT INTO warren.audit (actor, action, target, reason, details) VALUES ($1, $1, $1, $1, jsonb_build_object($1, $1))`,
	} {
		_, err := conn.Exec(t.Context(), strings.ReplaceAll(sql, "$1", "$1::text"), markup)
		require.NoError(t, err, sql)
	}
	h, err := c.Dashboard(warren.Identify(whole))
	require.NoError(t, err)
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections) // the streams

	rows, err := conn.Query(t.Context(), `SELECT '/jobs/' || id FROM warren.jobs
		UNION SELECT '/schedules/' || id || edit FROM warren.schedules, unnest(ARRAY['', '/edit']) edit WHERE task_id IS NULL
		UNION (SELECT '/tasks/' || id || edit FROM warren.tasks, unnest(ARRAY['', '/edit']) edit LIMIT 2)`)
	require.NoError(t, err)
	pages, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	_, failures, _ := newBrowser(t, server.URL).get("/failures")
	failure := regexp.MustCompile(`/failures/[0-9a-f-]{36}`).FindString(failures)
	pages = append(pages, "/", "/jobs", "/tasks", "/tasks/board", "/schedules", "/queues", "/failures", failure,
		"/outbox", "/outbox?show=jobs",
		"/workers",
		"/audit", "/jobs?q="+url.QueryEscape(markup), views.QueueURL(markup, markup))
	tab := browsertest.Tab(t, func(string) bool { return false }) // also of what the policy has kept from loading
	for _, page := range pages {
		response, err := chromedp.RunResponse(tab, chromedp.Navigate(server.URL+page))
		require.NoError(t, err)
		require.EqualValues(t, http.StatusOK, response.Status, page)
		found, err := chromedp.Run(tab, chromedp.Evaluate[string](`[...document.querySelectorAll(
			"main img, iframe, object, script:not([src^='/static/']), [onerror], [onfocus], [href^='javascript:']," +
			"[src*=evil], [href^='//']")]
			.map(e => e.outerHTML).join("\n")`))
		require.NoError(t, err, page)
		require.Empty(t, found, page)
		text, err := chromedp.Run(tab, chromedp.Evaluate[string](`document.body.textContent`))
		require.NoError(t, err, page)
		require.Contains(t, text, "<img src=//evil.example/i", page)
	}
}
