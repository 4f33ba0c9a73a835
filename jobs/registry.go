package jobs

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Registry holds the kinds that a process knows, those that it works and those
// that it only submits. It does not change and is safe for concurrent use.
type Registry struct {
	kinds map[string]*Kind
}

// NewRegistry returns a registry of these kinds. The error names each kind
// whose name is not valid or taken by another.
func NewRegistry(kinds ...*Kind) (*Registry, error) {
	r := &Registry{kinds: make(map[string]*Kind, len(kinds))}
	var errs []error
	for _, k := range kinds {
		switch {
		case !validKind(k.Name):
			errs = append(errs, fmt.Errorf("%q is not a valid kind: %s", k.Name, kindRule))
		case r.kinds[k.Name] != nil:
			errs = append(errs, fmt.Errorf("the kind %q is given twice", k.Name))
		default:
			r.kinds[k.Name] = k
		}
	}
	return r, errors.Join(errs...)
}

// Lookup returns the kind of that name, or nil.
func (r *Registry) Lookup(name string) *Kind { return r.kinds[name] }

// Kinds lists the kinds by name.
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

// Prepare fills the defaults of a new job, its kind's first, and checks all of
// it, shape and kind; the error is FieldErrors with everything that is wrong.
func (r *Registry) Prepare(j *NewJob) error {
	if k := r.kinds[j.Kind]; k != nil {
		k.fill(j)
	}
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
