package engine

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
)

// renew keeps the session alive, stops jobs that were cancelled, and gives up
// all runs before the session expires.
func (w *Worker) renew(back context.Context) {
	renewed := w.lastRenewed()
	for wait := SessionRenew - time.Since(renewed); sleep(back, wait); {
		session := w.holder()
		ctx, cancel := context.WithTimeout(back, SessionRenew)
		asked := time.Now()
		exposed := time.AfterFunc(sessionExposed-asked.Sub(renewed), w.giveUpExposed)
		err := session.Renew(ctx)
		if err == nil {
			exposed.Stop()
			renewed = asked
			w.setRenewed(renewed)
			w.cancelRequested(ctx, session)
			w.releaseUnknown(ctx, session)
		}
		cancel()
		wait = SessionRenew - time.Since(asked)
		if err == nil || back.Err() != nil {
			continue
		}
		wait = storeRetry
		w.Log.Warn("worker: renew its session", "error", err)
		if errors.Is(err, jobs.ErrLost) || time.Since(renewed) > sessionLost {
			w.lose()
			if w.openSession(back, back) == nil {
				renewed = w.lastRenewed()
			}
			_ = closeSession(back, session)
		}
	}
}

// lose ends all runs, also those whose claim is on its way, and claims no more:
// what is claimed under a session that is over, others recover while it runs.
func (w *Worker) lose() {
	w.setRenewed(time.Time{})
	w.cancelAll(jobs.ErrLost)
	w.claiming.Lock()
	defer w.claiming.Unlock()
	w.cancelAll(jobs.ErrLost)
}

var errNoLease = errors.New("the worker's session is over and the next one is not open yet")

// lease is who claims, as long as the session lives.
func (w *Worker) lease() (Holder, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.renewed) > sessionLost {
		return Holder{}, errNoLease
	}
	return w.session.Holder(), nil
}

// doubtFor is how long after a failed claim the database is asked what came of it.
const doubtFor = time.Minute

func (w *Worker) claimFailed(err error) {
	if err == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.claimFailedAt = time.Now()
}

// disown gives back the jobs that the database has this session run, and that it
// does not: their claim was committed, but the answer never came. Their messages
// may have gone to others meanwhile, who leave them to a holder that lives.
func (w *Worker) releaseUnknown(ctx context.Context, session Session) {
	w.mu.Lock()
	doubted := w.claimFailedAt
	w.mu.Unlock()
	if time.Since(doubted) > doubtFor || !w.claiming.TryLock() { // a claim that takes long must not hold up renewals
		return
	}
	defer w.claiming.Unlock()
	held, err := session.Running(ctx)
	held = slices.DeleteFunc(held, w.holds)
	if err == nil && len(held) > 0 {
		w.Log.Warn("worker: gives back jobs whose claim was not answered", "jobs", len(held))
		_, err = w.Store.Release(ctx, held) // a row that somebody holds is looked at again with the next renewal
	}
	if err != nil {
		w.Log.Warn("worker: look for claims that were not answered", "error", err)
	}
}

// holds says whether this process has the run of that very lease.
func (w *Worker) holds(r Result) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, active := range w.running {
		if key.JobID == r.JobID && active.lease == r.Lease {
			return true
		}
	}
	return false
}

func (w *Worker) lastRenewed() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.renewed
}

func (w *Worker) setRenewed(at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.renewed = at
}

// watch notes when the channel of the session breaks: also while nothing is taken
// from it, as all slots are busy, or because it was retired.
func (w *Worker) watch(session Subscription) *channel {
	c := &channel{}
	go func() {
		<-session.Lost()
		w.channelBroke(c)
	}()
	return c
}

// channelBroke notes that a channel has ended: the broker redelivers what it held.
func (w *Worker) channelBroke(c *channel) {
	c.broke.Store(true)
	w.giveUpExposed()
}

// giveUpExposed cancels the runs that the broker may have redelivered, once the
// session has not been renewed for so long that others may take them over. With
// a broker that still holds their messages for us, they go on until expiry.
func (w *Worker) giveUpExposed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.renewed) < sessionExposed {
		return
	}
	for _, active := range w.running {
		if active.exposed() {
			active.cancel(jobs.ErrLost)
		}
	}
}

// CancelJob has the handler of the job stop at once if this worker has the run that
// was asked to. It asks the database which one that is: word of a cancel may come
// late, when the job has been retried and runs anew. It waits for that answer for
// at most SessionRenew. Safe for concurrent use, also before Run.
func (w *Worker) CancelJob(ctx context.Context, id uuid.UUID) {
	ctx, cancel := context.WithTimeout(ctx, SessionRenew)
	defer cancel()
	if session := w.holder(); session != nil && w.runsJob(id) {
		w.cancelRequested(ctx, session)
	}
}

func (w *Worker) runsJob(id uuid.UUID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key := range w.running {
		if key.JobID == id {
			return true
		}
	}
	return false
}

// cancelRequested ends the contexts of the runs that were asked to stop. If the
// database does not answer, the next renewal asks again.
func (w *Worker) cancelRequested(ctx context.Context, session Session) {
	runs, err := session.CancelRequested(ctx)
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, active := range w.running {
		if slices.ContainsFunc(runs, func(r Result) bool { return r.JobID == key.JobID && r.Lease == active.lease }) {
			active.cancel(errCancelled)
		}
	}
}

func (w *Worker) cancelAll(cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, active := range w.running {
		active.cancel(cause)
	}
}

// stop takes no more, gives back what never started, lets handlers finish for
// the grace time, ends and gives back the rest, and closes the session. A broker
// that does not answer holds up none of it.
func (w *Worker) stop(back context.Context, session Subscription) {
	var giving sync.WaitGroup
	if session != nil {
		giving.Go(func() { w.giveBack(session) })
	}
	w.deciding.Wait() // after it nothing starts any more
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
	giving.Wait()
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
	for key, active := range w.running {
		left = append(left, finished{active: active, result: Result{JobID: key.JobID, Lease: active.lease}})
	}
	w.mu.Unlock()
	endings, err := w.Store.Release(ctx, resultsOf(left))
	if err != nil {
		w.Log.Warn("worker: release jobs", "error", err)
		return len(left)
	}
	for i, f := range left {
		if endings[i] == OutcomeHeld {
			continue // it is recovered once the lease of this process is over
		}
		w.logAck(f.active.ack())
		w.mu.Lock()
		delete(w.running, f.active.key)
		w.mu.Unlock()
	}
	return len(left)
}
