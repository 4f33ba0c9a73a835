package engine

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
)

// WorkerStore is what a worker needs from the database.
type WorkerStore interface {
	// Claim claims what is plainly queued; a delivery missing in the answer is for ClaimOne.
	Claim(ctx context.Context, holder Holder, in []Delivery) (map[DispatchKey]Claim, error)
	ClaimOne(ctx context.Context, holder Holder, in Delivery) (Claim, error)
	RecordSameRun(ctx context.Context, holder Holder, in Delivery, lease int) error
	// Complete says of each result what became of it.
	Complete(ctx context.Context, results []Result) ([]RunOutcome, error)
	// CompletedTx says of each run whether its handler completed it in a transaction of its own.
	CompletedTx(ctx context.Context, runs []Result) ([]bool, error)
	SaveProgress(ctx context.Context, updates []ProgressUpdate) error
	SaveLogs(ctx context.Context, updates []LogUpdate) error
	Release(ctx context.Context, runs []Result) ([]RunOutcome, error)
	Snooze(ctx context.Context, runs []Result) ([]RunOutcome, error)
	// SaveUnknownKind notes that this worker has given back a job of a kind that it has no handler for.
	SaveUnknownKind(ctx context.Context, kind, queue, worker string) error
	// SaveReached notes how far the queues are: in are the newest first deliveries that were claimed.
	SaveReached(ctx context.Context, in []Delivery) error
	// AdoptForeign makes a job of a stranger's message, Refuse a dead one of a message that cannot run.
	AdoptForeign(ctx context.Context, in Delivery) (uuid.UUID, error)
	RefuseForeign(ctx context.Context, in Delivery, why string) (uuid.UUID, error)
}

// Consumer is what a worker needs from the broker: sessions that deliver.
type Consumer interface {
	// Consume opens a connection and a channel of its own. It takes the names of the
	// queues, and for each how many messages may be delivered and not acknowledged.
	Consume(ctx context.Context, prefetch map[string]int) (Subscription, error)
}

// Subscription is one consuming session.
type Subscription interface {
	// C is closed when the session ends, for whatever reason.
	C() <-chan Delivery
	// Cancel has the broker deliver no more, and waits until it knows: C ends after
	// what was on the way. What was delivered can still be acknowledged. Idempotent.
	Cancel() error
	// Close ends the session: the broker delivers again what was not acknowledged. Idempotent.
	Close() error
	// Err says why the session ended, once C is closed.
	Err() error
	// Lost is closed when the channel is no more, by Close or because it broke: the broker
	// delivers again what was not acknowledged. C may still hold deliveries then.
	Lost() <-chan struct{}
}

// Numbers of the worker.
const (
	earlyAck      = 10 * time.Minute // long before the broker's 30 min consumer timeout
	startWithin   = time.Minute
	progressEvery = 400 * time.Millisecond
	stopGrace     = 20 * time.Second // for handlers to finish after a stop was asked
	cancelGrace   = 3 * time.Second  // for handlers to return after their context ended
	reconnectMax  = 5 * time.Second
	storeRetry    = 500 * time.Millisecond
	batchApart    = 8 * time.Millisecond  // between statements that claim, or complete, under load …
	slotApart     = 40 * time.Microsecond // … but no more than this for each slot
)

// Worker takes deliveries of its queues, claims their jobs and runs the handlers.
type Worker struct {
	Store        WorkerStore
	Consumer     Consumer
	Registry     *jobs.Registry
	OpenSession  func(ctx context.Context) (Session, error)
	Deployment   string // app_id of our own messages
	Queues       []string
	Concurrency  int
	Prefetch     int // 0: as Concurrency
	Announce     Announce
	ReportHealth ReportHealth // may be nil
	Log          *slog.Logger
	// StopGrace is how long handlers may go on after a stop was asked; 0 means the default of 20 s.
	StopGrace time.Duration
	// QueueConfigs of the queues in the slots; a queue that is not named has weight 1 and no limit.
	QueueConfigs map[string]QueueConfig
	// StartWithin is how long messages may wait for a slot: then they go back, and where
	// Prefetch is more than Concurrency fewer are held. 0 means the default of a minute.
	StartWithin time.Duration
	// EarlyAck is how long a run keeps its message: a longer one is acknowledged and
	// lives on its lease alone. 0 means the default of 10 min.
	EarlyAck time.Duration

	session       Session
	mu            sync.Mutex
	renewed       time.Time          // when the session's last renewal was asked for; zero: it is lost
	claimFailedAt time.Time          // when a claim last failed that may have been committed
	resumed       chan struct{}      // not nil while quiet; closed by Resume
	pause         context.CancelFunc // ends what is taken now
	running       map[DispatchKey]*activeRun
	furthest      map[string]Delivery // by queue: the newest first delivery since it was last written down
	slots         chan struct{}       // one token per free slot
	again         chan Delivery       // deliveries to look at once more
	results       chan finished
	claiming      lock           // from the claim in the database until the run is in running
	runs          sync.WaitGroup // handlers
	deciding      sync.WaitGroup // decisions about single deliveries
	retired       sync.WaitGroup // sessions that wait for the acks of their last runs
}

// Run works until ctx ends, then lets handlers finish for the grace time, gives
// the rest back and returns nil. It outlives failures of broker and database.
// An error means that it could not start.
func (w *Worker) Run(ctx context.Context) error {
	if w.Prefetch == 0 {
		w.Prefetch = w.Concurrency
	}
	if w.StopGrace == 0 {
		w.StopGrace = stopGrace
	}
	if w.StartWithin == 0 {
		w.StartWithin = startWithin
	}
	if w.EarlyAck == 0 {
		w.EarlyAck = earlyAck
	}
	w.running = map[DispatchKey]*activeRun{}
	w.claiming = newLock()
	w.again = make(chan Delivery, w.Prefetch)
	w.results = make(chan finished, w.Concurrency)
	w.slots = make(chan struct{}, w.Concurrency)
	for range w.Concurrency {
		w.slots <- struct{}{}
	}

	// The loops behind the handlers outlive ctx: results must still be written while stopping.
	back, stopBack := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBack()
	if err := w.openSession(ctx, back); err != nil {
		return err
	}
	if w.holder() == nil { // the database was away all the time
		return nil
	}
	var loops sync.WaitGroup
	loops.Go(func() { w.renew(back) })
	loops.Go(func() { w.complete(back) })
	loops.Go(func() { w.saveProgress(back) })
	loops.Go(func() { w.saveReached(back) })

	w.consume(ctx, back)

	stopBack()
	loops.Wait()
	w.retired.Wait()
	if err := closeSession(ctx, w.holder()); err != nil {
		w.Log.Warn("worker: close its session", "error", err)
	}
	return nil
}

// openSession retries until the database answers.
func (w *Worker) openSession(ctx, back context.Context) error {
	for {
		asked := time.Now()
		session, err := w.OpenSession(back)
		if err == nil {
			w.mu.Lock()
			w.session, w.renewed = session, asked
			w.mu.Unlock()
			return nil
		}
		w.Log.Warn("worker: no session yet", "error", err)
		if !sleep(ctx, storeRetry) {
			return nil
		}
	}
}

func (w *Worker) holder() Session {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.session
}

// consume runs one session after the other until ctx ends, and stops the last
// one in good order. While the worker is quiet there is none.
func (w *Worker) consume(ctx, back context.Context) {
	wait, told := 100*time.Millisecond, false
	prefetch, full := w.Prefetch, false
	for ctx.Err() == nil {
		taking, end := w.taking(ctx)
		if full && acquire(taking, w.slots) { // until one is free, others are to have the messages
			w.slots <- struct{}{}
		}
		session, err := w.Consumer.Consume(taking, w.prefetches(prefetch))
		if err != nil {
			if !told && taking.Err() == nil {
				w.Log.Warn("worker: cannot consume, goes on trying", "queues", w.Queues, "error", err)
				told = true
			}
			if taking.Err() == nil {
				w.health(ctx, err.Error())
			}
			sleep(taking, wait+rand.N(wait))
			wait = min(wait*2, reconnectMax)
			end()
			continue
		}
		wait, told = 100*time.Millisecond, false
		w.health(ctx, "")
		w.Log.Info("worker: consuming", "queues", w.Queues, "concurrency", w.Concurrency, "prefetch", prefetch)
		fewer := make(chan int, 1)
		session = w.arrange(session, prefetch, func(started int) {
			fewer <- min(w.Concurrency+started, prefetch-1)
			end()
		})
		from := w.watch(session)
		if full = w.take(taking, back, session, from); full {
			end()
		}
		switch {
		case ctx.Err() != nil:
			end()
			w.stop(back, session)
			return
		case taking.Err() != nil:
			select {
			case prefetch = <-fewer:
				full = true
				w.Log.Info("worker: messages wait too long for a slot, holds fewer of them", "prefetch", prefetch)
			default:
				w.Log.Info("worker: takes no new jobs", "full", full)
			}
			w.retire(back, session)
		default:
			w.Log.Warn("worker: the broker ended the session", "error", session.Err())
			w.channelBroke(from)
			prefetch = w.Prefetch
			_ = session.Close()
		}
		end()
	}
	w.stop(back, nil)
}

func (w *Worker) health(ctx context.Context, problem string) {
	if w.ReportHealth != nil {
		w.ReportHealth(ctx, ComponentConsume, problem)
	}
}

// take moves deliveries to claims until the session or ctx ends. It claims only
// as many as there are free slots: what waits is not ours yet. It waits for a
// delivery first and for a slot then: a slot held while nothing comes would be
// missing to settle. It gives up, full, when a delivery has waited too long for a slot.
func (w *Worker) take(ctx, back context.Context, session Subscription, from *channel) (full bool) {
	pace := w.newPace()
	for {
		in, ok := w.next(ctx, session, from)
		if !ok {
			return false
		}
		if !w.acquireSoon(ctx) {
			w.logAck(in.Return())
			return ctx.Err() == nil
		}
		pace.wait(ctx)
		batch := append([]Delivery{in}, w.more(session, from)...)
		w.claim(ctx, back, batch)
	}
}

// pace keeps statements apart under load, so that each does much: the first
// after a pause is never delayed.
type pace struct {
	apart time.Duration
	last  time.Time
}

// newPace: who has few slots fills few of them while it waits.
func (w *Worker) newPace() *pace {
	return &pace{apart: min(batchApart, time.Duration(w.Concurrency)*slotApart)}
}

func (p *pace) wait(ctx context.Context) {
	if d := p.apart - time.Since(p.last); d > 0 {
		sleep(ctx, d)
	}
	p.last = time.Now()
}

func (w *Worker) next(ctx context.Context, session Subscription, from *channel) (Delivery, bool) {
	select {
	case <-ctx.Done():
		return Delivery{}, false
	case in := <-w.again:
		return in, true
	case in, ok := <-session.C():
		in.channel = from
		return in, ok
	}
}

// acquireSoon waits for a slot as long as messages may wait.
func (w *Worker) acquireSoon(ctx context.Context) bool {
	select {
	case <-w.slots:
		return true
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, w.StartWithin)
	defer cancel()
	return acquire(ctx, w.slots)
}

// more takes what is there already, a slot for each.
func (w *Worker) more(session Subscription, from *channel) []Delivery {
	var batch []Delivery
	for {
		select {
		case <-w.slots:
		default:
			return batch
		}
		select {
		case in, ok := <-session.C():
			if ok {
				in.channel = from
				batch = append(batch, in)
				continue
			}
		default:
		}
		w.slots <- struct{}{}
		return batch
	}
}

// note logs an ack that failed because its session ended: the broker delivers again, and the claim sorts it out.
func (w *Worker) logAck(err error) {
	if err != nil {
		w.Log.Debug("worker: the session of a delivery has ended", "error", err)
	}
}

func acquire(ctx context.Context, slots <-chan struct{}) bool {
	select {
	case <-ctx.Done():
		return false
	case <-slots:
		return true
	}
}

func within(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
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
