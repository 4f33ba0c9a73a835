package handlers

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/events"
	"github.com/warrenjobs/warren/views"
)

var eventID = idOf("event")

func parseEventFilter(c echo.Context) (f engine.EventFilter, err error) {
	f = engine.EventFilter{Exchange: c.QueryParam("exchange"), Subscriber: c.QueryParam("subscriber")}
	errs := shortTexts(map[string]string{"exchange": f.Exchange, "subscriber": f.Subscriber})
	if f.Key, err = events.ParsePattern(c.QueryParam("key")); err != nil {
		errs = append(errs, jobs.FieldError{Field: "key", Message: err.Error()})
	}
	if f.Outcome, err = engine.ParseEventOutcome(c.QueryParam("outcome")); err != nil {
		errs = append(errs, jobs.FieldError{Field: "outcome", Message: err.Error()})
	}
	return f, errs.OrNil()
}

// readEvents reads a page of events as the reader may see them.
func (a *App) readEvents(ctx context.Context, f engine.EventFilter, c jobs.Cursor, limit int) (jobs.Page[engine.Event], error) {
	page, err := a.Store.Events(ctx, f, c, limit)
	for i := range page.Items {
		hideEvent(ctx, &page.Items[i])
	}
	return page, err
}

// hideEvent removes the parts of an event that the reader may not see.
func hideEvent(ctx context.Context, e *engine.Event) {
	if lacks(ctx, ViewArgs) != "" {
		e.Body, e.Raw, e.Headers = hidden, nil, nil
	}
}

func (a *App) events(ctx context.Context, c echo.Context, f engine.EventFilter, cursor jobs.Cursor) error {
	page, err := a.readEvents(ctx, f, cursor, limitDefault)
	if err != nil {
		return err
	}
	subscribers, err := a.Store.Subscribers(ctx)
	if err != nil {
		return err
	}
	m := views.NewEventsModel(page, f, cursor, subscribers)
	frame := a.frame(c, "events", "Events", engine.TopicOutbox, engine.TopicJobs)
	frame.Lead, frame.Actions = "Published events, and who received them", views.EventsActions()
	return show(c, views.Events(frame, m), views.EventsList(m))
}

func (a *App) event(c echo.Context) error {
	id, err := eventID(c)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	e, err := a.Store.Event(ctx, id)
	if err != nil {
		return err
	}
	hideEvent(ctx, &e)
	subscribers, err := a.Store.Subscribers(ctx)
	if err != nil {
		return err
	}
	m := views.NewEventModel(e, matching(subscribers, e))
	frame := a.frame(c, "events", e.Key, engine.TopicOutbox, engine.TopicJobs)
	frame.Lead = "Published to the exchange " + e.Exchange
	return show(c, views.Event(frame, m), views.EventUpdate(m))
}

// matching returns the subscribers whose patterns match the event.
func matching(subscribers []engine.EventSubscriber, e engine.Event) (names []string) {
	for _, s := range subscribers {
		for _, p := range s.Patterns {
			if s.Exchange == e.Exchange && events.Match(p, e.Key) {
				names = append(names, s.Name)
				break
			}
		}
	}
	return names
}

func (a *App) subscribers(c echo.Context) error {
	ctx, cancel := query(c)
	defer cancel()
	list, err := a.Store.Subscribers(ctx)
	if err != nil {
		return err
	}
	m := views.NewSubscribersModel(list, a.queueURL)
	frame := a.frame(c, "events", "Subscribers", engine.TopicJobs)
	frame.Lead = "Who receives events, and how far behind they are"
	return show(c, views.Subscribers(frame, m), views.SubscribersList(m))
}

// replayTarget is a replay that somebody asks for.
type replayTarget struct {
	subscriber string
	since      time.Time
}

// parseSince parses a time, or how long ago it was.
func parseSince(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return now.Add(-d), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	return time.Time{}, fmt.Errorf("%.40q is not a valid time. Use 2026-01-31T15:04:05Z, or 90m for 90 minutes ago", s)
}

// subscriberName returns the subscriber of a request.
func subscriberName(c echo.Context) (string, error) {
	name, err := url.PathUnescape(c.Param("name"))
	if err != nil || jobs.CheckQueue(name) != nil {
		return "", jobs.ErrNotFound
	}
	return name, nil
}

func (a *App) replayPage(c echo.Context) error {
	name, err := subscriberName(c)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	m := views.ReplayModel{Subscriber: name, Since: c.QueryParam("since")}
	now := time.Now()
	if m.Since == "" {
		m.Since = views.ReplaySince(now)
	}
	since, problem := parseSince(m.Since, now)
	n, err := a.Store.CountReplay(ctx, m.Subscriber, since) // also finds out whether there is such a subscriber
	if err != nil {
		return err
	}
	if problem != nil {
		m.Problem = problem.Error()
	} else {
		m.Count, m.Since = &n, since.UTC().Format(time.RFC3339)
	}
	frame := a.frame(c, "events", "Replay to "+m.Subscriber)
	frame.Lead = "Stored events that match its patterns, once more"
	return render(c, http.StatusOK, views.Replay(frame, m))
}

func parseReplay(since func(echo.Context) (string, error)) func(echo.Context) (replayTarget, error) {
	return func(c echo.Context) (replayTarget, error) {
		name, err := subscriberName(c)
		if err != nil {
			return replayTarget{}, err
		}
		t := replayTarget{subscriber: name}
		text, err := since(c)
		if err != nil {
			return t, err
		}
		if t.since, err = parseSince(text, time.Now()); err != nil {
			return t, jobs.FieldErrors{{Field: "since", Message: err.Error()}}
		}
		return t, nil
	}
}

func sinceOfForm(c echo.Context) (string, error) { return c.FormValue("since"), nil }

func sinceOfJSON(c echo.Context) (string, error) {
	var in struct {
		Since string `json:"since"`
	}
	wrong, err := readJSON(c, &in)
	if err != nil {
		return "", err
	}
	return in.Since, wrong.OrNil()
}

func (a *App) startReplay(ctx context.Context, t replayTarget, by jobs.Actor) (uuid.UUID, error) {
	return a.Store.StartReplay(ctx, t.subscriber, t.since,
		jobs.New(events.ReplayArgs{Subscriber: t.subscriber, Since: t.since, Until: time.Now()}), by)
}

func (a *App) replay(ctx context.Context, t replayTarget, by jobs.Actor) (done, error) {
	id, err := a.startReplay(ctx, t, by)
	d := did("/jobs/"+id.String(), "The replay has been queued. This is its job.")
	d.leave = true
	return d, err
}

func (a *App) apiReplay(ctx context.Context, t replayTarget, by jobs.Actor) (reply, error) {
	id, err := a.startReplay(ctx, t, by)
	if err != nil {
		return reply{}, err
	}
	job, err := a.readJob(ctx, id)
	return reply{status: http.StatusCreated, body: job, location: "/api/v1/jobs/" + id.String()}, err
}

func (a *App) apiEvent(c echo.Context) error {
	id, err := eventID(c)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	e, err := a.Store.Event(ctx, id)
	if err != nil {
		return err
	}
	hideEvent(ctx, &e)
	return c.JSON(http.StatusOK, e)
}

func (a *App) apiSubscribers(c echo.Context) error {
	ctx, cancel := query(c)
	defer cancel()
	list, err := a.Store.Subscribers(ctx)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, jobs.Page[engine.EventSubscriber]{Items: list})
}
