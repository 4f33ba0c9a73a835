package handlers

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/tasks"
	"github.com/warrenjobs/warren/views"
)

// boardShown is the maximum number of tasks in a column of the board.
const boardShown = 30

func (a *App) tasks(ctx context.Context, c echo.Context, f tasks.Filter, cursor jobs.Cursor) error {
	page, err := a.Store.Tasks(ctx, f, cursor, limitDefault)
	if err != nil {
		return err
	}
	counts, err := a.Store.TaskCounts(ctx, f)
	if err != nil {
		return err
	}
	m := views.NewTasksModel(page, f, cursor, counts, time.Now())
	if f.Text != "" {
		index, err := a.Store.TaskIndex(ctx)
		if err != nil {
			return err
		}
		m.Index = views.IndexWords(index)
	}
	frame := a.frame(c, "tasks", "Tasks", engine.TopicTasks)
	frame.Lead, frame.Actions = "To-dos and scheduled jobs", views.TaskActions(f)
	return show(c, views.Tasks(frame, m), views.TasksList(m))
}

func (a *App) taskBoard(c echo.Context) error {
	ctx, cancel := query(c)
	defer cancel()
	board, err := a.Store.TaskBoard(ctx, boardShown)
	if err != nil {
		return err
	}
	var m views.BoardModel
	for _, col := range board {
		m.Add(col.Priority, col.Tasks, col.Count, time.Now())
	}
	frame := a.frame(c, "tasks", "Tasks", engine.TopicTasks)
	frame.Lead, frame.Actions = "Open tasks by priority, soonest due first", views.TaskActions(tasks.Filter{View: tasks.ViewOpen})
	return show(c, views.TaskBoard(frame, m), views.TaskColumns(m))
}

// taskFilter reads the query parameters that select tasks, unchecked.
func taskFilter(c echo.Context) tasks.Filter {
	return tasks.Filter{View: tasks.View(c.QueryParam("view")), Priority: tasks.Priority(c.QueryParam("priority")),
		Text: strings.TrimSpace(c.QueryParam("q")), Order: tasks.Order(c.QueryParam("sort"))}
}

func parseTaskFilter(c echo.Context) (tasks.Filter, error) {
	f := taskFilter(c)
	return f, f.Check()
}

// parseTaskPage is parseTaskFilter for the page: it begins with the tasks that are not done, the next due first.
func parseTaskPage(c echo.Context) (tasks.Filter, error) {
	f := taskFilter(c)
	if f.View == "" {
		f.View = tasks.ViewOpen
	}
	switch {
	case f.Order == views.SortNewest:
		f.Order = tasks.OrderNewest
	case f.Order == "" && f.View.HasDue():
		f.Order = tasks.OrderDue
	}
	return f, f.Check()
}

func (a *App) task(c echo.Context) error {
	id, err := taskID(c)
	if err != nil {
		return err
	}
	cursor, err := parseCursor(c)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	m, err := a.taskModel(ctx, id, cursor)
	if err != nil {
		return err
	}
	frame := a.frame(c, "tasks", views.TaskTitle(m.Description), engine.TopicTasks, engine.TopicJobs)
	frame.About, frame.Badge, frame.Actions = views.IDLine("Task", id.String()), views.TaskState(m), views.TaskButtons(m)
	return show(c, views.Task(frame, m), views.TaskUpdate(m))
}

func (a *App) taskModel(ctx context.Context, id uuid.UUID, cursor jobs.Cursor) (m views.TaskModel, err error) {
	task, err := a.Store.Task(ctx, id)
	if err != nil {
		return m, err
	}
	runs, err := a.Store.TaskRuns(ctx, id, cursor, views.TaskRunsShown)
	if err != nil {
		return m, err
	}
	open, err := a.Store.OpenScheduledRun(ctx, id)
	if err != nil {
		return m, err
	}
	hideTask(ctx, &task)
	hideAll(ctx, runs.Items)
	events, err := a.Store.TaskEvents(ctx, id, views.TaskEventsShown)
	if err != nil {
		return m, err
	}
	return views.NewTaskModel(task, runs, cursor, open, events, time.Now()), nil
}

func (a *App) setPriority(c echo.Context) error {
	p := tasks.Priority(c.FormValue("priority"))
	f := tasks.Filter{Priority: p}
	if err := f.Check(); err != nil || p == "" {
		return badField("priority", "must be none, low, medium or high")
	}
	return action(a, taskID, func(ctx context.Context, id uuid.UUID, by jobs.Actor) (done, error) {
		task, err := a.Store.SetTaskPriority(ctx, id, p, by)
		return did(taskURL(id), "Priority "+string(p)+": "+views.TaskTitle(task.Description)+"."), err
	})(c)
}

func taskURL(id uuid.UUID) string { return "/tasks/" + id.String() }

// setDone marks a task done or open.
func (a *App) setDone(ctx context.Context, id uuid.UUID, isDone bool, by jobs.Actor) (done, error) {
	task, err := a.Store.SetTaskDone(ctx, id, isDone, by)
	if isDone {
		return did(taskURL(id), "Done: "+views.TaskTitle(task.Description)+"."), err
	}
	return did(taskURL(id), "Open again: "+views.TaskTitle(task.Description)+"."), err
}

func (a *App) finishTask(ctx context.Context, id uuid.UUID, by jobs.Actor) (done, error) {
	return a.setDone(ctx, id, true, by)
}

func (a *App) reopenTask(ctx context.Context, id uuid.UUID, by jobs.Actor) (done, error) {
	return a.setDone(ctx, id, false, by)
}

func (a *App) deleteTask(ctx context.Context, id uuid.UUID, by jobs.Actor) (done, error) {
	if err := a.Store.DeleteTask(ctx, id, by); err != nil {
		return done{page: taskURL(id)}, err
	}
	d := did("/tasks", "Deleted task "+id.String()+".")
	d.leave = true // the form came from the task's own page
	return d, nil
}

// errNoJob refuses to run a task that owns no job.
var errNoJob = &jobs.NotAllowedError{Why: "The task owns no job. Edit it to give it one."}

func (a *App) runTask(ctx context.Context, id uuid.UUID, by jobs.Actor) (uuid.UUID, error) {
	job, err := a.Store.RunTask(ctx, id, by)
	if errors.Is(err, jobs.ErrNoJob) {
		err = errNoJob
	}
	return job, err
}

func (a *App) runTaskPage(ctx context.Context, id uuid.UUID, by jobs.Actor) (done, error) {
	job, err := a.runTask(ctx, id, by)
	return did(taskURL(id), "Submitted as job "+job.String()+"."), err
}

// apiRunTask responds with the job.
func (a *App) apiRunTask(ctx context.Context, id uuid.UUID, by jobs.Actor) (reply, error) {
	job, err := a.runTask(ctx, id, by)
	if err != nil {
		return reply{}, err
	}
	return a.createdJob(ctx, job)
}

// createdJob responds with a job that was just submitted.
func (a *App) createdJob(ctx context.Context, id uuid.UUID) (reply, error) {
	detail, err := a.readJob(ctx, id)
	return reply{status: http.StatusCreated, body: detail, location: "/api/v1/jobs/" + id.String()}, err
}

func (a *App) readTasks(ctx context.Context, f tasks.Filter, c jobs.Cursor, limit int) (jobs.Page[tasks.Task], error) {
	page, err := a.Store.Tasks(ctx, f, c, limit)
	for i := range page.Items {
		hideTask(ctx, &page.Items[i])
	}
	return page, err
}

// taskAfter responds with the task after an action. If another user has changed the task meanwhile,
// it responds with 409 and the current task.
func (a *App) taskAfter(
	act func(ctx context.Context, id uuid.UUID, by jobs.Actor) (tasks.Task, error),
) func(context.Context, uuid.UUID, jobs.Actor) (answer, error) {
	return func(ctx context.Context, id uuid.UUID, by jobs.Actor) (answer, error) {
		task, err := act(ctx, id, by)
		var conflict *tasks.ConflictError
		if errors.As(err, &conflict) {
			hideTask(ctx, &conflict.Current)
			return taskConflict{newProblem(http.StatusConflict, conflict.Error()), conflict.Current}, nil
		}
		hideTask(ctx, &task)
		return reply{body: task}, err
	}
}

// apiTaskIndex says how the full-text index is.
func (a *App) apiTaskIndex(c echo.Context) error {
	ctx, cancel := query(c)
	defer cancel()
	index, err := a.Store.TaskIndex(ctx)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, index)
}

func (a *App) apiTask(ctx context.Context, id uuid.UUID, _ jobs.Actor) (tasks.Task, error) {
	return a.Store.Task(ctx, id)
}

func (a *App) apiFinishTask(ctx context.Context, id uuid.UUID, by jobs.Actor) (tasks.Task, error) {
	return a.Store.SetTaskDone(ctx, id, true, by)
}

func (a *App) apiReopenTask(ctx context.Context, id uuid.UUID, by jobs.Actor) (tasks.Task, error) {
	return a.Store.SetTaskDone(ctx, id, false, by)
}

func (a *App) apiDeleteTask(ctx context.Context, id uuid.UUID, by jobs.Actor) (reply, error) {
	return reply{}, a.Store.DeleteTask(ctx, id, by)
}

// taskRequest is the body of POST and PUT on tasks. Version is for PUT: the version that was read.
type taskRequest struct {
	Description string         `json:"description"`
	Priority    tasks.Priority `json:"priority"`
	StartAt     *string        `json:"start_at"`
	DueAt       *string        `json:"due_at"`
	Done        bool           `json:"done"`
	Job         *tasks.Job     `json:"job"`
	Version     *int           `json:"version"`
}

// readTask reads the request; was is the job that the task has.
func (a *App) readTask(c echo.Context, was *tasks.Job) (in tasks.Input, version *int, err error) {
	var req taskRequest
	errs, err := readJSON(c, &req)
	if err != nil {
		return in, nil, err
	}
	in = tasks.Input{Description: req.Description, Priority: req.Priority, Done: req.Done, Job: req.Job}
	if req.StartAt != nil {
		in.StartAt, errs = parseTaskTime("start_at", *req.StartAt, errs)
	}
	if req.DueAt != nil {
		in.DueAt, errs = parseTaskTime("due_at", *req.DueAt, errs)
	}
	if errs = a.checkTask(c.Request().Context(), &in, was, errs); len(errs) > 0 {
		return in, nil, errs
	}
	return in, req.Version, nil
}

func (a *App) apiCreateTask(c echo.Context) error {
	in, _, err := a.readTask(c, nil)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	task, err := a.Store.CreateTask(ctx, in, "api", a.by(c))
	if err != nil {
		return err
	}
	c.Response().Header().Set("Location", at(c, "/api/v1/tasks/"+task.ID.String()))
	return c.JSON(http.StatusCreated, task)
}

// apiEditTask replaces a task that still has the version of the request; otherwise it responds with
// 409 and the current task.
func (a *App) apiEditTask(c echo.Context) error {
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
	in, version, err := a.readTask(c, task.Job)
	if err != nil {
		return err
	}
	if version == nil {
		return badField("version", "is required: the version that was read")
	}
	return action(a, taskID, a.taskAfter(func(ctx context.Context, id uuid.UUID, by jobs.Actor) (tasks.Task, error) {
		return a.Store.EditTask(ctx, id, *version, in, by)
	}))(c)
}

// taskConflict is the problem of a stale version, with the current task.
type taskConflict struct {
	problem
	Current tasks.Task `json:"current"`
}

func (t taskConflict) send(c echo.Context) error {
	c.Response().Header().Set(echo.HeaderContentType, "application/problem+json")
	return c.JSON(http.StatusConflict, t)
}

// apiTaskEvents lists the newest events of a task.
func (a *App) apiTaskEvents(c echo.Context) error {
	id, err := taskID(c)
	if err != nil {
		return err
	}
	limit, err := parseLimit(c)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	events, err := a.Store.TaskEvents(ctx, id, limit)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, jobs.Page[engine.Event]{Items: events})
}

// apiImportTasks takes a CSV file as the body and responds with the job that imports it.
func (a *App) apiImportTasks(c echo.Context) error {
	job, err := a.importTasks(c, c.QueryParam("name"), c.Request().Body)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	detail, err := a.readJob(ctx, job)
	if err != nil {
		return err
	}
	c.Response().Header().Set("Location", at(c, "/api/v1/jobs/"+job.String()))
	return c.JSON(http.StatusCreated, detail)
}
