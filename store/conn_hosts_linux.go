package store

import "syscall"

const tcpUserTimeout = 18 // TCP_USER_TIMEOUT of tcp(7), which syscall lacks

// endWhenSilent ends a connection on which what we sent stays unacknowledged.
func endWhenSilent(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		// Refused for a unix socket, which needs none.
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(serverSilent.Milliseconds()))
	})
}
