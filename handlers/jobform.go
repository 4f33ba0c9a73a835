package handlers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/views"
)

// jobOfForm reads the form of a new job; the errors name the fields that could not be read. It does
// not check whether the args fit the kind.
func jobOfForm(form url.Values, kind *jobs.Kind, asJSON bool) (jobs.NewJob, jobs.FieldErrors) {
	if kind == nil {
		return jobs.NewJob{}, jobs.FieldErrors{{Field: "kind", Message: "is required"}}
	}
	job := jobs.NewJob{Kind: kind.Name, Origin: "web", Queue: strings.TrimSpace(form.Get("queue")),
		UniqueKey: strings.TrimSpace(form.Get("unique_key")), Tags: splitTags(form.Get("tags"))}
	var errs jobs.FieldErrors
	add := func(field, format string, a ...any) {
		errs = append(errs, jobs.FieldError{Field: field, Message: fmt.Sprintf(format, a...)})
	}
	at, err := jobs.ParseTime(strings.TrimSpace(form.Get("run_at")), time.Now())
	if err != nil {
		add("run_at", "%s", err)
	}
	job.RunAt = at
	if s := strings.TrimSpace(form.Get("timeout")); s != "" {
		if job.Timeout, err = time.ParseDuration(s); err != nil {
			add("timeout", "%q is not a valid duration: write it as 30s or 5m", s)
		}
	}
	if s := strings.TrimSpace(form.Get("max_attempts")); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			add("max_attempts", "must be a whole number from 1")
		}
		job.MaxAttempts = n
	}
	if asJSON {
		if job.Args = json.RawMessage(typed(form, "args")); !json.Valid(job.Args) {
			add("args", "is not valid JSON")
		}
		return job, errs
	}
	var unreadable jobs.FieldErrors
	job.Args, unreadable = argsOfForm(form, kind, nil)
	return job, append(errs, unreadable...)
}

// typed returns what was typed into a field: browsers send line breaks as CRLF.
func typed(form url.Values, name string) string {
	return strings.ReplaceAll(form.Get(name), "\r\n", "\n")
}

// argsOfForm makes JSON of the fields of the args, or returns was, if it is given, with what the
// form changes in it: a field that the form has as it was shown, or has not, keeps its value. Empty
// fields are left out.
func argsOfForm(form url.Values, kind *jobs.Kind, was json.RawMessage) (json.RawMessage, jobs.FieldErrors) {
	var errs jobs.FieldErrors
	var args map[string]json.RawMessage
	if json.Unmarshal(was, &args) != nil || args == nil { // args that are no object have no fields
		args = map[string]json.RawMessage{}
	}
	shown, keeps := views.ArgValues(kind, was), was != nil
	for _, f := range kind.Fields {
		name := "args." + f.Name
		if was != nil && !changedArg(form, kind, f, shown[name]) {
			continue
		}
		keeps = false
		value, ok := argOfForm(f, typed(form, name))
		if !ok {
			errs = append(errs, jobs.FieldError{Field: name, Message: "is not valid JSON"})
		}
		if args[f.Name] = value; value == nil {
			delete(args, f.Name)
		}
	}
	if keeps {
		return was, errs
	}
	raw, err := marshal(args)
	if err != nil {
		errs = append(errs, jobs.FieldError{Field: "args", Message: err.Error()})
	}
	return raw, errs
}

// changedArg is changed for a field of the args. A box that is not ticked is not sent: it was shown
// if the form says that it has the fields of the kind.
func changedArg(form url.Values, kind *jobs.Kind, f jobs.Field, shown string) bool {
	name := "args." + f.Name
	if f.Type == "boolean" && form.Get(views.FieldsOf) == kind.Name {
		return (form.Get(name) == "true") != (shown == "true")
	}
	return changed(form, name, shown)
}

// changed reports whether the form has a field, with another value than the one that was shown.
func changed(form url.Values, name, shown string) bool {
	return form.Has(name) && views.FormText(form.Get(name)) != views.FormText(shown)
}

// argOfForm returns the JSON of a field, nil if it is empty. A number that does not parse is passed
// on as text, so that the schema names it; other text that is not JSON is not ok.
func argOfForm(f jobs.Field, text string) (value json.RawMessage, ok bool) {
	switch {
	case f.Type == "boolean":
		return json.RawMessage(strconv.FormatBool(text == "true")), true
	case strings.TrimSpace(text) == "" && (text == "" || f.Type != "string"):
		return nil, true
	case f.Type != "string" && json.Valid([]byte(text)):
		return json.RawMessage(text), true
	case f.Type == "string" || f.Type == "integer" || f.Type == "number":
		value, err := marshal(text)
		return value, err == nil
	}
	return nil, false
}

// marshal is json.Marshal for what people search and read: it leaves <, > and & as they are.
func marshal(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}
