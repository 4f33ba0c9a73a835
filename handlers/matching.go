package handlers

import (
	"context"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/views"
)

// matchingJobs is the target of an action: the jobs that match a filter and had come by until, or by now if it
// is zero.
type matchingJobs struct {
	filter jobs.Filter
	until  time.Time
}

// parseMatching reads the filter of an action on many jobs. One that selects all jobs is easily a filter that was
// forgotten, and must be asked for.
func parseMatching(c echo.Context) (m matchingJobs, err error) {
	if m.filter, err = filterOf(c.FormValue); err != nil {
		return m, err
	}
	if m.filter == (jobs.Filter{}) && c.FormValue("all") != "true" {
		return m, badField("all", "must be true to act on all jobs: otherwise give state, kind, queue, operation or q")
	}
	m.until, err = parseUntil(c)
	return m, err
}

// parseUntil reads the time up to which an action on many jobs is for them; zero if there is none.
func parseUntil(c echo.Context) (until time.Time, err error) {
	if s := c.FormValue("until"); s != "" {
		if until, err = time.Parse(time.RFC3339Nano, s); err != nil {
			return until, badField("until", "must be a time such as 2026-01-31T12:00:00Z")
		}
	}
	return until, nil
}

// withReason is parse for actions that require a reason on the page.
func withReason[T any](parse func(echo.Context) (T, error)) func(echo.Context) (T, error) {
	return func(c echo.Context) (target T, err error) {
		if strings.TrimSpace(c.FormValue("reason")) == "" {
			return target, badField("reason", "is required to delete several jobs at once")
		}
		return parse(c)
	}
}

// onMatching carries out an action on all jobs that matched when the page was read, and leads to them.
func (a *App) onMatching(act jobs.Action) func(context.Context, matchingJobs, jobs.Actor) (done, error) {
	return func(ctx context.Context, m matchingJobs, by jobs.Actor) (done, error) {
		result, err := a.Store.OperateAll(ctx, act, m.filter, m.until, by)
		return done{page: "/jobs", flash: views.ActedOnMatching(act, result)}, err
	}
}

func (a *App) matchingReply(act jobs.Action) func(context.Context, matchingJobs, jobs.Actor) (reply, error) {
	return func(ctx context.Context, m matchingJobs, by jobs.Actor) (reply, error) {
		result, err := a.Store.OperateAll(ctx, act, m.filter, m.until, by)
		return reply{body: result}, err
	}
}

// parseFilter reads the query parameters that select jobs; pages and API share it.
func parseFilter(c echo.Context) (jobs.Filter, error) { return filterOf(c.QueryParam) }

func filterOf(param func(name string) string) (jobs.Filter, error) {
	f := jobs.Filter{Kind: param("kind"), Queue: param("queue"), Text: strings.TrimSpace(param("q"))}
	errs := shortTexts(map[string]string{"kind": f.Kind, "queue": f.Queue, "q": f.Text})
	if s := param("state"); s != "" {
		state, err := jobs.ParseState(s)
		if err != nil {
			errs = append(errs, jobs.FieldError{Field: "state", Message: err.Error()})
		}
		f.State = state
	}
	if s := param("operation"); s != "" {
		id, err := uuid.Parse(s)
		if err != nil {
			errs = append(errs, jobs.FieldError{Field: "operation",
				Message: "must be the operation of an action on many jobs, or of a purge"})
		}
		f.Operation = id
	}
	return f, errs.OrNil()
}
