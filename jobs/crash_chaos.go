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
// the n-th time that it comes there.
var crash = func() *countdown {
	point, nth, _ := strings.Cut(os.Getenv("WARREN_CRASH_AT"), ":")
	n, err := strconv.ParseInt(nth, 10, 64)
	if err != nil {
		n = 1
	}
	c := &countdown{point: CrashPoint(point)}
	c.left.Store(n)
	return c
}()

type countdown struct {
	point CrashPoint
	left  atomic.Int64
}

// CrashAt kills this process with SIGKILL if WARREN_CRASH_AT says so.
func CrashAt(p CrashPoint) {
	if crash.point != p || crash.left.Add(-1) != 0 {
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // it takes a moment
}
