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
	"github.com/warrenjobs/warren/jobs/schedule"
	"github.com/warrenjobs/warren/views"
)

var scheduleID = idOf("schedule")

// shownSchedules is which schedules a list has, and the zone in which it shows their times.
type shownSchedules struct {
	filter schedule.Filter
	zone   *time.Location // nil: that of each
}

func parseSchedules(c echo.Context) (s shownSchedules, err error) {
	if s.filter, err = parseScheduleFilter(c); err != nil {
		return s, err
	}
	s.zone, err = parseZone(c)
	return s, err
}

func parseScheduleFilter(c echo.Context) (schedule.Filter, error) {
	f := schedule.Filter{Text: strings.TrimSpace(c.QueryParam("q"))}
	return f, f.Check()
}

// parseZone reads the zone in which times are shown; nil: that of each schedule.
func parseZone(c echo.Context) (*time.Location, error) {
	name := c.QueryParam("zone")
	if name == "" {
		return nil, nil //nolint:nilnil // none was chosen
	}
	zone, err := schedule.LoadZone(name)
	if err != nil {
		return nil, badField("zone", err.Error())
	}
	return zone, nil
}

func (a *App) schedules(ctx context.Context, c echo.Context, s shownSchedules, cursor jobs.Cursor) error {
	page, err := a.Store.Schedules(ctx, s.filter, cursor, limitDefault)
	if err != nil {
		return err
	}
	m := views.NewSchedulesModel(page, s.filter, s.zone, cursor, time.Now())
	frame := a.frame(c, "schedules", "Schedules", engine.TopicSchedules)
	frame.Lead, frame.Actions = "Rules that enqueue jobs and publish events", views.NewScheduleButton()
	return show(c, views.Schedules(frame, m), views.SchedulesList(m))
}

func (a *App) schedule(c echo.Context) error {
	id, err := scheduleID(c)
	if err != nil {
		return err
	}
	zone, err := parseZone(c)
	if err != nil {
		return err
	}
	cursor, err := parseCursor(c)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	s, err := a.Store.Schedule(ctx, id)
	if err != nil {
		return err
	}
	history, err := a.Store.Firings(ctx, id, cursor, views.FiringsShown)
	if err != nil {
		return err
	}
	m := views.NewScheduleModel(s, history, zone, cursor, time.Now())
	m.Shown = lacks(ctx, ViewArgs) == ""
	frame := a.frame(c, "schedules", m.Title, engine.TopicSchedules, engine.TopicJobs)
	frame.Lead, frame.Badge, frame.Actions = views.ScheduleLead(s), views.ScheduleStateMark(m), views.ScheduleButtons(m)
	return show(c, views.Schedule(frame, m), views.ScheduleUpdate(m))
}

// scheduleChange is a store write that changes the state of a schedule.
type scheduleChange func(ctx context.Context, id uuid.UUID, by jobs.Actor) (schedule.Schedule, error)

// scheduleDid returns the action of a page that changes a schedule; verb says what was done.
func scheduleDid(verb string, change scheduleChange) func(context.Context, uuid.UUID, jobs.Actor) (done, error) {
	return func(ctx context.Context, id uuid.UUID, by jobs.Actor) (done, error) {
		s, err := change(ctx, id, by)
		return did(views.ScheduleURL(id), verb+" "+s.Name+"."), err
	}
}

// scheduleReply returns the action of the API that changes a schedule.
func scheduleReply(change scheduleChange) func(context.Context, uuid.UUID, jobs.Actor) (reply, error) {
	return func(ctx context.Context, id uuid.UUID, by jobs.Actor) (reply, error) {
		s, err := change(ctx, id, by)
		hideSchedule(ctx, &s)
		return reply{body: s}, err
	}
}

func (a *App) runSchedule(ctx context.Context, id uuid.UUID, by jobs.Actor) (done, error) {
	firing, err := a.runFiring(ctx, id, by)
	text := "Published its event."
	if firing.JobID != nil {
		text = "Submitted as job " + firing.JobID.String() + "."
	}
	return did(views.ScheduleURL(id), text), err
}

func (a *App) apiRunSchedule(ctx context.Context, id uuid.UUID, by jobs.Actor) (reply, error) {
	firing, err := a.runFiring(ctx, id, by)
	return reply{status: http.StatusCreated, body: firing}, err
}

// runFiring runs a schedule now. One whose job or event is not valid any more is refused with the reason.
func (a *App) runFiring(ctx context.Context, id uuid.UUID, by jobs.Actor) (schedule.Firing, error) {
	firing, err := a.Store.RunSchedule(ctx, id, by)
	var wrong jobs.FieldErrors
	if errors.As(err, &wrong) {
		err = &jobs.NotAllowedError{Why: "It cannot run: " + wrong.Error() + "."}
	}
	return firing, err
}

func (a *App) deleteSchedule(ctx context.Context, id uuid.UUID, by jobs.Actor) (done, error) {
	if err := a.Store.DeleteSchedule(ctx, id, by); err != nil {
		return done{page: views.ScheduleURL(id)}, err
	}
	d := did("/schedules", "Deleted schedule "+id.String()+".")
	d.leave = true // the form came from the schedule's own page
	return d, nil
}

func (a *App) apiDeleteSchedule(ctx context.Context, id uuid.UUID, by jobs.Actor) (reply, error) {
	return reply{}, a.Store.DeleteSchedule(ctx, id, by)
}

func (a *App) readSchedules(
	ctx context.Context, f schedule.Filter, c jobs.Cursor, limit int,
) (jobs.Page[schedule.Schedule], error) {
	page, err := a.Store.Schedules(ctx, f, c, limit)
	for i := range page.Items {
		hideSchedule(ctx, &page.Items[i])
	}
	return page, err
}

func (a *App) readSchedule(ctx context.Context, id uuid.UUID, _ jobs.Actor) (schedule.Schedule, error) {
	return a.Store.Schedule(ctx, id)
}

func (a *App) readFirings(ctx context.Context, id uuid.UUID, c jobs.Cursor, limit int) (jobs.Page[schedule.Firing], error) {
	if _, err := a.Store.Schedule(ctx, id); err != nil {
		return jobs.Page[schedule.Firing]{}, err
	}
	return a.Store.Firings(ctx, id, c, limit)
}

// hideSchedule removes the args of the job and the body of the event, if the reader may not see them.
func hideSchedule(ctx context.Context, s *schedule.Schedule) {
	if lacks(ctx, ViewArgs) == "" {
		return
	}
	if s.Job != nil {
		job := *s.Job
		job.Args = hidden
		s.Job = &job
	}
	if s.Event != nil {
		event := *s.Event
		event.Body = hidden
		s.Event = &event
	}
}

// scheduleRequest is the body of POST and PUT on schedules. Version is for PUT: the version that was read.
type scheduleRequest struct {
	Name     string           `json:"name"`
	Rule     string           `json:"rule"`
	Zone     string           `json:"zone"`
	Job      *schedule.Job    `json:"job"`
	Event    *schedule.Event  `json:"event"`
	Overlap  schedule.Overlap `json:"overlap"`
	CatchUp  schedule.CatchUp `json:"catch_up"`
	StartsAt *string          `json:"starts_at"`
	EndsAt   *string          `json:"ends_at"`
	Version  *int             `json:"version"`
}

func (a *App) scheduleOfRequest(c echo.Context) (in schedule.Input, version *int, err error) {
	var req scheduleRequest
	errs, err := readJSON(c, &req)
	if err != nil {
		return in, nil, err
	}
	in = schedule.Input{Name: req.Name, Rule: req.Rule, Zone: req.Zone, Job: req.Job, Event: req.Event, Overlap: req.Overlap,
		CatchUp: req.CatchUp}
	if req.StartsAt != nil {
		in.StartsAt, errs = parseTaskTime("starts_at", *req.StartsAt, errs)
	}
	if req.EndsAt != nil {
		in.EndsAt, errs = parseTaskTime("ends_at", *req.EndsAt, errs)
	}
	ctx, cancel := query(c)
	defer cancel()
	if errs = a.checkSchedule(ctx, &in, nil, errs); len(errs) > 0 {
		return in, nil, errs
	}
	return in, req.Version, nil
}

// checkSchedule validates the input, and returns the fields that could not be read together with the invalid ones. A queue
// that is as it was is not looked for.
func (a *App) checkSchedule(ctx context.Context, in *schedule.Input, was *schedule.Job, unreadable jobs.FieldErrors) jobs.FieldErrors {
	var wrong jobs.FieldErrors
	errors.As(schedule.Prepare(a.Registry, in), &wrong)
	if len(wrong) == 0 && in.Job != nil && (was == nil || in.Job.Queue != was.Queue) {
		errors.As(a.checkQueue(ctx, "job.queue", in.Job.Kind, in.Job.Queue), &wrong) // other errors show when it is written
	}
	return addNew(unreadable, wrong)
}

func (a *App) apiCreateSchedule(c echo.Context) error {
	in, _, err := a.scheduleOfRequest(c)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	s, err := a.Store.CreateSchedule(ctx, in, "api", a.by(c))
	if err != nil {
		return err
	}
	c.Response().Header().Set("Location", at(c, "/api/v1/schedules/"+s.ID.String()))
	return c.JSON(http.StatusCreated, s)
}

// apiEditSchedule replaces a schedule that still has the version of the request; otherwise it responds with 409.
func (a *App) apiEditSchedule(c echo.Context) error {
	id, err := scheduleID(c)
	if err != nil {
		return err
	}
	in, version, err := a.scheduleOfRequest(c)
	if err != nil {
		return err
	}
	if version == nil {
		return badField("version", "is required: the version that was read")
	}
	return action(a, scheduleID, func(ctx context.Context, _ uuid.UUID, by jobs.Actor) (reply, error) {
		s, err := a.Store.EditSchedule(ctx, id, *version, in, by)
		var conflict *schedule.ConflictError
		if errors.As(err, &conflict) {
			return reply{}, &jobs.NotAllowedError{Why: conflict.Error()}
		}
		return reply{body: s}, err
	})(c)
}
