//go:build !linux

package store

import "syscall"

// endWhenSilent does nothing: the system's own TCP timeouts apply.
func endWhenSilent(_, _ string, _ syscall.RawConn) error { return nil }
