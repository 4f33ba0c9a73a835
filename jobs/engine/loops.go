package engine

import (
	"context"
	"log/slog"
	"time"
)

// every calls do at the interval until ctx ends. Of consecutive failures only the first is logged.
func every(ctx context.Context, interval time.Duration, log *slog.Logger, what string, do func(context.Context) error) {
	turns(ctx, func(time.Duration) time.Duration { return interval }, log, what, do)
}

// everyAdaptive is every for work whose cost grows with dead row versions: it runs less often while
// its runs are slow, but at least every 50 s.
func everyAdaptive(ctx context.Context, interval time.Duration, log *slog.Logger, what string, do func(context.Context) error) {
	turns(ctx, func(took time.Duration) time.Duration { return Spaced(interval, took, adaptiveMost) }, log, what, do)
}

// Spaced returns the pause after a run of the given duration: apart, or longer so that runs take at
// most a fiftieth of the time, but never more than most.
func Spaced(apart, took, most time.Duration) time.Duration { return min(max(apart, 50*took), most) }

// turns calls do until ctx ends; wait returns the pause before a run, given the duration of the last.
func turns(
	ctx context.Context, wait func(took time.Duration) time.Duration, log *slog.Logger, what string, do func(context.Context) error,
) {
	failing := false
	var took time.Duration
	for sleep(ctx, wait(took)) {
		limited, cancel := context.WithTimeout(ctx, turnMax)
		began := time.Now()
		err := do(limited)
		took = time.Since(began)
		cancel()
		if err != nil && !failing && ctx.Err() == nil {
			log.Warn(what, "error", err)
		}
		failing = err != nil
	}
}

// sleep waits for d. It reports false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
