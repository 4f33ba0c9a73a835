package handlers

import (
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
	state := taskFormState{task: task, version: task.Version, values: views.TaskValues(task.Input())}
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
	if kind != nil {
		for _, f := range kind.Fields {
			if _, typed := s.values["args."+f.Name]; !typed {
				s.values["args."+f.Name] = f.Default
			}
		}
	}
	form := views.NewTaskForm(a.Registry, kind, a.jobQueues(ctx), s.values, s.errs)
	form.Version, form.Conflict = s.version, s.conflict
	form.URL, form.Back = "/tasks/new", "/tasks"
	title := "New task"
	if s.version > 0 {
		form.URL, form.Back, title = "/tasks/"+s.task.ID.String()+"/edit", "/tasks/"+s.task.ID.String(), "Edit task"
	}
	frame := a.frame(c, "tasks", title)
	frame.Lead = "Each change is told to the task's subscribers"
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
	form, err := c.FormParams()
	if err != nil {
		return err
	}
	in, errs := a.taskOfForm(form)
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

// saveTask handles the form of a changed task. If another user has changed the task meanwhile, it
// shows both versions and keeps everything that was typed.
func (a *App) saveTask(c echo.Context) error {
	id, err := taskID(c)
	if err != nil {
		return err
	}
	form, err := c.FormParams()
	if err != nil {
		return err
	}
	version, err := strconv.Atoi(form.Get("version"))
	if err != nil || version < 1 {
		return badField("version", "must be the version that was read")
	}
	state := taskFormState{task: tasks.Task{ID: id}, version: version, values: firstValues(form)}
	in, errs := a.taskOfForm(form)
	if len(errs) > 0 {
		state.errs = errs
		return a.showTaskForm(c, http.StatusUnprocessableEntity, state)
	}
	ctx, cancel := query(c)
	defer cancel()
	task, err := a.Store.EditTask(ctx, id, version, in, a.by(c))
	var conflict *tasks.ConflictError
	if errors.As(err, &conflict) {
		state.conflict = views.NewConflict(conflict.Current, in)
		return a.showTaskForm(c, http.StatusConflict, state)
	}
	if err != nil {
		return err
	}
	return redirect(c, "/tasks/"+id.String(), ui.FlashProps{Kind: "done", Text: fmt.Sprintf("Saved as version %d.", task.Version)})
}

// taskOfForm reads and validates the form; the errors name every invalid field.
func (a *App) taskOfForm(form url.Values) (tasks.Input, jobs.FieldErrors) {
	in := tasks.Input{Description: form.Get("description"), Priority: tasks.Priority(form.Get("priority")),
		Done: form.Get("done") == "true"}
	var errs jobs.FieldErrors
	in.StartAt, errs = parseTaskTime("start_at", form.Get("start_at"), errs)
	in.DueAt, errs = parseTaskTime("due_at", form.Get("due_at"), errs)
	if name := form.Get("job.kind"); name != "" {
		in.Job = &tasks.Job{Kind: name, Queue: strings.TrimSpace(form.Get("job.queue")), Runs: tasks.Runs(form.Get("job.runs")),
			Rule: strings.TrimSpace(form.Get("job.rule")), Zone: strings.TrimSpace(form.Get("job.zone"))}
		if in.Job.Runs == "" {
			in.Job.Runs = tasks.RunsNow
		}
		if kind := a.Registry.Lookup(name); kind != nil {
			args, err := argsOfForm(form, kind, form.Get("as") == "json")
			if err != nil {
				errs = append(errs, jobs.FieldError{Field: "job.args", Message: err.Error()})
			}
			in.Job.Args = args
		}
	}
	return in, a.checkTask(&in, errs)
}

// checkTask validates the task, and returns the fields that could not be read together with the
// invalid ones.
func (a *App) checkTask(in *tasks.Input, unreadable jobs.FieldErrors) jobs.FieldErrors {
	var wrong jobs.FieldErrors
	errors.As(tasks.Prepare(a.Registry, in), &wrong)
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
	times, why := views.NextTimes(c.QueryParam("job.rule"), c.QueryParam("job.zone"), time.Now())
	return render(c, http.StatusOK, views.NextList(times, why))
}
