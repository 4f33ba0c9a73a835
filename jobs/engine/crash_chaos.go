//go:build chaos && unix

package engine

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// crash is the point at which this process freezes: WARREN_CRASH_AT=point, or point:n for the n-th
// time that the point is reached.
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

// CrashAt freezes this process with SIGSTOP if WARREN_CRASH_AT names the point. The program that
// set the variable can see the process stop there, and then kills or continues it.
func CrashAt(p CrashPoint) {
	if crash.point == p && crash.left.Add(-1) == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	}
}
