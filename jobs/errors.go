package jobs

import (
	"errors"
	"fmt"
	"time"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrNotFound: there is no such job, queue or page.
	ErrNotFound = errors.New("not found")
	// ErrNoJob: the task owns no job.
	ErrNoJob = errors.New("the task owns no job")
	// ErrStale: the run that wanted to write has been replaced or its job has ended; its
	// result is dropped. Whoever gets it from outbox.CompleteTx must roll back.
	ErrStale = errors.New("the lease is no longer held")
	// ErrHeld: somebody has the job's row locked, and nothing was done: try again.
	ErrHeld = errors.New("somebody holds the job's row")
	// ErrUnavailable: the broker cannot be reached, or the connection to it broke.
	ErrUnavailable = errors.New("the broker is away")
	// ErrLost: the process that held the job lost its own lease.
	ErrLost = errors.New("the worker could not renew its lease")
)

// Permanent marks err as one that no retry heals: the job is dead at once,
// whatever attempts it has left. Errors that wrap the result are marked too.
// Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ error }

func (e *permanentError) Unwrap() error { return e.error }

// IsPermanent says whether err was marked by Permanent.
func IsPermanent(err error) bool {
	var p *permanentError
	return errors.As(err, &p)
}

// Cancel ends the job of the handler that returns it: it is cancelled, whatever
// attempts it has left, and err is kept as the reason. Unlike a dead job it asks
// for nobody's attention. Errors that wrap the result do the same. Cancel(nil)
// cancels without a reason.
func Cancel(err error) error {
	if err == nil {
		err = errors.New("cancelled by its handler")
	}
	return &cancelError{err}
}

type cancelError struct{ error }

func (e *cancelError) Unwrap() error { return e.error }

// IsCancel says whether err is Cancel's.
func IsCancel(err error) bool {
	var c *cancelError
	return errors.As(err, &c)
}

// Snooze puts the job of the handler that returns it off: it is scheduled to run
// again after d, or at once if d is not positive. The attempt does not count: the
// next has the same number, and Run.Lease alone rises. Errors that wrap the
// result do the same; their text is kept as the reason.
func Snooze(d time.Duration) error { return &snoozeError{max(d, 0)} }

type snoozeError struct{ wait time.Duration }

func (e *snoozeError) Error() string { return fmt.Sprintf("snoozed for %s", e.wait) }

// SnoozedFor is the wait that Snooze was given, if err is Snooze's.
func SnoozedFor(err error) (d time.Duration, ok bool) {
	var s *snoozeError
	if !errors.As(err, &s) {
		return 0, false
	}
	return s.wait, true
}

// NotAllowedError says that an action does not fit the state of the job.
type NotAllowedError struct {
	Action Action
	State  State
	Why    string
}

func (e *NotAllowedError) Error() string { return e.Why }

// NewNotAllowed explains why action cannot be done to a job in state s.
func NewNotAllowed(a Action, s State) *NotAllowedError {
	_, why := a.Allowed(s)
	return &NotAllowedError{Action: a, State: s, Why: why}
}

// KeyTakenError says that a newer open job holds the unique key.
type KeyTakenError struct{ Key string }

func (e *KeyTakenError) Error() string {
	return fmt.Sprintf("An open job holds the unique key %q: this one cannot run beside it.", e.Key)
}
