package engine

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"github.com/warrenjobs/warren/jobs"
)

// handle runs the handler of kind and turns a panic into an error with a stack.
func handle(ctx context.Context, kind *jobs.Kind, run *jobs.Run, checked int64) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{value: p, stack: string(debug.Stack())}
		}
	}()
	if err := kind.CheckRun(run.Args, checked); err != nil {
		return jobs.Permanent(fmt.Errorf("the args do not fit the kind %s: %w", kind.Name, err))
	}
	return kind.Work(ctx, run)
}

type panicError struct {
	value any
	stack string
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// Failure is the record of a failed attempt.
type Failure struct {
	Error string
	Class string // Go type of the innermost error, "timeout" or "panic"
	Stack string
}

func newFailure(err error) Failure {
	var p *panicError
	switch {
	case errors.As(err, &p):
		return Failure{Error: errorText(err), Class: "panic", Stack: p.stack}
	case errors.Is(err, context.DeadlineExceeded):
		return Failure{Error: errorText(err), Class: "timeout"}
	}
	root := err
	for errors.Unwrap(root) != nil {
		root = errors.Unwrap(root)
	}
	return Failure{Error: errorText(err), Class: fmt.Sprintf("%T", root)}
}

const errorMax = 16 << 10 // bytes kept of an error: lists and logs show it

// urlPassword is the password in a URL, as connection errors quote it.
var urlPassword = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://[^\s/?#@:]*):[^\s/?#]*@`)

// errorText returns the text of err as it is kept and shown, without passwords in URLs.
func errorText(err error) string {
	s := err.Error()
	if len(s) > errorMax {
		s = strings.ToValidUTF8(s[:errorMax], "") + "…"
	}
	return urlPassword.ReplaceAllString(s, "$1:***@")
}

// Backoff returns the wait before the next attempt after n failed ones: about n⁴ + 3 seconds,
// capped at a day, with 10 % jitter so that jobs that failed together do not come back together.
// The curve is Sidekiq's; jitter is between -1 and 1.
func Backoff(n int, jitter float64) time.Duration {
	base := min(float64(n)*float64(n)*float64(n)*float64(n)+3, (24 * time.Hour).Seconds())
	return time.Duration(base * (1 + 0.1*jitter) * float64(time.Second))
}
