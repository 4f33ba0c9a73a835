package engine

import (
	"cmp"
	"context"
	"log/slog"
	"time"
)

// JanitorStore is what the janitor needs from the database.
type JanitorStore interface {
	SweepSessions(ctx context.Context) error
	SweepProcesses(ctx context.Context) error
	// Sweep removes rows that are older than their retention, and returns how many.
	Sweep(ctx context.Context, keep Retention) (int64, error)
}

const sweepEvery = time.Minute

// Retention is how long finished things are kept; 0 means for ever.
type Retention struct {
	Finished time.Duration // completed and cancelled jobs
	Dead     time.Duration
	Inbox    time.Duration
	Events   time.Duration
	Files    time.Duration // uploads and exports
	// Unfinished is for files whose writer has died.
	Unfinished time.Duration
	// Deleted is for the ids of deleted jobs, by which their late messages are recognised.
	Deleted time.Duration
	// Marks is for those of failures that have had no dead job for so long.
	Marks time.Duration
	Audit time.Duration
}

const day = 24 * time.Hour

// RetentionDefault keeps a week of finished jobs, a quarter of dead ones and more than a year of the audit log.
var RetentionDefault = Retention{Finished: 7 * day, Dead: 90 * day, Inbox: 7 * day, Events: 7 * day, Files: 7 * day,
	Unfinished: 2 * time.Hour, Deleted: 30 * day, Marks: 90 * day, Audit: 400 * day}

// Janitor removes what is older than its retention. Any number may run side by side.
type Janitor struct {
	Store     JanitorStore
	Retention Retention
	Every     time.Duration // 0: every minute
	Log       *slog.Logger
}

// Run sweeps until ctx ends and returns nil.
func (j *Janitor) Run(ctx context.Context) error {
	every(ctx, cmp.Or(j.Every, sweepEvery), j.Log, "scheduler: sweep", j.runOnce)
	return nil
}

func (j *Janitor) runOnce(ctx context.Context) error {
	if err := j.Store.SweepSessions(ctx); err != nil {
		return err
	}
	if err := j.Store.SweepProcesses(ctx); err != nil {
		return err
	}
	n, err := j.Store.Sweep(ctx, j.Retention)
	if n > 0 {
		j.Log.Info("scheduler: removed old rows", "rows", n)
	}
	return err
}
