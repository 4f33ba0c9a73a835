package views

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

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
	Preview JobPreview
	Usual   JobUsage
}

// JobUsage is what the newest job of a kind has set otherwise than its kind does; "" for what it has not. The form offers it.
type JobUsage struct {
	Queue    string
	Attempts string
}

// The choices of when a job is to run, beside those that jobs.ParseTime takes.
const (
	WhenTomorrow = "tomorrow" // at 09:00
	WhenPicked   = "at"       // at the time in run_at
)

// optionLabels are the labels of the fields that every job has, by form name.
var optionLabels = map[string]string{"kind": "Kind", "queue": "Queue", "run_at": "When", "max_attempts": "Attempts",
	"timeout": "Attempt timeout", "other_kind": "Kind of the other program", "unique_key": "Unique key", "tags": "Tags",
	"args": "Arguments"}

// OtherKind is the choice of a kind that only workers of other programs know: its name is typed, and
// its args are one JSON text. No kind has this name.
const OtherKind = "*"

// OtherKindForm stands for such a kind in the form.
func OtherKindForm() *jobs.Kind {
	return &jobs.Kind{Name: OtherKind,
		Description: "A kind that only workers of other programs know: choose a queue that is marked as external."}
}

// WithOtherKind returns the form with the choice of a kind of another program.
func (m JobForm) WithOtherKind() JobForm {
	m.Kinds = append(m.Kinds, ui.Option{Value: OtherKind, Label: "Another program's kind…", Selected: m.isOther()})
	return m
}

func (m JobForm) isOther() bool { return m.Kind != nil && m.Kind.Name == OtherKind }

// NewJobForm shapes the form for a kind; errs may name fields that the form does not show.
func NewJobForm(r *jobs.Registry, kind *jobs.Kind, queues []string, values map[string]string, errs jobs.FieldErrors, asJSON bool) JobForm {
	m := JobForm{Kind: kind, Queues: queues, Values: values, Errors: map[string]string{}, AsJSON: asJSON}
	for _, k := range r.Kinds() {
		m.Kinds = append(m.Kinds, ui.Option{Value: k.Name, Label: k.Name, Selected: kind != nil && k.Name == kind.Name})
	}
	for _, e := range errs {
		if m.isOther() && e.Field == "kind" {
			e.Field = "other_kind"
		}
		switch path := argOf(e.Field); {
		case e.Field != "args" && optionLabels[e.Field] != "", m.hasArg(e.Field), asJSON && e.Field == "args":
			m.add(e.Field, e.Message)
		case m.hasArg(path): // args.headers.X-Key of the field headers
			m.add(path, strings.TrimPrefix(e.Field, path+".")+": "+e.Message)
		case asJSON: // args.text of the raw JSON
			m.add("args", strconv.Quote(strings.TrimPrefix(e.Field, "args."))+" "+e.Message)
		default:
			m.Problem = strings.TrimPrefix(m.Problem+"; "+FieldSentences(kind, jobs.FieldErrors{e})[0], "; ")
		}
	}
	return m
}

// hasArg reports whether the form shows a field of the args, named args.<field>.
func (m JobForm) hasArg(name string) bool {
	return !m.AsJSON && m.Kind != nil && slices.ContainsFunc(m.Kind.Fields, func(f jobs.Field) bool { return "args."+f.Name == name })
}

// kept returns the values of the args that this kind has no field for. They are sent along, and shown again when their
// kind is.
func (m JobForm) kept() (list []ui.Hidden) {
	for _, name := range slices.Sorted(maps.Keys(m.Values)) {
		field, isArg := strings.CutPrefix(name, "args.")
		has := slices.ContainsFunc(m.Kind.Fields, func(f jobs.Field) bool { return f.Name == field })
		if isArg && !has && m.Values[name] != "" {
			list = append(list, ui.Hidden{Name: name, Value: m.Values[name]})
		}
	}
	return list
}

// FieldSentences says what is wrong with a job of that kind, a sentence for each field.
func FieldSentences(kind *jobs.Kind, errs jobs.FieldErrors) (list []string) {
	for _, e := range errs {
		label := fieldLabel(kind, e.Field)
		if r, _ := utf8.DecodeRuneInString(e.Message); !unicode.IsLower(r) {
			label += ":"
		}
		list = append(list, label+" "+e.Message)
	}
	return list
}

// MissingFields returns the labels of the fields that are required and empty, and what else is wrong.
func MissingFields(kind *jobs.Kind, errs jobs.FieldErrors) (labels []string, rest jobs.FieldErrors) {
	for _, e := range errs {
		if e.Message == "is required" {
			labels = append(labels, fieldLabel(kind, e.Field))
		} else {
			rest = append(rest, e)
		}
	}
	return labels, rest
}

// fieldLabel returns what the form calls the field that an error names.
func fieldLabel(kind *jobs.Kind, field string) string {
	label := optionLabels[field]
	if path := argOf(field); label == "" && kind != nil {
		if i := slices.IndexFunc(kind.Fields, func(f jobs.Field) bool { return "args."+f.Name == path }); i >= 0 {
			label = kind.Fields[i].Title + strings.TrimPrefix(field, path)
		}
	}
	return cmp.Or(label, strings.TrimPrefix(field, "args."))
}

// fieldSentence makes a sentence, to stand beside the field, of what is wrong with it. In the API that follows the name
// of the field: "is required".
func fieldSentence(label, message string) string {
	if not, ok := strings.CutPrefix(message, "is not valid "); ok {
		return "Not valid " + not
	}
	for _, verb := range []string{"is ", "has ", "does ", "cannot "} {
		if strings.HasPrefix(message, verb) {
			return label + " " + message
		}
	}
	if message == "" {
		return ""
	}
	return strings.ToUpper(message[:1]) + message[1:]
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
	return ui.FieldProps{Name: name, Label: label, Help: help, Note: note, Error: fieldSentence(label, m.Errors[name])}
}

func (m JobForm) option(name, help, note string) ui.FieldProps {
	return m.field(name, optionLabels[name], help, note)
}

func (m JobForm) argField(f jobs.Field) ui.FieldProps {
	note := f.Type
	if isJSON(f) {
		note = strings.TrimSpace("JSON " + f.Type)
	}
	if f.Required {
		note += ", required"
	} else {
		note += ", optional"
	}
	p := m.field("args."+f.Name, f.Title, f.Help, note)
	p.Required = f.Required
	return p
}

// isJSON reports whether a field is edited as JSON: a list, an object, or anything.
func isJSON(f jobs.Field) bool {
	return !slices.Contains([]string{"string", "integer", "number", "boolean"}, f.Type)
}

// textRows returns the height of a field's text box, in rows; JSON is mostly short.
func textRows(f jobs.Field) int {
	if isJSON(f) {
		return 1
	}
	return 3
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

// when are the choices of when the job runs.
func (m JobForm) when() []ui.Option {
	list := []ui.Option{{Value: "", Label: "Now"}, {Value: "+10m", Label: "In 10 minutes"}, {Value: "+1h", Label: "In 1 hour"},
		{Value: WhenTomorrow, Label: "Tomorrow at 09:00"}, {Value: WhenPicked, Label: "Pick a time…"}}
	for i := range list {
		list[i].Selected = m.Values["when"] == list[i].Value
	}
	return list
}

// jobDefaults are the values that a job gets for empty fields of the form.
type jobDefaults struct{ queue, attempts, timeout string }

// defaultHelp says what a job has where an option is left empty, and why it was filled in.
func (m JobForm) defaultHelp(option string) string {
	d, usual := m.defaults(), map[string]string{"queue": m.Usual.Queue, "max_attempts": m.Usual.Attempts}[option]
	words := "If empty: `" + map[string]string{"queue": d.queue, "max_attempts": d.attempts, "timeout": d.timeout}[option] + "`."
	if usual != "" && usual == m.Values[option] {
		return "Copied from the latest job of this kind. " + words
	}
	return words
}

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
