package jobs

import (
	"errors"
	"fmt"
	"time"
)

// Errors that callers distinguish with errors.Is.
var (
	// ErrNotFound: there is no such job, queue or page.
	ErrNotFound = errors.New("not found")
	// ErrNoJob: the task owns no job.
	ErrNoJob = errors.New("the task owns no job")
	// ErrStale: the run has been replaced or its job has ended, so its result is dropped.
	// A caller that gets it from outbox.CompleteTx must roll back.
	ErrStale = errors.New("the lease is no longer held")
	// ErrHeld: another transaction has locked the job's row. Nothing was changed; try again.
	ErrHeld = errors.New("somebody holds the job's row")
	// ErrUnavailable: the broker cannot be reached, or the connection to it was lost.
	ErrUnavailable = errors.New("the broker is unavailable")
	// ErrLost: the worker that runs the job could not renew its own lease in time.
	ErrLost = errors.New("the worker could not renew its lease")
)

// Permanent marks err as not worth retrying: a handler that returns it makes its job dead at
// once, regardless of the attempts left. Errors that wrap the result are marked too.
// Permanent(nil) returns nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ error }

func (e *permanentError) Unwrap() error { return e.error }

// IsPermanent reports whether err was marked by Permanent.
func IsPermanent(err error) bool {
	var p *permanentError
	return errors.As(err, &p)
}

// Cancel returns an error with which a handler cancels its own job, regardless of the attempts
// left; err is kept as the reason, and Cancel(nil) cancels without one. Unlike a dead job, a
// cancelled job needs no attention. Errors that wrap the result cancel the job too.
func Cancel(err error) error {
	if err == nil {
		err = errors.New("cancelled by its handler")
	}
	return &cancelError{err}
}

type cancelError struct{ error }

func (e *cancelError) Unwrap() error { return e.error }

// IsCancel reports whether err was returned by Cancel or wraps such an error.
func IsCancel(err error) bool {
	var c *cancelError
	return errors.As(err, &c)
}

// Snooze returns an error with which a handler postpones its own job: the job runs again after
// d, or at once if d is not positive. The attempt does not count: the next one has the same
// number, and only Run.Lease increases. Errors that wrap the result snooze the job too, and
// their text is kept as the reason.
func Snooze(d time.Duration) error { return &snoozeError{max(d, 0)} }

type snoozeError struct{ wait time.Duration }

func (e *snoozeError) Error() string { return fmt.Sprintf("snoozed for %s", e.wait) }

// SnoozedFor returns the duration given to Snooze, and whether err came from Snooze.
func SnoozedFor(err error) (d time.Duration, ok bool) {
	var s *snoozeError
	if !errors.As(err, &s) {
		return 0, false
	}
	return s.wait, true
}

// RetryAfter marks err with a time before which a retry is pointless, as a server asks for with
// its Retry-After header: the next attempt comes no earlier than after d, and at most RetryAfterMax
// later. Errors that wrap the result are marked too. RetryAfter(nil, d) is nil.
func RetryAfter(err error, d time.Duration) error {
	if err == nil || d <= 0 {
		return err
	}
	return &retryAfterError{err, min(d, RetryAfterMax)}
}

// RetryAfterMax is the longest wait that RetryAfter asks for.
const RetryAfterMax = 24 * time.Hour

type retryAfterError struct {
	error
	wait time.Duration
}

func (e *retryAfterError) Unwrap() error { return e.error }

// RetryAfterOf returns the wait that err was marked with by RetryAfter, 0 without one.
func RetryAfterOf(err error) time.Duration {
	var r *retryAfterError
	if !errors.As(err, &r) {
		return 0
	}
	return r.wait
}

// NotAllowedError reports that an action is not allowed in the job's state.
type NotAllowedError struct {
	Action Action
	State  State
	Why    string
}

func (e *NotAllowedError) Error() string { return e.Why }

// NewNotAllowed returns the error for an action that is not allowed in state s.
func NewNotAllowed(a Action, s State) *NotAllowedError {
	_, why := a.Allowed(s)
	return &NotAllowedError{Action: a, State: s, Why: why}
}

// KeyTakenError reports that a newer open job holds the unique key.
type KeyTakenError struct{ Key string }

func (e *KeyTakenError) Error() string {
	return fmt.Sprintf("An open job holds the unique key %q: this one cannot run beside it.", e.Key)
}
