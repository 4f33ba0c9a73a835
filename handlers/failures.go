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
	"github.com/warrenjobs/warren/views"
)

// failuresPage is how many groups one page shows: each is counted.
const failuresPage = 25

func (a *App) failures(c echo.Context) error {
	f, cursor, err := parseFailureFilter(c)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	page, err := a.Store.Failures(ctx, f, cursor, failuresPage)
	if err != nil {
		return err
	}
	m := views.NewFailuresModel(page, f, cursor, a.kinds(ctx), a.jobQueues(ctx))
	frame := a.frame(c, "failures", "Failures", engine.TopicJobs)
	frame.Lead, frame.Search = "Dead jobs by what went wrong", ""
	return show(c, views.Failures(frame, m), views.FailuresList(m))
}

// parseFailureFilter reads the query parameters that pick groups; page and API share it.
func parseFailureFilter(c echo.Context) (jobs.FailureFilter, jobs.TimeCursor, error) {
	f := jobs.FailureFilter{Kind: c.QueryParam("kind"), Queue: c.QueryParam("queue"), Text: strings.TrimSpace(c.QueryParam("q"))}
	for name, value := range map[string]string{"kind": f.Kind, "queue": f.Queue, "q": f.Text} {
		if len(value) > 500 || strings.ContainsRune(value, 0) {
			return f, jobs.TimeCursor{}, badField(name, "has at most 500 bytes of plain text")
		}
	}
	cursor, err := jobs.ParseTimeCursor(c.QueryParam("cursor"))
	return f, cursor, err
}

func (a *App) failure(c echo.Context) error {
	key, err := parseKey(c)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	m, err := a.failureModel(ctx, c, key)
	if errors.Is(err, jobs.ErrNotFound) { // that is good news, no error: its jobs have just been retried or deleted
		m, err = views.GoneFailure(key), nil
	}
	if err != nil {
		return err
	}
	frame := a.frame(c, "failures", "Failure", engine.TopicJobs)
	if frame.Actions = views.FailureActions(m); !m.Gone {
		frame.Title, frame.Lead = m.Kind, m.Error
	}
	return show(c, views.Failure(frame, m), views.FailureUpdate(m))
}

func (a *App) failureModel(ctx context.Context, c echo.Context, key uuid.UUID) (views.FailureModel, error) {
	cursor, err := jobs.ParseTimeCursor(c.QueryParam("cursor"))
	if err != nil {
		return views.FailureModel{}, err
	}
	group, err := a.Store.Failure(ctx, key)
	if err != nil {
		return views.FailureModel{}, err
	}
	list, older, err := a.Store.FailedJobs(ctx, key, cursor, limitDefault)
	if err != nil {
		return views.FailureModel{}, err
	}
	hideAll(ctx, list)
	newest, err := a.readJob(ctx, group.Newest)
	if err != nil {
		return views.FailureModel{}, err
	}
	var last jobs.Attempt
	if n := len(newest.Attempts); n > 0 {
		last = newest.Attempts[n-1]
	}
	return views.NewFailureModel(group, last, list, cursor, older, a.VHost, a.QueuePrefix), nil
}

// groupAction is one of the store's actions on a group.
type groupAction func(ctx context.Context, key uuid.UUID, until time.Time, by jobs.Actor) (jobs.BulkResult, error)

// actOnFailure does an action on the jobs that the page counted, and comes back to the group.
func (a *App) actOnFailure(done string, act groupAction) echo.HandlerFunc {
	return func(c echo.Context) error {
		if done == "Deleted" && strings.TrimSpace(c.FormValue("reason")) == "" {
			return badField("reason", "is required: many jobs are deleted at once")
		}
		key, result, err := a.groupAct(c, act)
		if err != nil {
			return err
		}
		return redirect(c, views.FailureURL(key), views.Acted(done, result))
	}
}

func (a *App) groupAct(c echo.Context, act groupAction) (key uuid.UUID, result jobs.BulkResult, err error) {
	if key, err = parseKey(c); err != nil {
		return key, result, err
	}
	var until time.Time
	if s := c.FormValue("until"); s != "" {
		if until, err = time.Parse(time.RFC3339Nano, s); err != nil {
			return key, result, badField("until", "must be a time such as 2026-01-31T12:00:00Z")
		}
	}
	ctx, cancel := query(c)
	defer cancel()
	result, err = act(ctx, key, until, a.by(c))
	return key, result, err
}

func parseKey(c echo.Context) (uuid.UUID, error) {
	key, err := uuid.Parse(c.Param("id"))
	if err != nil {
		return key, echo.NewHTTPError(http.StatusBadRequest, "This is no key of a failure: take it from the list of failures.")
	}
	return key, nil
}

func (a *App) apiFailures(c echo.Context) error {
	f, cursor, err := parseFailureFilter(c)
	if err != nil {
		return err
	}
	limit, err := parseLimit(c)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	page, err := a.Store.Failures(ctx, f, cursor, limit)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, newList(page.Failures, page.Older.String()))
}

func (a *App) apiActOnFailure(act groupAction) echo.HandlerFunc {
	return func(c echo.Context) error {
		_, result, err := a.groupAct(c, act)
		if err != nil {
			return err
		}
		return c.JSON(http.StatusOK, result)
	}
}
