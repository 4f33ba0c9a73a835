package jobs

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	invopop "github.com/invopop/jsonschema"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// Field describes one property of a kind's args for a form.
type Field struct {
	Name     string
	Title    string
	Type     string // JSON Schema type: string, integer, number, boolean; anything else is edited as JSON
	Media    string // contentMediaType of a string that is a document, such as text/html: it is edited in several lines
	Required bool
	Default  string
	Help     string
	Example  string
	Enum     []string
}

// validator checks args against a compiled JSON Schema.
type validator struct{ schema *jsonschema.Schema }

// reflectSchema derives schema, form fields and validator from the json and jsonschema tags of
// an args struct. It panics if the struct has no schema, which is a programming error that
// shows at startup.
func reflectSchema(args any) (json.RawMessage, []Field, validator) {
	reflector := invopop.Reflector{DoNotReference: true, ExpandedStruct: true, Anonymous: true, Mapper: textTypes}
	s := reflector.Reflect(args)
	fields := formFields(s)
	allowNull(reflect.TypeOf(args), s)
	raw, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("jobs: schema of %T: %v", args, err))
	}
	v, err := compile(raw)
	if err != nil {
		panic(fmt.Sprintf("jobs: schema of %T: %v", args, err))
	}
	return raw, fields, v
}

// compile compiles a JSON Schema.
func compile(raw json.RawMessage) (validator, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return validator{}, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("args.json", doc); err != nil {
		return validator{}, err
	}
	schema, err := compiler.Compile("args.json")
	return validator{schema}, err
}

// textTypes maps types that are arrays in Go, but text in JSON, to strings. An IP address has no
// format: it may be of either version, or empty.
func textTypes(t reflect.Type) *invopop.Schema {
	switch t {
	case reflect.TypeFor[uuid.UUID]():
		return &invopop.Schema{Type: "string", Format: "uuid"}
	case reflect.TypeFor[net.IP]():
		return &invopop.Schema{Type: "string"}
	}
	return nil
}

// allowNull adds null to the types of values that encoding/json writes as null: nil slices, maps and
// pointers.
func allowNull(t reflect.Type, s *invopop.Schema) {
	switch {
	case t.Kind() == reflect.Pointer:
		allowNull(t.Elem(), s)
	case s.Properties != nil && t.Kind() == reflect.Struct:
		for _, f := range reflect.VisibleFields(t) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if property, ok := s.Properties.Get(cmp.Or(name, f.Name)); ok {
				allowNullIn(f.Type, property)
			}
		}
	case s.Items != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array):
		allowNullIn(t.Elem(), s.Items)
	case s.AdditionalProperties != nil && t.Kind() == reflect.Map:
		allowNullIn(t.Elem(), s.AdditionalProperties)
	}
}

func allowNullIn(t reflect.Type, s *invopop.Schema) {
	allowNull(t, s)
	nilable := t.Kind() == reflect.Slice || t.Kind() == reflect.Map || t.Kind() == reflect.Pointer
	if !nilable || s.Type == "" { // without a type, null is allowed
		return
	}
	if s.Extras == nil {
		s.Extras = map[string]any{}
	}
	s.Extras["type"], s.Type = []string{s.Type, "null"}, ""
	if len(s.Enum) > 0 {
		s.Enum = append(s.Enum, nil)
	}
}

func formFields(s *invopop.Schema) []Field {
	var fields []Field
	for p := s.Properties.Oldest(); p != nil; p = p.Next() {
		f := Field{
			Name: p.Key, Title: p.Value.Title, Type: p.Value.Type, Help: p.Value.Description,
			Required: slices.Contains(s.Required, p.Key),
			Default:  jsonText(p.Value.Default),
		}
		if f.Title == "" {
			f.Title = p.Key
		}
		f.Media, _ = p.Value.Extras["contentMediaType"].(string)
		if len(p.Value.Examples) > 0 {
			f.Example = jsonText(p.Value.Examples[0])
		}
		for _, e := range p.Value.Enum {
			f.Enum = append(f.Enum, jsonText(e))
		}
		fields = append(fields, f)
	}
	return fields
}

// jsonText returns a string as it is, nil as "", and any other value as JSON.
func jsonText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}

func (v validator) check(args json.RawMessage) FieldErrors {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(args))
	if err != nil {
		return FieldErrors{{"args", "is not valid JSON: " + err.Error()}}
	}
	if path, found := hugeNumber(doc); found {
		return FieldErrors{{"args" + path, "is a number out of range"}}
	}
	err = v.schema.Validate(doc)
	if err == nil {
		return nil
	}
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return FieldErrors{{"args", err.Error()}}
	}
	return leaves(invalid)
}

// numberMax bounds the text of a number: far beyond float64's range and precision, and short
// of what the validator computes exactly, at a cost that grows faster than the text.
const (
	numberMax   = 400 // characters
	exponentMax = 400
)

// hugeNumber returns the path, the first in order, of a number far beyond the range of float64: no
// handler can decode it, and the validator panics at 1e9999999.
func hugeNumber(v any) (path string, found bool) {
	switch v := v.(type) {
	case json.Number:
		e := strings.IndexAny(v.String(), "eE")
		if e < 0 || len(v) > numberMax {
			return "", len(v) > numberMax
		}
		n, err := strconv.Atoi(v.String()[e+1:])
		return "", err != nil || max(n, -n) > exponentMax
	case []any:
		for i, item := range v {
			if path, found := hugeNumber(item); found {
				return "." + strconv.Itoa(i) + path, true
			}
		}
	case map[string]any:
		for name, item := range v {
			if below, huge := hugeNumber(item); huge && (!found || "."+name+below < path) {
				path, found = "."+name+below, true
			}
		}
		return path, found
	}
	return "", false
}

// leavesMax bounds how many wrong fields of a job's args are named.
const leavesMax = 100

// leaves flattens the validator's error tree to its leaves, which name the fields.
func leaves(e *jsonschema.ValidationError) FieldErrors {
	switch e.ErrorKind.(type) {
	case *kind.Contains, *kind.MinContains, *kind.PropertyNames: // their causes are about what is not asked of every item
	default:
		if len(e.Causes) > 0 {
			return branches(e)
		}
	}
	path := strings.Join(append([]string{"args"}, e.InstanceLocation...), ".")
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		return named(path, k.Missing, "is required")
	case *kind.DependentRequired:
		return named(path, k.Missing, "is required together with "+k.Prop)
	case *kind.Dependency:
		return named(path, k.Missing, "is required together with "+k.Prop)
	case *kind.AdditionalProperties:
		return named(path, k.Properties, "is not a field of this kind")
	}
	return FieldErrors{{path, rule(e.ErrorKind)}}
}

// branches returns the leaves of the causes; those of alternatives are one rule where they can be.
func branches(e *jsonschema.ValidationError) FieldErrors {
	var all FieldErrors
	var each []FieldErrors
	for _, c := range e.Causes {
		each = append(each, leaves(c))
		if all = append(all, each[len(each)-1]...); len(all) >= leavesMax {
			break
		}
	}
	switch e.ErrorKind.(type) {
	case *kind.AnyOf, *kind.OneOf:
		if one, ok := merged(each); ok {
			return FieldErrors{one}
		}
	}
	return all
}

func named(path string, names []string, msg string) FieldErrors {
	var all FieldErrors
	for _, n := range names[:min(len(names), leavesMax)] {
		all = append(all, FieldError{path + "." + n, msg})
	}
	return all
}
