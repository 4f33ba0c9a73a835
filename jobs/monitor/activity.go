package monitor

import (
	"context"
	"log/slog"
	"time"

	"github.com/warrenjobs/warren/jobs/engine"
)

// Moment is what the deployment did in the Seconds before At, and what waited then.
type Moment struct {
	At            time.Time
	Seconds       float64
	Completed     int64
	Failed        int64 // attempts, not jobs
	Redelivered   int64
	OutboxWaiting int64
	OutboxAge     float64 // seconds, of the oldest row; 0 when empty
	OldestQueued  float64 // seconds, of the job that has waited longest for a worker; 0 when none waits
}

// ActivityStore counts and keeps moments.
type ActivityStore interface {
	// SampleActivity counts since the last sample, keeps the result, and drops what is older than keep.
	SampleActivity(ctx context.Context, keep time.Duration) error
}

const (
	activityEvery = 10 * time.Second
	activityMost  = 50 * time.Second // no second is counted later than a minute after
	activityKept  = 30 * 24 * time.Hour
)

// Activity counts what the deployment does every 10 s. One runs at a time in a deployment: see store.Lead.
type Activity struct {
	Store ActivityStore
	Log   *slog.Logger
}

// Run counts until ctx ends and returns nil.
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
