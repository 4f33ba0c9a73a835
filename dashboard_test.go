package warren_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren"
	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/store/storetest"
)

func TestReadiness_DoesNotWaitBehindPagesThatWaitForTheDatabase(t *testing.T) {
	t.Parallel()
	database := storetest.Migrated(t)
	c, err := warren.Open(warren.Config{DatabaseURL: database, BrokerURL: "amqp://127.0.0.1:1/", Log: slog.New(slog.DiscardHandler)},
		jobs.Describe[greeting]())
	require.NoError(t, err)
	t.Cleanup(c.Close)
	h, err := c.Dashboard(warren.Identify(whole))
	require.NoError(t, err)
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	get := func(path string) int {
		resp, err := http.Get(server.URL + path)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode
	}

	dial := func() *pgx.Conn {
		conn, err := pgx.Connect(t.Context(), database)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		return conn
	}
	tx, err := dial().Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `LOCK TABLE warren.tasks IN ACCESS EXCLUSIVE MODE`)
	require.NoError(t, err)
	other := dial() // within a transaction the activity stands still
	var pages sync.WaitGroup
	for range 40 {
		pages.Go(func() { _ = get("/tasks") })
	}
	const waiting = `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`
	require.Eventually(t, func() bool {
		var n int
		return other.QueryRow(t.Context(), waiting).Scan(&n) == nil && n >= 5
	}, time.Minute, 10*time.Millisecond)

	require.Equal(t, http.StatusOK, get("/readyz"))
	require.Equal(t, http.StatusOK, get("/metrics"))
	require.NoError(t, tx.Rollback(t.Context()))
	pages.Wait()
	require.Equal(t, http.StatusOK, get("/tasks"))
}

// Each queue that is named in a job becomes one in the broker.
func TestDashboard_AJobForAQueueThatNobodyUsesIsRefused(t *testing.T) {
	t.Parallel()
	database := storetest.Migrated(t)
	c, err := warren.Open(warren.Config{DatabaseURL: database, BrokerURL: "amqp://127.0.0.1:1/"},
		jobs.Describe[greeting](jobs.OnQueue("greetings")))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	h, err := c.Dashboard(warren.Identify(whole))
	require.NoError(t, err)
	submit := func(queue string) (int, string) {
		body := fmt.Sprintf(`{"kind":"team.greeting","args":{"name":"Ann"},"queue":%q}`, queue)
		return send(h, "/api/v1/jobs", "application/json", body)
	}
	for i := range 12 {
		queue := fmt.Sprintf("invented-%d", i)
		status, body := submit(queue)
		require.Equal(t, http.StatusUnprocessableEntity, status)
		require.Contains(t, body, `"field":"queue"`)
		require.Contains(t, body, queue)
		require.Contains(t, body, "WARREN_QUEUES")
	}
	form := url.Values{"kind": {"team.greeting"}, "args.name": {"Ann"}, "queue": {"invented"}}
	status, body := send(h, "/jobs", "application/x-www-form-urlencoded", form.Encode())
	require.Equal(t, http.StatusUnprocessableEntity, status)
	require.Contains(t, body, "is not in use")
	require.Contains(t, body, `value="Ann"`, "what was typed stays")

	status, body = send(h, "/api/v1/tasks", "application/json",
		`{"description":"x","job":{"kind":"team.greeting","args":{"name":"Ann"},"runs":"now","queue":"invented"}}`)
	require.Equal(t, http.StatusUnprocessableEntity, status)
	require.Contains(t, body, `"field":"job.queue"`)
	form = url.Values{"description": {"x"}, "job.kind": {"team.greeting"}, "args.name": {"Ann"}, "job.queue": {"invented"},
		"job.runs": {"now"}}
	status, body = send(h, "/tasks/new", "application/x-www-form-urlencoded", form.Encode())
	require.Equal(t, http.StatusUnprocessableEntity, status)
	require.Contains(t, body, "is not in use")

	_, err = c.Enqueue(t.Context(), greeting{"Ann"}, jobs.OnQueue("sent"))
	require.NoError(t, err, "Go code says what it means")
	for _, queue := range []string{"", "default", "greetings", "sent"} {
		status, body := submit(queue)
		require.Equal(t, http.StatusCreated, status, body)
	}
}

func send(h http.Handler, path, kind, body string) (int, string) {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", kind)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	text, _ := io.ReadAll(w.Body)
	return w.Code, string(text)
}
