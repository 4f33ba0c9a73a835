package views

import (
	"cmp"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/events"
	"github.com/warrenjobs/warren/jobs/schedule"
	"github.com/warrenjobs/warren/views/ui"
)

// The values of the field "does" of the form of a schedule.
const (
	DoesJob   = "job"
	DoesEvent = "event"
)

// ScheduleForm is the form of a new or a changed schedule: the typed values and their errors.
type ScheduleForm struct {
	JobForm // of the kind, where it enqueues a job; its Values and Errors are those of the whole form
	URL     string
	Back    string
	Version int // the version that was read; 0 for a new schedule
	Next    []time.Time
	NextWhy string
	Problem string
}

// scheduleLabels are the labels of the fields that only a schedule has, by form name; those of its job are optionLabels.
var scheduleLabels = map[string]string{"name": "Name", "rule": "Rule", "rule_zone": "Time zone", "does": "Action", "overlap": "Overlap",
	"catch_up": "Missed runs", "starts_at": "Starts", "ends_at": "Ends", "exchange": "Exchange", "key": "Routing key",
	"content_type": "Content type", "body": "Body"}

// NewScheduleForm shapes the form. kind is the one whose args are shown, nil if it publishes an event.
func NewScheduleForm(
	r *jobs.Registry, kind *jobs.Kind, queues []string, values map[string]string, errs jobs.FieldErrors, now time.Time,
) ScheduleForm {
	var ofJob, own jobs.FieldErrors
	for _, e := range errs {
		e.Field = formField(e.Field)
		if scheduleLabels[e.Field] != "" {
			own = append(own, e)
		} else {
			ofJob = append(ofJob, e)
		}
	}
	f := ScheduleForm{JobForm: NewJobForm(r, kind, queues, values, ofJob, false)}
	if kind == nil {
		f.Kinds = append([]ui.Option{{Label: "Choose a kind", Selected: true}}, f.Kinds...)
	}
	for _, e := range own {
		f.add(e.Field, e.Message)
	}
	f.Problem = f.JobForm.Problem
	if f.Next, f.NextWhy = NextTimes(values["rule"], values["rule_zone"], now); values["rule"] == "" {
		f.NextWhy = "Enter a rule to preview its next runs."
	}
	return f
}

// formField is the name in the form of a field of schedule.Input.
func formField(field string) string {
	if field == "zone" {
		return "rule_zone"
	}
	for _, prefix := range []string{"job.", "event."} {
		field = strings.TrimPrefix(field, prefix)
	}
	return field
}

// ScheduleValues returns the values of the form's fields, with times in UTC, for a schedule whose job is of that kind.
func ScheduleValues(in schedule.Input, kind *jobs.Kind) map[string]string {
	v := map[string]string{"name": in.Name, "rule": in.Rule, "rule_zone": in.Zone, "overlap": string(in.Overlap),
		"catch_up": string(in.CatchUp), "starts_at": FormTime(in.StartsAt, time.UTC), "ends_at": FormTime(in.EndsAt, time.UTC)}
	if e := in.Event; e != nil {
		v["does"], v["exchange"], v["key"], v["content_type"], v["body"] = DoesEvent, e.Exchange, e.Key, e.ContentType, eventText(*e)
		return v
	}
	j := in.Job
	v["does"], v["kind"], v["queue"], v["tags"] = DoesJob, j.Kind, j.Queue, strings.Join(j.Tags, ", ")
	if j.MaxAttempts > 0 {
		v["max_attempts"] = strconv.Itoa(j.MaxAttempts)
	}
	if j.Timeout > 0 {
		v["timeout"] = time.Duration(j.Timeout).String()
	}
	if kind != nil {
		v[FieldsOf] = kind.Name
		for name, value := range ArgValues(kind, j.Args) {
			v[name] = value
		}
	}
	return v
}

// eventText is a body as the form shows it: the text of one that is not JSON.
func eventText(e schedule.Event) string {
	var text string
	if !events.IsJSON(e.ContentType) && json.Unmarshal(e.Body, &text) == nil {
		return text
	}
	return string(e.Body)
}

func (f ScheduleForm) own(name, help, note string) ui.FieldProps {
	return f.field(name, scheduleLabels[name], help, note)
}

// more reports whether the options that are rarely set are shown from the start: one has another value than its default, or is wrong.
func (f ScheduleForm) more() bool {
	defaults := map[string]string{"catch_up": string(schedule.CatchUpOnce), "overlap": string(schedule.OverlapSkip)}
	for _, name := range []string{"catch_up", "overlap", "starts_at", "ends_at", "max_attempts", "timeout", "tags"} {
		if f.Errors[name] != "" || f.Values[name] != "" && f.Values[name] != defaults[name] {
			return true
		}
	}
	return false
}

func (f ScheduleForm) event() bool { return f.Values["does"] == DoesEvent }

// choices are the options of a select, each a value and a label; the first is the default.
func (f ScheduleForm) choices(name string, list ...[2]string) (options []ui.Option) {
	chosen := cmp.Or(f.Values[name], list[0][0])
	for _, o := range list {
		options = append(options, ui.Option{Value: o[0], Label: o[1], Selected: o[0] == chosen})
	}
	return options
}

func (f ScheduleForm) saveLabel() string {
	if f.Version == 0 {
		return "Create schedule"
	}
	return "Save"
}
