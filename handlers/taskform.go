package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/tasks"
	"github.com/warrenjobs/warren/views"
	"github.com/warrenjobs/warren/views/ui"
)

// newTask shows the form, empty or with the values that were typed before a kind was chosen.
func (a *App) newTask(c echo.Context) error {
	return a.showTaskForm(c, http.StatusOK, taskFormState{values: firstValues(c.QueryParams())})
}

// editTask shows the form with the task, or with the values that were typed before a kind was
// chosen.
func (a *App) editTask(c echo.Context) error {
	id, err := taskID(c)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	task, err := a.Store.Task(ctx, id)
	if err != nil {
		return err
	}
	if why := lacks(ctx, ViewArgs); why != "" && task.Job != nil { // the form shows the args of the job
		return echo.NewHTTPError(http.StatusForbidden, why)
	}
	state := taskFormState{task: task, version: task.Version, values: a.taskValues(task.Input())}
	if typed := c.QueryParams(); typed.Has("choose") {
		state.values = firstValues(typed)
		state.version, _ = strconv.Atoi(typed.Get("version"))
	}
	return a.showTaskForm(c, http.StatusOK, state)
}

// taskFormState is the state of the form, apart from what the registry provides.
type taskFormState struct {
	task     tasks.Task // zero for a new one
	version  int
	values   map[string]string
	errs     jobs.FieldErrors
	conflict *views.Conflict
}

func (a *App) showTaskForm(c echo.Context, status int, s taskFormState) error {
	ctx, cancel := query(c)
	defer cancel()
	kind := a.Registry.Lookup(s.values["job.kind"])
	if kind != nil && s.values[views.FieldsOf] != kind.Name { // a box that is not ticked must not take its default
		var args json.RawMessage
		if job := s.task.Job; job != nil && job.Kind == kind.Name {
			args = job.Args
		}
		for name, value := range views.ArgValues(kind, args) {
			if _, typed := s.values[name]; !typed {
				s.values[name] = value
			}
		}
	}
	form := views.NewTaskForm(a.Registry, kind, a.jobQueues(ctx), s.values, s.errs)
	form.Version, form.Conflict = s.version, s.conflict
	form.URL, form.Back = "/tasks/new", "/tasks"
	title := "New task"
	if s.version > 0 {
		form.URL, form.Back = "/tasks/"+s.task.ID.String()+"/edit", "/tasks/"+s.task.ID.String()
		title = "Edit task"
	}
	frame := a.frame(c, "tasks", title)
	frame.Lead = "A to-do, or a job that runs at a set time or on a schedule. Changes are published as events."
	if s.version > 0 {
		frame.Up = &views.Nav{Href: form.Back, Label: views.TaskTitle(s.task.Description)}
		frame.Lead = fmt.Sprintf("Version %d. Each change is published as an event.", s.version)
	}
	return render(c, status, views.TaskEdit(frame, form.Preview(time.Now())))
}

func firstValues(form url.Values) map[string]string {
	values := map[string]string{}
	for name := range form {
		values[name] = form.Get(name)
	}
	return values
}

// createTask handles the form of a new task.
func (a *App) createTask(c echo.Context) error {
	form, err := readForm(c)
	if err != nil {
		return err
	}
	in, errs := a.taskOfForm(c.Request().Context(), form, tasks.Input{})
	if len(errs) > 0 {
		return a.showTaskForm(c, http.StatusUnprocessableEntity, taskFormState{values: firstValues(form), errs: errs})
	}
	ctx, cancel := query(c)
	defer cancel()
	task, err := a.Store.CreateTask(ctx, in, "web", a.by(c))
	if err != nil {
		return err
	}
	return redirect(c, "/tasks/"+task.ID.String(), ui.FlashProps{Kind: "done", Text: "Created."})
}

// saveTask handles the form of a changed task, of which it writes only what the form changes. If
// another user has changed the task meanwhile, it shows both versions and keeps everything that was
// typed.
func (a *App) saveTask(c echo.Context) error {
	id, err := taskID(c)
	if err != nil {
		return err
	}
	form, err := readForm(c)
	if err != nil {
		return err
	}
	version, err := strconv.Atoi(form.Get("version"))
	if err != nil || version < 1 {
		return badField("version", "must be the version that was read")
	}
	ctx, cancel := query(c)
	defer cancel()
	task, err := a.Store.Task(ctx, id)
	if err != nil {
		return err
	}
	state := taskFormState{task: task, version: version, values: firstValues(form)}
	hideTask(ctx, &state.task)
	in, errs := a.taskOfForm(ctx, form, task.Input())
	if len(errs) > 0 {
		state.errs = errs
		return a.showTaskForm(c, http.StatusUnprocessableEntity, state)
	}
	task, err = a.Store.EditTask(ctx, id, version, in, a.by(c))
	var conflict *tasks.ConflictError
	if errors.As(err, &conflict) {
		hideTask(ctx, &conflict.Current)
		state.conflict = views.NewConflict(conflict.Current, in)
		return a.showTaskForm(c, http.StatusConflict, state)
	}
	if err != nil {
		return err
	}
	return redirect(c, "/tasks/"+id.String(), ui.FlashProps{Kind: "done", Text: fmt.Sprintf("Saved as version %d.", task.Version)})
}

// taskValues returns the values with which the form of a task is shown.
func (a *App) taskValues(in tasks.Input) map[string]string {
	var kind *jobs.Kind
	if in.Job != nil {
		kind = a.Registry.Lookup(in.Job.Kind)
	}
	return views.TaskValues(in, kind)
}

// taskOfForm returns was, the task as it is, with what the form changes in it; the errors name every
// invalid field. What the form has as it was shown, or has not, stays exactly as it is.
func (a *App) taskOfForm(ctx context.Context, form url.Values, was tasks.Input) (tasks.Input, jobs.FieldErrors) {
	in, shown := was, a.taskValues(was)
	if changed(form, "description", shown["description"]) {
		in.Description = typed(form, "description")
	}
	if form.Has("priority") {
		in.Priority = tasks.Priority(form.Get("priority"))
	}
	in.Done = form.Get("done") == "true" // a box that is not ticked is not sent
	var errs jobs.FieldErrors
	in.StartAt, errs = changedTime(form, "start_at", was.StartAt, errs)
	in.DueAt, errs = changedTime(form, "due_at", was.DueAt, errs)
	if form.Has("job.kind") {
		var wrong jobs.FieldErrors
		in.Job, wrong = a.jobOfTaskForm(form, was.Job, shown)
		errs = append(errs, wrong...)
	}
	return in, a.checkTask(ctx, &in, was.Job, errs)
}

// changedTime returns the time of a field on the clocks of the form's zone, or was if the form has it as it was shown.
// What is shown has no fractions of a second, and an hour that the clocks show twice is not told apart.
func changedTime(form url.Values, field string, was *time.Time, errs jobs.FieldErrors) (*time.Time, jobs.FieldErrors) {
	if !form.Has(field) || was != nil && sameClock(form.Get(field), *was, form.Get("zone")) {
		return was, errs
	}
	at, err := tasks.ParseTimeIn(form.Get(field), form.Get("zone"))
	if err != nil {
		errs = append(errs, jobs.FieldError{Field: field, Message: err.Error()})
	}
	return at, errs
}

// sameClock reports whether text is what the clocks of the zone show at that time, to the second.
func sameClock(text string, at time.Time, zone string) bool {
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return false
	}
	typed, err1 := tasks.ParseTime(text)
	shown, err2 := tasks.ParseTime(views.FormTime(&at, loc))
	return err1 == nil && err2 == nil && typed != nil && typed.Equal(*shown)
}

// jobOfTaskForm returns the job that the form gives the task: was, changed or not, or another.
func (a *App) jobOfTaskForm(form url.Values, was *tasks.Job, shown map[string]string) (*tasks.Job, jobs.FieldErrors) {
	name := form.Get("job.kind")
	if name == "" {
		return nil, nil
	}
	job := tasks.Job{Kind: name, Runs: tasks.RunsNow}
	if was != nil && was.Kind == name {
		job = *was
	} else {
		shown = nil // the form gives it all that it has
	}
	text := func(field, keeps string) string {
		if !changed(form, field, shown[field]) {
			return keeps
		}
		return strings.TrimSpace(form.Get(field))
	}
	job.Queue, job.Rule, job.Zone = text("job.queue", job.Queue), text("job.rule", job.Rule), text("job.zone", job.Zone)
	if runs := form.Get("job.runs"); runs != "" {
		job.Runs = tasks.Runs(runs)
	}
	kind := a.Registry.Lookup(name)
	if kind == nil {
		return &job, unreadArgs(form, name)
	}
	args, errs := argsOfForm(form, kind, job.Args)
	for i := range errs {
		errs[i].Field = "job." + errs[i].Field
	}
	job.Args = args
	return &job, errs
}

// unreadArgs returns an error if the form has the args of a kind that only another process knew,
// which showed it.
func unreadArgs(form url.Values, kind string) jobs.FieldErrors {
	if form.Get(views.FieldsOf) != kind {
		return nil
	}
	return jobs.FieldErrors{{Field: "job.kind", Message: fmt.Sprintf("%q is not known to the process that was asked to save it, so its "+
		"arguments were not read: save again to keep them as they were", kind)}}
}

// checkTask validates the task, and returns the fields that could not be read together with the
// invalid ones. Args that are as they were are not checked, as their kind may be unknown here, nor is
// such a queue.
func (a *App) checkTask(ctx context.Context, in *tasks.Input, was *tasks.Job, unreadable jobs.FieldErrors) jobs.FieldErrors {
	err := in.Prepare()
	if was == nil || in.Job == nil || in.Job.Kind != was.Kind || !tasks.SameArgs(in.Job.Args, was.Args) {
		err = tasks.Prepare(a.Registry, in)
	}
	var wrong jobs.FieldErrors
	errors.As(err, &wrong)
	if len(wrong) == 0 && in.Job != nil && (was == nil || in.Job.Queue != was.Queue) {
		errors.As(a.checkQueue(ctx, "job.queue", in.Job.Kind, in.Job.Queue), &wrong) // other errors show when the task is written
	}
	return addNew(unreadable, wrong)
}

// parseTaskTime parses a time, and appends to errs if the text is not valid.
func parseTaskTime(field, text string, errs jobs.FieldErrors) (*time.Time, jobs.FieldErrors) {
	at, err := tasks.ParseTime(text)
	if err != nil {
		errs = append(errs, jobs.FieldError{Field: field, Message: err.Error()})
	}
	return at, errs
}

// previewSchedule renders the next times of the rule that is being typed.
func (a *App) previewSchedule(c echo.Context) error {
	rule, zone := c.QueryParam("rule"), c.QueryParam("rule_zone")
	if c.QueryParams().Has("job.rule") { // of the form of a task
		rule, zone = c.QueryParam("job.rule"), c.QueryParam("job.zone")
	}
	times, why := views.NextTimes(rule, zone, time.Now())
	return render(c, http.StatusOK, views.NextList(times, why))
}
