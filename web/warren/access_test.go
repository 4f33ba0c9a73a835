package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
)

const password = "correct horse battery"

// on makes the deployment listen on all addresses, with these settings; the test still connects
// through loopback.
func (d *deployment) on(settings ...string) {
	_, port, _ := strings.Cut(strings.TrimPrefix(d.base, "http://"), ":")
	d.env = append(append(d.env, "WARREN_LISTEN=0.0.0.0:"+port), settings...)
}

// visitor is a browser without script that does not follow redirects.
type visitor struct {
	d *deployment
	http.Client
}

func (d *deployment) visitor() *visitor {
	d.t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(d.t, err)
	return &visitor{d, http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// send sends a request with a form, if it is not nil, and pairs of header names and values.
func (v *visitor) send(method, path string, form url.Values, header ...string) (*http.Response, string) {
	v.d.t.Helper()
	req, err := http.NewRequestWithContext(v.d.ctx, method, v.d.base+path, strings.NewReader(form.Encode()))
	require.NoError(v.d.t, err)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	resp, err := v.Do(req)
	require.NoError(v.d.t, err)
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(v.d.t, err)
	return resp, string(raw)
}

func (v *visitor) status(method, path string, header ...string) int {
	v.d.t.Helper()
	resp, _ := v.send(method, path, nil, header...)
	return resp.StatusCode
}

func (v *visitor) signIn(with string, header ...string) (*http.Response, string) {
	v.d.t.Helper()
	return v.send("POST", "/login", url.Values{"password": {with}, "next": {"/jobs?state=dead"}}, header...)
}

func TestAccess_WithoutSignInWarrenRefusesToListenForOthers(t *testing.T) {
	d := deploy(t)
	d.on()
	for _, role := range [][]string{{}, {"web"}} {
		out, errs, code := d.warren(role...)
		require.Equal(t, 1, code)
		require.Empty(t, out)
		require.Equal(t, 1, strings.Count(errs, "\n"), errs)
		for _, way := range []string{"WARREN_PASSWORD", "WARREN_TRUST_PROXY", "127.0.0.1"} {
			require.Contains(t, errs, way)
		}
	}
}

func TestAccess_ThePasswordOpensTheDashboardAndNothingElseDoes(t *testing.T) {
	d := deploy(t)
	d.on("WARREN_PASSWORD=" + password)
	p := d.start("web")
	d.ready()
	v := d.visitor()

	resp, _ := v.send("GET", "/jobs?state=dead", nil)
	require.Equal(t, 303, resp.StatusCode)
	require.Equal(t, "/login?next=%2Fjobs%3Fstate%3Ddead", resp.Header.Get("Location"))
	resp, page := v.send("GET", resp.Header.Get("Location"), nil)
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
	require.Contains(t, page, `type="password"`)
	require.NotContains(t, page, "Queues", "the sign-in page tells nothing of what is inside")
	require.Equal(t, 401, v.status("GET", "/live?topics=jobs", "Accept", "text/event-stream"))
	require.Equal(t, 401, v.status("GET", "/jobs", "HX-Request-Type", "partial"))
	require.Equal(t, 401, v.status("GET", "/metrics"))
	require.Equal(t, 200, v.status("GET", "/healthz"))
	require.Equal(t, 200, v.status("GET", "/readyz"))

	resp, page = v.signIn("a wrong one")
	require.Equal(t, 401, resp.StatusCode)
	require.Contains(t, page, "The password is wrong.")
	require.NotContains(t, page, "a wrong one")
	require.Empty(t, resp.Cookies())
	require.Equal(t, 401, func() int {
		resp, _ := v.send("POST", "/login?password="+url.QueryEscape(password), url.Values{})
		return resp.StatusCode
	}(), "an address is written to logs")

	resp, _ = v.signIn(password)
	require.Equal(t, 303, resp.StatusCode)
	require.Equal(t, "/jobs?state=dead", resp.Header.Get("Location"))
	login := resp.Cookies()[0]
	require.True(t, login.HttpOnly)
	require.False(t, login.Secure)
	require.Equal(t, http.SameSiteLaxMode, login.SameSite)
	require.Equal(t, 7*24*3600, login.MaxAge)
	require.NotContains(t, login.Value, password)
	_, page = v.send("GET", "/jobs", nil)
	require.Contains(t, page, "admin")
	require.Contains(t, page, "Sign out")
	require.Equal(t, 200, v.status("GET", "/api/v1/jobs"))
	require.Equal(t, 403, v.status("POST", "/settings/theme", "Sec-Fetch-Site", "cross-site"),
		"a login does not make another site welcome")

	resp, _ = d.visitor().signIn(password, "X-Forwarded-Proto", "https")
	require.True(t, resp.Cookies()[0].Secure)

	other := d.visitor()
	require.Equal(t, 303, other.status("GET", "/jobs", "Cookie", login.Name+"="+login.Value+"A"))
	require.Equal(t, 200, other.status("GET", "/jobs", "Cookie", login.Name+"="+login.Value))

	resp, _ = v.send("POST", "/logout", url.Values{})
	require.Equal(t, "/login", resp.Header.Get("Location"))
	require.Equal(t, 303, v.status("GET", "/jobs"))
	require.Equal(t, 303, other.status("GET", "/jobs", "Cookie", login.Name+"="+login.Value), "a copy of the cookie has ended too")
	resp, _ = v.signIn(password)
	login = resp.Cookies()[0]
	require.Equal(t, 200, other.status("GET", "/jobs", "Cookie", login.Name+"="+login.Value))

	p.stop()
	require.NotContains(t, p.log.String(), password)
	d.env = append(d.env, "WARREN_PASSWORD=another "+password)
	d.start("web")
	d.ready()
	require.Equal(t, 303, other.status("GET", "/jobs", "Cookie", login.Name+"="+login.Value), "a new password ends all logins")
}

func TestAccess_TheAPITakesThePasswordAsBearerAndSaysSo(t *testing.T) {
	d := deploy(t)
	d.on("WARREN_PASSWORD=" + password)
	d.start("web")
	d.ready()
	v := d.visitor()
	resp, body := v.send("GET", "/api/v1/jobs", nil)
	require.Equal(t, 401, resp.StatusCode)
	require.Equal(t, "Bearer", resp.Header.Get("WWW-Authenticate"))
	require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
	require.Contains(t, body, "Bearer")
	for path, status := range map[string]int{"/api/v1/jobs": 200, "/api/v1/audit": 200, "/metrics": 200, "/jobs": 303} {
		require.Equal(t, status, v.status("GET", path, "Authorization", "Bearer "+password), path)
	}
	require.Equal(t, 200, v.status("GET", "/api/v1/jobs", "Authorization", "bearer "+password, "Host", "warren.example"),
		"it answers for any host name")
}

func TestAccess_WhoGuessesMustWaitAndIsWrittenDownOnce(t *testing.T) {
	d := deploy(t)
	d.on("WARREN_PASSWORD=" + password)
	p := d.start("web")
	d.ready()
	v := d.visitor()
	_, _ = v.signIn(password)
	known, _ := url.Parse(d.base)
	login := v.Jar.Cookies(known)[0]
	for range 5 {
		resp, _ := d.visitor().signIn("a guess")
		require.Equal(t, 401, resp.StatusCode)
	}
	resp, page := d.visitor().signIn(password)
	require.Equal(t, 429, resp.StatusCode, "also with the right one")
	require.NotEmpty(t, resp.Header.Get("Retry-After"))
	require.Contains(t, page, "Too many wrong passwords")
	resp, _ = v.signIn(password)
	require.Equal(t, 303, resp.StatusCode, "a browser that was signed in before")
	require.Equal(t, 200, d.visitor().status("GET", "/api/v1/jobs", "Authorization", "Bearer "+password), "nor does a script wait")
	require.Equal(t, 200, v.status("GET", "/api/v1/jobs", "Cookie", login.Name+"="+login.Value), "who is signed in stays in")

	resp, body := v.send("GET", "/api/v1/audit", nil)
	require.Equal(t, 200, resp.StatusCode)
	var list struct{ Items []jobs.AuditEntry }
	require.NoError(t, json.Unmarshal([]byte(body), &list))
	require.Len(t, list.Items, 3)
	require.Equal(t, []string{"access.signed_in", "access.refused", "access.signed_in"},
		[]string{list.Items[0].Action, list.Items[1].Action, list.Items[2].Action})
	require.Equal(t, []string{"web", "127.0.0.1"}, []string{list.Items[1].Actor, list.Items[1].From})
	require.Equal(t, "admin", list.Items[2].Actor)
	require.Contains(t, p.log.String(), "sign-in refused")
	require.NotContains(t, p.log.String(), "a guess")
}

func TestAccess_ATrustedProxySaysWhoItIs(t *testing.T) {
	d := deploy(t)
	d.on("WARREN_TRUST_PROXY=X-Forwarded-User", "WARREN_HOSTS=warren.example")
	d.start("web")
	d.ready()
	v := d.visitor()
	resp, page := v.send("GET", "/jobs", nil)
	require.Equal(t, 401, resp.StatusCode)
	require.Contains(t, page, "X-Forwarded-User")
	resp, page = v.send("GET", "/api/v1/jobs", nil)
	require.Equal(t, 401, resp.StatusCode)
	require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
	require.Contains(t, page, "X-Forwarded-User")
	ada := []string{"X-Forwarded-User", "ada@example.org", "X-Forwarded-For", "203.0.113.5", "Host", "warren.example"}
	_, page = v.send("GET", "/jobs", nil, ada...)
	require.Contains(t, page, "ada@example.org")
	require.NotContains(t, page, "Sign out", "the proxy signs people out")

	id := d.submit("dots", `{"text":"x"}`, "--at", "+1h")
	resp, _ = v.send("POST", "/jobs/"+id+"/cancel", url.Values{"reason": {"not <b>needed</b>"}}, ada...)
	require.Equal(t, 303, resp.StatusCode)
	_, page = v.send("GET", "/audit?actor=ada%40example.org&target="+id, nil, ada...)
	for _, part := range []string{"cancelled job", `href="/jobs/` + id + `"`, "not &lt;b&gt;needed&lt;/b&gt;", "203.0.113.5",
		"was scheduled"} {
		require.Contains(t, page, part)
	}
	_, page = v.send("GET", "/audit?actor=nobody", nil, ada...)
	require.Contains(t, page, "No matching entries")
}

func TestAccess_AReadOnlyDashboardShowsEverythingAndChangesNothing(t *testing.T) {
	d := deploy(t)
	d.env = append(d.env, "WARREN_READ_ONLY=1")
	d.start()
	d.ready()
	id := d.submit("dots", `{"text":"x"}`, "--at", "+1h")
	v := d.visitor()
	_, page := v.send("GET", "/jobs/"+id, nil)
	require.Contains(t, page, ">read-only</span>")
	for _, button := range []string{"Cancel…", "Run now", "Delete…", "Retry"} {
		require.NotContains(t, page, button)
	}
	_, page = v.send("GET", "/jobs", nil)
	require.NotContains(t, page, "New job")
	_, page = v.send("GET", "/jobs/new", nil)
	require.Contains(t, page, "This dashboard is read-only")
	require.NotContains(t, page, "Submit job")
	resp, page := v.send("POST", "/jobs/"+id+"/cancel", url.Values{})
	require.Equal(t, 403, resp.StatusCode)
	require.Contains(t, page, "WARREN_READ_ONLY")
	require.Equal(t, 403, d.do("POST", "/api/v1/jobs", `{"kind":"dots","args":{"text":"x"}}`, nil))
	require.Equal(t, jobs.Scheduled, d.job(id).State)
	resp, _ = v.send("POST", "/settings/theme", url.Values{"theme": {"dark"}})
	require.Equal(t, 303, resp.StatusCode)
	b := d.open()
	b.live("/jobs")
	b.shows(d.submit("dots", `{"text":"x"}`), "completed")
}

func TestAccess_SigningInAndOutInABrowser(t *testing.T) {
	d := deploy(t)
	d.on("WARREN_PASSWORD=" + password)
	d.start()
	d.ready()
	b := d.open()
	b.goTo("/audit")
	b.until(`location.pathname === "/login" && document.activeElement.name === "password"`)
	b.do(chromedp.SendKeys(chromedp.CSS(`[name="password"]`), password+"\r"))
	b.until(`location.pathname === "/audit" && document.querySelector("#live")?._htmx?.sse?.reader`)
	b.until(`document.querySelector("#audit-list").innerText.includes("signed in")`)
	id := d.submit("dots", `{"text":"x"}`, "--at", "+1h")
	_, errs, code := d.warren("jobs", "cancel", id)
	require.Zero(t, code, errs)
	b.until(`document.querySelector("#audit-list").innerText.includes("cancelled job")`)
	require.LessOrEqual(t, value[int](b, `document.documentElement.scrollWidth - innerWidth`), 0)
	b.do(chromedp.Click(chromedp.CSS("#display summary")), chromedp.Click(chromedp.CSS(`form[action="/logout"] button`)))
	b.until(`location.pathname === "/login"`)
	b.goTo("/jobs")
	b.until(`location.pathname === "/login"`)
}

func TestAccess_APageWhoseLoginEndsKeepsWhatItShowsAndLeadsToTheSignIn(t *testing.T) {
	d := deploy(t)
	d.on("WARREN_PASSWORD=" + password)
	p := d.start()
	d.ready()
	id := d.submit("dots", `{"text":"x"}`)
	b := d.open()
	b.goTo("/login?next=/jobs")
	b.do(chromedp.SendKeys(chromedp.CSS(`[name="password"]`), password+"\r"))
	b.shows(id, "completed")
	b.until(`document.querySelector("#live")?._htmx?.sse?.reader`)
	p.stop()
	d.env = append(d.env, "WARREN_PASSWORD=another "+password)
	d.start()
	d.ready()
	b.until(`document.querySelector("[data-live-word]").textContent === "Sign in again"`)
	b.shows(id, "completed")
	b.do(chromedp.Click(chromedp.CSS("#live-switch")))
	b.until(`location.pathname === "/login" && document.querySelector("[name=next]")?.value === "/jobs"`)
}
