package handlers

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/explain"
	"github.com/warrenjobs/warren/jobs/tasks"
	"github.com/warrenjobs/warren/views/ui"
)

// Right is an action that a user may take, on pages, through the API and in the live stream.
type Right string

// The rights.
const (
	Open      Right = ""          // needs no user: signing in, assets, health
	View      Right = "view"      // everything but what ViewArgs and Audit are for
	ViewArgs  Right = "view args" // of jobs, and their output and messages
	Submit    Right = "submit"    // jobs, also by export and import
	Retry     Right = "retry"     // and run now; mark failures
	Cancel    Right = "cancel"
	Delete    Right = "delete"    // jobs and tasks
	Edit      Right = "edit"      // tasks and schedules
	Queues    Right = "queues"    // pause, resume, purge, say who works them; publish by hand
	Processes Right = "processes" // quiet, resume, stop
	Audit     Right = "audit"     // see the audit log
	Manage    Right = "manage"    // the outbox
)

// Rights lists every right that a user can have.
func Rights() []Right {
	return []Right{View, ViewArgs, Submit, Retry, Cancel, Delete, Edit, Queues, Processes, Audit, Manage}
}

// User is the user who sent a request, with their rights. The zero User may do nothing.
type User struct {
	Name string // in the audit log
	Can  []Right
}

// reads reports whether the user may change nothing.
func (u User) reads() bool {
	return !slices.ContainsFunc(u.Can, func(r Right) bool { return r != View && r != ViewArgs && r != Audit })
}

// lacks returns why the user may not do this, in a sentence; "" if they may.
func (u User) lacks(right Right) string {
	if right == Open || slices.Contains(u.Can, right) {
		return ""
	}
	return fmt.Sprintf("You may not do this: it needs the right %q.", right)
}

// table registers routes, each with the right that it needs.
type table struct {
	e      *echo.Echo
	rights map[string]Right // by method and path
	open   map[string]bool  // paths that need no user
}

func newTable(e *echo.Echo) table { return table{e, map[string]Right{}, map[string]bool{}} }

// get also answers HEAD, as probes and proxies send it: net/http leaves out the body.
func (t table) get(right Right, path string, h echo.HandlerFunc) {
	t.add(http.MethodGet, right, path, h)
	t.e.HEAD(path, h)
}
func (t table) post(right Right, path string, h echo.HandlerFunc) {
	t.add(http.MethodPost, right, path, h)
}
func (t table) put(right Right, path string, h echo.HandlerFunc) {
	t.add(http.MethodPut, right, path, h)
}

func (t table) remove(right Right, path string, h echo.HandlerFunc) {
	t.add(http.MethodDelete, right, path, h)
}

func (t table) add(method string, right Right, path string, h echo.HandlerFunc) {
	t.rights[method+" "+path] = right
	if right == Open {
		t.open[path] = true
	}
	t.e.Add(method, path, h)
}

// right returns the right that a route needs. A route that the table does not have is answered with
// 404 or 405, to users who may view.
func (t table) right(method, route string) Right {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	right, known := t.rights[method+" "+route]
	if !known {
		return View
	}
	return right
}

// refuses returns a function for the pages' buttons, which returns why the user may not send a form
// to a path.
func (t table) refuses(u User) func(path string) string {
	return func(path string) string {
		c := t.e.NewContext(nil, nil)
		t.e.Router().Find(http.MethodPost, path, c)
		return u.lacks(t.right(http.MethodPost, c.Path()))
	}
}

// authorize refuses requests that the user has no right to, and passes the user's rights to the
// pages.
func (t table) authorize(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if t.open[c.Path()] {
			return next(c)
		}
		user := userOf(c)
		ctx := context.WithValue(c.Request().Context(), userContext{}, user)
		ctx = ui.WithRefusals(ctx, t.refuses(user))
		if user.reads() {
			ctx = ui.WithReadOnly(ctx)
		}
		c.SetRequest(c.Request().WithContext(ctx))
		if why := user.lacks(t.right(c.Request().Method, c.Path())); why != "" {
			return echo.NewHTTPError(http.StatusForbidden, why)
		}
		return next(c)
	}
}

type userContext struct{}

// lacks is User.lacks for the user who sent the request of ctx.
func lacks(ctx context.Context, right Right) string {
	user, _ := ctx.Value(userContext{}).(User)
	return user.lacks(right)
}

var hidden = json.RawMessage(`"hidden: it takes the right 'view args' to see this"`)

// hide removes the parts of a job that the reader may not see.
func hide(ctx context.Context, j *jobs.Job) {
	if lacks(ctx, ViewArgs) == "" {
		return
	}
	j.Args = hidden
	if j.Output != nil {
		j.Output = hidden
	}
}

func hideAll(ctx context.Context, list []jobs.Job) {
	for i := range list {
		hide(ctx, &list[i])
	}
}

// readJob reads a job as the reader may see it.
func (a *App) readJob(ctx context.Context, id uuid.UUID) (jobs.Detail, error) {
	d, err := a.Store.Job(ctx, id)
	hideParts(ctx, &d)
	return d, err
}

// readShown is readJob for a page, which shows only the beginning of large parts.
func (a *App) readShown(ctx context.Context, id uuid.UUID) (jobs.Detail, error) {
	d, err := a.Store.ShownJob(ctx, id)
	hideParts(ctx, &d)
	return d, err
}

func hideParts(ctx context.Context, d *jobs.Detail) {
	hide(ctx, &d.Job)
	if lacks(ctx, ViewArgs) != "" {
		d.Raw, d.ArgsSize, d.OutputSize = nil, int64(len(d.Args)), int64(len(d.Output))
	}
	if lacks(ctx, Audit) != "" {
		d.People = nil
	}
	d.Explanation = explain.Of(*d).String()
}

// readJobs reads a page of jobs as the reader may see them.
func (a *App) readJobs(ctx context.Context, f jobs.Filter, c jobs.Cursor, limit int) (jobs.Page[jobs.Job], error) {
	page, err := a.Store.Jobs(ctx, f, c, limit)
	hideAll(ctx, page.Items)
	return page, err
}

// hideTask removes the args of a task's job, if the reader may not see them.
func hideTask(ctx context.Context, t *tasks.Task) {
	if t.Job != nil && lacks(ctx, ViewArgs) != "" {
		job := *t.Job
		job.Args = hidden
		t.Job = &job
	}
}
