package handlers

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
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
	return &Access{password: a.password, key: a.key}
}

var oneAccess = sync.OnceValues(func() (*Access, error) { return NewAccess("one password", "", false) })

func TestAccess_ASessionIsGoodUntilItsTimeAndForItsPasswordOnly(t *testing.T) {
	t.Parallel()
	now := time.Now()
	a, other := withPassword(t), access(t, "other password", "", false)
	good := a.session(now.Add(time.Hour))
	require.Equal(t, account, a.holder(good, now))
	require.Equal(t, account, access(t, "one password", "", false).holder(good, now), "another process takes it")

	require.Empty(t, a.holder(good, now.Add(time.Hour)), "it is over")
	require.Empty(t, other.holder(good, now), "a new password ends all sessions")
	end := strings.LastIndexByte(good, '.')
	claim, signature := good[:end], good[end+1:]
	longer := strings.Replace(claim, claim[:1], "9", 1)
	for _, bad := range []string{"", ".", "..", claim, claim + ".", longer + "." + signature, strings.Replace(claim, account, "root", 1) +
		"." + signature, good + "A", good[1:], good[:len(good)-1]} {
		require.Empty(t, a.holder(bad, now), bad)
	}
	for i := range good {
		changed := []byte(good)
		changed[i] ^= 1
		require.Empty(t, a.holder(string(changed), now), "byte %d", i)
	}
}

func TestAccess_AnAddressThatGuessesIsRefusedAlsoWithTheRightPassword(t *testing.T) {
	t.Parallel()
	var th throttle
	now := time.Now()
	wait, record := th.try("192.0.2.1", false, now)
	require.Zero(t, wait)
	require.True(t, record, "the first is written down")
	for range triesAtOnce - 1 {
		wait, record = th.try("192.0.2.1", false, now)
		require.Zero(t, wait)
		require.False(t, record, "the others are not")
	}
	wait, _ = th.try("192.0.2.1", true, now)
	require.InDelta(t, tryEvery, wait, float64(time.Millisecond))
	wait, _ = th.try("192.0.2.2", true, now)
	require.Zero(t, wait, "another address may try")

	later := now.Add(tryEvery)
	wait, _ = th.try("192.0.2.1", true, later)
	require.Zero(t, wait, "after a while it may try again, and the right one costs nothing")
	wait, _ = th.try("192.0.2.1", false, later)
	require.Zero(t, wait)
	wait, _ = th.try("192.0.2.1", true, later)
	require.Positive(t, wait)
}

func TestAccess_NeighboursInAnIPv6NetworkCountAsOneAddress(t *testing.T) {
	t.Parallel()
	require.Equal(t, place("2001:db8::1"), place("2001:db8::ffff:1"))
	require.NotEqual(t, place("2001:db8::1"), place("2001:db8:0:1::1"))
	require.Equal(t, place("192.0.2.1"), place("::ffff:192.0.2.1"))
	require.NotEqual(t, place("192.0.2.1"), place("192.0.2.2"))
}

func TestAccess_ManyAddressesTogetherMayNotGuessMoreThanTheCapAndOneThatKnewIsNotHeldUp(t *testing.T) {
	t.Parallel()
	var th throttle
	now := time.Now()
	_, _ = th.try("192.0.2.1", true, now)
	recorded := 0
	for i := range allAtOnce {
		wait, record := th.try(fmt.Sprintf("198.51.100.%d", i), false, now)
		require.Zero(t, wait)
		if record {
			recorded++
		}
	}
	require.LessOrEqual(t, recorded, auditBurst, "nobody floods the audit log")
	wait, _ := th.try("203.0.113.9", true, now)
	require.Positive(t, wait)
	wait, _ = th.try("192.0.2.1", true, now)
	require.Zero(t, wait)
}

func TestAccess_GuessesAtTheSameTimeAreCountedEachAndRightOnesAreNot(t *testing.T) {
	t.Parallel()
	var th throttle
	now := time.Now()
	var looked, refused atomic.Int32
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if wait, _ := th.try("192.0.2.2", true, now); wait > 0 {
				refused.Add(1)
			}
		})
		all.Go(func() {
			if wait, _ := th.try("192.0.2.1", false, now); wait == 0 {
				looked.Add(1)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, triesAtOnce, looked.Load())
	require.Zero(t, refused.Load())
}

func TestAccess_TheThrottleRemembersABoundedNumberOfAddressesAndForgets(t *testing.T) {
	t.Parallel()
	th := throttle{}
	now := time.Now()
	for i := range visitorsMax + 100 {
		_ = th.visitor(fmt.Sprint("address ", i), now)
	}
	require.LessOrEqual(t, len(th.visitors), visitorsMax+1)
	_ = th.visitor("192.0.2.1", now.Add(2*forgetEvery))
	require.Len(t, th.visitors, 1)
}

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

// site serves all routes over a database that is away.
func site(t *testing.T, a *Access) *echo.Echo {
	t.Helper()
	s, err := store.Open(t.Context(), "postgres://nobody@127.0.0.1:1/nothing")
	require.NoError(t, err)
	t.Cleanup(s.Close)
	e := echo.New()
	app := &App{Store: s, Registry: &jobs.Registry{}, Live: NewHub(),
		Metrics: http.NotFoundHandler(), Access: a, Log: slog.New(slog.DiscardHandler),
		Waiting: func() string { return "" }}
	app.routes(e)
	return e
}

func request(e *echo.Echo, method, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.Host = "warren.example"
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w
}

func TestAccess_NoRouteAnswersWithoutACredentialThatIsNotOpenToAll(t *testing.T) {
	t.Parallel()
	open := []string{"/healthz", "/readyz", "/static/*", "/favicon.ico", "/login", "/logout"} // on purpose, and no more
	for _, a := range []*Access{withPassword(t), access(t, "", "X-Forwarded-User", false)} {
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
	e := site(t, access(t, "", "X-Forwarded-User", true))
	refused := 0
	for _, route := range e.Routes() {
		if route.Method == http.MethodGet || writable[route.Path] {
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
	for _, next := range []string{"//elsewhere.example", "http://elsewhere.example", `/\elsewhere.example`, "/login", "/logout"} {
		require.Contains(t, request(e, "GET", "/login?next="+next).Body.String(), `name="next" value="/"`, next)
	}
}

func TestAccess_BrowsersKeepNothingButStaticFiles(t *testing.T) {
	t.Parallel()
	e := site(t, access(t, "", "X-Forwarded-User", false))
	for _, path := range []string{"/api/v1/jobs", "/jobs", "/metrics", "/healthz", "/no/such/page", "/overview/samples.json"} {
		require.Equal(t, "no-store", request(e, "GET", path, "X-Forwarded-User", "ada").Header().Get("Cache-Control"), path)
	}
	require.Contains(t, request(e, "GET", static.URL("warren.css")).Header().Get("Cache-Control"), "immutable")
}

func TestAccess_OnlyThoseWhoMayLookAreToldWhyTheDatabaseIsNotReady(t *testing.T) {
	t.Parallel()
	s, err := store.Open(t.Context(), "postgres://nobody@127.0.0.1:1/x")
	require.NoError(t, err)
	t.Cleanup(s.Close)
	a := &App{Store: s, Registry: &jobs.Registry{}, Live: NewHub(), Access: withPassword(t), Log: slog.New(slog.DiscardHandler),
		Waiting: func() string { return "the role warren lacks a right" }}
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
