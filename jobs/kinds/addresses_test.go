package kinds

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestHTTP_OnlyPublicAddressesAreReachedUnlessAllowed(t *testing.T) {
	t.Parallel()
	for addr, why := range map[string]string{
		"1.1.1.1": "", "93.184.216.34": "", "100.63.255.255": "", "100.128.0.0": "", "172.15.255.255": "", "172.32.0.0": "",
		"223.255.255.255": "", "198.17.255.255": "", "2606:4700::1111": "", "2001:4860:4860::8888": "", "64:ff9b::1.1.1.1": "",
		"2002:101:101::1": "",
		"0.0.0.0":         "unspecified", "0.1.2.3": "unspecified", "::": "unspecified",
		"127.0.0.1": "loopback", "127.255.255.254": "loopback", "::1": "loopback",
		"10.0.0.1": "private", "172.16.0.1": "private", "172.31.255.255": "private", "192.168.1.1": "private", "fc00::1": "private",
		"fd00:ec2::254": "private", "fec0::1": "private", "64:ff9b:1::a00:1": "private",
		"100.64.0.1": "shared by carriers", "100.100.100.200": "shared by carriers",
		"169.254.169.254": "link-local", "fe80::1": "link-local", "fe80::1%eth0": "link-local",
		"168.63.129.16": "metadata", "192.0.0.192": "reserved", "192.88.99.1": "reserved", "240.0.0.1": "reserved",
		"255.255.255.255": "reserved",
		"224.0.0.1":       "multicast", "239.255.255.250": "multicast", "ff02::1": "multicast",
		"192.0.2.1": "documentation", "198.51.100.1": "documentation", "203.0.113.1": "documentation", "2001:db8::1": "documentation",
		"3fff::1":    "documentation",
		"198.18.0.1": "benchmarks", "2001:2::1": "reserved", "2001::1": "reserved", "100::1": "reserved", "::127.0.0.1": "reserved",
		"4000::1":          "reserved",
		"::ffff:127.0.0.1": "loopback", "::ffff:10.0.0.1": "private", "::ffff:169.254.169.254": "link-local",
		"64:ff9b::127.0.0.1": "loopback", "64:ff9b::169.254.169.254": "link-local", "2002:7f00:1::": "loopback", "2002:a00:1::1": "private",
	} {
		err := HTTPAllow{}.check(addr, netip.MustParseAddr(addr))
		if why == "" {
			require.NoError(t, err, addr)
			continue
		}
		require.ErrorContains(t, err, "("+why+")", addr)
	}
}

func TestHTTP_AnIPv4AddressIsJudgedTheSameInEveryIPv6Form(t *testing.T) {
	t.Parallel()
	allow, err := ParseHTTPAllow([]string{"10.2.0.0/16", "127.0.0.2"})
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		var b [4]byte
		copy(b[:], rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "address"))
		if rapid.Bool().Draw(t, "special") {
			p := rapid.SampledFrom(special).Draw(t, "prefix").prefix
			if p.Addr().Is4() {
				b = p.Addr().As4()
			}
		}
		v4 := netip.AddrFrom4(b)
		want := allow.check("h", v4) == nil
		for _, form := range []netip.Addr{
			netip.AddrFrom16(v4.As16()),
			netip.AddrFrom16([16]byte{0, 0x64, 0xff, 0x9b, 12: b[0], b[1], b[2], b[3]}),
			netip.AddrFrom16([16]byte{0x20, 0x02, b[0], b[1], b[2], b[3], 15: 1}),
		} {
			require.Equal(t, want, allow.check("h", form) == nil, "%s as %s", v4, form)
		}
	})
}

func TestHTTP_AnAllowedNetworkAddressOrNameIsReached(t *testing.T) {
	t.Parallel()
	allow, err := ParseHTTPAllow([]string{"10.1.2.3/8", " ::1 ", "Hooks.Internal.", "fe80::/10", "::ffff:192.168.0.1"})
	require.NoError(t, err)
	check := func(host, addr string) error { return allow.check(host, netip.MustParseAddr(addr)) }
	require.NoError(t, check("x", "10.255.0.1"))
	require.NoError(t, check("x", "::ffff:10.255.0.1"))
	require.NoError(t, check("x", "::1"))
	require.NoError(t, check("x", "fe80::1%eth0"))
	require.NoError(t, check("x", "192.168.0.1"))
	require.NoError(t, check("hooks.internal", "192.168.0.9"))
	require.NoError(t, check("HOOKS.internal.", "127.0.0.1"))
	require.EqualError(t, check("other.internal", "192.168.0.9"),
		"the host other.internal is not allowed: it leads to an internal address; allow it with WARREN_HTTP_ALLOW")
	require.EqualError(t, check("127.0.0.1", "127.0.0.1"),
		"the address 127.0.0.1 is not allowed (loopback); allow it with WARREN_HTTP_ALLOW")
	for _, entry := range []string{"", "10.0.0.0/33", "http://x", "a b", "host:80", "*.internal", "-x"} {
		_, err := ParseHTTPAllow([]string{entry})
		require.Error(t, err, entry)
	}
}

// What listens for the machine alone is reached by its public addresses, too.
func TestHTTP_TheMachinesOwnPublicAddressIsRefusedUnlessAllowed(t *testing.T) {
	t.Parallel()
	own := func() ([]net.Addr, error) {
		var list []net.Addr
		for _, s := range []string{"127.0.0.1/8", "93.184.216.34/24", "2606:4700::1111/64", "fe80::1/64"} {
			ip, network, err := net.ParseCIDR(s)
			require.NoError(t, err)
			list = append(list, &net.IPNet{IP: ip, Mask: network.Mask})
		}
		return list, nil
	}
	for addr, refused := range map[string]bool{"93.184.216.34": true, "::ffff:93.184.216.34": true, "64:ff9b::93.184.216.34": true,
		"2002:5db8:d822::1": true, "2606:4700::1111": true, "93.184.216.35": false, "2606:4700::1112": false, "1.1.1.1": false} {
		err := HTTPAllow{own: own}.check(addr, netip.MustParseAddr(addr))
		if !refused {
			require.NoError(t, err, addr)
			continue
		}
		require.EqualError(t, err, "the address "+netip.MustParseAddr(addr).String()+
			" is not allowed (an address of this machine); allow it with WARREN_HTTP_ALLOW")
	}
	err := HTTPAllow{own: own}.check("www.example", netip.MustParseAddr("93.184.216.34"))
	require.EqualError(t, err, "the host www.example is not allowed: it leads to an internal address; allow it with WARREN_HTTP_ALLOW")
	allow, err := ParseHTTPAllow([]string{"93.184.216.34"})
	require.NoError(t, err)
	allow.own = own
	require.NoError(t, allow.check("www.example", netip.MustParseAddr("93.184.216.34")))
	unknown := HTTPAllow{own: func() ([]net.Addr, error) { return nil, errors.New("no netlink") }}
	require.ErrorContains(t, unknown.check("1.1.1.1", netip.MustParseAddr("1.1.1.1")), "no netlink", "nothing is dialled on a guess")
}
