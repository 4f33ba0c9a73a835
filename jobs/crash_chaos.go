//go:build chaos && unix

package jobs

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// crash is where this process is to die: WARREN_CRASH_AT=point or point:n, at
// the n-th time that it comes there. With point:n:stop it freezes instead, until
// somebody lets it go on.
var crash = func() *countdown {
	part := strings.Split(os.Getenv("WARREN_CRASH_AT")+"::", ":")
	c := &countdown{point: CrashPoint(part[0]), signal: syscall.SIGKILL}
	if part[2] == "stop" {
		c.signal = syscall.SIGSTOP
	}
	n, err := strconv.ParseInt(part[1], 10, 64)
	if err != nil {
		n = 1
	}
	c.left.Store(n)
	return c
}()

type countdown struct {
	point  CrashPoint
	signal syscall.Signal
	left   atomic.Int64
}

// CrashAt kills this process with SIGKILL, or freezes it, if WARREN_CRASH_AT says so.
func CrashAt(p CrashPoint) {
	if crash.point != p || crash.left.Add(-1) != 0 {
		return
	}
	_ = syscall.Kill(os.Getpid(), crash.signal)
	if crash.signal == syscall.SIGKILL {
		select {} // it takes a moment
	}
}
