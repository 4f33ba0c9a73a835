package handlers

import (
	"context"
	"errors"
	"net/http"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/tasks"
)

// taskRequest is the body of POST and PUT on tasks. Version is PUT's: the one that was read.
type taskRequest struct {
	Description string         `json:"description"`
	Priority    tasks.Priority `json:"priority"`
	StartAt     *string        `json:"start_at"`
	DueAt       *string        `json:"due_at"`
	Done        bool           `json:"done"`
	Job         *tasks.Job     `json:"job"`
	Version     *int           `json:"version"`
}

func (a *App) readTask(c echo.Context) (in tasks.Input, version *int, err error) {
	var req taskRequest
	if err := readJSON(c, &req); err != nil {
		return in, nil, err
	}
	in = tasks.Input{Description: req.Description, Priority: req.Priority, Done: req.Done, Job: req.Job}
	var errs jobs.FieldErrors
	if req.StartAt != nil {
		in.StartAt, errs = parseTaskTime("start_at", *req.StartAt, errs)
	}
	if req.DueAt != nil {
		in.DueAt, errs = parseTaskTime("due_at", *req.DueAt, errs)
	}
	if errs = a.checkTask(&in, errs); len(errs) > 0 {
		return in, nil, errs
	}
	return in, req.Version, nil
}

func (a *App) apiTasks(c echo.Context) error {
	f, cursor, err := parseTaskFilter(c, tasks.ViewAll)
	if err != nil {
		return err
	}
	limit, err := parseLimit(c)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	page, err := a.Store.Tasks(ctx, f, cursor, limit)
	if err != nil {
		return err
	}
	for i := range page.Tasks {
		hideTask(ctx, &page.Tasks[i])
	}
	return c.JSON(http.StatusOK, newList(page.Tasks, page.Older.String()))
}

func (a *App) apiCreateTask(c echo.Context) error {
	in, _, err := a.readTask(c)
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

func (a *App) apiTask(c echo.Context) error {
	return a.apiTaskAct(func(ctx context.Context, id uuid.UUID, _ jobs.Actor) (tasks.Task, error) {
		return a.Store.Task(ctx, id)
	})(c)
}

// apiEditTask replaces a task that still has the version of the request; 409 answers with the task as it is.
func (a *App) apiEditTask(c echo.Context) error {
	in, version, err := a.readTask(c)
	if err != nil {
		return err
	}
	if version == nil {
		return badField("version", "is required: the version that was read")
	}
	return a.apiTaskAct(func(ctx context.Context, id uuid.UUID, by jobs.Actor) (tasks.Task, error) {
		return a.Store.EditTask(ctx, id, *version, in, by)
	})(c)
}

// taskConflict is the problem of a stale version, with the task as it is.
type taskConflict struct {
	problem
	Current tasks.Task `json:"current"`
}

func (a *App) apiSetDone(done bool) echo.HandlerFunc {
	return a.apiTaskAct(func(ctx context.Context, id uuid.UUID, by jobs.Actor) (tasks.Task, error) {
		return a.Store.SetTaskDone(ctx, id, done, by)
	})
}

// apiTaskAct answers with the task as it is afterwards.
func (a *App) apiTaskAct(act func(ctx context.Context, id uuid.UUID, by jobs.Actor) (tasks.Task, error)) echo.HandlerFunc {
	return func(c echo.Context) error {
		id, err := idOf(c, "task")
		if err != nil {
			return err
		}
		ctx, cancel := query(c)
		defer cancel()
		task, err := act(ctx, id, a.by(c))
		var conflict *tasks.ConflictError
		if errors.As(err, &conflict) {
			hideTask(ctx, &conflict.Current)
			c.Response().Header().Set(echo.HeaderContentType, "application/problem+json")
			return c.JSON(http.StatusConflict, taskConflict{newProblem(http.StatusConflict, conflict.Error()), conflict.Current})
		}
		if err != nil {
			return err
		}
		hideTask(ctx, &task)
		if c.Request().Method != http.MethodGet {
		}
		return c.JSON(http.StatusOK, task)
	}
}

func (a *App) apiDeleteTask(c echo.Context) error {
	id, err := idOf(c, "task")
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	if err := a.Store.DeleteTask(ctx, id, a.by(c)); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// apiRunTask answers with the job.
func (a *App) apiRunTask(c echo.Context) error {
	id, err := idOf(c, "task")
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	job, err := a.Store.RunTask(ctx, id, a.by(c))
	if errors.Is(err, jobs.ErrNoJob) {
		return echo.NewHTTPError(http.StatusConflict, "The task owns no job.")
	}
	if err != nil {
		return err
	}
	detail, err := a.readJob(ctx, job)
	if err != nil {
		return err
	}
	c.Response().Header().Set("Location", at(c, "/api/v1/jobs/"+job.String()))
	return c.JSON(http.StatusCreated, detail)
}

// apiTaskEvents lists the newest events of a task.
func (a *App) apiTaskEvents(c echo.Context) error {
	id, err := idOf(c, "task")
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
	return c.JSON(http.StatusOK, newList(events, ""))
}

// apiImportTasks takes a CSV file as the body and answers with the job that imports it.
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
