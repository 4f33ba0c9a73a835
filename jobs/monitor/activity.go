package monitor

import (
	"context"
	"log/slog"
	"time"

	"github.com/warrenjobs/warren/jobs/engine"
)

// Moment is a sample of the deployment's activity: what it did in the Seconds before At, and what
// was waiting at At.
type Moment struct {
	At            time.Time
	Seconds       float64
	Completed     int64
	Failed        int64 // attempts, not jobs
	Redelivered   int64
	OutboxWaiting int64
	// Ages in seconds: of the oldest row of the outbox that a relay may send, and how long the oldest
	// queued job of a queue that is not paused has waited for a worker. 0 when nothing waits.
	OutboxAge    float64
	OldestQueued float64
}

// ActivityStore records samples of activity.
type ActivityStore interface {
	// SampleActivity counts what happened since the last sample, stores the result, and deletes samples older than keep.
	SampleActivity(ctx context.Context, keep time.Duration) error
}

const (
	activityEvery = 10 * time.Second
	activityMost  = 50 * time.Second // so that every second is counted within a minute
	activityKept  = 30 * 24 * time.Hour
)

// Activity samples the deployment's activity every 10 s. Only one runs at a time in a deployment: see store.Lead.
type Activity struct {
	Store ActivityStore
	Log   *slog.Logger
}

// Run samples until ctx ends, then returns nil. Failures of the store are logged and retried.
func (a *Activity) Run(ctx context.Context) error {
	failing := false
	for {
		began := time.Now()
		err := a.Store.SampleActivity(ctx, activityKept)
		if err != nil && !failing && ctx.Err() == nil {
			a.Log.Warn("monitor: count what was done", "error", err)
		}
		failing = err != nil
		took := time.Since(began)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(engine.Spaced(activityEvery-took, took, activityMost)):
		}
	}
}
