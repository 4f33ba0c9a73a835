package handlers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/explain"
	"github.com/warrenjobs/warren/jobs/tasks"
	"github.com/warrenjobs/warren/views"
)

// jobOfForm reads the form of a new job; the errors name the fields that could not be read. It does
// not check whether the args fit the kind.
func jobOfForm(form url.Values, kind *jobs.Kind, asJSON bool) (jobs.NewJob, jobs.FieldErrors) {
	if kind == nil {
		return jobs.NewJob{}, jobs.FieldErrors{{Field: "kind", Message: "is required"}}
	}
	job := jobs.NewJob{Kind: kindOfForm(form, kind), Origin: "web", Queue: strings.TrimSpace(form.Get("queue")),
		UniqueKey: strings.TrimSpace(form.Get("unique_key")), Tags: splitTags(form.Get("tags"))}
	var errs jobs.FieldErrors
	add := func(field, format string, a ...any) {
		errs = append(errs, jobs.FieldError{Field: field, Message: fmt.Sprintf(format, a...)})
	}
	at, err := runAtOfForm(form, time.Now())
	if err != nil {
		add("run_at", "%s", err)
	} else if job.RunAt, err = jobs.ParseTime(at, time.Now()); err != nil {
		add("run_at", "%s", err)
	}
	if s := strings.TrimSpace(form.Get("timeout")); s != "" {
		if job.Timeout, err = time.ParseDuration(s); err != nil {
			add("timeout", "%q is not a valid duration. Use 30s or 5m", s)
		}
	}
	if s := strings.TrimSpace(form.Get("max_attempts")); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			add("max_attempts", "must be a whole number, 1 or more")
		}
		job.MaxAttempts = n
	}
	if asJSON || kind.Name == views.OtherKind {
		if job.Args = json.RawMessage(typed(form, "args")); !json.Valid(job.Args) {
			add("args", "is not valid JSON")
		}
		return job, errs
	}
	var unreadable jobs.FieldErrors
	job.Args, unreadable = argsOfForm(form, kind, nil)
	return job, append(errs, unreadable...)
}

// kindOfForm returns the name of the kind, which is typed if it is one of another program.
func kindOfForm(form url.Values, kind *jobs.Kind) string {
	if kind.Name == views.OtherKind {
		return strings.TrimSpace(form.Get("other_kind"))
	}
	return kind.Name
}

// runAtOfForm returns when the job is to run, as jobs.ParseTime takes it: a preset, or the time that was picked, on the
// clocks of the form's zone.
func runAtOfForm(form url.Values, now time.Time) (string, error) {
	switch when := form.Get("when"); when {
	case views.WhenPicked:
		at, err := tasks.ParseTimeIn(form.Get("run_at"), form.Get("zone"))
		if err == nil && at == nil {
			err = errors.New("must be picked, with date and time")
		}
		if err != nil {
			return "", err
		}
		return at.Format(time.RFC3339), nil
	case views.WhenTomorrow:
		at, err := tasks.ParseTimeIn(tomorrow(form.Get("zone"), now), form.Get("zone"))
		if err != nil {
			return "", err
		}
		return at.Format(time.RFC3339), nil
	default:
		return when, nil
	}
}

// tomorrow returns 09:00 of the next day in the zone.
func tomorrow(zone string, now time.Time) string {
	if loc, err := time.LoadLocation(zone); err == nil {
		now = now.In(loc)
	}
	return now.AddDate(0, 0, 1).Format(time.DateOnly) + " 09:00"
}

// requestOfForm returns the request to the API that submits what the form does: a time after now stays one.
func requestOfForm(form url.Values, job jobs.NewJob) views.JobRequest {
	at, _ := runAtOfForm(form, time.Now())
	r := views.JobRequest{Kind: job.Kind, Args: job.Args, Queue: job.Queue, RunAt: at, MaxAttempts: job.MaxAttempts,
		UniqueKey: job.UniqueKey, Tags: job.Tags}
	if job.Timeout != 0 {
		r.Timeout = job.Timeout.String()
	}
	return r
}

// addDefaults gives the fields of the kind that the form has not their defaults.
func addDefaults(form url.Values, kind *jobs.Kind) {
	if kind == nil {
		return
	}
	for _, f := range kind.Fields {
		if name := "args." + f.Name; !form.Has(name) {
			form.Set(name, f.Default)
		}
	}
}

// switched returns the form as it is shown for a kind, after one of its switches was used. Fields of the same name keep
// their values, also those that this kind lacks: they are shown again when their kind is. was is the kind whose fields
// were shown.
func switched(form url.Values, was, kind *jobs.Kind) jobForm {
	asJSON := form.Get("as") == "json"
	f := jobForm{Values: form, kind: kind, asJSON: asJSON}
	if !asJSON && was != nil {
		for _, field := range was.Fields { // a box that is not ticked is not sent
			if name := "args." + field.Name; field.Type == "boolean" && !form.Has(name) {
				form.Set(name, "false")
			}
		}
	}
	addDefaults(form, kind)
	if kind != nil && kind.Name == views.OtherKind {
		if was != nil && !asJSON {
			args, _ := argsOfForm(form, was, nil)
			form.Set("args", indented(args))
		}
		f.asJSON = true
		return f
	}
	switch to := form.Get("to"); {
	case to == "json" && !asJSON && was != nil:
		args, wrong := argsOfForm(form, was, nil)
		if f.wrong = wrong; len(wrong) == 0 {
			form.Set("args", indented(args))
			f.asJSON = true
		}
	case to == "form" && asJSON && kind != nil:
		f.wrong = setFields(form, kind, json.RawMessage(typed(form, "args")))
		f.asJSON = len(f.wrong) > 0
	}
	return f
}

func indented(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return string(raw)
	}
	return b.String()
}

// setFields sets the fields of the form to args. The error says why it cannot show them, and nothing is set then.
func setFields(form url.Values, kind *jobs.Kind, raw json.RawMessage) jobs.FieldErrors {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return jobs.FieldErrors{{Field: "args", Message: "is not valid JSON"}}
	}
	var args map[string]json.RawMessage
	if err := json.Unmarshal(b.Bytes(), &args); err != nil || args == nil {
		return jobs.FieldErrors{{Field: "args", Message: "must be an object"}}
	}
	var extra jobs.FieldErrors
	for _, name := range slices.Sorted(maps.Keys(args)) {
		if !slices.ContainsFunc(kind.Fields, func(f jobs.Field) bool { return f.Name == name }) {
			extra = append(extra, jobs.FieldError{Field: "args." + name, Message: "is not a field of this kind"})
		}
	}
	if len(extra) > 0 {
		return extra
	}
	for _, f := range kind.Fields {
		form.Set("args."+f.Name, views.ArgText(f, args[f.Name]))
	}
	return nil
}

// formOfJob returns the form that repeats a job. Its args are JSON if the form cannot show them. The
// unique key is left out, as the job may hold it.
func formOfJob(d jobs.Detail, kind *jobs.Kind) jobForm {
	form := url.Values{"args": {indented(d.Args)}, "queue": {d.Queue}, "tags": {strings.Join(d.Tags, ", ")},
		"max_attempts": {strconv.Itoa(explain.TriesOf(d).Max)}, "retry_of": {d.ID.String()}}
	if kind != nil && kind.Name == views.OtherKind {
		form.Set("other_kind", d.Kind)
	}
	if d.Timeout != 0 {
		form.Set("timeout", time.Duration(d.Timeout).String())
	}
	return jobForm{Values: form, kind: kind, asJSON: setFields(form, kind, d.Args) != nil}
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
