package views

import (
	"slices"
	"strconv"
	"strings"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/views/ui"
)

// FormMax bounds a form, in bytes as a browser sends it: up to three for one of the args, and args
// that are too large still come back with the field named.
const FormMax = 8 << 20

// JobForm is the form of a new job: the typed values and their errors.
type JobForm struct {
	Kinds   []ui.Option
	Kind    *jobs.Kind
	Queues  []string
	Values  map[string]string // by form name; an args field is named args.<field>
	Errors  map[string]string // likewise
	AsJSON  bool              // the args are edited as one JSON text
	Problem string            // errors that belong to no field
}

// NewJobForm shapes the form for a kind; errs may name fields that the form does not show.
func NewJobForm(r *jobs.Registry, kind *jobs.Kind, queues []string, values map[string]string, errs jobs.FieldErrors, asJSON bool) JobForm {
	m := JobForm{Kind: kind, Queues: queues, Values: values, Errors: map[string]string{}, AsJSON: asJSON}
	for _, k := range r.Kinds() {
		m.Kinds = append(m.Kinds, ui.Option{Value: k.Name, Label: k.Name, Selected: kind != nil && k.Name == kind.Name})
	}
	shown := map[string]bool{"kind": true, "queue": true, "run_at": true, "max_attempts": true, "unique_key": true, "tags": true,
		"timeout": true}
	if m.AsJSON {
		shown["args"] = true
	} else if kind != nil {
		for _, f := range kind.Fields {
			shown["args."+f.Name] = true
		}
	}
	for _, e := range errs {
		switch {
		case shown[e.Field]:
			m.add(e.Field, e.Message)
		case shown[argOf(e.Field)]: // args.headers.X-Key of the field headers
			m.add(argOf(e.Field), strings.TrimPrefix(e.Field, argOf(e.Field)+".")+": "+e.Message)
		case m.AsJSON: // args.text of the raw JSON
			m.add("args", e.Field+" "+e.Message)
		default:
			m.Problem = strings.TrimPrefix(m.Problem+"; "+e.Error(), "; ")
		}
	}
	return m
}

// argOf returns the field of the args, such as args.headers, that the path of an error begins with.
func argOf(path string) string {
	parts := strings.SplitN(path, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

func (m JobForm) add(field, message string) {
	if m.Errors[field] != "" {
		message = m.Errors[field] + "; " + message
	}
	m.Errors[field] = message
}

func (m JobForm) field(name, label, help, note string) ui.FieldProps {
	return ui.FieldProps{Name: name, Label: label, Help: help, Note: note, Error: m.Errors[name]}
}

func (m JobForm) argField(f jobs.Field) ui.FieldProps {
	note := f.Type
	if isJSON(f) {
		note = strings.TrimSpace("JSON " + f.Type)
	}
	if !f.Required {
		note += ", optional"
	}
	return ui.FieldProps{Name: "args." + f.Name, Label: f.Title, Help: f.Help, Note: note, Required: f.Required, Error: m.Errors["args."+
		f.Name]}
}

// isJSON reports whether a field is edited as JSON: a list, an object, or anything.
func isJSON(f jobs.Field) bool {
	return !slices.Contains([]string{"string", "integer", "number", "boolean"}, f.Type)
}

// textRows returns the height of a field's text box, in rows; JSON is mostly short.
func textRows(f jobs.Field) int {
	if isJSON(f) {
		return 2
	}
	return 6
}

func (m JobForm) argOptions(f jobs.Field) []ui.Option {
	list, value := []ui.Option{}, m.Values["args."+f.Name]
	if !f.Required || value == "" { // a browser sends the first option where none is chosen
		list = append(list, ui.Option{Value: "", Label: "–"})
	}
	if value != "" && !slices.Contains(f.Enum, value) {
		list = append(list, ui.Option{Value: value, Label: value + " (not valid)", Selected: true})
	}
	for _, v := range f.Enum {
		list = append(list, ui.Option{Value: v, Label: v, Selected: value == v})
	}
	return list
}

func (m JobForm) modeURL(asJSON bool) string {
	u := "/jobs/new?kind=" + m.Kind.Name
	if asJSON {
		u += "&as=json"
	}
	return u
}

// jobDefaults are the values that a job gets for empty fields of the form.
type jobDefaults struct{ queue, attempts, timeout string }

func (m JobForm) defaults() jobDefaults {
	kind := m.Kind
	if kind == nil {
		kind = &jobs.Kind{}
	}
	queue, attempts, timeout := kind.Defaults()
	d := jobDefaults{queue, strconv.Itoa(attempts), "none"}
	if timeout > 0 {
		d.timeout = timeout.String()
	}
	return d
}
