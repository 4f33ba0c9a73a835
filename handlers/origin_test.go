package handlers

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/static"
)

func TestOrigin_TheClientIsWhomTheTrustedProxiesName(t *testing.T) {
	t.Parallel()
	proxies, err := ParseProxies([]string{"10.1.0.0/16", " 192.0.2.7", "", "fd00::/8"})
	require.NoError(t, err)
	for _, c := range []struct {
		proxies   []netip.Prefix
		peer      string
		forwarded []string
		want      string
	}{
		{loopback, "127.0.0.1:1", nil, "127.0.0.1"},
		{loopback, "127.0.0.1:1", []string{"203.0.113.5"}, "203.0.113.5"},
		{loopback, "[::1]:1", []string{"203.0.113.5"}, "203.0.113.5"},
		{loopback, "[::ffff:127.0.0.1]:1", []string{"203.0.113.5"}, "203.0.113.5"},
		{loopback, "192.0.2.9:1", []string{"203.0.113.5"}, "192.0.2.9"},
		{loopback, "10.1.2.3:1", []string{"203.0.113.5"}, "10.1.2.3"},
		{loopback, "127.0.0.1:1", []string{"198.51.100.1, 203.0.113.5"}, "203.0.113.5"},
		{loopback, "127.0.0.1:1", []string{"198.51.100.1", "203.0.113.5"}, "203.0.113.5"},
		{loopback, "127.0.0.1:1", []string{"203.0.113.5,127.0.0.1"}, "203.0.113.5"},
		{loopback, "127.0.0.1:1", []string{"203.0.113.5", "127.0.0.1 , 127.0.0.2"}, "203.0.113.5"},
		{loopback, "127.0.0.1:1", []string{"203.0.113.5:55123"}, "203.0.113.5"},
		{loopback, "127.0.0.1:1", []string{"[2001:db8::1]:55123"}, "2001:db8::1"},
		{loopback, "127.0.0.1:1", []string{"[2001:db8::1]"}, "2001:db8::1"},
		{loopback, "127.0.0.1:1", []string{"::ffff:203.0.113.5"}, "203.0.113.5"},
		{loopback, "127.0.0.1:1", []string{"fe80::1%eth0"}, "fe80::1"},
		{loopback, "127.0.0.1:1", []string{"unknown"}, "127.0.0.1"},
		{loopback, "127.0.0.1:1", []string{"203.0.113.5, unknown"}, "127.0.0.1"},
		{loopback, "127.0.0.1:1", []string{"203.0.113.5,"}, "127.0.0.1"},
		{loopback, "127.0.0.1:1", []string{"<b>, 203.0.113.5"}, "203.0.113.5"},
		{loopback, "127.0.0.1:1", []string{"203.0.113.5", ""}, "203.0.113.5"},
		{proxies, "10.1.2.3:1", []string{"203.0.113.5, 192.0.2.7"}, "203.0.113.5"},
		{proxies, "10.2.2.3:1", []string{"203.0.113.5"}, "10.2.2.3"},
		{proxies, "[fd00::1]:1", []string{"203.0.113.5"}, "203.0.113.5"},
		{proxies, "127.0.0.1:1", []string{"203.0.113.5"}, "127.0.0.1"},
		{nil, "127.0.0.1:1", []string{"203.0.113.5"}, "127.0.0.1"},
		{loopback, "203.0.113.5", []string{"198.51.100.1"}, "203.0.113.5"}, // a middleware before has found it out
		{loopback, "@", []string{"203.0.113.5"}, ""},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr, r.Header["X-Forwarded-For"] = c.peer, c.forwarded
		r.Header.Set("X-Real-IP", "198.51.100.99")
		r.Header.Set("Forwarded", "for=198.51.100.99")
		require.Equal(t, c.want, (&Access{Proxies: c.proxies}).clientIP(r), c)
	}
}

// hosts are what a Host header may hold, and whether a dashboard without sign-in answers.
var hosts = map[string]bool{
	"localhost": true, "localhost:8080": true, "127.0.0.1": true, "127.0.0.1:8080": true, "127.1.2.3": true, "127.255.255.254:1": true,
	"[::1]": true, "[::1]:8080": true, "::1": true, "[0:0:0:0:0:0:0:1]:8080": true, "[::ffff:127.0.0.1]": true,
	"": false, ":8080": false, "warren.example": false, "warren.example:8080": false, "localhost.evil.example": false,
	"evil.example.localhost": false, "evil-localhost": false, "127.0.0.1.evil.example": false, "127.0.0.1.nip.io": false,
	"evil.example#localhost": false, "localhost@evil.example": false, "evil.example:localhost": false, "0.0.0.0": false, "0": false,
	"0.0.0.0:8080": false, "[::]": false, "[::]:8080": false, "127.1": false, "2130706433": false, "0x7f000001": false, "0177.0.0.1": false,
	"127.0.0.01": false, "128.0.0.1": false, "192.168.0.1": false, "10.0.0.1:8080": false, "169.254.1.1": false, "[fe80::1]": false,
	"[::ffff:10.0.0.1]": false, "[::2]:8080": false, "[::1": false, "::1]": false, "[localhost]": false, "[127.0.0.1": false,
	"localhost:": true, "localhost:80:80": false, "localhost ": false, " localhost": false, "local host": false, "localhost\t": false,
	"localhost\x00": false, "localhost,evil.example": false, "lоcalhost": false, "ｌｏｃａｌｈｏｓｔ": false, "ip6-localhost": false,
	"localhost.localdomain": false, "host.docker.internal": false,
}

func TestOrigin_WithoutSignInOnlyLoopbackNamesAreAnswered(t *testing.T) {
	t.Parallel()
	h := app(t, access(t, "", "", false)).Dashboard()
	for host, answered := range hosts {
		for _, path := range []string{"/settings/theme", "/healthz", "/readyz", "/static/"} {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.Host = host
			for _, name := range []string{"X-Forwarded-Host", "X-Host", "X-Original-Host", "X-Forwarded-Server", "Forwarded"} {
				r.Header.Set(name, "localhost")
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			require.Equal(t, answered, w.Code != http.StatusForbidden, "%q %s: %d", host, path, w.Code)
		}
	}
}

func TestOrigin_TheHostOfAnAbsoluteTargetCounts(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(app(t, access(t, "", "", false)).Dashboard())
	t.Cleanup(server.Close)
	for target, status := range map[string]int{
		"http://localhost/healthz": http.StatusOK, "http://evil.example/healthz": http.StatusForbidden,
		"http://evil.example@localhost/healthz": http.StatusOK, "http://localhost@evil.example/healthz": http.StatusForbidden,
	} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		require.NoError(t, err)
		_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", target)
		require.NoError(t, err)
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		require.Equal(t, status, answer.StatusCode, target)
		require.NoError(t, answer.Body.Close())
		require.NoError(t, conn.Close())
	}
}

func TestOrigin_BehindAProxyOnlyItAndOnlyOwnHostNamesAreAnswered(t *testing.T) {
	t.Parallel()
	a := behindProxy(t, false)
	var err error
	a.Proxies, err = ParseProxies([]string{"10.1.2.3"})
	require.NoError(t, err)
	a.Hosts, err = ParseHosts([]string{"warren.example", "Jobs.Example.", "10.1.2.9", "[fd00::9]", "büro.example", "localhost"})
	require.NoError(t, err)
	h := app(t, a).Dashboard()
	ask := func(peer, host, path string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.RemoteAddr, r.Host = peer, host
		r.Header.Set("X-Forwarded-User", "ada")
		r.Header.Set("X-Forwarded-For", "10.1.2.3")
		r.Header.Set("X-Forwarded-Host", "warren.example")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for _, host := range []string{"warren.example", "warren.example:8443", "WARREN.example", "warren.example.", "jobs.example",
		"10.1.2.9:80", "[fd00:0::9]:80", "xn--bro-hoa.example", "localhost", "127.0.0.1:8080"} {
		require.Equal(t, http.StatusNotFound, ask("10.1.2.3:4711", host, "/metrics").Code, host) // there are none in this test
		w := ask("10.1.2.4:4711", host, "/metrics")
		require.Equal(t, http.StatusForbidden, w.Code, host)
		require.Contains(t, w.Body.String(), "WARREN_PROXIES")
		require.Contains(t, w.Body.String(), "10.1.2.4")
	}
	for _, host := range []string{"evil.example", "warren.example.evil.example", "evilwarren.example", "10.1.2.3", ""} {
		w := ask("10.1.2.3:4711", host, "/metrics")
		require.Equal(t, http.StatusForbidden, w.Code, host)
		require.Contains(t, w.Body.String(), "WARREN_HOSTS")
	}
	require.Equal(t, http.StatusForbidden, ask("127.0.0.1:4711", "localhost", "/metrics").Code, "a proxy unless others are named")
	for _, peer := range []string{"10.1.2.3:4711", "10.1.2.200:4711"} {
		require.Equal(t, http.StatusOK, ask(peer, "10.1.2.7:8080", "/healthz").Code, "what checks health names the address of the process")
		require.Equal(t, http.StatusServiceUnavailable, ask(peer, "10.1.2.7:8080", "/readyz").Code)
		require.NotContains(t, ask(peer, "10.1.2.7:8080", "/readyz").Body.String(), "nobody")
	}
}

func TestOrigin_WhatAnotherSitesPageLoadsIsRefused(t *testing.T) {
	t.Parallel()
	for _, h := range []http.Handler{app(t, access(t, "", "", false)).Dashboard(), app(t, withPassword(t)).Dashboard()} {
		for _, c := range []struct {
			site, mode, dest string
			refused          bool
		}{
			{"", "", "", false},
			{"none", "navigate", "document", false},
			{"none", "no-cors", "empty", false}, // of the browser itself
			{"same-origin", "cors", "empty", false},
			{"same-origin", "no-cors", "script", false},
			{"same-origin", "navigate", "iframe", false},
			{"cross-site", "navigate", "document", false}, // a link
			{"same-site", "navigate", "document", false},
			{"cross-site", "no-cors", "image", true},
			{"cross-site", "no-cors", "script", true},
			{"cross-site", "no-cors", "style", true},
			{"cross-site", "no-cors", "empty", true},
			{"cross-site", "cors", "empty", true},
			{"cross-site", "cors", "font", true},
			{"cross-site", "websocket", "websocket", true},
			{"cross-site", "navigate", "iframe", true},
			{"cross-site", "navigate", "frame", true},
			{"cross-site", "navigate", "object", true},
			{"cross-site", "navigate", "embed", true},
			{"cross-site", "", "", true},
			{"same-site", "no-cors", "image", true}, // another port of localhost
			{"same-site", "cors", "empty", true},
			{"nonsense", "no-cors", "image", true},
		} {
			for _, path := range []string{"/healthz", "/login", static.URL("warren.js")} {
				for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions} {
					w := request(h, method, path, "Host", "localhost", "Sec-Fetch-Site", c.site, "Sec-Fetch-Mode", c.mode,
						"Sec-Fetch-Dest", c.dest)
					refused := w.Code == http.StatusForbidden && w.Header().Get("Content-Type") == "application/problem+json"
					require.Equal(t, c.refused, refused, "%s %s %v: %d", method, path, c, w.Code)
				}
			}
		}
	}
	framed := app(t, withPassword(t))
	policy := "frame-ancestors https://intranet.example"
	framed.CSP = &policy
	require.Equal(t, http.StatusOK, request(framed.Dashboard(), http.MethodGet, "/login", "Sec-Fetch-Site", "cross-site",
		"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe").Code, "a frame, where one is allowed")
}

func TestOrigin_EveryAnswerHasTheSecurityHeaders(t *testing.T) {
	t.Parallel()
	a := app(t, withPassword(t))
	a.Base = "/base"
	health := app(t, withPassword(t))
	health.Access = nil
	for status, w := range map[int]*httptest.ResponseRecorder{
		http.StatusOK:                   request(a.Dashboard(), http.MethodGet, "/base/login"),
		http.StatusMovedPermanently:     request(a.Dashboard(), http.MethodGet, "/base"),
		http.StatusSeeOther:             request(a.Dashboard(), http.MethodGet, "/base/jobs"),
		http.StatusUnauthorized:         request(a.Dashboard(), http.MethodGet, "/base/api/v1/jobs"),
		http.StatusForbidden:            request(a.Dashboard(), http.MethodPost, "/base/login", "Sec-Fetch-Site", "cross-site"),
		http.StatusNotFound:             request(a.Dashboard(), http.MethodGet, "/elsewhere"),
		http.StatusServiceUnavailable:   request(health.Health(), http.MethodGet, "/readyz"),
		http.StatusUnsupportedMediaType: request(a.Dashboard(), http.MethodPost, "/base/api/v1/jobs", "Content-Type", "text/plain"),
	} {
		require.Equal(t, status, w.Code)
		for _, name := range []string{"Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Opener-Policy",
			"Cross-Origin-Resource-Policy", "Permissions-Policy"} {
			require.Len(t, w.Header().Values(name), 1, "%d %s", status, name)
		}
	}
}

func TestOrigin_AProxyAHostAndAPathAreUnderstoodOrNamed(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"127.0.0.1", "10.0.0.0/8", "::1", "fd00::/8", "10.1.2.3/16", "::ffff:10.1.2.3", "192.168.1.1 ",
		"fe80::1%eth0"} {
		_, err := ParseProxies([]string{good})
		require.NoError(t, err, good)
	}
	for _, bad := range []string{"true", "1", "*", "loopback", "uniquelocal", "traefik", "10.0.0.0/33", "::ffff:10.0.0.0/104",
		"10.0.0.1:80", "0.0.0.0/0", "::/0", "10.0.0.0/255.0.0.0", "10.0.0.*", "10.0.0.1-10.0.0.9",
		"X-Forwarded-User", "10.0.0.1 10.0.0.2", "http://10.0.0.1", "unix:"} {
		_, err := ParseProxies([]string{bad})
		require.ErrorContains(t, err, "such as 10.1.2.3", bad)
		require.ErrorContains(t, err, bad)
	}
	for _, good := range []string{"warren.example.com", "WARREN", "my_app", "10.1.2.3", "fd00::1", "[fd00::1]", "localhost", "büro.example",
		"xn--bro-hoa.example", "a-b.example."} {
		_, err := ParseHosts([]string{good})
		require.NoError(t, err, good)
	}
	for _, bad := range []string{"https://warren.example.com", "warren.example.com:8080", "warren.example.com/", "*.example.com", "*",
		"a.example b.example", "-x", "user@warren.example", "[fd00::1]:80", "a;b", ".example.com", "/warren"} {
		_, err := ParseHosts([]string{bad})
		require.ErrorContains(t, err, "such as warren.example.com", bad)
	}
	for given, want := range map[string]string{"/": "", "/warren": "/warren", "/warren/": "/warren", "/a/b-c_d.e~f": "/a/b-c_d.e~f"} {
		base, err := ParseBase(given)
		require.NoError(t, err, given)
		require.Equal(t, want, base)
	}
	for _, bad := range []string{"", "warren", "//", "/a//b", "/a/../b", "/..", "/.", "/a/.", "/a b", "/a?b", "/a#b", "/a%20b",
		`/a\b`, "/a;b",
		"/ä", "https://warren.example.com/a", "/a\n"} {
		_, err := ParseBase(bad)
		require.ErrorContains(t, err, "such as /admin/jobs", bad)
	}
}
