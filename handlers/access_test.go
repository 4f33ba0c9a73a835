package handlers

import (
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/messages"
	"github.com/warrenjobs/warren/static"
	"github.com/warrenjobs/warren/store"
)

func access(t *testing.T, password, proxy string, readOnly bool) *Access {
	t.Helper()
	a, err := NewAccess(password, proxy, readOnly)
	require.NoError(t, err)
	return a
}

// withPassword returns an Access with the password "one password". Its key is derived once, which
// is slow on purpose.
func withPassword(t *testing.T) *Access {
	t.Helper()
	a, err := oneAccess()
	require.NoError(t, err)
	return &Access{password: a.password, key: a.key, Proxies: loopback}
}

// behindProxy returns an Access that trusts the header X-Forwarded-User of a proxy at loopback.
func behindProxy(t *testing.T, readOnly bool) *Access {
	t.Helper()
	a := access(t, "", "X-Forwarded-User", readOnly)
	a.Hosts = []string{"warren.example"}
	return a
}

var oneAccess = sync.OnceValues(func() (*Access, error) { return NewAccess("one password", "", false) })

func TestAccess_TheProxysNameIsTakenOnceAndClean(t *testing.T) {
	t.Parallel()
	for want, values := range map[string][]string{"ada@example.org": {" ada@example.org "}, "a b": {"a\x00 \x1bb\u202e"}, "é": {"é\xff"},
		strings.Repeat("x", accountMax): {strings.Repeat("x", 5000)}} {
		name, err := proxyUser(values, "X-User")
		require.NoError(t, err)
		require.Equal(t, want, name)
	}
	for _, values := range [][]string{nil, {""}, {" \t"}, {"\x00"}, {"eve", "ada"}} {
		_, err := proxyUser(values, "X-User")
		require.ErrorContains(t, err, "X-User", values)
	}
}

// app returns an App with this Access over a database that is away.
func app(t *testing.T, a *Access) *App {
	t.Helper()
	s, err := store.Open(t.Context(), "postgres://nobody@127.0.0.1:1/nothing")
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return appOn(s, a)
}

func appOn(s *store.Store, a *Access) *App {
	return &App{Store: s, Registry: &jobs.Registry{}, Live: NewHub(), Broker: noBroker{},
		Tails: messages.NewTails(noBroker{}, nil), Metrics: http.NotFoundHandler(), Access: a,
		Log: slog.New(slog.DiscardHandler), Waiting: func() string { return "" }}
}

// site serves all routes over a database that is away.
func site(t *testing.T, a *Access) *echo.Echo {
	t.Helper()
	e := echo.New()
	app(t, a).routes(e)
	return e
}

// request sends a request from loopback, where the proxy is.
func request(h http.Handler, method, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.Host, r.RemoteAddr = "warren.example", "127.0.0.1:4711"
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestAccess_NoRouteAnswersWithoutACredentialThatIsNotOpenToAll(t *testing.T) {
	t.Parallel()
	open := []string{"/healthz", "/readyz", "/static/*", "/favicon.ico", "/login", "/logout"} // on purpose, and no more
	for _, a := range []*Access{withPassword(t), behindProxy(t, false)} {
		e := site(t, a)
		for _, route := range append(e.Routes(), &echo.Route{Method: "GET", Path: "/no/such/page"}, &echo.Route{Method: "PUT",
			Path: "/jobs"}) {
			if slices.Contains(open, route.Path) {
				continue
			}
			w := request(e, route.Method, route.Path)
			what := route.Method + " " + route.Path
			if a.asksForPassword() && w.Code == http.StatusSeeOther {
				require.Contains(t, w.Header().Get("Location"), "/login", what)
				continue
			}
			require.Equal(t, http.StatusUnauthorized, w.Code, what)
			require.NotContains(t, w.Body.String(), `class="rail"`, "%s tells nothing of what is inside", what)
			require.Equal(t, http.StatusUnauthorized, request(e, route.Method, route.Path, "HX-Request-Type", "partial").Code, what)
		}
	}
}

func TestAccess_AReadOnlyDashboardRefusesEveryWriteThereIs(t *testing.T) {
	t.Parallel()
	e := site(t, behindProxy(t, true))
	refused := 0
	for _, route := range e.Routes() {
		if route.Method == http.MethodGet || route.Method == http.MethodHead || writable[route.Path] {
			continue
		}
		w := request(e, route.Method, route.Path, "X-Forwarded-User", "ada", "HX-Request-Type", "partial")
		require.Equal(t, http.StatusForbidden, w.Code, "%s %s", route.Method, route.Path)
		require.Contains(t, w.Body.String(), "read-only", "%s %s", route.Method, route.Path)
		refused++
	}
	require.Greater(t, refused, 8)
	require.Equal(t, http.StatusUnprocessableEntity, request(e, "POST", "/settings/theme", "X-Forwarded-User", "ada", "HX-Request-Type",
		"partial").Code, "how things look is this browser's")
}

func TestAccess_SignInComesBackToALocalPageOnly(t *testing.T) {
	t.Parallel()
	e := site(t, withPassword(t))
	for path, want := range map[string]string{"/jobs?state=dead": "/login?next=%2Fjobs%3Fstate%3Ddead", "/": "/login"} {
		require.Equal(t, want, request(e, "GET", path).Header().Get("Location"))
	}
	require.Equal(t, "/login?next=%2Fjobs%2F1", request(e, "POST", "/jobs/1/retry", "Referer",
		"http://warren.example/jobs/1").Header().Get("Location"))
	require.Equal(t, "/login", request(e, "POST", "/jobs/1/retry", "Referer", "http://elsewhere.example/jobs/1").Header().Get("Location"))
	for _, next := range []string{"//elsewhere.example", "///elsewhere.example", "http://elsewhere.example", "HTTPS://elsewhere.example",
		"http:elsewhere.example", "http:/elsewhere.example", `/\elsewhere.example`, `\/elsewhere.example`, `\\elsewhere.example`,
		"/\t/elsewhere.example", "\t//elsewhere.example", " //elsewhere.example", "/\n/elsewhere.example", "/jobs\r\nSet-Cookie: a=b",
		"javascript:alert(1)", "JavaScript:alert(1)", "\x01javascript:alert(1)", "data:text/html,x", "vbscript:x", "mailto:a@b.example",
		"elsewhere.example", "jobs", "?next=x", "#x", "", ".", "..", "//", "//user@elsewhere.example", "//[::1]", "//elsewhere.example:80",
		"/%zz", "/jobs\x00", "http://warren.example/jobs", "/login", "/login?next=/jobs", "/logout", "/logout/everywhere"} {
		require.Contains(t, request(e, "GET", "/login?next="+url.QueryEscape(next)).Body.String(), `name="next" value="/"`, "%q", next)
	}
	for _, next := range []string{"/jobs", "/jobs?state=dead&q=a%2Fb", "/queues/~1/warren.jobs.default", "/jobs?q=//x", "/a//b"} {
		require.Contains(t, request(e, "GET", "/login?next="+url.QueryEscape(next)).Body.String(),
			`name="next" value="`+html.EscapeString(next)+`"`, next)
	}
}

func TestAccess_NoAddressLeadsElsewhereWhateverPathWasAskedFor(t *testing.T) {
	t.Parallel()
	elsewhere := regexp.MustCompile(`="(?:[a-z]+:)?[/\\]{2}`)
	for name, a := range map[string]*Access{"open": access(t, "", "", false), "password": withPassword(t), "proxy": behindProxy(t, false)} {
		h := app(t, a).Dashboard()
		for _, path := range []string{"//other.example", "//other.example/jobs", "///other.example", "//other.example/../jobs",
			"/%2Fother.example", "/%5Cother.example", "//other.example%2Fjobs", "/.//other.example",
			"//other.example/login?next=//other.example",
			"/login?next=//other.example", "http://other.example//other.example/jobs", "/jobs//other.example"} {
			for _, header := range [][]string{nil, {"X-Forwarded-User", "ada"}, {"Referer", "//other.example/jobs"},
				{"Referer", "http://localhost//other.example"}} {
				w := request(h, http.MethodGet, path, append(header, "Host", "localhost")...)
				require.NotRegexp(t, elsewhere, w.Body.String(), "%s %s", name, path)
				require.NotRegexp(t, `^(?:[a-z]+:)?[/\\]{2}`, w.Header().Get("Location"), "%s %s", name, path)
				require.NotContains(t, w.Header().Get("Location"), "next=%2F%2F", "%s %s", name, path)
			}
		}
	}
}

func TestAccess_BrowsersKeepNothingButStaticFiles(t *testing.T) {
	t.Parallel()
	h := app(t, behindProxy(t, false)).Dashboard()
	for _, path := range []string{"/api/v1/jobs", "/jobs", "/metrics", "/healthz", "/no/such/page", "/?part=charts"} {
		require.Equal(t, "no-store", request(h, "GET", path, "X-Forwarded-User", "ada").Header().Get("Cache-Control"), path)
	}
	require.Contains(t, request(h, "GET", static.URL("warren.css")).Header().Get("Cache-Control"), "immutable")
}

func TestAccess_OnlyThoseWhoMayLookAreToldWhyTheDatabaseIsNotReady(t *testing.T) {
	t.Parallel()
	a := app(t, withPassword(t))
	a.Waiting = func() string { return "the role warren lacks a right" }
	ask := func(credential string) string {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", nil)
		r.Header.Set("Authorization", credential)
		w := httptest.NewRecorder()
		require.NoError(t, a.readyz(echo.New().NewContext(r, w)))
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		return w.Body.String()
	}
	require.Contains(t, ask("Bearer one password"), "the role warren")
	require.NotContains(t, ask(""), "the role warren")
	require.Contains(t, ask(""), `"database":"away"`)
	require.NotContains(t, ask("Bearer wrong"), "the role warren")
}
