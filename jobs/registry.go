package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Registry holds the kinds that a process knows. Kinds are registered at start,
// by one goroutine; afterwards it is read-only and safe for concurrent use.
type Registry struct {
	kinds map[string]*Kind
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry { return &Registry{kinds: map[string]*Kind{}} }

// Kind is a registered type of job: its name, what its args must look like, and its handler.
type Kind struct {
	Name        string
	Description string // one sentence for people, from the args' Description method if there is one
	Fields      []Field
	Schema      json.RawMessage // JSON Schema of the args

	schema   validator
	validate func(args json.RawMessage) FieldErrors // nil where the schema says all
	work     func(context.Context, *Run) error
}

// Validator is what args implement that have rules beyond their JSON Schema. It
// is asked at submission and again before a run, where its error is permanent.
// FieldErrors name the fields of the args, such as "url".
type Validator interface{ Validate() error }

// Register adds the kind of A to r, with the handler of its jobs. The handler
// runs in many goroutines at once and at least once per job: a worker that dies
// is replaced and the job runs again, so its effects must be idempotent by
// run.ID, or fenced by run.Lease. An error means the attempt failed; ctx ends
// on timeout, cancel and stop. Register panics on a bad or a taken name.
func Register[A Args](r *Registry, handler func(ctx context.Context, run *Run, args A) error) {
	var zero A
	name := zero.Kind()
	if !kindPattern.MatchString(name) {
		panic(fmt.Sprintf("jobs: %q is no kind: lower-case letters, digits, _ and -, parts joined by dots", name))
	}
	if r.kinds[name] != nil {
		panic(fmt.Sprintf("jobs: kind %q is registered twice", name))
	}
	k := &Kind{Name: name}
	if d, ok := any(zero).(interface{ Description() string }); ok {
		k.Description = d.Description()
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
	k.work = func(ctx context.Context, run *Run) error {
		var args A
		if err := json.Unmarshal(run.Args, &args); err != nil {
			return fmt.Errorf("read args of %s: %w", name, err)
		}
		if v, ok := any(args).(Validator); ok {
			if err := v.Validate(); err != nil { // of an application that did not ask before
				return Permanent(err)
			}
		}
		return handler(ctx, run, args)
	}
	r.kinds[name] = k
}

// Lookup returns the kind of that name, or nil.
func (r *Registry) Lookup(name string) *Kind { return r.kinds[name] }

// Kinds lists the registered kinds by name.
func (r *Registry) Kinds() []*Kind {
	list := make([]*Kind, 0, len(r.kinds))
	for _, k := range r.kinds {
		list = append(list, k)
	}
	slices.SortFunc(list, func(a, b *Kind) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Check says whether the kind is known and the args fit it; the error is FieldErrors.
func (r *Registry) Check(kind string, args json.RawMessage) error {
	k := r.kinds[kind]
	if k == nil {
		return FieldErrors{{"kind", fmt.Sprintf("%q is not a known kind; known are: %s", kind, r.names())}}
	}
	return k.Check(args)
}

// Check says whether args fit the kind; the error is FieldErrors with fields such as "args.text".
func (k *Kind) Check(args json.RawMessage) error {
	if len(args) == 0 {
		args = json.RawMessage(`{}`)
	}
	wrong := k.schema.check(args)
	if k.validate == nil {
		return wrong.orNil()
	}
	named := func(own FieldError) bool { // by the schema, which then says it better
		return slices.ContainsFunc(wrong, func(e FieldError) bool {
			return own.Field == "args" || e.Field == "args" || strings.HasPrefix(e.Field+".", own.Field+".")
		})
	}
	return append(wrong, slices.DeleteFunc(k.validate(args), named)...).orNil()
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

// Prepare fills the defaults of a new job and checks all of it, shape and kind;
// the error is FieldErrors with everything that is wrong.
func (r *Registry) Prepare(j *NewJob) error {
	var all, more FieldErrors
	shape := j.Prepare()
	errors.As(shape, &all)
	if !slices.ContainsFunc(all, func(e FieldError) bool { return e.Field == "kind" || e.Field == "args" }) {
		errors.As(r.Check(j.Kind, j.Args), &more)
	}
	return append(all, more...).orNil()
}

func (r *Registry) names() string {
	names := []string{}
	for _, k := range r.Kinds() {
		names = append(names, k.Name)
	}
	return strings.Join(names, ", ")
}
