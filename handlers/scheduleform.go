package handlers

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/events"
	"github.com/warrenjobs/warren/jobs/schedule"
	"github.com/warrenjobs/warren/views"
	"github.com/warrenjobs/warren/views/ui"
)

// scheduleFormState is the state of the form, apart from what the registry provides.
type scheduleFormState struct {
	was     schedule.Schedule // zero for a new one
	version int
	values  map[string]string
	errs    jobs.FieldErrors
	problem string
}

func (a *App) newSchedule(c echo.Context) error {
	values := firstValues(c.QueryParams())
	values["does"] = cmp.Or(values["does"], views.DoesJob)
	return a.showScheduleForm(c, http.StatusOK, scheduleFormState{values: values})
}

func (a *App) editSchedule(c echo.Context) error {
	ctx, cancel := query(c)
	defer cancel()
	was, err := a.scheduleToEdit(ctx, c)
	if err != nil {
		return err
	}
	return a.showScheduleForm(c, http.StatusOK, scheduleFormState{was: was, version: was.Version, values: a.scheduleValues(was.Input)})
}

// scheduleToEdit reads a schedule that the form may show: it has the args of the job, and none is of a task.
func (a *App) scheduleToEdit(ctx context.Context, c echo.Context) (s schedule.Schedule, err error) {
	id, err := scheduleID(c)
	if err != nil {
		return s, err
	}
	if s, err = a.Store.Schedule(ctx, id); err != nil {
		return s, err
	}
	if s.Task != nil {
		return s, echo.NewHTTPError(http.StatusConflict, "The schedule belongs to a task: edit the task.")
	}
	if why := lacks(ctx, ViewArgs); why != "" {
		return s, echo.NewHTTPError(http.StatusForbidden, why)
	}
	return s, nil
}

func (a *App) scheduleValues(in schedule.Input) map[string]string {
	var kind *jobs.Kind
	if in.Job != nil {
		kind = a.Registry.Lookup(in.Job.Kind)
	}
	return views.ScheduleValues(in, kind)
}

func (a *App) showScheduleForm(c echo.Context, status int, s scheduleFormState) error {
	ctx, cancel := query(c)
	defer cancel()
	var kind *jobs.Kind
	if s.values["does"] != views.DoesEvent {
		kind = a.kindOfScheduleForm(s.values)
	}
	form := views.NewScheduleForm(a.Registry, kind, a.jobQueues(ctx), s.values, s.errs, time.Now())
	form.Version, form.Problem = s.version, cmp.Or(s.problem, form.Problem)
	form.URL, form.Back = "/schedules/new", "/schedules"
	frame := a.frame(c, "schedules", "New schedule")
	if s.version > 0 {
		form.Back, frame.Title = views.ScheduleURL(s.was.ID), "Edit schedule"
		form.URL = form.Back + "/edit"
		frame.Up = &views.Nav{Href: form.Back, Label: s.was.Name}
	}
	return render(c, status, views.ScheduleEdit(frame, form))
}

// kindOfScheduleForm returns the kind whose args the form shows, and gives those that it lacks their defaults.
func (a *App) kindOfScheduleForm(values map[string]string) *jobs.Kind {
	if values["kind"] == "" {
		return nil
	}
	kind, err := a.chosenKind(values["kind"])
	if err != nil || kind == nil {
		return nil
	}
	if values[views.FieldsOf] != kind.Name { // a box that is not ticked must not take its default
		for name, value := range views.ArgValues(kind, nil) {
			if _, typed := values[name]; !typed {
				values[name] = value
			}
		}
	}
	return kind
}

// createSchedule handles the form of a new schedule.
func (a *App) createSchedule(c echo.Context) error {
	return a.saveScheduleForm(c, schedule.Schedule{})
}

// saveSchedule handles the form of a changed schedule.
func (a *App) saveSchedule(c echo.Context) error {
	ctx, cancel := query(c)
	defer cancel()
	was, err := a.scheduleToEdit(ctx, c)
	if err != nil {
		return err
	}
	return a.saveScheduleForm(c, was)
}

// saveScheduleForm writes what the form has, or shows it again: with other fields if one of its switches was used, or with
// what is wrong. Typed values are kept.
func (a *App) saveScheduleForm(c echo.Context, was schedule.Schedule) error {
	form, err := readForm(c)
	if err != nil {
		return err
	}
	state := scheduleFormState{was: was, values: firstValues(form)}
	state.version, _ = strconv.Atoi(form.Get("version"))
	if form.Get("show") != "" {
		return a.showScheduleForm(c, http.StatusOK, state)
	}
	ctx, cancel := query(c)
	defer cancel()
	in, errs := a.scheduleOfForm(form, was.Input)
	if state.errs = a.checkSchedule(ctx, &in, was.Job, errs); len(state.errs) > 0 {
		return a.showScheduleForm(c, http.StatusUnprocessableEntity, state)
	}
	saved, text := was, "Saved."
	if state.version == 0 {
		saved, err = a.Store.CreateSchedule(ctx, in, "web", a.by(c))
		text = "Created."
	} else {
		saved, err = a.Store.EditSchedule(ctx, was.ID, state.version, in, a.by(c))
	}
	var conflict *schedule.ConflictError
	switch {
	case errors.As(err, &conflict):
		state.version = conflict.Current.Version
		state.problem = "Someone else saved version " + strconv.Itoa(state.version) + ". Your values are below: save again to overwrite it."
		return a.showScheduleForm(c, http.StatusConflict, state)
	case errors.As(err, &state.errs):
		return a.showScheduleForm(c, http.StatusUnprocessableEntity, state)
	case err != nil:
		return err
	}
	return redirect(c, views.ScheduleURL(saved.ID), ui.FlashProps{Kind: "done", Text: text})
}

// scheduleOfForm reads the form; the errors name the fields that could not be read. Args that the form has as they were
// shown stay as they are.
func (a *App) scheduleOfForm(form url.Values, was schedule.Input) (schedule.Input, jobs.FieldErrors) {
	in := schedule.Input{Name: form.Get("name"), Rule: form.Get("rule"), Zone: form.Get("rule_zone"),
		Overlap: schedule.Overlap(form.Get("overlap")), CatchUp: schedule.CatchUp(form.Get("catch_up"))}
	var errs jobs.FieldErrors
	in.StartsAt, errs = changedTime(form, "starts_at", was.StartsAt, errs)
	in.EndsAt, errs = changedTime(form, "ends_at", was.EndsAt, errs)
	if form.Get("does") == views.DoesEvent {
		in.Event = eventOfForm(form)
		return in, errs
	}
	job, wrong := a.jobOfScheduleForm(form, was.Job)
	in.Job = job
	return in, append(errs, wrong...)
}

func eventOfForm(form url.Values) *schedule.Event {
	e := &schedule.Event{Exchange: form.Get("exchange"), Key: form.Get("key"), ContentType: strings.TrimSpace(form.Get("content_type"))}
	body := typed(form, "body")
	if e.ContentType != "" && !events.IsJSON(e.ContentType) {
		e.Body, _ = json.Marshal(body) // a string always can be
		return e
	}
	e.Body = json.RawMessage(body)
	return e
}

func (a *App) jobOfScheduleForm(form url.Values, was *schedule.Job) (*schedule.Job, jobs.FieldErrors) {
	if form.Get("kind") == "" {
		return &schedule.Job{Args: json.RawMessage(`{}`)}, jobs.FieldErrors{{Field: "job.kind", Message: "is required"}}
	}
	kind, err := a.chosenKind(form.Get("kind"))
	var errs jobs.FieldErrors
	if errors.As(err, &errs) {
		return &schedule.Job{Kind: form.Get("kind"), Args: json.RawMessage(`{}`)}, errs
	}
	job, errs := jobOfForm(form, kind, false)
	if was != nil && kind != nil && was.Kind == kind.Name {
		args, wrong := argsOfForm(form, kind, was.Args)
		job.Args, errs = args, addNew(errs, wrong)
	}
	for i := range errs {
		errs[i].Field = "job." + errs[i].Field
	}
	return &schedule.Job{Kind: job.Kind, Args: job.Args, Queue: job.Queue, MaxAttempts: job.MaxAttempts,
		Timeout: jobs.Duration(job.Timeout),
		Tags:    job.Tags}, errs
}
