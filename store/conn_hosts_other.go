//go:build !linux

package store

import "syscall"

// endWhenSilent is left to the system's own patience.
func endWhenSilent(_, _ string, _ syscall.RawConn) error { return nil }
