//go:build chaos && unix

package engine

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// crash is where this process is to freeze: WARREN_CRASH_AT=point or point:n, at
// the n-th time that it comes there.
var crash = func() *countdown {
	point, nth, _ := strings.Cut(os.Getenv("WARREN_CRASH_AT"), ":")
	c := &countdown{point: CrashPoint(point)}
	n, err := strconv.ParseInt(nth, 10, 64)
	if err != nil {
		n = 1
	}
	c.left.Store(n)
	return c
}()

type countdown struct {
	point CrashPoint
	left  atomic.Int64
}

// CrashAt freezes this process with SIGSTOP if WARREN_CRASH_AT says so. Whoever set
// that sees it frozen and knows the time at which it kills it or lets it go on.
func CrashAt(p CrashPoint) {
	if crash.point == p && crash.left.Add(-1) == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	}
}
