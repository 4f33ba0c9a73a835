package engine

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
)

// WorkerStore is what a worker needs from the database.
type WorkerStore interface {
	// Claim claims the deliveries whose jobs are plainly queued; a delivery that is missing in the
	// answer is for ClaimOne.
	Claim(ctx context.Context, holder Holder, in []Delivery) (map[DispatchKey]Claim, error)
	ClaimOne(ctx context.Context, holder Holder, in Delivery) (Claim, error)
	// RecordSameRun records another delivery of a dispatch that the holder runs under the lease.
	RecordSameRun(ctx context.Context, holder Holder, in Delivery, lease int) error
	// EndRuns writes the results and returns the outcome of each. It may be called again with the
	// same results.
	EndRuns(ctx context.Context, results []Result) ([]RunOutcome, error)
	// CompletedTx reports for each run whether its handler completed it in a transaction of its own.
	CompletedTx(ctx context.Context, runs []Result) ([]bool, error)
	SaveProgress(ctx context.Context, updates []ProgressUpdate) error
	SaveLogs(ctx context.Context, updates []LogUpdate) error
	// SaveUnknownKind records that this worker has given back a job of a kind that it has no handler for.
	SaveUnknownKind(ctx context.Context, kind, queue, worker string) error
	// SaveReached records how far workers are with their queues: in holds the newest first
	// deliveries that were claimed.
	SaveReached(ctx context.Context, in []Delivery) error
	// AdoptForeign makes a job of a message that Warren did not send; RefuseForeign makes a dead
	// job of a message that cannot run.
	AdoptForeign(ctx context.Context, in Delivery) (uuid.UUID, error)
	RefuseForeign(ctx context.Context, in Delivery, why string) (uuid.UUID, error)
}

// Consumer opens the subscriptions of a worker.
type Consumer interface {
	// Consume opens a connection and a channel of its own. prefetch has the names of the queues,
	// and for each how many messages may be unacknowledged at once.
	Consume(ctx context.Context, prefetch map[string]int) (Subscription, error)
}

// Subscription is a channel that consumes queues.
type Subscription interface {
	// C yields the deliveries; it is closed when the subscription ends, for whatever reason.
	C() <-chan Delivery
	// Cancel stops further deliveries and waits for the broker's answer; C ends after those in
	// flight. Deliveries can still be acknowledged. Idempotent.
	Cancel() error
	// Close ends the subscription: the broker redelivers what was not acknowledged. Idempotent.
	Close() error
	// Err returns why the subscription ended, once C is closed.
	Err() error
	// Lost is closed when the channel has ended, by Close or because it broke: the broker
	// redelivers what was not acknowledged. C may still hold deliveries then.
	Lost() <-chan struct{}
}

// StopGrace is how long handlers may go on after a stop was requested, by default.
const StopGrace = 20 * time.Second

// Timing and limits of the worker.
const (
	earlyAck      = 10 * time.Minute // long before the broker's 30 min consumer timeout
	startWithin   = time.Minute
	progressEvery = 400 * time.Millisecond
	cancelGrace   = 3 * time.Second // for handlers to return after their context ended
	reconnectMax  = 5 * time.Second
	storeRetry    = 500 * time.Millisecond
	batchApart    = 8 * time.Millisecond  // between statements that claim, or complete, under load …
	slotApart     = 40 * time.Microsecond // … but no more than this for each slot
)

// Worker takes deliveries of its queues, claims their jobs and runs the handlers.
type Worker struct {
	Store       WorkerStore
	Consumer    Consumer
	Registry    *jobs.Registry
	OpenSession func(ctx context.Context) (Session, error)
	Deployment  string // app_id of our own messages
	Queues      []string
	Concurrency int
	Prefetch    int // 0: as Concurrency
	Announce    Announce
	Events      *Events // nil: the worker has no subscribers
	// ReportHealth may be nil.
	ReportHealth ReportHealth
	Log          *slog.Logger
	// StopGrace is how long handlers may go on after a stop was asked; 0 means the default of 20 s.
	StopGrace time.Duration
	// QueueConfigs holds each queue's share in the slots; a queue that is not named has weight 1
	// and no limit.
	QueueConfigs map[string]QueueConfig
	// StartWithin is how long messages may wait for a slot: then they go back to the broker, and if
	// Prefetch is more than Concurrency fewer are held. 0 means the default of a minute.
	StartWithin time.Duration
	// EarlyAck is how long a run keeps its message: the message of a longer run is acknowledged
	// early, and the run then relies on its lease alone. 0 means the default of 10 min.
	EarlyAck time.Duration

	lease   processLease
	gate    gate
	runs    runTable
	slots   slots
	reached highWater
	ended   counter
	again   chan Delivery // deliveries to try again
	results chan finished
	// claiming is held from the claim in the database until the run is in the table.
	claiming lock
	deciding sync.WaitGroup // decisions about single deliveries
	retired  sync.WaitGroup // subscriptions that wait for the acks of their last runs
}

// Run works until ctx ends, then lets handlers finish for the grace time, gives the rest back and
// returns nil. It survives failures of broker and database.
func (w *Worker) Run(ctx context.Context) error {
	w.init()
	// The loops behind the handlers outlive ctx: results must still be written while stopping.
	back, stopBack := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBack()
	if w.openSession(ctx, back); w.lease.current() == nil { // the database was away all the time
		return nil
	}
	var loops sync.WaitGroup
	loops.Go(func() { w.renew(back) })
	loops.Go(func() { w.writeResults(back) })
	loops.Go(func() { w.saveProgress(back) })
	loops.Go(func() { w.saveReached(back) })

	w.consume(ctx, back)

	stopBack()
	loops.Wait()
	w.retired.Wait()
	if err := closeSession(ctx, w.lease.current()); err != nil {
		w.Log.Warn("worker: close its session", "error", err)
	}
	return nil
}

func (w *Worker) init() {
	w.Prefetch = cmp.Or(w.Prefetch, w.Concurrency)
	w.StopGrace = cmp.Or(w.StopGrace, StopGrace)
	w.StartWithin = cmp.Or(w.StartWithin, startWithin)
	w.EarlyAck = cmp.Or(w.EarlyAck, earlyAck)
	w.claiming = newLock()
	w.again = make(chan Delivery, w.Prefetch)
	w.results = make(chan finished, w.Concurrency)
	w.slots = newSlots(w.Concurrency)
}

// Ended returns how many runs ended in the last minute. Safe for concurrent use.
func (w *Worker) Ended() int64 { return w.ended.sum(time.Now()) }

// pace keeps statements apart under load, so that each carries more; the first after a pause is
// never delayed.
type pace struct {
	apart time.Duration
	last  time.Time
}

// newPace returns a shorter pace for a worker with few slots, as few of them fill up while it waits.
func (w *Worker) newPace() *pace {
	return &pace{apart: min(batchApart, time.Duration(w.Concurrency)*slotApart)}
}

func (p *pace) wait(ctx context.Context) {
	if d := p.apart - time.Since(p.last); d > 0 {
		sleep(ctx, d)
	}
	p.last = time.Now()
}

// logAck logs an ack that failed because its subscription ended: the broker redelivers, and the
// claim sorts it out.
func (w *Worker) logAck(err error) {
	if err != nil {
		w.Log.Debug("worker: the subscription of a delivery has ended", "error", err)
	}
}
