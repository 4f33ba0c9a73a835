package handlers

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/events"
	"github.com/warrenjobs/warren/views"
)

var eventID = idOf("event")

func parseEventFilter(c echo.Context) (f engine.EventFilter, err error) {
	f = engine.EventFilter{Exchange: c.QueryParam("exchange"), Subscriber: c.QueryParam("subscriber")}
	within, errs := parseWithin(c)
	f.Within, errs = within, append(errs, shortTexts(map[string]string{"exchange": f.Exchange, "subscriber": f.Subscriber})...)
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
	m := views.NewEventsModel(page, f, cursor, subscribers, a.eventCounts(ctx, f))
	frame := a.frame(c, "events", "Events", engine.TopicOutbox, engine.TopicJobs)
	frame.Lead, frame.Actions = "Published events, and who received them", views.EventsActions()
	return show(c, views.Events(frame, m), views.EventsList(m))
}

// eventCounts counts the events of each outcome in a list without other filters. What it cannot count in time is left out.
func (a *App) eventCounts(ctx context.Context, f engine.EventFilter) (n engine.EventCounts) {
	if f != (engine.EventFilter{Outcome: f.Outcome}) {
		return n
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout/2)
	defer cancel()
	n, _ = a.Store.EventCounts(ctx)
	return n
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
	frame := a.frame(c, "events", e.Key, m.Topics()...)
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
	frame := a.frame(c, "events", "Subscribers", engine.TopicJobs, engine.TopicWorkers)
	frame.Lead = "Who receives events, and how far behind they are"
	return show(c, views.Subscribers(frame, m), views.SubscribersList(m))
}

// replaySpan is when the events of a replay were published, as somebody wrote it; no end is now.
type replaySpan struct {
	Since string `json:"since"`
	Until string `json:"until"`
}

// replayTo returns the replay of the span to a subscriber, and what is wrong with the span.
func (s replaySpan) replayTo(subscriber string, now time.Time) (replay events.ReplayArgs, errs jobs.FieldErrors) {
	replay = events.ReplayArgs{Subscriber: subscriber, Until: now}
	var err error
	if replay.Since, err = parseMoment(s.Since, now); err != nil {
		errs = append(errs, jobs.FieldError{Field: "since", Message: err.Error()})
	}
	if s.Until != "" {
		if replay.Until, err = parseMoment(s.Until, now); err != nil {
			errs = append(errs, jobs.FieldError{Field: "until", Message: err.Error()})
		}
	}
	switch {
	case len(errs) > 0:
	case !replay.Since.Before(now):
		errs = append(errs, jobs.FieldError{Field: "since", Message: "must be in the past"})
	case replay.Until.After(now): // subscribers receive what is published from now on anyway
		errs = append(errs, jobs.FieldError{Field: "until", Message: "must not be in the future"})
	case !replay.Until.After(replay.Since):
		errs = append(errs, jobs.FieldError{Field: "until", Message: "must be later than the start"})
	}
	return replay, errs
}

// parseMoment parses a time, or how long ago it was.
func parseMoment(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return now.Add(-d).Truncate(time.Second), nil
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
	now, span := time.Now(), replaySpan{Since: c.QueryParam("since"), Until: c.QueryParam("until")}
	if span.Since == "" {
		span.Since = views.ReplaySince(now)
	}
	replay, wrong := span.replayTo(name, now)
	if len(wrong) > 0 {
		replay.Since = replay.Until // nothing is shown, but whether there is such a subscriber
	}
	n, newest, err := a.Store.Replayable(ctx, name, replay.Since, replay.Until, replayShown)
	if err != nil {
		return err
	}
	for i := range newest {
		hideEvent(ctx, &newest[i])
	}
	m := views.ReplayModel{Subscriber: name, Since: span.Since, Until: span.Until, Asked: span.Since, Errors: wrong}
	if len(wrong) == 0 {
		m = m.With(replay, n, newest)
	}
	frame := a.frame(c, "events", "Replay to "+name)
	frame.Up = &views.Nav{Href: "/events/subscribers", Label: "Subscribers"}
	frame.Lead = "Stored events that match its patterns, once more"
	return render(c, http.StatusOK, views.Replay(frame, m))
}

// replayShown bounds the events that the form of a replay shows.
const replayShown = 10

func parseReplay(span func(echo.Context) (replaySpan, error)) func(echo.Context) (events.ReplayArgs, error) {
	return func(c echo.Context) (events.ReplayArgs, error) {
		name, err := subscriberName(c)
		if err != nil {
			return events.ReplayArgs{}, err
		}
		s, err := span(c)
		if err != nil {
			return events.ReplayArgs{}, err
		}
		replay, wrong := s.replayTo(name, time.Now())
		return replay, wrong.OrNil()
	}
}

func spanOfForm(c echo.Context) (replaySpan, error) {
	return replaySpan{Since: c.FormValue("since"), Until: c.FormValue("until")}, nil
}

func spanOfJSON(c echo.Context) (s replaySpan, err error) {
	wrong, err := readJSON(c, &s)
	if err != nil {
		return s, err
	}
	return s, wrong.OrNil()
}

func (a *App) replay(ctx context.Context, replay events.ReplayArgs, by jobs.Actor) (done, error) {
	id, err := a.Store.StartReplay(ctx, replay, by)
	d := did("/jobs/"+id.String(), "The replay has been queued. This is its job.")
	d.leave = true
	return d, err
}

func (a *App) apiReplay(ctx context.Context, replay events.ReplayArgs, by jobs.Actor) (reply, error) {
	id, err := a.Store.StartReplay(ctx, replay, by)
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
