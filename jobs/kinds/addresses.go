package kinds

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// HTTPAllow lists the non-public addresses, networks and hosts that HTTP jobs may reach. The zero
// HTTPAllow allows public addresses only.
type HTTPAllow struct {
	prefixes []netip.Prefix
	hosts    []string
	own      func() ([]net.Addr, error) // addresses of this machine; nil: the system's
}

var hostPattern = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$`)

// ParseHTTPAllow parses entries such as 10.1.0.0/16, ::1 and hooks.internal.
func ParseHTTPAllow(entries []string) (HTTPAllow, error) {
	var a HTTPAllow
	for _, entry := range entries {
		entry = strings.ToLower(strings.TrimSuffix(strings.TrimSpace(entry), "."))
		if p, err := netip.ParsePrefix(entry); err == nil {
			a.prefixes = append(a.prefixes, p.Masked())
		} else if ip, err := netip.ParseAddr(entry); err == nil {
			ip = plain(ip)
			a.prefixes = append(a.prefixes, netip.PrefixFrom(ip, ip.BitLen()))
		} else if hostPattern.MatchString(entry) {
			a.hosts = append(a.hosts, entry)
		} else {
			return HTTPAllow{}, fmt.Errorf("%q is not a valid address, network (such as 10.1.0.0/16) or host name", entry)
		}
	}
	return a, nil
}

// refusedError reports an address that a job must not reach.
type refusedError struct {
	host string // as the URL names it
	addr netip.Addr
	why  string
}

// Error does not tell what a name resolves to: whoever submits jobs would learn the addresses of the
// network within.
func (e *refusedError) Error() string {
	if _, err := netip.ParseAddr(e.host); err != nil {
		return fmt.Sprintf("the host %s is not allowed: it leads to an internal address; allow it with WARREN_HTTP_ALLOW", e.host)
	}
	return fmt.Sprintf("the address %s is not allowed (%s); allow it with WARREN_HTTP_ALLOW", e.addr, e.why)
}

// check returns an error if addr, which is about to be dialled for host, is not allowed.
func (a HTTPAllow) check(host string, addr netip.Addr) error {
	inner := embedded(addr)
	if a.permits(host, addr) || a.permits(host, inner) {
		return nil
	}
	if why := notPublic(inner); why != "" {
		return &refusedError{host: host, addr: addr, why: why}
	}
	own, err := a.isOwn(inner)
	if err != nil {
		return err
	}
	if own {
		return &refusedError{host: host, addr: addr, why: "an address of this machine"}
	}
	return nil
}

// isOwn reports whether addr is an address of this machine. A public one is no better than loopback: behind
// it is what listens for this machine only.
func (a HTTPAllow) isOwn(addr netip.Addr) (bool, error) {
	read := net.InterfaceAddrs
	if a.own != nil {
		read = a.own
	}
	list, err := read()
	if err != nil {
		return false, fmt.Errorf("read the addresses of this machine: %w", err)
	}
	return slices.ContainsFunc(list, func(own net.Addr) bool {
		p, err := netip.ParsePrefix(own.String())
		return err == nil && plain(p.Addr()) == addr
	}), nil
}

func (a HTTPAllow) permits(host string, addr netip.Addr) bool {
	return slices.Contains(a.hosts, strings.ToLower(strings.TrimSuffix(host, "."))) ||
		slices.ContainsFunc(a.prefixes, func(p netip.Prefix) bool { return p.Contains(plain(addr)) })
}

// plain returns addr without its zone, and an IPv4-mapped IPv6 address as IPv4.
func plain(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

var (
	nat64     = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour = netip.MustParsePrefix("2002::/16")
	global    = netip.MustParsePrefix("2000::/3") // the only IPv6 range that is allocated
)

// embedded returns the IPv4 address that packets to addr are translated to, or addr itself.
func embedded(addr netip.Addr) netip.Addr {
	addr = plain(addr)
	raw := addr.As16()
	switch {
	case nat64.Contains(addr):
		return netip.AddrFrom4([4]byte(raw[12:16]))
	case sixToFour.Contains(addr):
		return netip.AddrFrom4([4]byte(raw[2:6]))
	}
	return addr
}

// special lists the networks of IANA's special-purpose registries, and metadata services at
// public addresses.
var special = []struct {
	prefix netip.Prefix
	why    string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "unspecified"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private"},
	{netip.MustParsePrefix("100.64.0.0/10"), "shared by carriers"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private"},
	{netip.MustParsePrefix("192.0.0.0/24"), "reserved"},
	{netip.MustParsePrefix("192.0.2.0/24"), "documentation"},
	{netip.MustParsePrefix("192.88.99.0/24"), "reserved"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private"},
	{netip.MustParsePrefix("198.18.0.0/15"), "benchmarks"},
	{netip.MustParsePrefix("198.51.100.0/24"), "documentation"},
	{netip.MustParsePrefix("203.0.113.0/24"), "documentation"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},
	{netip.MustParsePrefix("168.63.129.16/32"), "metadata"},
	{netip.MustParsePrefix("::/128"), "unspecified"},
	{netip.MustParsePrefix("::1/128"), "loopback"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "private"},
	{netip.MustParsePrefix("fc00::/7"), "private"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("fec0::/10"), "private"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
	{netip.MustParsePrefix("2001::/23"), "reserved"}, // Teredo, benchmarks, ORCHID
	{netip.MustParsePrefix("2001:db8::/32"), "documentation"},
	{netip.MustParsePrefix("3fff::/20"), "documentation"},
}

// notPublic returns why the internet does not route addr, or "" if it does.
func notPublic(addr netip.Addr) string {
	for _, s := range special {
		if s.prefix.Contains(addr) {
			return s.why
		}
	}
	if addr.Is6() && !global.Contains(addr) {
		return "reserved"
	}
	return ""
}
