package engine

import (
	"context"
	"log/slog"
	"time"
)

// every calls do at the interval. A failure is logged when it begins, not each time.
func every(ctx context.Context, interval time.Duration, log *slog.Logger, what string, do func(context.Context) error) {
	turns(ctx, func(time.Duration) time.Duration { return interval }, log, what, do)
}

// everyAdaptive is every for what reads all that has gone since somebody holds a
// snapshot: when that takes long it comes less often, but nearly each minute.
func everyAdaptive(ctx context.Context, interval time.Duration, log *slog.Logger, what string, do func(context.Context) error) {
	turns(ctx, func(took time.Duration) time.Duration { return Spaced(interval, took, adaptiveMost) }, log, what, do)
}

// Spaced is how long to wait after a look that took so long: apart, or longer so
// that looks take at most a fiftieth of the time, but no longer than most.
func Spaced(apart, took, most time.Duration) time.Duration { return min(max(apart, 50*took), most) }

// turns calls do again and again; wait is what comes before a turn, by how long the last one took.
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

// sleep waits for d and says whether ctx is still alive.
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
