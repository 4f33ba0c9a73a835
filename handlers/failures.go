package handlers

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/views"
)

// failuresPage is the number of groups on one page: the jobs of each group are counted.
const failuresPage = 25

func (a *App) failures(ctx context.Context, c echo.Context, f jobs.FailureFilter, cursor jobs.Cursor) error {
	page, counts, err := a.Store.Failures(ctx, f, cursor, failuresPage)
	if err != nil {
		return err
	}
	dead, err := a.Store.CountState(ctx, jobs.Dead)
	if err != nil {
		return err
	}
	trends := a.trends(ctx, page.Items)
	m := views.NewFailuresModel(page, trends, counts, dead, f, cursor, a.kinds(ctx), a.jobQueues(ctx))
	frame := a.frame(c, "failures", "Failures", engine.TopicFailures)
	frame.About, frame.Search = views.FailuresAbout(m), ""
	return show(c, views.Failures(frame, m), views.FailuresUpdate(m))
}

// trends returns how each group died over time, or nil if that takes too long: a list without them is better than none.
func (a *App) trends(ctx context.Context, groups []jobs.FailureGroup) [][]*int64 {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout/2)
	defer cancel()
	trends, err := a.Store.FailureTrends(ctx, groups, time.Now())
	if err != nil {
		return nil
	}
	return trends
}

// parseFailureFilter reads the query parameters that select groups; page and API share it.
func parseFailureFilter(c echo.Context) (jobs.FailureFilter, error) {
	f := jobs.FailureFilter{Kind: c.QueryParam("kind"), Queue: c.QueryParam("queue"), Text: strings.TrimSpace(c.QueryParam("q"))}
	errs := shortTexts(map[string]string{"kind": f.Kind, "queue": f.Queue, "q": f.Text})
	status, err := jobs.ParseFailureStatus(c.QueryParam("status"))
	if err != nil {
		errs = append(errs, jobs.FieldError{Field: "status", Message: err.Error()})
	}
	f.Status = status
	switch c.QueryParam("sort") {
	case "", "last_seen":
	case "count":
		f.ByCount = true
	default:
		errs = append(errs, jobs.FieldError{Field: "sort", Message: "must be last_seen or count"})
	}
	return f, errs.OrNil()
}

// parseShownFailures is parseFailureFilter for the page: it shows those that are open unless it is asked for others.
func parseShownFailures(c echo.Context) (jobs.FailureFilter, error) {
	f, err := parseFailureFilter(c)
	if c.QueryParam("status") == "" {
		f.Status = jobs.FailureOpen
	}
	return f, err
}

func (a *App) failure(c echo.Context) error {
	key, err := parseKey(c)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	m, err := a.failureModel(ctx, c, key)
	if errors.Is(err, jobs.ErrNotFound) { // not an error: its jobs have just been retried or deleted
		m, err = views.GoneFailure(key), nil
	}
	if err == nil {
		m, err = a.withAction(ctx, m, key)
	}
	if err != nil {
		return err
	}
	frame := a.frame(c, "failures", m.Title(), engine.TopicFailures, engine.TopicJobs, engine.TopicWorkers)
	frame.Heading, frame.Badge = views.FailureTitle(m), views.FailureStatus(m)
	frame.About, frame.Actions = views.FailureAbout(m), views.FailureActions(m)
	return show(c, views.Failure(frame, m), views.FailureUpdate(m))
}

// withAction adds what was last done to the whole group, and what became of the jobs.
func (a *App) withAction(ctx context.Context, m views.FailureModel, key uuid.UUID) (views.FailureModel, error) {
	last, err := a.Store.FailureAction(ctx, key)
	if errors.Is(err, jobs.ErrNotFound) {
		return m, nil
	}
	if err != nil {
		return m, err
	}
	var counts map[jobs.State]jobs.Count
	if last.Operation != uuid.Nil {
		counts = a.counts(ctx, jobs.Filter{Operation: last.Operation})
	}
	if lacks(ctx, Audit) != "" {
		last.Actor, last.Reason = "", ""
	}
	return m.WithAction(last, counts), nil
}

func (a *App) failureModel(ctx context.Context, c echo.Context, key uuid.UUID) (views.FailureModel, error) {
	cursor, err := parseCursor(c)
	if err != nil {
		return views.FailureModel{}, err
	}
	group, err := a.Store.Failure(ctx, key)
	if err != nil {
		return views.FailureModel{}, err
	}
	page, err := a.Store.FailedJobs(ctx, key, cursor, limitDefault)
	if err != nil {
		return views.FailureModel{}, err
	}
	hideAll(ctx, page.Items)
	newest, err := a.readShown(ctx, group.Newest)
	if err != nil {
		return views.FailureModel{}, err
	}
	var last jobs.Attempt
	if n := len(newest.Attempts); n > 0 {
		last = newest.Attempts[n-1]
	}
	facts := views.FailureFacts{Group: group, Last: last, Page: page, Cursor: cursor, Queue: a.queueURL}
	if facts.Recent, err = a.Store.Recent(ctx, group.Kind, views.RecentRuns); err != nil {
		return views.FailureModel{}, err
	}
	if facts.Around, err = a.Store.AroundQueues(ctx, group.Queues); err != nil {
		return views.FailureModel{}, err
	}
	if trends := a.trends(ctx, []jobs.FailureGroup{group}); trends != nil {
		facts.Trend = trends[0]
	}
	return views.NewFailureModel(facts), nil
}

func parseKey(c echo.Context) (uuid.UUID, error) {
	key, err := uuid.Parse(c.Param("id"))
	if err != nil {
		return key, badRequest("%q is not the key of a failure. Open one from the list of failures.", c.Param("id"))
	}
	return key, nil
}

// groupAction is one of the store's actions on a group.
type groupAction func(ctx context.Context, key uuid.UUID, until time.Time, by jobs.Actor) (jobs.BulkResult, error)

// group is the target of an action: the jobs of a group that had failed by a certain time, or all
// of them.
type group struct {
	key   uuid.UUID
	until time.Time
}

func parseGroup(c echo.Context) (g group, err error) {
	if g.key, err = parseKey(c); err != nil {
		return g, err
	}
	g.until, err = parseUntil(c)
	return g, err
}

// groupDid applies an action to the jobs that the page counted, and redirects to the group.
func groupDid(word string, act groupAction) func(context.Context, group, jobs.Actor) (done, error) {
	return func(ctx context.Context, g group, by jobs.Actor) (done, error) {
		result, err := act(ctx, g.key, g.until, by)
		return done{page: views.FailureURL(g.key), leave: true, flash: views.Acted(word, result)}, err
	}
}

func groupReply(act groupAction) func(context.Context, group, jobs.Actor) (reply, error) {
	return func(ctx context.Context, g group, by jobs.Actor) (reply, error) {
		result, err := act(ctx, g.key, g.until, by)
		return reply{body: result}, err
	}
}

// marking is the target of a mark: a group, with the note for it.
type marking struct {
	key  uuid.UUID
	note string
}

func parseMarking(noteOf func(echo.Context) (string, error)) func(echo.Context) (marking, error) {
	return func(c echo.Context) (m marking, err error) {
		if m.key, err = parseKey(c); err != nil {
			return m, err
		}
		m.note, err = noteOf(c)
		m.note = strings.TrimSpace(m.note)
		return m, err
	}
}

func noteOfForm(c echo.Context) (string, error) { return c.FormValue("note"), nil }

// noteOfJSON reads the note of the body, or, if there is no body, of the query.
func noteOfJSON(c echo.Context) (string, error) {
	body, err := io.ReadAll(c.Request().Body)
	if err != nil || len(body) == 0 {
		return c.QueryParam("note"), err
	}
	var in struct {
		Note string `json:"note"`
	}
	wrong, err := readObject(body, &in)
	if err != nil {
		return "", err
	}
	return in.Note, wrong.OrNil()
}

func (a *App) markFailure(status jobs.FailureStatus) func(context.Context, marking, jobs.Actor) (done, error) {
	return func(ctx context.Context, m marking, by jobs.Actor) (done, error) {
		_, err := a.Store.MarkFailure(ctx, m.key, status, m.note, by)
		return did(views.FailureURL(m.key), views.Marked(status)), err
	}
}

func (a *App) apiMarkFailure(status jobs.FailureStatus) func(context.Context, marking, jobs.Actor) (reply, error) {
	return func(ctx context.Context, m marking, by jobs.Actor) (reply, error) {
		g, err := a.Store.MarkFailure(ctx, m.key, status, m.note, by)
		return reply{body: g}, err
	}
}

func (a *App) readFailures(ctx context.Context, f jobs.FailureFilter, c jobs.Cursor, limit int) (jobs.Page[jobs.FailureGroup], error) {
	page, _, err := a.Store.Failures(ctx, f, c, limit)
	return page, err
}
