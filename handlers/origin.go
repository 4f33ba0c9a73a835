package handlers

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
	"golang.org/x/net/idna"
)

// loopback lists the proxies that are trusted unless others are named.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// ParseProxies parses the addresses and networks of trusted proxies. Blank entries are left out.
func ParseProxies(entries []string) (proxies []netip.Prefix, err error) {
	for _, entry := range entries {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		network, err := netip.ParsePrefix(entry)
		if ip, noNetwork := netip.ParseAddr(entry); noNetwork == nil {
			ip = ip.Unmap().WithZone("")
			network, err = netip.PrefixFrom(ip, ip.BitLen()), nil
		}
		switch {
		case err != nil || network.Addr().Is4In6():
			return nil, fmt.Errorf("%q is not the address of a proxy, such as 10.1.2.3, or a network of them, such as 10.1.0.0/16", entry)
		case network.Bits() == 0:
			return nil, fmt.Errorf("%q would trust everybody: name the addresses of your proxies, such as 10.1.2.3 or 10.1.0.0/16", entry)
		}
		proxies = append(proxies, network.Masked())
	}
	return proxies, nil
}

var hostPattern = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$`)

// ParseHosts parses the names that the dashboard answers for. Blank entries are left out.
func ParseHosts(entries []string) (hosts []string, err error) {
	for _, entry := range entries {
		if strings.TrimSpace(entry) == "" {
			continue
		}
		host := hostName(strings.TrimSpace(entry))
		if ascii, err := idna.Lookup.ToASCII(host); err == nil {
			host = ascii
		}
		if _, err := netip.ParseAddr(host); err != nil && !hostPattern.MatchString(host) {
			return nil, fmt.Errorf("%q is not a host name: write each name without scheme, port, path and *, such as warren.example.com",
				entry)
		}
		hosts = append(hosts, host)
	}
	return hosts, nil
}

var basePattern = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)*/?$`)

// ParseBase returns the path below which the dashboard is served, without a slash at its end.
func ParseBase(base string) (string, error) {
	trimmed := strings.TrimSuffix(base, "/")
	if base == "" || !basePattern.MatchString(base) || trimmed != "" && path.Clean(trimmed) != trimmed {
		return "", fmt.Errorf("%q is not a path such as /admin/jobs", base)
	}
	return trimmed, nil
}

// hostName returns a host as it is compared: without brackets, in lower case, an address in its
// shortest form.
func hostName(host string) string {
	host = strings.ToLower(strings.TrimSuffix(trimBrackets(host), "."))
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.String()
	}
	return host
}

func trimBrackets(host string) string {
	if len(host) > 2 && host[0] == '[' && host[len(host)-1] == ']' {
		return host[1 : len(host)-1]
	}
	return host
}

// answersFor reports whether the dashboard answers requests for this host. Otherwise a page of
// another site whose name was pointed at this address (DNS rebinding) would count as our own. Where
// Warren or the application asks for a credential such a page has none, as cookies belong to a
// name; a proxy in front may let the page through.
func (a *Access) answersFor(host string) bool {
	if len(a.Hosts) == 0 && (a.asksForPassword() || a.User != nil) {
		return true
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip, err := netip.ParseAddr(trimBrackets(host))
	return host == "localhost" || err == nil && ip.IsLoopback() || slices.Contains(a.Hosts, hostName(host))
}

// ownHost refuses requests for a foreign host name. Health checks name the address that they found,
// and learn nothing else.
func (a *App) ownHost(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		host := c.Request().Host
		if a.Access.answersFor(host) || a.Access.guarded() && isHealth(c) {
			return next(c)
		}
		if !a.Access.guarded() {
			return echo.NewHTTPError(http.StatusForbidden, "Warren answers for localhost and 127.0.0.1 only, not for the host "+host+".")
		}
		return echo.NewHTTPError(http.StatusForbidden, "Warren does not answer for the host "+host+": WARREN_HOSTS lists its host names.")
	}
}

// CrossOrigin refuses what another site's page makes a browser send: writes, and what is loaded as
// a part of that page.
func (a *App) CrossOrigin(next http.Handler) http.Handler {
	refuse := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"type":"about:blank","title":"Forbidden","status":403,"detail":"The request comes from another site, ` +
			`or a proxy in front of Warren does not pass on the Host of the browser."}` + "\n"))
	})
	p := http.NewCrossOriginProtection()
	p.SetDenyHandler(refuse)
	ownWrites := p.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.isPartOfAnotherSite(r) {
			refuse(w, r)
			return
		}
		ownWrites.ServeHTTP(w, r)
	})
}

// isPartOfAnotherSite reports whether a browser loads this for a page of another site: an image, a
// script, a frame where none is allowed. A link that a user follows is none of these.
func (a *App) isPartOfAnotherSite(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return false
	}
	framed := r.Header.Get("Sec-Fetch-Dest") != "document"
	return r.Header.Get("Sec-Fetch-Mode") != "navigate" || framed && a.CSP == nil
}

// clientIP is an echo.IPExtractor.
func (a *Access) clientIP(r *http.Request) string {
	if ip := a.client(r); ip.IsValid() {
		return ip.String()
	}
	return ""
}

// client returns the address of the peer, or what trusted proxies say in X-Forwarded-For. That is
// read from its end: what stands before the last address that is not a proxy's may be invented.
func (a *Access) client(r *http.Request) netip.Addr {
	ip := peer(r)
	for lists := r.Header.Values(echo.HeaderXForwardedFor); len(lists) > 0; lists = lists[:len(lists)-1] {
		for list := lists[len(lists)-1]; list != ""; {
			comma := strings.LastIndexByte(list, ',')
			next, err := parseIP(list[comma+1:])
			if err != nil || !a.trusts(ip) {
				return ip
			}
			ip, list = next, list[:max(comma, 0)]
		}
	}
	return ip
}

// trusts reports whether the address is that of a trusted proxy.
func (a *Access) trusts(ip netip.Addr) bool {
	return slices.ContainsFunc(a.Proxies, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// peer returns the address at the other end of the connection; the zero Addr if it has none.
func peer(r *http.Request) netip.Addr {
	ip, _ := parseIP(r.RemoteAddr)
	return ip
}

// parseIP parses an address with or without a port: some proxies write the client's port too.
func parseIP(s string) (netip.Addr, error) {
	s = strings.TrimSpace(s)
	ip, err := netip.ParseAddr(trimBrackets(s))
	if err != nil {
		var withPort netip.AddrPort
		withPort, err = netip.ParseAddrPort(s)
		ip = withPort.Addr()
	}
	return ip.Unmap().WithZone(""), err
}
