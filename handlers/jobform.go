package handlers

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/warrenjobs/warren/jobs"
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
	var unreadable jobs.FieldErrors
	job.Args, unreadable = argsOfForm(form, kind, asJSON)
	return job, append(errs, unreadable...)
}

// argsOfForm makes JSON of the fields of the args. Empty fields are left out; a number that does
// not parse is passed on as text, so that the schema names it.
func argsOfForm(form url.Values, kind *jobs.Kind, asJSON bool) (json.RawMessage, jobs.FieldErrors) {
	if asJSON {
		raw := json.RawMessage(form.Get("args"))
		if !json.Valid(raw) {
			return nil, jobs.FieldErrors{{Field: "args", Message: "is not valid JSON"}}
		}
		return raw, nil
	}
	var errs jobs.FieldErrors
	args := map[string]any{}
	for _, f := range kind.Fields {
		name := "args." + f.Name
		text := strings.ReplaceAll(form.Get(name), "\r\n", "\n") // browsers send line breaks as CRLF
		switch {
		case f.Type == "boolean":
			args[f.Name] = text == "true"
		case text == "":
		case f.Type == "string":
			args[f.Name] = text
		case json.Valid([]byte(text)):
			args[f.Name] = json.RawMessage(text)
		case f.Type == "integer", f.Type == "number":
			args[f.Name] = text
		case strings.TrimSpace(text) != "":
			errs = append(errs, jobs.FieldError{Field: name, Message: "is not valid JSON"})
		}
	}
	raw, err := json.Marshal(args)
	if err != nil {
		errs = append(errs, jobs.FieldError{Field: "args", Message: err.Error()})
	}
	return raw, errs
}
