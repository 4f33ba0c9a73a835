package handlers

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/tasks"
	"github.com/warrenjobs/warren/views"
	"github.com/warrenjobs/warren/views/ui"
)

// boardShown is how many tasks a column of the board has.
const boardShown = 30

func (a *App) tasks(c echo.Context) error {
	f, cursor, err := parseTaskFilter(c, tasks.ViewOpen)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	page, err := a.Store.Tasks(ctx, f, cursor, limitDefault)
	if err != nil {
		return err
	}
	counts, err := a.Store.TaskCounts(ctx, f)
	if err != nil {
		return err
	}
	m := views.NewTasksModel(page, f, cursor, counts, time.Now())
	frame := a.frame(c, "tasks", "Tasks", engine.TopicTasks)
	frame.Lead, frame.Actions = "What people want done", views.TaskActions(f)
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
	frame.Lead, frame.Actions = "Open tasks by priority, those due first on top", views.TaskActions(tasks.Filter{View: tasks.ViewOpen})
	return show(c, views.TaskBoard(frame, m), views.TaskColumns(m))
}

// parseTaskFilter reads the query parameters that pick tasks; pages and API share it.
func parseTaskFilter(c echo.Context, view tasks.View) (tasks.Filter, jobs.Cursor, error) {
	f := tasks.Filter{View: view, Priority: tasks.Priority(c.QueryParam("priority")), Text: strings.TrimSpace(c.QueryParam("q"))}
	if v := c.QueryParam("view"); v != "" {
		f.View = tasks.View(v)
	}
	if err := f.Check(); err != nil {
		return f, jobs.Cursor{}, err
	}
	cursor, err := jobs.ParseCursor(c.QueryParam("cursor"))
	return f, cursor, err
}

func (a *App) task(c echo.Context) error {
	id, err := idOf(c, "task")
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	m, err := a.taskModel(ctx, id)
	if err != nil {
		return err
	}
	frame := a.frame(c, "tasks", shortTitle(m.Description), engine.TopicTasks, engine.TopicJobs)
	frame.Badge, frame.Actions = views.TaskState(m), views.TaskButtons(m)
	return show(c, views.Task(frame, m), views.TaskUpdate(m))
}

func (a *App) taskModel(ctx context.Context, id uuid.UUID) (m views.TaskModel, err error) {
	task, err := a.Store.Task(ctx, id)
	if err != nil {
		return m, err
	}
	runs, err := a.Store.TaskRuns(ctx, id, views.TaskRunsShown)
	if err != nil {
		return m, err
	}
	hideTask(ctx, &task)
	hideAll(ctx, runs)
	events, err := a.Store.TaskEvents(ctx, id, views.TaskEventsShown)
	if err != nil {
		return m, err
	}
	return views.NewTaskModel(task, runs, events, time.Now()), nil
}

func shortTitle(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	if runes := []rune(s); len(runes) > 80 {
		return string(runes[:80]) + "…"
	}
	return s
}

// setDone marks a task done or open and comes back with a line that says so.
func (a *App) setDone(done bool) echo.HandlerFunc {
	return a.taskAction(func(ctx context.Context, id uuid.UUID, by jobs.Actor) (string, error) {
		task, err := a.Store.SetTaskDone(ctx, id, done, by)
		if done {
			return "Done: " + shortTitle(task.Description), err
		}
		return "Open again: " + shortTitle(task.Description), err
	})
}

func (a *App) setPriority(c echo.Context) error {
	p := tasks.Priority(c.FormValue("priority"))
	f := tasks.Filter{Priority: p}
	if err := f.Check(); err != nil || p == "" {
		return badField("priority", "must be none, low, medium or high")
	}
	return a.taskAction(func(ctx context.Context, id uuid.UUID, by jobs.Actor) (string, error) {
		task, err := a.Store.SetTaskPriority(ctx, id, p, by)
		return "Priority " + string(p) + ": " + shortTitle(task.Description), err
	})(c)
}

// taskAction does something to a task and comes back to where the form was.
func (a *App) taskAction(do func(ctx context.Context, id uuid.UUID, by jobs.Actor) (done string, err error)) echo.HandlerFunc {
	return func(c echo.Context) error {
		id, err := idOf(c, "task")
		if err != nil {
			return err
		}
		ctx, cancel := query(c)
		defer cancel()
		done, err := do(ctx, id, a.by(c))
		if err != nil {
			return err
		}
		return redirect(c, back(c, "/tasks/"+id.String()), ui.FlashProps{Kind: "done", Text: done + "."})
	}
}

func (a *App) deleteTask(c echo.Context) error {
	id, err := idOf(c, "task")
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	if err := a.Store.DeleteTask(ctx, id, a.by(c)); err != nil {
		return err
	}
	return redirect(c, "/tasks", ui.FlashProps{Kind: "done", Text: "Deleted task " + id.String() + "."})
}

func (a *App) runTask(c echo.Context) error {
	id, err := idOf(c, "task")
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	job, err := a.Store.RunTask(ctx, id, a.by(c))
	if errors.Is(err, jobs.ErrNoJob) {
		return redirect(c, "/tasks/"+id.String(), ui.FlashProps{Kind: "error", Text: "Nothing was done.", Detail: "The task owns no job. Edit it to give it one."})
	}
	if err != nil {
		return err
	}
	return redirect(c, "/tasks/"+id.String(), ui.FlashProps{Kind: "done", Text: "Submitted as job " + job.String() + "."})
}
