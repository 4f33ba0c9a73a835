package engine

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
)

// ReconcilerStore is what the reconciler needs from the database.
type ReconcilerStore interface {
	// WaitingQueues lists the job queues in which a job has been queued for longer than age.
	WaitingQueues(ctx context.Context, vhost, prefix string, age time.Duration) ([]WaitingQueue, error)
	// DispatchLost dispatches again up to limit of the jobs that lost describes.
	DispatchLost(ctx context.Context, lost Lost, limit int) ([]uuid.UUID, error)
}

// WaitingQueue is a job queue in which a job waits, with what is known about the queue. At and
// Reached are by the database's clock.
type WaitingQueue struct {
	Queue string
	At    time.Time // when this was read
	// Watched: the monitor samples the broker's queues at present. Gone: its samples do not include
	// this queue.
	Watched bool
	Gone    bool
	// EmptySince is the time of the first in an unbroken series of samples up to SampledAt that all
	// had ready + unacked = 0; nil if the last sample had not.
	EmptySince *time.Time
	SampledAt  *time.Time
	// Reached is when the newest job was dispatched whose first delivery a worker has claimed.
	Reached *time.Time
	// External: workers other than Warren's hold messages of the queue, unseen by the database.
	External bool
	// Idle: every Warren worker of this queue has a free slot, so none holds a message that it has
	// not claimed.
	Idle bool
}

// SuspectBefore returns the dispatch time before which the queue's jobs look lost by the latest
// sample; zero for none. A single sample is enough to suspect.
func (q WaitingQueue) SuspectBefore() (t time.Time) {
	if q.Watched && (q.Gone || q.EmptySince != nil) {
		t = q.At.Add(-ReconcileMargin)
	}
	if passed := q.lostBefore(ReconcileOvertaken); passed.After(t) {
		t = passed
	}
	return t
}

// lostBefore returns the dispatch time before which jobs have been overtaken by at least that
// margin; zero for none.
func (q WaitingQueue) lostBefore(by time.Duration) time.Time {
	if q.Reached == nil || q.External {
		return time.Time{}
	}
	return q.Reached.Add(-by)
}

// Inspection is the state of a queue as the broker reports it without a management API. Ready does
// not count what consumers hold.
type Inspection struct {
	Exists bool
	Ready  int
}

// Lost describes jobs whose messages the broker no longer has: queued on Queue before that time,
// without an outbox row.
type Lost struct {
	Queue  string
	Before time.Time
	Found  string // DriftEmpty, DriftGone or DriftOvertaken
}

// DriftStats counts drift.
type DriftStats struct {
	Repaired jobs.Count // in the last hour
	Suspects jobs.Count // jobs that look lost now and will be checked again, or wait for their next dispatch; up to SuspectsMax + 1
}

// SuspectsMax is the highest exact number of suspects.
const SuspectsMax = 1000

// Timing and limits of the reconciler (engine.md, "Reconciler").
const (
	ReconcileMargin    = 15 * time.Second // counts of the broker lag: seen 7.9 s for a new queue
	ReconcileOvertaken = time.Minute
	reconcileEvery     = 10 * time.Second
	lostBatch          = 1000 // jobs per statement
	lostBatches        = 5    // statements per queue and round
)

// Reconciler dispatches again the jobs whose messages the broker has lost because their queue was
// purged or deleted, or a node of it is gone. A wrong guess is harmless, as the older message
// becomes stale; evidence only limits waste. Any number may run side by side.
type Reconciler struct {
	Store ReconcilerStore
	// Inspect asks the broker itself about a queue that no monitor samples.
	Inspect func(ctx context.Context, queue string) (Inspection, error)
	// ReportsWait reports whether reports of other programs' workers are still unread: the jobs that
	// they end look lost. Nil means never.
	ReportsWait func(ctx context.Context) (bool, error)
	// VHost and QueuePrefix yield the broker's name of a job queue, as the monitor's samples have it.
	VHost       string
	QueuePrefix string
	Announce    Announce
	Log         *slog.Logger
	// Every, Margin and Overtaken are 10 s, ReconcileMargin and ReconcileOvertaken unless set.
	Every     time.Duration
	Margin    time.Duration
	Overtaken time.Duration

	suspicions map[string]suspicion
}

// suspicion holds the times of the last two consecutive observations of a queue as empty or missing.
type suspicion struct {
	before, last time.Time
	found        string
}

// Run reconciles until ctx ends and returns nil.
func (r *Reconciler) Run(ctx context.Context) error {
	r.suspicions = map[string]suspicion{}
	everyAdaptive(ctx, cmp.Or(r.Every, reconcileEvery), r.Log, "scheduler: reconcile", r.runOnce)
	return nil
}

func (r *Reconciler) runOnce(ctx context.Context) error {
	queues, err := r.Store.WaitingQueues(ctx, r.VHost, r.QueuePrefix, r.margin())
	if err != nil {
		return err
	}
	suspicions := map[string]suspicion{} // a queue in which no job waits is forgotten
	for _, q := range queues {
		l, err := r.judge(ctx, q)
		if err != nil {
			return err
		}
		suspicions[q.Queue] = l
		if err := r.repair(ctx, r.lost(q, l)); err != nil {
			return err
		}
	}
	r.suspicions = suspicions
	return nil
}

// judge returns when the queue was seen empty or missing: by the monitor's samples, or else by
// asking the broker.
func (r *Reconciler) judge(ctx context.Context, q WaitingQueue) (suspicion, error) {
	if q.External && r.ReportsWait != nil {
		if wait, err := r.ReportsWait(ctx); err != nil || wait {
			return suspicion{}, err
		}
	}
	if q.Watched {
		return r.judgeSamples(q), nil
	}
	if r.Inspect == nil {
		return suspicion{}, nil
	}
	in, err := r.Inspect(ctx, q.Queue)
	if err != nil {
		return suspicion{}, err
	}
	switch {
	case !in.Exists:
		return r.suspicions[q.Queue].then(q.At, jobs.DriftGone), nil
	case in.Ready == 0 && q.Idle && !q.External:
		return r.suspicions[q.Queue].then(q.At, jobs.DriftEmpty), nil
	}
	return suspicion{}, nil
}

func (r *Reconciler) judgeSamples(q WaitingQueue) suspicion {
	switch {
	case q.Gone:
		return r.suspicions[q.Queue].then(q.At, jobs.DriftGone)
	case q.EmptySince == nil || q.SampledAt == nil:
		return suspicion{}
	}
	at := *q.SampledAt
	if at.After(q.At) { // the monitor's clock is ahead
		at = q.At
	}
	l := r.suspicions[q.Queue]
	if q.EmptySince.After(l.last) { // it has held messages since
		l = suspicion{}
	}
	return l.then(at, jobs.DriftEmpty)
}

// then adds an observation, unless it is the last one again.
func (l suspicion) then(at time.Time, found string) suspicion {
	if !at.After(l.last) {
		return l
	}
	return suspicion{before: l.last, last: at, found: found}
}

// lost returns which jobs of the queue count as lost; Before is zero for none.
func (r *Reconciler) lost(q WaitingQueue, l suspicion) Lost {
	lost := Lost{Queue: q.Queue}
	if !l.before.IsZero() {
		lost.Before, lost.Found = l.before.Add(-r.margin()), l.found
	}
	if passed := q.lostBefore(cmp.Or(r.Overtaken, ReconcileOvertaken)); passed.After(lost.Before) {
		lost.Before, lost.Found = passed, jobs.DriftOvertaken
	}
	return lost
}

func (r *Reconciler) repair(ctx context.Context, lost Lost) error {
	if lost.Before.IsZero() {
		return nil
	}
	for range lostBatches {
		ids, err := r.Store.DispatchLost(ctx, lost, lostBatch)
		if err != nil {
			return err
		}
		announceJobs(r.Log, r.Announce, ids, "scheduler: jobs whose message the broker lost are dispatched again", "queue", lost.Queue,
			"found", lost.Found)
		if len(ids) < lostBatch {
			break
		}
	}
	return nil
}

func (r *Reconciler) margin() time.Duration { return cmp.Or(r.Margin, ReconcileMargin) }
