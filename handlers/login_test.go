package handlers

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/store/storetest"
)

// post sends a form from an address, with cookies.
func post(h http.Handler, path, from string, form url.Values, cookies ...*http.Cookie) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.RemoteAddr = from + ":4711"
	for _, ck := range cookies {
		r.AddCookie(ck)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// signIn sends the password and returns the status and the cookies by name.
func signIn(h http.Handler, from, password string, cookies ...*http.Cookie) (int, map[string]*http.Cookie) {
	w := post(h, "/login", from, url.Values{"password": {password}}, cookies...)
	set := map[string]*http.Cookie{}
	for _, ck := range w.Result().Cookies() {
		set[ck.Name] = ck
	}
	return w.Code, set
}

// isIn reports whether a browser with this cookie is let in.
func isIn(h http.Handler, ck *http.Cookie) bool {
	return request(h, http.MethodGet, "/jobs", "Cookie", ck.Name+"="+ck.Value).Code != http.StatusSeeOther
}

const (
	home = "192.0.2.1"
	good = "one password"
)

func TestLogin_SigningOutEndsItInEveryProcessAndForEveryCopy(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	first, second := appOn(s, withPassword(t)).Dashboard(), appOn(s, withPassword(t)).Dashboard()
	browser := func() *http.Cookie {
		status, set := signIn(first, home, good)
		require.Equal(t, http.StatusSeeOther, status)
		require.True(t, isIn(second, set[loginCookie]), "another process takes it")
		return set[loginCookie]
	}
	one, two, three := browser(), browser(), browser()
	require.NotEqual(t, one.Value, two.Value)
	require.Contains(t, request(first, http.MethodGet, "/jobs", "Cookie", loginCookie+"="+one.Value).Body.String(),
		`action="/logout/everywhere"`)

	out := post(first, "/logout", home, nil, one)
	require.Equal(t, "/login", out.Header().Get("Location"))
	require.Negative(t, out.Result().Cookies()[0].MaxAge)
	require.False(t, isIn(first, one), "a copy of the cookie")
	require.False(t, isIn(second, one))
	require.True(t, isIn(second, two), "another browser stays")
	require.Equal(t, "/login", post(second, "/logout", home, nil, one).Header().Get("Location"), "once more does no harm")

	require.Contains(t, post(first, "/logout/everywhere", home, nil, one).Header().Get("Location"), "/login", "only who is signed in")
	require.True(t, isIn(first, two))
	require.Equal(t, "/login", post(first, "/logout/everywhere", home, nil, two).Header().Get("Location"))
	for _, ck := range []*http.Cookie{one, two, three} {
		require.False(t, isIn(first, ck))
		require.False(t, isIn(second, ck))
	}
	require.True(t, isIn(first, browser()))

	log, err := s.Audit(t.Context(), jobs.AuditFilter{}, jobs.Cursor{}, 50)
	require.NoError(t, err)
	var actions []string
	for _, e := range log.Items {
		require.Equal(t, []string{account, home}, []string{e.Actor, e.From})
		actions = append(actions, e.Action)
	}
	require.Equal(t, []string{"access.signed_in", "access.signed_out_everywhere", "access.signed_out", "access.signed_in",
		"access.signed_in", "access.signed_in"}, actions)
}

func TestLogin_HoldsInItsOwnDeploymentOnly(t *testing.T) {
	t.Parallel()
	here, there := storetest.New(t), storetest.New(t)
	require.NoError(t, there.EndAllLogins(t.Context(), jobs.Actor{})) // the tests' databases begin as copies of one
	_, set := signIn(appOn(here, withPassword(t)).Dashboard(), home, good)
	require.True(t, isIn(appOn(here, withPassword(t)).Dashboard(), set[loginCookie]))
	require.False(t, isIn(appOn(there, withPassword(t)).Dashboard(), set[loginCookie]), "also with the same password")
}

func TestLogin_WhoIsSignedInStaysSoWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	h := app(t, withPassword(t)).Dashboard()
	status, set := signIn(h, home, good)
	require.Equal(t, http.StatusSeeOther, status)
	page := request(h, http.MethodGet, "/jobs", "Cookie", loginCookie+"="+set[loginCookie].Value)
	require.Equal(t, http.StatusServiceUnavailable, page.Code)
	require.Contains(t, page.Body.String(), "Sign out", "the frame is there, and says what is away")
	require.Contains(t, page.Body.String(), "The database cannot be reached")

	out := post(h, "/logout", home, nil, set[loginCookie])
	require.Equal(t, http.StatusServiceUnavailable, out.Code)
	require.Empty(t, out.Result().Cookies(), "nobody looks signed out who is not")
	require.Contains(t, out.Body.String(), "You are still signed in: the sign-out could not be recorded")
	require.NotContains(t, out.Body.String(), `name="password"`)
	everywhere := post(h, "/logout/everywhere", home, nil, set[loginCookie])
	require.Equal(t, http.StatusServiceUnavailable, everywhere.Code)
	require.Empty(t, everywhere.Result().Cookies(), "nothing was done")
}

func TestLogin_GuessesHoldUpNeitherABrowserThatWasSignedInNorAScript(t *testing.T) {
	t.Parallel()
	h := app(t, withPassword(t)).Dashboard()
	_, set := signIn(h, home, good)
	known := set[knownCookie]
	try := func(password string, cookies ...*http.Cookie) int {
		status, _ := signIn(h, home, password, cookies...)
		return status
	}
	bearer := func(from, token string) int {
		return request(h, http.MethodGet, "/metrics", "X-Forwarded-For", from, "Authorization", "Bearer "+token).Code
	}
	for range triesAtOnce {
		require.Equal(t, http.StatusUnauthorized, try("a guess"))
	}
	require.Equal(t, http.StatusTooManyRequests, try(good), "a stranger waits, with the right one too")
	for name, forged := range map[string]string{"changed": known.Value + "A", "a login": set[loginCookie].Value, "empty": ""} {
		require.Equal(t, http.StatusTooManyRequests, try(good, &http.Cookie{Name: knownCookie, Value: forged}), name)
	}
	require.Equal(t, http.StatusSeeOther, try(good, known))
	require.Equal(t, http.StatusNotFound, bearer(home, good), "there are no metrics here, but it was let in")

	for range triesAtOnce {
		require.Equal(t, http.StatusUnauthorized, try("a guess", known))
		require.Equal(t, http.StatusUnauthorized, bearer(home, "a guess"))
	}
	require.Equal(t, http.StatusTooManyRequests, try(good, known), "a stolen cookie does not guess on")
	require.Equal(t, http.StatusTooManyRequests, bearer(home, good))
	require.Equal(t, http.StatusNotFound, bearer("198.51.100.7", good), "another client behind the same proxy")
}

func TestLogin_InventedAddressesDoNotGuessOn(t *testing.T) {
	t.Parallel()
	h := app(t, withPassword(t)).Dashboard()
	tries := func(peer string) (seen int) {
		for i := range 2 * allAtOnce {
			r := httptest.NewRequest(http.MethodPost, "/login", strings.NewReader("password=a+guess"))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("X-Forwarded-For", fmt.Sprintf("198.51.100.%d", i))
			r.Header.Set("X-Real-IP", "198.51.100.1")
			r.Header.Set("Forwarded", "for=198.51.100.1")
			r.RemoteAddr = peer + ":4711"
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code == http.StatusUnauthorized {
				seen++
			}
		}
		return seen
	}
	require.Equal(t, triesAtOnce, tries(home), "a client that is not a proxy has one address")
	require.LessOrEqual(t, tries("127.0.0.1"), allAtOnce, "behind one that passes on whatever it gets, all together have a bound")
}
