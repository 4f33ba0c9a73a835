package engine

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
)

// ReportOutcome is what became of a report.
type ReportOutcome int

// The outcomes. The message is acknowledged after each of them.
const (
	ReportCounted  ReportOutcome = iota
	ReportRepeated               // it had been counted before
	ReportStale                  // its dispatch is not the current one, or has ended: recorded
	ReportUnknown                // there is no such job or dispatch: kept as a dead job
)

// ReportStore is what reports need from the database.
type ReportStore interface {
	// ApplyReport writes what a report says. It returns jobs.ErrHeld, and has written nothing, if the
	// job's row is locked.
	ApplyReport(ctx context.Context, r Report) (ReportOutcome, error)
	// AwaitOvertaken notes which queued jobs of external queues have been overtaken by others that
	// were dispatched at least that much later: from then on their reports are awaited.
	AwaitOvertaken(ctx context.Context, by time.Duration) error
	// FailUnreported ends the attempts, at most limit, of which no report came within the time that
	// their external queue allows, and returns their jobs.
	FailUnreported(ctx context.Context, limit int) ([]uuid.UUID, error)
	RefuseForeign(ctx context.Context, in Delivery, why string) (uuid.UUID, error)
}

// Results opens subscriptions on the queue to which workers of other programs report.
type Results interface {
	ConsumeResults(ctx context.Context) (Subscription, error)
}

// KindReport is the kind under which a report that cannot be read is kept.
const KindReport = "warren.report"

const (
	reportsEvery = 5 * time.Second
	reportsBatch = 200
)

// Reports takes the reports of workers of other programs, and ends the attempts of those that do not
// report. Any number may run side by side.
type Reports struct {
	Store    ReportStore
	Results  Results
	Announce Announce
	Log      *slog.Logger
	// Every and Overtaken are 5 s and ReconcileOvertaken unless set.
	Every     time.Duration
	Overtaken time.Duration
}

// Run takes reports until ctx ends and returns nil.
func (r *Reports) Run(ctx context.Context) error {
	var loops sync.WaitGroup
	loops.Go(func() { answers{"scheduler: take reports", r.Results.ConsumeResults, r.take, r.Log}.run(ctx) })
	loops.Go(func() {
		everyAdaptive(ctx, cmp.Or(r.Every, reportsEvery), r.Log, "scheduler: look for missing reports", r.failUnreported)
	})
	loops.Wait()
	return nil
}

// take writes one report, or keeps it as a dead job if it cannot be read or is about no job.
func (r *Reports) take(ctx context.Context, in Delivery) error {
	report, err := ParseReport(in)
	if err != nil {
		return r.keep(ctx, in, "a report that cannot be read: "+err.Error())
	}
	outcome, err := r.Store.ApplyReport(ctx, report)
	switch {
	case err != nil:
		return err
	case outcome == ReportUnknown:
		return r.keep(ctx, in, "a report about a job that this database does not know: "+in.CorrelationID)
	case outcome == ReportRepeated:
		return nil
	}
	r.Announce(TopicJobs, report.Key.JobID.String())
	if report.Type == ReportFailed {
		r.Announce(TopicFailures)
	}
	level := slog.LevelDebug
	if report.Ends() { // one line for each job, as of Warren's workers
		level = slog.LevelInfo
	}
	r.Log.Log(ctx, level, "report of a worker of another program", "job", report.Key.JobID, "dispatch", report.Key.Dispatch,
		"type", report.Type, "worker", report.Worker, "stale", outcome == ReportStale, "error", report.Failure.Error)
	return nil
}

func (r *Reports) keep(ctx context.Context, in Delivery, why string) error {
	in.Type = KindReport // its own type names no kind; the properties have it
	id, err := r.Store.RefuseForeign(ctx, in, why)
	if err == nil {
		announceJobs(r.Log, r.Announce, []uuid.UUID{id}, "scheduler: kept a report", "why", why)
		r.Announce(TopicFailures)
	}
	return err
}

func (r *Reports) failUnreported(ctx context.Context) error {
	if err := r.Store.AwaitOvertaken(ctx, cmp.Or(r.Overtaken, ReconcileOvertaken)); err != nil {
		return err
	}
	for {
		ids, err := r.Store.FailUnreported(ctx, reportsBatch)
		announceJobs(r.Log, r.Announce, ids, "scheduler: no report came in time")
		if len(ids) > 0 {
			r.Announce(TopicFailures)
		}
		if err != nil || len(ids) < reportsBatch {
			return err
		}
	}
}
