package jobs

import (
	"errors"
	"fmt"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrNotFound: there is no such job, queue or page.
	ErrNotFound = errors.New("not found")
	// ErrNoJob: the task owns no job.
	ErrNoJob = errors.New("the task owns no job")
	// ErrStale: the run that wanted to write has been replaced or its job has ended; its
	// result is dropped. Whoever gets it from store.CompleteTx must roll back.
	ErrStale = errors.New("the lease is no longer held")
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
