package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Kind is a type of job: its name, what its args must look like and, where its
// jobs are worked, the handler. Handle and Describe make one. It does not
// change afterwards and is safe for concurrent use.
type Kind struct {
	Name        string
	Description string // one sentence for people, from the args' Description method if there is one
	Fields      []Field
	Schema      json.RawMessage // JSON Schema of the args

	defaults NewJob // for what a new job leaves open
	schema   validator
	validate func(args json.RawMessage) FieldErrors // nil where the schema says all
	work     func(context.Context, *Run) error      // nil: its jobs are worked elsewhere
}

// Validator is what args implement that have rules beyond their JSON Schema. It
// is asked at submission and again before a run, where its error is permanent.
// FieldErrors name the fields of the args, such as "url".
type Validator interface{ Validate() error }

// Handle returns the kind of A with the handler of its jobs. The defaults fill
// what a new job leaves open: queue, attempts, timeout and tags. outbox.Enqueue
// knows no kinds and does not; warren.Client does, and so do form, API and command
// line. The handler
// runs in many goroutines at once and at least once per job: a worker that dies
// is replaced and the job runs again, so its effects must be idempotent by
// run.ID, or fenced by run.Lease. An error means the attempt failed; ctx ends
// on timeout, cancel and stop.
func Handle[A Args](handler func(ctx context.Context, run *Run, args A) error, defaults ...Option) *Kind {
	k := Describe[A](defaults...)
	k.work = func(ctx context.Context, run *Run) error {
		var args A
		if err := json.Unmarshal(run.Args, &args); err != nil {
			return fmt.Errorf("read args of %s: %w", k.Name, err)
		}
		if v, ok := any(args).(Validator); ok {
			if err := v.Validate(); err != nil { // of an application that did not ask before
				return Permanent(err)
			}
		}
		return handler(ctx, run, args)
	}
	return k
}

// Describe returns the kind of A for a process that submits its jobs and does not
// work them: they are checked and offered as those of Handle are. A worker of this
// process leaves them to others.
func Describe[A Args](defaults ...Option) *Kind {
	var zero A
	k := &Kind{Name: zero.Kind()}
	if d, ok := any(zero).(interface{ Description() string }); ok {
		k.Description = d.Description()
	}
	for _, set := range defaults {
		set(&k.defaults)
	}
	k.Schema, k.Fields, k.schema = reflectSchema(zero)
	if _, ok := any(zero).(Validator); ok {
		k.validate = func(raw json.RawMessage) FieldErrors {
			var args A
			err := json.Unmarshal(raw, &args) // a field of a wrong type leaves the others read
			all := argErrors(any(args).(Validator).Validate())
			if err != nil {
				all = append(all, FieldError{"args", err.Error()})
			}
			return all
		}
	}
	return k
}

// Handled says whether this process has the handler of the kind's jobs.
func (k *Kind) Handled() bool { return k.work != nil }

// Work runs the handler for the run's args and returns its error, without any of what a
// worker does around it: engine.Worker and engine.Try call it. It panics where the
// handler does, and without one.
func (k *Kind) Work(ctx context.Context, run *Run) error { return k.work(ctx, run) }

// Check says whether args fit the kind; the error is FieldErrors with fields such as "args.text".
func (k *Kind) Check(args json.RawMessage) error {
	if len(args) == 0 {
		args = json.RawMessage(`{}`)
	}
	wrong := k.schema.check(args)
	if k.validate == nil {
		return wrong.OrNil()
	}
	named := func(own FieldError) bool { // by the schema, which then says it better
		return slices.ContainsFunc(wrong, func(e FieldError) bool {
			return own.Field == "args" || e.Field == "args" || strings.HasPrefix(e.Field+".", own.Field+".")
		})
	}
	return append(wrong, slices.DeleteFunc(k.validate(args), named)...).OrNil()
}

// Defaults is what a job of the kind gets that leaves queue, attempts and timeout open.
func (k *Kind) Defaults() (queue string, maxAttempts int, timeout time.Duration) {
	d := k.defaults
	return cmp.Or(d.Queue, QueueDefault), cmp.Or(d.MaxAttempts, MaxAttemptsDefault), d.Timeout
}

// fill gives the job the kind's defaults for what it leaves open.
func (k *Kind) fill(j *NewJob) {
	d := k.defaults
	j.Queue = cmp.Or(j.Queue, d.Queue)
	j.MaxAttempts = cmp.Or(j.MaxAttempts, d.MaxAttempts)
	j.Timeout = cmp.Or(j.Timeout, d.Timeout)
	if j.Tags == nil {
		j.Tags = slices.Clone(d.Tags)
	}
}

// argErrors puts what Validate said below "args".
func argErrors(err error) FieldErrors {
	var fields FieldErrors
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &fields):
		return FieldErrors{{"args", err.Error()}}
	}
	all := make(FieldErrors, len(fields))
	for i, f := range fields {
		all[i] = FieldError{"args." + f.Field, f.Message}
	}
	return all
}
