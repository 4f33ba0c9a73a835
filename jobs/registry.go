package jobs

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
)

// Registry holds the kinds that a process knows: its own, whether it works or only submits
// them, and those learned from other processes. It is safe for concurrent use.
type Registry struct {
	kinds  map[string]*Kind // the process's own; immutable
	others atomic.Pointer[map[string]*Kind]
}

// NewRegistry returns a registry of these kinds. The error lists each kind whose name is not
// valid or is given twice.
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

// Learn replaces the kinds learned from other processes; kinds of this process take precedence.
// The error lists the kinds whose schema cannot be read; the rest are learned anyway.
func (r *Registry) Learn(list []Definition) error {
	others := map[string]*Kind{}
	var errs []error
	for _, d := range list {
		if r.kinds[d.Name] != nil {
			continue
		}
		k, err := d.Kind()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		others[d.Name] = k
	}
	r.others.Store(&others)
	return errors.Join(errs...)
}

// Own returns the definitions of this process's own kinds, which it shares with the others.
func (r *Registry) Own() []Definition {
	var list []Definition
	for _, k := range r.Kinds() {
		if r.kinds[k.Name] == k {
			list = append(list, k.Definition())
		}
	}
	return list
}

// Lookup returns the kind with that name, or nil.
func (r *Registry) Lookup(name string) *Kind {
	if k := r.kinds[name]; k != nil {
		return k
	}
	if others := r.others.Load(); others != nil {
		return (*others)[name]
	}
	return nil
}

// Kinds returns all known kinds, sorted by name.
func (r *Registry) Kinds() []*Kind {
	list := slices.Collect(maps.Values(r.kinds))
	if others := r.others.Load(); others != nil {
		list = slices.AppendSeq(list, maps.Values(*others))
	}
	slices.SortFunc(list, func(a, b *Kind) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Check validates that the kind is known and that args fit it. The error is FieldErrors.
func (r *Registry) Check(kind string, args json.RawMessage) error {
	k := r.Lookup(kind)
	if k == nil {
		return r.unknown(kind)
	}
	return k.Check(args)
}

// Prepare fills in the defaults of a new job, those of its kind first, and validates it
// completely, including its args. The error is FieldErrors and lists everything that is wrong.
func (r *Registry) Prepare(j *NewJob) error {
	k := r.Lookup(j.Kind)
	if k != nil {
		k.fill(j)
	}
	all, _ := j.Prepare().(FieldErrors) //nolint:errorlint // it returns nothing else
	switch {
	case slices.ContainsFunc(all, func(e FieldError) bool { return e.Field == "kind" || e.Field == "args" }):
	case k == nil:
		all = append(all, r.unknown(j.Kind)...)
	default:
		all = append(all, k.misfits(j.Args)...)
	}
	if len(all) > 0 {
		return all
	}
	j.Checked = k.checked(j.Args)
	return nil
}

func (r *Registry) unknown(kind string) FieldErrors {
	return FieldErrors{{"kind", fmt.Sprintf("%q is not a known kind; known are: %s", kind, r.names())}}
}

func (r *Registry) names() string {
	names := []string{}
	for _, k := range r.Kinds() {
		names = append(names, k.Name)
	}
	return strings.Join(names, ", ")
}
