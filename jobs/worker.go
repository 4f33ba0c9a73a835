package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"
)

// WorkerStore is what a worker needs from the database.
type WorkerStore interface {
	// Claim claims what is plainly queued; a delivery missing in the answer is for ClaimOne.
	Claim(ctx context.Context, holder Holder, in []Incoming) (map[uuid.UUID]Claim, error)
	ClaimOne(ctx context.Context, holder Holder, in Incoming) (Claim, error)
	NoteSame(ctx context.Context, holder Holder, in Incoming, lease int) error
	// Complete says of each result whether it counted.
	Complete(ctx context.Context, results []Result) ([]bool, error)
	SaveProgress(ctx context.Context, updates []ProgressUpdate) error
	Release(ctx context.Context, runs []Result) error
	// Adopt makes a job of a stranger's message, Refuse a dead one of a message that cannot run.
	Adopt(ctx context.Context, in Incoming) (uuid.UUID, error)
	Refuse(ctx context.Context, in Incoming, why string) (uuid.UUID, error)
}

// Consumer is what a worker needs from the broker: sessions that deliver.
type Consumer interface {
	// Consume opens a connection and a channel of its own. prefetch bounds what is delivered and not acknowledged.
	Consume(ctx context.Context, queues []string, prefetch int) (Deliveries, error)
}

// Deliveries is one consuming session.
type Deliveries interface {
	// C is closed when the session ends, for whatever reason.
	C() <-chan Incoming
	// Cancel asks the broker to deliver no more; what was delivered can still be acknowledged.
	Cancel() error
	// Close ends the session: the broker delivers again what was not acknowledged. Idempotent.
	Close() error
	// Err says why the session ended, once C is closed.
	Err() error
}

// Numbers of the worker.
const (
	earlyAck      = 10 * time.Minute // long before the broker's 30 min consumer timeout
	progressEvery = 400 * time.Millisecond
	stopGrace     = 20 * time.Second // for handlers to finish after a stop was asked
	cancelGrace   = 3 * time.Second  // for handlers to return after their context ended
	reconnectMax  = 5 * time.Second
	storeRetry    = 500 * time.Millisecond
)

// Worker takes deliveries of its queues, claims their jobs and runs the handlers.
type Worker struct {
	Store       WorkerStore
	Consumer    Consumer
	Registry    *Registry
	OpenSession func(ctx context.Context) (Session, error)
	Deployment  string // app_id of our own messages
	Queues      []string
	Concurrency int
	Prefetch    int // 0: as Concurrency
	Announce    Announce
	Log         *slog.Logger
	// StopGrace is how long handlers may go on after a stop was asked; 0 means the default of 20 s.
	StopGrace time.Duration

	session  Session
	mu       sync.Mutex
	running  map[uuid.UUID]*activeRun
	slots    chan struct{} // one token per free slot
	again    chan Incoming // deliveries to look at once more
	results  chan finished
	claiming sync.Mutex     // from the claim in the database until the run is in running
	runs     sync.WaitGroup // handlers
	settling sync.WaitGroup // decisions about single deliveries
}

// activeRun is a handler that runs in this process.
type activeRun struct {
	run    *Run
	lease  int
	cancel context.CancelCauseFunc

	mu       sync.Mutex
	dispatch int
	acks     []func() error // of each delivery of this dispatch: a second message, or the first again on a new session
	acked    bool
}

// finished is a run whose result waits to be written.
type finished struct {
	active *activeRun
	result Result
}

var (
	errStopping  = errors.New("the worker is stopping")
	errCancelled = errors.New("the job was cancelled")
	errTimeout   = fmt.Errorf("the attempt took longer than its timeout: %w", context.DeadlineExceeded)
)

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
	w.running = map[uuid.UUID]*activeRun{}
	w.again = make(chan Incoming, w.Prefetch)
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
	var loops sync.WaitGroup
	loops.Go(func() { w.renew(back) })
	loops.Go(func() { w.complete(back) })
	loops.Go(func() { w.saveProgress(back) })

	w.consume(ctx, back)

	stopBack()
	loops.Wait()
	if err := closeSession(ctx, w.holder()); err != nil {
		w.Log.Warn("worker: close its session", "error", err)
	}
	return nil
}

// openSession retries until the database answers.
func (w *Worker) openSession(ctx, back context.Context) error {
	for {
		session, err := w.OpenSession(back)
		if err == nil {
			w.mu.Lock()
			w.session = session
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

// consume runs one session after the other until ctx ends, and stops the last one in good order.
func (w *Worker) consume(ctx, back context.Context) {
	wait, told := 100*time.Millisecond, false
	for ctx.Err() == nil {
		session, err := w.Consumer.Consume(ctx, w.Queues, w.Prefetch)
		if err != nil {
			if !told {
				w.Log.Warn("worker: cannot consume, goes on trying", "queues", w.Queues, "error", err)
			}
			told = true
			if !sleep(ctx, wait+rand.N(wait)) {
				break
			}
			wait = min(wait*2, reconnectMax)
			continue
		}
		wait, told = 100*time.Millisecond, false
		w.Log.Info("worker: consuming", "queues", w.Queues, "concurrency", w.Concurrency, "prefetch", w.Prefetch)
		w.take(ctx, back, session)
		if ctx.Err() != nil {
			w.stop(back, session)
			return
		}
		w.Log.Warn("worker: the broker ended the session", "error", session.Err())
		_ = session.Close()
	}
	w.stop(back, nil)
}

// take moves deliveries to claims until the session or ctx ends. It claims only
// as many as there are free slots: what waits is not ours yet. It waits for a
// delivery first and for a slot then: a slot held while nothing comes would be
// missing to settle.
func (w *Worker) take(ctx, back context.Context, session Deliveries) {
	for {
		in, ok := w.next(ctx, session)
		if !ok || !acquire(ctx, w.slots) {
			return
		}
		batch := append([]Incoming{in}, w.more(session)...)
		w.claim(ctx, back, batch)
	}
}

func (w *Worker) next(ctx context.Context, session Deliveries) (Incoming, bool) {
	select {
	case <-ctx.Done():
		return Incoming{}, false
	case in := <-w.again:
		return in, true
	case in, ok := <-session.C():
		return in, ok
	}
}

// more takes what is there already, a slot for each.
func (w *Worker) more(session Deliveries) []Incoming {
	var batch []Incoming
	for {
		select {
		case <-w.slots:
		default:
			return batch
		}
		select {
		case in, ok := <-session.C():
			if ok {
				batch = append(batch, in)
				continue
			}
		default:
		}
		w.slots <- struct{}{}
		return batch
	}
}

// claim decides about a batch; each delivery holds a slot, which either its run takes over or is given back.
func (w *Worker) claim(ctx, back context.Context, batch []Incoming) {
	ours := batch[:0]
	for _, in := range batch {
		switch {
		case in.Stranger(), in.AppID != w.Deployment:
			w.aside(func() { w.receiveStranger(ctx, in) })
		case w.join(in):
			w.aside(func() { w.noteSame(back, in) })
		default:
			ours = append(ours, in)
		}
	}
	if len(ours) == 0 {
		return
	}
	w.claiming.Lock()
	defer w.claiming.Unlock()
	claims, err := w.Store.Claim(back, w.holder().Holder(), ours)
	if err != nil {
		w.Log.Warn("worker: claim", "error", err)
		for _, in := range ours {
			w.aside(func() { w.settle(ctx, back, in, storeRetry) })
		}
		return
	}
	var ids []string
	for _, in := range ours {
		if c, ok := claims[in.JobID]; ok {
			delete(claims, in.JobID) // the same message twice in one batch: the second is a stale one
			ids = append(ids, in.JobID.String())
			w.start(back, in, c)
			continue
		}
		w.aside(func() { w.settle(ctx, back, in, 0) })
	}
	if len(ids) > 0 {
		w.Announce(TopicJobs, ids...)
	}
}

// aside gives the slot back and does what may wait without holding up the others.
func (w *Worker) aside(do func()) {
	w.slots <- struct{}{}
	w.settling.Go(do)
}

// settle decides about one delivery with its row locked, and looks again while
// the holder lives: at first soon, as the lock of a killed worker is free within
// milliseconds, for at most one lease period. After that PostgreSQL recovers the job.
func (w *Worker) settle(ctx, back context.Context, in Incoming, wait time.Duration) {
	since := time.Now()
	for sleep(ctx, wait) {
		wait = min(max(wait*2, 20*time.Millisecond), 2*time.Second)
		if !acquire(ctx, w.slots) { // a claim needs a slot
			return
		}
		verdict, err := w.claimOne(back, in)
		if err == nil && (verdict == VerdictClaim || verdict == VerdictTakeOver) {
			return
		}
		w.slots <- struct{}{}
		switch {
		case err != nil:
			w.Log.Warn("worker: claim", "job", in.JobID, "error", err)
		case verdict == VerdictWait && time.Since(since) < SessionTTL:
		case verdict == VerdictUnknown:
			w.Log.Warn("worker: a delivery of an unknown job", "job", in.JobID, "dispatch", in.Dispatch)
			w.quiet(in.Reject())
			return
		default: // stale, ended, or the wait is over
			w.Announce(TopicJobs, in.JobID.String())
			w.quiet(in.Ack())
			return
		}
	}
}

// claimOne claims a single delivery and starts its run. The lock keeps two
// deliveries of one job apart: without it the second could take a claim whose
// run has not started yet for one that this process lost.
func (w *Worker) claimOne(back context.Context, in Incoming) (Verdict, error) {
	w.claiming.Lock()
	defer w.claiming.Unlock()
	if w.join(in) {
		w.slots <- struct{}{}
		w.noteSame(back, in)
		return VerdictClaim, nil
	}
	c, err := w.Store.ClaimOne(back, w.holder().Holder(), in)
	if err == nil && (c.Verdict == VerdictClaim || c.Verdict == VerdictTakeOver) {
		w.start(back, in, c)
		w.Announce(TopicJobs, in.JobID.String())
	}
	return c.Verdict, err
}

func (w *Worker) lookAgain(ctx context.Context, in Incoming, d time.Duration) {
	if !sleep(ctx, d) {
		return
	}
	select {
	case w.again <- in:
	case <-ctx.Done():
	}
}

// receiveStranger adopts a message that no Warren wrote, or keeps it as a dead job; then it is acknowledged.
func (w *Worker) receiveStranger(ctx context.Context, in Incoming) {
	var id uuid.UUID
	var err error
	switch {
	case !in.Stranger():
		id, err = w.Store.Refuse(ctx, in, fmt.Sprintf("the message is of another deployment (app_id %q): it is not run here", in.AppID))
	case w.Registry.Lookup(in.Type) == nil:
		id, err = w.Store.Refuse(ctx, in, fmt.Sprintf("a message with the type %q, which is no kind of job here", in.Type))
	default:
		if bad := w.Registry.Check(in.Type, in.Body); bad != nil {
			id, err = w.Store.Refuse(ctx, in, "a message whose body does not fit its kind: "+bad.Error())
		} else {
			id, err = w.Store.Adopt(ctx, in)
		}
	}
	if err != nil {
		w.Log.Warn("worker: receive a message of a stranger", "error", err)
		w.lookAgain(ctx, in, storeRetry)
		return
	}
	if id != uuid.Nil {
		w.Log.Info("worker: received a message of a stranger", "job", id, "type", in.Type, "message_id", in.MessageID)
		w.Announce(TopicJobs, id.String())
	}
	w.quiet(in.Ack())
}

// join answers another delivery of a job that this process runs: it is acknowledged with the run.
func (w *Worker) join(in Incoming) bool {
	w.mu.Lock()
	active := w.running[in.JobID]
	w.mu.Unlock()
	if active == nil {
		return false
	}
	active.mu.Lock()
	defer active.mu.Unlock()
	if active.dispatch != in.Dispatch {
		return false
	}
	active.acks = append(active.acks, in.Ack)
	if active.acked {
		w.quiet(in.Ack())
	}
	return true
}

func (w *Worker) noteSame(back context.Context, in Incoming) {
	if err := w.Store.NoteSame(back, w.holder().Holder(), in, w.leaseOf(in.JobID)); err != nil {
		w.Log.Warn("worker: record a redelivery", "job", in.JobID, "error", err)
	}
}

func (w *Worker) leaseOf(id uuid.UUID) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if active := w.running[id]; active != nil {
		return active.lease
	}
	return 0
}

// ack acknowledges all deliveries of the run, once. On a session that has ended that does nothing.
func (a *activeRun) ack() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.acked {
		return nil
	}
	a.acked = true
	var errs []error
	for _, ack := range a.acks {
		errs = append(errs, ack())
	}
	return errors.Join(errs...)
}

// start runs the handler in a goroutine of its own. The slot is given back when the result is written.
func (w *Worker) start(back context.Context, in Incoming, c Claim) {
	run := &Run{ID: in.JobID, Kind: c.Kind, Queue: in.Queue, Args: c.Args, Attempt: c.Attempt, Lease: c.Lease}
	ctx, cancel := context.WithCancelCause(back)
	active := &activeRun{run: run, lease: c.Lease, cancel: cancel, dispatch: in.Dispatch, acks: []func() error{in.Ack}}
	w.mu.Lock()
	w.running[in.JobID] = active
	w.mu.Unlock()
	w.Log.Info("job started", "job", run.ID, "kind", run.Kind, "queue", run.Queue, "attempt", run.Attempt, "redelivered", in.Redelivered)
	w.runs.Go(func() {
		defer cancel(nil)
		early := time.AfterFunc(earlyAck, func() { w.quiet(active.ack()) })
		defer early.Stop()
		began := time.Now()
		err := w.handle(ctx, run, c)
		w.results <- finished{active, w.result(ctx, run, c, err, time.Since(began))}
	})
}

func (w *Worker) handle(ctx context.Context, run *Run, c Claim) error {
	kind := w.Registry.Lookup(c.Kind)
	if kind == nil {
		return fmt.Errorf("this worker does not know the kind %q", c.Kind)
	}
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.Timeout, errTimeout)
		defer cancel()
	}
	err := kind.handle(ctx, run)
	if err != nil && context.Cause(ctx) == errTimeout && !errors.Is(err, errTimeout) {
		err = fmt.Errorf("%w (the handler said: %w)", errTimeout, err)
	}
	return err
}

// result turns what the handler returned into the next state of the job.
func (w *Worker) result(ctx context.Context, run *Run, c Claim, err error, took time.Duration) Result {
	r := Result{JobID: run.ID, Lease: c.Lease, Progress: run.lastProgress()}
	cause := context.Cause(ctx)
	switch {
	case err == nil:
		r.State, r.Outcome, r.Output = Completed, AttemptCompleted, run.takeOutput()
	case errors.Is(cause, errStopping), errors.Is(cause, ErrLost):
		r.Outcome = AttemptReleased
	case errors.Is(cause, errCancelled):
		r.State, r.Outcome, r.Failure = Cancelled, AttemptCancelled, Failure{Error: errCancelled.Error(), Class: "cancelled"}
	default:
		r.Failure, r.Outcome = newFailure(err), AttemptFailed
		r.State, r.Wait = Retrying, Backoff(c.Attempt, rand.Float64()*2-1)
		if c.Attempt >= c.MaxAttempts {
			r.State = Dead
		}
	}
	w.Log.Info("job ended", "job", run.ID, "kind", run.Kind, "attempt", run.Attempt, "outcome", r.Outcome,
		"state", r.State, "took", took.Round(time.Millisecond), "error", r.Failure.Error)
	return r
}

// complete writes results, all that are there at once, and acknowledges after the commit.
func (w *Worker) complete(back context.Context) {
	for {
		select {
		case <-back.Done():
			return
		case first := <-w.results:
			w.write(back, w.drain([]finished{first}))
		}
	}
}

func (w *Worker) drain(batch []finished) []finished {
	for len(batch) < w.Concurrency {
		select {
		case f := <-w.results:
			batch = append(batch, f)
		default:
			return batch
		}
	}
	return batch
}

// write holds results until the database has them: a lost completion would run the job twice.
func (w *Worker) write(back context.Context, batch []finished) {
	var ends, releases []finished
	for _, f := range batch {
		if f.result.Outcome == AttemptReleased {
			releases = append(releases, f)
		} else {
			ends = append(ends, f)
		}
	}
	w.until(back, "write results", func() error {
		if len(ends) == 0 {
			return nil
		}
		counted, err := w.Store.Complete(back, resultsOf(ends))
		for i, ok := range counted {
			if !ok {
				w.Log.Warn("job ended too late: its lease is no longer held, the result is dropped", "job", ends[i].result.JobID, "lease", ends[i].result.Lease)
			}
		}
		return err
	})
	w.until(back, "release jobs", func() error {
		if len(releases) == 0 {
			return nil
		}
		return w.Store.Release(back, resultsOf(releases))
	})
	w.leave(batch)
}

func resultsOf(batch []finished) []Result {
	out := make([]Result, len(batch))
	for i, f := range batch {
		out[i] = f.result
	}
	return out
}

// until tries until it works or the worker has stopped.
func (w *Worker) until(ctx context.Context, what string, try func() error) {
	for {
		err := try()
		if err == nil {
			return
		}
		w.Log.Warn("worker: "+what, "error", err)
		if !sleep(ctx, storeRetry) {
			return
		}
	}
}

// leave acknowledges, forgets the runs and frees their slots.
func (w *Worker) leave(batch []finished) {
	ids := make([]string, len(batch))
	for i, f := range batch {
		ids[i] = f.result.JobID.String()
		w.quiet(f.active.ack())
		w.mu.Lock()
		if w.running[f.result.JobID] == f.active {
			delete(w.running, f.result.JobID)
		}
		w.mu.Unlock()
	}
	w.Announce(TopicJobs, ids...)
	for range batch {
		w.slots <- struct{}{}
	}
}

// renew keeps the session alive, stops jobs that were cancelled, and gives up
// all runs before the session expires.
func (w *Worker) renew(back context.Context) {
	renewed := time.Now()
	for sleep(back, SessionRenew) {
		session := w.holder()
		ctx, cancel := context.WithTimeout(back, SessionRenew)
		err := session.Renew(ctx)
		if err == nil {
			renewed = time.Now()
			if ids, cerr := session.CancelRequested(ctx); cerr == nil {
				for _, id := range ids {
					w.CancelJob(id)
				}
			}
		}
		cancel()
		if err == nil || back.Err() != nil {
			continue
		}
		w.Log.Warn("worker: renew its session", "error", err)
		if errors.Is(err, ErrLost) || time.Since(renewed) > sessionLost {
			w.cancelAll(ErrLost)
			if w.openSession(back, back) == nil {
				renewed = time.Now()
			}
			_ = closeSession(back, session)
		}
	}
}

// CancelJob asks the handler of the job to stop, if this worker runs it.
func (w *Worker) CancelJob(id uuid.UUID) {
	w.mu.Lock()
	active := w.running[id]
	w.mu.Unlock()
	if active != nil {
		active.cancel(errCancelled)
	}
}

func (w *Worker) cancelAll(cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, active := range w.running {
		active.cancel(cause)
	}
}

func (w *Worker) saveProgress(back context.Context) {
	for sleep(back, progressEvery) {
		var updates []ProgressUpdate
		var ids []string
		w.mu.Lock()
		for id, active := range w.running {
			if p, ok := active.run.takeProgress(); ok {
				updates = append(updates, ProgressUpdate{id, active.lease, p})
				ids = append(ids, id.String())
			}
		}
		w.mu.Unlock()
		if len(updates) == 0 {
			continue
		}
		if err := w.Store.SaveProgress(back, updates); err != nil {
			w.Log.Warn("worker: save progress", "error", err)
			continue
		}
		w.Announce(TopicJobs, ids...)
	}
}

// stop takes no more, lets handlers finish for the grace time, ends and gives
// back the rest, and closes the session: the broker delivers again what never started.
func (w *Worker) stop(back context.Context, session Deliveries) {
	if session != nil {
		w.quiet(session.Cancel())
	}
	w.settling.Wait() // after it nothing starts any more
	done := make(chan struct{})
	go func() { w.runs.Wait(); close(done) }()
	if !within(done, w.StopGrace) {
		w.cancelAll(errStopping)
		if !within(done, cancelGrace) {
			w.Log.Warn("worker: handlers ignore the end of their context; their jobs are given back", "jobs", w.abandon(back))
		}
	}
	w.flush()
	if session != nil {
		_ = session.Close()
	}
}

// flush waits until every result that was handed in is written: then all slots of ended runs are free.
func (w *Worker) flush() {
	deadline := time.After(5 * time.Second)
	for {
		w.mu.Lock()
		n := len(w.running)
		w.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-deadline:
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// abandon gives back the jobs of handlers that do not return. Their late results will not count.
func (w *Worker) abandon(ctx context.Context) int {
	w.mu.Lock()
	var left []finished
	for id, active := range w.running {
		left = append(left, finished{active, Result{JobID: id, Lease: active.lease}})
	}
	w.mu.Unlock()
	if err := w.Store.Release(ctx, resultsOf(left)); err != nil {
		w.Log.Warn("worker: release jobs", "error", err)
		return len(left)
	}
	for _, f := range left {
		w.quiet(f.active.ack())
		w.mu.Lock()
		delete(w.running, f.result.JobID)
		w.mu.Unlock()
	}
	return len(left)
}

// quiet logs an ack that failed because its session ended: the broker delivers again, and the claim sorts it out.
func (w *Worker) quiet(err error) {
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
