package warren_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/jackc/pgx/v5"
	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren"
	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/store/storetest"
	"github.com/warrenjobs/warren/views/browsertest"
)

// filled returns a client on a database that has data for every page. The client does not run.
func filled(t *testing.T) *warren.Client {
	t.Helper()
	url := storetest.Migrated(t)
	c, err := warren.Open(warren.Config{DatabaseURL: url, BrokerURL: "amqp://127.0.0.1:1/"},
		jobs.Handle(func(context.Context, *jobs.Run, greeting) error { return nil }))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	for range 3 {
		_, err = c.Enqueue(t.Context(), greeting{"Ann"})
		require.NoError(t, err)
	}
	_, err = conn.Exec(t.Context(), `
		INSERT INTO warren.jobs (id, kind, queue, args, state, max_attempts, finished_at, last_error, worker, attempt)
			SELECT gen_random_uuid(), 'team.greeting', 'default', '{"name":"secret"}', s, 5, now(), 'it failed', 'w/1', 1
			FROM unnest(ARRAY['dead', 'completed', 'cancelled']) s;
		INSERT INTO warren.tasks (id, description, job_kind, job_args, job_queue, job_runs)
			VALUES (gen_random_uuid(), 'water the plants', 'team.greeting', '{"name":"secret"}', 'default', 'now');
		INSERT INTO warren.broker_queues (id, vhost, name, ready, unacked, sampled_at) VALUES (1, '/', 'warren.jobs.default', 1, 0, now());
		INSERT INTO warren.audit (actor, action, target) SELECT 'ann', 'job.retry', 'job:' || id FROM warren.jobs LIMIT 1`)
	require.NoError(t, err)
	return c
}

// whole identifies every client as a user who may do everything.
func whole(*http.Request) (warren.User, error) {
	return warren.User{Name: "Ann", Can: warren.Rights()}, nil
}

// mountings are the ways in which an application may serve the dashboard below /a/b.
var mountings = map[string]func(http.Handler) http.Handler{
	"http.ServeMux": func(h http.Handler) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/a/b/", h)
		return mux
	},
	"http.StripPrefix": func(h http.Handler) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/a/b/", http.StripPrefix("/a/b", h))
		return mux
	},
	"echo.Group": func(h http.Handler) http.Handler {
		e := echo.New()
		group := e.Group("/a/b")
		group.Any("", echo.WrapHandler(h))
		group.Any("/*", echo.WrapHandler(h))
		return e
	},
	"echo behind gzip and a limit": func(h http.Handler) http.Handler {
		e := echo.New()
		e.Use(middleware.Gzip(), middleware.BodyLimit("1M"))
		e.Group("/a/b").Any("/*", echo.WrapHandler(h))
		return e
	},
	"behind a timeout": func(h http.Handler) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/a/b/", http.TimeoutHandler(h, time.Minute, ""))
		return mux
	},
}

// address matches the addresses that a browser may request: links, forms, assets, fragments, the
// stream.
var address = regexp.MustCompile(`\b(?:href|src|action|formaction|hx-get|hx-sse:connect|data-src|name="(?:back|next)" value)="([^"]*)"`)

func TestDashboard_KeepsEveryAddressBelowItsPrefix(t *testing.T) {
	t.Parallel()
	for name, mount := range mountings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, err := filled(t).Dashboard(warren.At("/a/b/"), warren.Identify(whole))
			require.NoError(t, err)
			server := httptest.NewServer(mount(h))
			t.Cleanup(server.Close)
			b := newBrowser(t, server.URL)
			seen := map[string]bool{}
			for todo := []string{"/a/b/"}; len(todo) > 0; todo = todo[1:] {
				page := todo[0]
				status, body, _ := b.get(page)
				require.Less(t, status, 400, "%s\n%s", page, body)
				for _, found := range b.addresses(page, body) {
					path, _, _ := strings.Cut(found, "?")
					shape := regexp.MustCompile(`[0-9a-f-]{36}`).ReplaceAllString(path, "ID")
					if seen[shape] || !b.follows(path) {
						continue
					}
					seen[shape] = true
					todo = append(todo, found)
				}
			}
			for _, page := range []string{"/a/b/jobs", "/a/b/jobs/ID", "/a/b/tasks/ID", "/a/b/queues/~1/warren.jobs.default",
				"/a/b/failures", "/a/b/audit"} {
				require.True(t, seen[page], "%s is not linked; seen are %v", page, slices.Sorted(maps.Keys(seen)))
			}

			to := b.post("/a/b/settings/theme", url.Values{"theme": {"dark"}, "back": {"/jobs"}})
			require.Equal(t, "/a/b/jobs", to)
			require.Regexp(t, `^/a/b/jobs/[0-9a-f-]{36}$`, b.post("/a/b/jobs", url.Values{"kind": {"team.greeting"}, "args.name": {"Bob"}}))
			for _, cookie := range b.set {
				require.Equal(t, "/a/b/", cookie.Path)
				require.Contains(t, cookie.Name, "_"+b.port, "its name carries the port: browsers keep cookies of all ports together")
			}
			status, body, header := b.get("/a/b/live?topics=jobs")
			if name == "behind a timeout" { // it sends a response only when that is complete
				require.Equal(t, http.StatusNotImplemented, status, body)
				return
			}
			require.Equal(t, http.StatusOK, status, body)
			require.Contains(t, header.Get("Content-Type"), "text/event-stream")
		})
	}
}

func TestDashboard_SendsThePrefixWithoutItsSlashOn(t *testing.T) {
	t.Parallel()
	h, err := filled(t).Dashboard(warren.At("/a/b"), warren.Identify(whole))
	require.NoError(t, err)
	for _, handler := range []http.Handler{h, http.StripPrefix("/a/b", h)} {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/a/b?x=1", nil))
		require.Equal(t, "/a/b/?x=1", answer.Header().Get("Location"))
	}
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/a/bc", nil))
	require.Equal(t, http.StatusNotFound, answer.Code)
	_, err = filled(t).Dashboard(warren.At("admin"))
	require.ErrorContains(t, err, "is not a path such as /admin/jobs")
}

// browser keeps cookies and does not follow redirects.
type browser struct {
	t      *testing.T
	url    string
	port   string
	client *http.Client
	set    []*http.Cookie
}

func newBrowser(t *testing.T, address string) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	u, err := url.Parse(address)
	require.NoError(t, err)
	return &browser{t: t, url: address, port: u.Port(), client: &http.Client{Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// get requests a page and reads its body, but of a stream only the header.
func (b *browser) get(path string) (int, string, http.Header) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+path, nil)
	require.NoError(b.t, err)
	r.Header.Set("Accept", "*/*")
	r.Header.Set("Accept-Encoding", "gzip")
	answer, err := b.client.Do(r)
	require.NoError(b.t, err)
	defer func() { _ = answer.Body.Close() }()
	if strings.Contains(answer.Header.Get("Content-Type"), "event-stream") {
		return answer.StatusCode, "", answer.Header
	}
	raw, err := io.ReadAll(answer.Body)
	require.NoError(b.t, err)
	if answer.Header.Get("Content-Encoding") == "gzip" {
		zip, err := gzip.NewReader(bytes.NewReader(raw))
		require.NoError(b.t, err)
		raw, err = io.ReadAll(zip)
		require.NoError(b.t, err)
	}
	b.set = append(b.set, answer.Cookies()...)
	return answer.StatusCode, string(raw), answer.Header
}

// post sends a form and returns the address that it redirects to.
func (b *browser) post(path string, form url.Values) string {
	b.t.Helper()
	answer, err := b.client.PostForm(b.url+path, form)
	require.NoError(b.t, err)
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	require.NoError(b.t, err)
	require.Equal(b.t, http.StatusSeeOther, answer.StatusCode, "%s", body)
	b.set = append(b.set, answer.Cookies()...)
	return answer.Header.Get("Location")
}

// addresses returns the addresses in a page. It requires each to be below the prefix, or a
// fragment, and the paths that forms send back to be without the prefix.
func (b *browser) addresses(page, body string) []string {
	b.t.Helper()
	if !strings.Contains(body, "<!DOCTYPE html>") && !strings.Contains(body, "<!doctype html>") {
		return nil
	}
	require.NotContains(b.t, body, "<style", "no style of a page's own: the application's CSP holds")
	var found []string
	for _, m := range address.FindAllStringSubmatch(body, -1) {
		to := strings.ReplaceAll(m[1], "&amp;", "&")
		switch {
		case strings.HasPrefix(m[0], "name="):
			require.False(b.t, strings.HasPrefix(to, "/a/b"), "%s carries back %q", page, to)
		case strings.HasPrefix(to, "#"), to == "":
		default:
			require.True(b.t, strings.HasPrefix(to, "/a/b/"), "%s leads to %q", page, to)
			found = append(found, to)
		}
	}
	return found
}

// follows reports whether the crawl requests the path. It leaves out the targets of forms, unless a
// GET route has the same address, and the stream.
func (b *browser) follows(path string) bool {
	action := regexp.MustCompile(`/(retry|cancel|run|delete|done|reopen|priority|pause|resume|purge|undo|discard|` +
		`external|quiet|stop|export|theme|timezone|logout|live|known|fixed)$`)
	return !action.MatchString(path)
}

func TestDashboard_DoesWhatTheUsersRightsAllow(t *testing.T) {
	t.Parallel()
	viewer := func(r *http.Request) (warren.User, error) {
		if r.Header.Get("X-Nobody") != "" {
			return warren.User{}, fmt.Errorf("the application knows nobody of that name")
		}
		return warren.User{Name: "Vic", Can: []warren.Right{warren.RightView, warren.RightRetry}}, nil
	}
	h, err := filled(t).Dashboard(warren.Identify(viewer))
	require.NoError(t, err)
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	b := newBrowser(t, server.URL)
	ask := func(method, path string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
		require.NoError(t, err)
		if strings.HasPrefix(path, "/api/") {
			r.Header.Set("Content-Type", "application/json")
		}
		answer, err := b.client.Do(r)
		require.NoError(t, err)
		defer func() { _ = answer.Body.Close() }()
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		return answer.StatusCode, string(body)
	}
	_, list := ask(http.MethodGet, "/api/v1/jobs?state=dead")
	require.NotContains(t, list, "secret")
	id := regexp.MustCompile(`[0-9a-f-]{36}`).FindString(list)
	for _, path := range []string{"/", "/jobs", "/jobs/" + id, "/api/v1/jobs/" + id, "/api/v1/tasks", "/failures"} {
		status, body := ask(http.MethodGet, path)
		require.Equal(t, http.StatusOK, status, path)
		require.NotContains(t, body, "secret", path)
		require.NotContains(t, body, `action="/jobs/`+id+`/delete"`)
	}
	_, page := ask(http.MethodGet, "/jobs/"+id)
	require.NotContains(t, page, `href="/audit"`)
	require.Contains(t, page, "You may not do this: it needs the right")
	require.Contains(t, page, `action="/jobs/`+id+`/retry"`)
	for path, right := range map[string]string{"/jobs/" + id + "/delete": "delete", "/api/v1/jobs": "submit", "/jobs": "submit",
		"/api/v1/outbox/1/retry": "manage", "/queues/~1/warren.jobs.default/pause": "queues", "/tasks/new": "edit"} {
		status, body := ask(http.MethodPost, path)
		require.Equal(t, http.StatusForbidden, status, path)
		require.Contains(t, body, right, path)
	}
	for _, path := range []string{"/audit", "/api/v1/audit", "/jobs/new"} {
		status, _ := ask(http.MethodGet, path)
		require.Equal(t, http.StatusForbidden, status, path)
	}
	status, _ := ask(http.MethodPost, "/api/v1/jobs/"+id+"/retry")
	require.Equal(t, http.StatusOK, status)

	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/", nil)
	require.NoError(t, err)
	r.Header.Set("X-Nobody", "1")
	answer, err := b.client.Do(r)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusUnauthorized, answer.StatusCode)
}

// In a browser: scripts stay below the prefix, and the page reports where no stream gets through.
func TestDashboard_IsLiveBelowItsPrefixAndSaysWhereItCannotBe(t *testing.T) {
	t.Parallel()
	for name, word := range map[string]string{"http.ServeMux": "Live", "behind a timeout": "Every 5 s"} {
		h, err := filled(t).Dashboard(warren.At("/a/b"), warren.Identify(whole))
		require.NoError(t, err)
		server := httptest.NewServer(mountings[name](h))
		t.Cleanup(server.Close)
		t.Cleanup(server.CloseClientConnections) // the streams
		tab := browsertest.Tab(t, func(text string) bool { return strings.Contains(text, "501") })
		visit := func(path string) {
			t.Helper()
			require.NoError(t, chromedp.Do(tab, chromedp.Navigate(server.URL+path)))
		}
		visit("/a/b/jobs")
		says := `document.querySelector("#live-switch [data-live-word]").textContent.trim() === "` + word + `"`
		_, err = chromedp.Run(tab, chromedp.Poll[bool](says))
		require.NoError(t, err, name)
		require.NoError(t,
			chromedp.Do(tab, chromedp.Evaluate[chromedp.Void](`document.querySelector("[data-theme-form] [value=dark]").click()`)))
		visit("/a/b/tasks")
		theme, err := chromedp.Run(tab, chromedp.Evaluate[string](`document.documentElement.dataset.theme`))
		require.NoError(t, err)
		require.Equal(t, "warren-dark", theme, "the cookie that the script sets is the one that the server reads")
	}
}

func TestDashboard_SaysWhoMayFrameItOrLeavesThePolicyToTheApplication(t *testing.T) {
	t.Parallel()
	for want, option := range map[string]warren.DashboardOption{
		"frame-ancestors 'none'":                              warren.ReadOnly(),
		"frame-ancestors 'self' https://intranet.example.org": warren.FrameAncestors("'self' https://intranet.example.org"),
		"": warren.OwnCSP(),
	} {
		h, err := filled(t).Dashboard(option)
		require.NoError(t, err)
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "http://localhost/jobs", nil))
		require.Equal(t, http.StatusOK, answer.Code)
		_, said, _ := strings.Cut(answer.Header().Get("Content-Security-Policy"), "base-uri 'none'; ")
		require.Equal(t, want, said)
	}
	_, err := filled(t).Dashboard(warren.FrameAncestors("x; script-src *"))
	require.ErrorContains(t, err, "is not a list of origins")
}

func TestDashboard_TwoOnOneHostKeepTheirLoginsAndMessagesApart(t *testing.T) {
	t.Parallel()
	var b *browser
	var urls []string
	for _, password := range []string{"first-password", "second-password"} {
		h, err := filled(t).Dashboard(warren.Password(password))
		require.NoError(t, err)
		server := httptest.NewServer(h)
		t.Cleanup(server.Close)
		if b == nil {
			b = newBrowser(t, server.URL)
		}
		b.url = server.URL
		require.Equal(t, "/", b.post("/login", url.Values{"password": {password}}))
		urls = append(urls, server.URL)
	}
	for _, b.url = range urls { // 127.0.0.1 with two ports: browsers send the cookies of one to the other
		status, _, _ := b.get("/jobs")
		require.Equal(t, http.StatusOK, status)
	}
	b.url = urls[0]
	b.post("/tasks/new", url.Values{"description": {"feed the cat"}})
	for i, told := range []bool{false, true} {
		b.url = urls[1-i]
		_, page, _ := b.get("/tasks")
		require.Equal(t, told, strings.Contains(page, "Created."))
	}
}
