package engine

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/warrenjobs/warren/jobs"
)

// processLease is the worker's session as far as the worker knows. Safe for concurrent use.
type processLease struct {
	mu            sync.Mutex
	session       Session   // the last that was opened; nil before
	renewed       time.Time // when its last renewal was requested; zero: it is lost
	claimFailedAt time.Time // when a claim last failed that may have been committed all the same
}

func (l *processLease) current() Session {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.session
}

// open sets the session, which was requested at that time.
func (l *processLease) open(s Session, asked time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.session, l.renewed = s, asked
}

func (l *processLease) lastRenewed() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.renewed
}

// setRenewed sets the time at which the last renewal was requested; zero: the session is lost.
func (l *processLease) setRenewed(asked time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renewed = asked
}

var errNoLease = errors.New("the worker's session is over and the next one is not open yet")

// holder returns the holder for claims, or errNoLease if the session may have expired.
func (l *processLease) holder() (Holder, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.renewed) > sessionLost {
		return Holder{}, errNoLease
	}
	return l.session.Holder(), nil
}

// claimed records a claim that failed and may have been committed all the same.
func (l *processLease) claimed(err error) {
	if err == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claimFailedAt = time.Now()
}

func (l *processLease) lastFailedClaim() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.claimFailedAt
}

// openSession retries until the database answers. It reports false if ctx ended first.
func (w *Worker) openSession(ctx, back context.Context) bool {
	for {
		asked := time.Now()
		session, err := w.OpenSession(back)
		if err == nil {
			w.lease.open(session, asked)
			return true
		}
		w.Log.Warn("worker: no session yet", "error", err)
		if !sleep(ctx, storeRetry) {
			return false
		}
	}
}

// renew keeps the session alive, stops runs that were cancelled, and gives up all runs before the
// session expires.
func (w *Worker) renew(back context.Context) {
	renewed := w.lease.lastRenewed()
	for wait := SessionRenew - time.Since(renewed); sleep(back, wait); {
		session := w.lease.current()
		ctx, cancel := context.WithTimeout(back, SessionRenew)
		asked := time.Now()
		exposed := time.AfterFunc(sessionExposed-asked.Sub(renewed), w.giveUpExposed)
		err := session.Renew(ctx)
		if err == nil {
			exposed.Stop()
			renewed = asked
			w.lease.setRenewed(renewed)
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
			if w.openSession(back, back) {
				renewed = w.lease.lastRenewed()
			}
			_ = closeSession(back, session)
		}
	}
}

// lose ends all runs, including those whose claim is in flight, and stops claiming: others would
// recover a job claimed under an expired session while it runs.
func (w *Worker) lose() {
	w.lease.setRenewed(time.Time{})
	w.runs.cancelAll(jobs.ErrLost)
	w.claiming.Lock()
	defer w.claiming.Unlock()
	w.runs.cancelAll(jobs.ErrLost)
}

// claimUnknownFor is how long after a failed claim the database is asked whether it was committed.
const claimUnknownFor = time.Minute

// releaseUnknown gives back the jobs that run under this session in the database, but not in this
// process: their claim was committed, and the answer was lost. Their messages may have gone to
// other workers meanwhile, which leave them to a holder that is alive.
func (w *Worker) releaseUnknown(ctx context.Context, session Session) {
	// a claim that takes long must not hold up renewals
	if time.Since(w.lease.lastFailedClaim()) > claimUnknownFor || !w.claiming.TryLock() {
		return
	}
	defer w.claiming.Unlock()
	held, err := session.Running(ctx)
	held = slices.DeleteFunc(held, w.runs.has)
	if err == nil && len(held) > 0 {
		w.Log.Warn("worker: gives back jobs whose claim was not answered", "jobs", len(held))
		_, err = w.Store.EndRuns(ctx, released(held)) // a locked row is tried again with the next renewal
	}
	if err != nil {
		w.Log.Warn("worker: look for claims that were not answered", "error", err)
	}
}

// giveUpExposed cancels the runs that the broker may have redelivered, once the session has not
// been renewed for so long that others may take them over. Runs whose messages the broker still
// holds for us go on until expiry.
func (w *Worker) giveUpExposed() {
	if time.Since(w.lease.lastRenewed()) >= sessionExposed {
		w.runs.cancelExposed(jobs.ErrLost)
	}
}
