package jobs

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is a type of job: its name, the schema of its args and, in a process that works its
// jobs, the handler. Kinds are made by Handle and Describe, are immutable, and are safe for
// concurrent use.
type Kind struct {
	Name        string
	Description string // one sentence, from the args' Description method if there is one
	Fields      []Field
	Schema      json.RawMessage // JSON Schema of the args

	defaults NewJob // for the fields that a new job leaves unset
	schema   validator
	digest   [sha256.Size]byte                      // of Schema
	validate func(args json.RawMessage) FieldErrors // reads the args as the handler gets them, and calls their Validate
	work     func(context.Context, *Run) error      // nil: its jobs are worked by other processes
}

// Validator is implemented by args whose rules go beyond their JSON Schema. Validate is called
// at submission and again before a run, where its error is permanent. It may return FieldErrors,
// whose fields are those of the args, such as "url".
type Validator interface{ Validate() error }

// Handle returns the kind of A with the handler that works its jobs.
//
// The handler is called from many goroutines, and at least once per job: when a worker dies, the
// job runs again, so its effects must be idempotent by run.ID or fenced by run.Lease. An error
// fails the attempt; ctx is cancelled on timeout, when the job is cancelled, and on shutdown.
//
// The defaults fill in the queue, attempts, timeout and tags that a new job leaves unset. They
// apply to jobs from warren.Client, the form, the API and the command line, but not to
// outbox.Enqueue, which knows no kinds.
func Handle[A Args](handler func(ctx context.Context, run *Run, args A) error, defaults ...Option) *Kind {
	k := Describe[A](defaults...)
	k.work = func(ctx context.Context, run *Run) error {
		var args A
		if err := decodeArgs(run.Args, &args); err != nil {
			return Permanent(fmt.Errorf("read args of %s: %w", k.Name, err))
		}
		if v, ok := any(args).(Validator); ok {
			if err := v.Validate(); err != nil { // the application enqueued without validating
				return Permanent(err)
			}
		}
		return handler(ctx, run, args)
	}
	return k
}

// Describe returns the kind of A for a process that submits its jobs and does not work them:
// they are checked and offered like those of Handle, but a worker in this process leaves them
// to other processes.
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
	k.digest = sha256.Sum256(k.Schema)
	k.validate = func(raw json.RawMessage) (all FieldErrors) {
		var args A
		err := decodeArgs(raw, &args) // a field of the wrong type does not keep the others from being decoded
		if v, ok := any(args).(Validator); ok {
			all = argErrors(v.Validate())
		}
		if err != nil {
			all = append(all, unreadable(err))
		}
		return all
	}
	return k
}

// As returns the kind under another name and description, for several kinds with the same args.
func (k *Kind) As(name, description string) *Kind {
	other := *k
	other.Name, other.Description = name, description
	return &other
}

// Handled reports whether this process has a handler for the kind.
func (k *Kind) Handled() bool { return k.work != nil }

// Work calls the handler with the run's args and returns its error; it does nothing else that
// a worker does. It panics if the handler panics, or if there is none. It exists for
// engine.Worker and engine.Try.
func (k *Kind) Work(ctx context.Context, run *Run) error { return k.work(ctx, run) }

// Check validates args against the kind. The error is FieldErrors with fields such as "args.text".
func (k *Kind) Check(args json.RawMessage) error {
	if len(args) == 0 {
		args = json.RawMessage(`{}`)
	}
	if wrong := checkArgs(args, eventArgsMax); len(wrong) > 0 { // Prepare knows the limit of the job
		return wrong
	}
	return k.misfits(args).OrNil()
}

// misfits lists what does not fit the kind in args that checkArgs accepts.
func (k *Kind) misfits(args json.RawMessage) FieldErrors {
	wrong := k.schema.check(args)
	if k.validate == nil { // learned from another process
		return wrong
	}
	named := func(own FieldError) bool { // by the schema, whose message is the better one
		return slices.ContainsFunc(wrong, func(e FieldError) bool {
			return own.Field == "args" || e.Field == "args" || strings.HasPrefix(e.Field+".", own.Field+".")
		})
	}
	return append(wrong, slices.DeleteFunc(k.validate(args), named)...)
}

// CheckRun is Check before a run. Args that are the same as when they were checked against this
// very schema at submission, by which checked was set, are not read again: that costs a digest
// instead of 15 µs.
func (k *Kind) CheckRun(args json.RawMessage, checked int64) error {
	if checked != 0 && checked == k.checked(args) {
		return nil
	}
	return k.Check(args)
}

// checked identifies args that fit the schema of the kind. A change of either changes it.
func (k *Kind) checked(args json.RawMessage) int64 {
	sum := sha256.Sum256(append(k.digest[:], args...))
	return int64(binary.BigEndian.Uint64(sum[:8])) //nolint:gosec // any number will do
}

// Defaults returns the queue, attempts and timeout of a job of the kind that sets none of them.
func (k *Kind) Defaults() (queue string, maxAttempts int, timeout time.Duration) {
	d := k.defaults
	return cmp.Or(d.Queue, QueueDefault), cmp.Or(d.MaxAttempts, MaxAttemptsDefault), d.Timeout
}

// fill applies the kind's defaults to the fields that the job leaves unset.
func (k *Kind) fill(j *NewJob) {
	d := k.defaults
	j.Queue = cmp.Or(j.Queue, d.Queue)
	j.MaxAttempts = cmp.Or(j.MaxAttempts, d.MaxAttempts)
	j.Timeout = cmp.Or(j.Timeout, d.Timeout)
	if j.Tags == nil {
		j.Tags = slices.Clone(d.Tags)
	}
}

// argErrors prefixes the fields of Validate's error with "args".
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

// unreadable returns the error of args that fit their schema and not their Go type, such as a number that is
// too large, or a name that is there twice with values of two types.
func unreadable(err error) FieldError {
	var wrongType *json.UnmarshalTypeError
	if errors.As(err, &wrongType) && wrongType.Field != "" {
		return FieldError{"args." + wrongType.Field, "does not take a " + wrongType.Value}
	}
	return FieldError{"args", err.Error()}
}

// decodeArgs decodes args. Numbers such as 1e5 and 100.0 are whole, as JSON Schema has it, and
// fit Go's integers.
func decodeArgs(raw json.RawMessage, args any) error {
	err := json.Unmarshal(raw, args)
	if err == nil {
		return nil
	}
	var wrongType *json.UnmarshalTypeError
	if !errors.As(err, &wrongType) {
		return err
	}
	if whole := wholeNumbers(raw); whole != nil && json.Unmarshal(whole, args) == nil {
		return nil
	}
	return err
}

// wholeNumbers writes the whole numbers in JSON without fraction and exponent; nil if there are
// none with either.
func wholeNumbers(raw []byte) (out []byte) {
	kept, quoted := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted || c != '-' && (c < '0' || c > '9'):
		default:
			end := i
			for end < len(raw) && strings.IndexByte("+-.eE0123456789", raw[end]) >= 0 {
				end++
			}
			if number, ok := wholeNumber(string(raw[i:end])); ok {
				out = append(append(out, raw[kept:i]...), number...)
				kept = end
			}
			i = end - 1
		}
	}
	if kept == 0 {
		return nil
	}
	return append(out, raw[kept:]...)
}

// wholeNumber writes a number with a fraction or an exponent as an integer, if it is one that
// may fit 64 bits.
func wholeNumber(text string) (string, bool) {
	if len(text) > 40 || !strings.ContainsAny(text, ".eE") {
		return "", false
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.Abs(f) > 1<<63 || f != math.Trunc(f) {
		return "", false
	}
	if f == 0 { // or too small for a float64
		mantissa, _, _ := strings.Cut(strings.ToLower(text), "e")
		return "0", !strings.ContainsAny(mantissa, "123456789")
	}
	exact, ok := new(big.Rat).SetString(text)
	if !ok || !exact.IsInt() {
		return "", false
	}
	return exact.Num().String(), true
}
