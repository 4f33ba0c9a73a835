package store

import "syscall"

const tcpUserTimeout = 18 // TCP_USER_TIMEOUT of tcp(7), which syscall lacks

// endWhenSilent ends a connection whose sent data stays unacknowledged for serverSilent.
func endWhenSilent(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		// Fails on a unix socket, which needs no timeout.
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(serverSilent.Milliseconds()))
	})
}
