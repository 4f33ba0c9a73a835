package handlers

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/views"
	"github.com/warrenjobs/warren/views/ui"
)

func (a *App) workers(c echo.Context) error {
	role := c.QueryParam("role")
	before, err := processCursor(c)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	list, next, err := a.Store.Processes(ctx, role, before, limitDefault)
	if err != nil {
		return err
	}
	totals, err := a.Store.ProcessTotals(ctx)
	if err != nil {
		return err
	}
	m := views.NewWorkersModel(list, totals, role, before, next, a.Process, time.Now())
	frame := a.frame(c, "workers", "Workers", engine.TopicWorkers, engine.TopicJobs)
	frame.Lead = "Every warren process and what it does now"
	return show(c, views.Workers(frame, m), views.WorkersList(m))
}

func processCursor(c echo.Context) (uuid.UUID, error) {
	s := c.QueryParam("cursor")
	if s == "" {
		return uuid.Nil, nil
	}
	id, err := uuid.Parse(s)
	if err != nil {
		return id, badField("cursor", "is no cursor of this list: take it from \"next\"")
	}
	return id, nil
}

func parseProcessID(c echo.Context) (uuid.UUID, error) {
	id, err := uuid.Parse(c.Param("id"))
	if err != nil {
		return id, echo.NewHTTPError(http.StatusBadRequest, fmt.Sprintf("%q is no process id: the list of workers has them.", c.Param("id")))
	}
	return id, nil
}

// asked is what a page says after a process was asked for something.
var asked = map[engine.ProcessCommand]string{
	engine.CommandQuiet:  "%s takes no new jobs and finishes what runs.",
	engine.CommandResume: "%s takes jobs again.",
	engine.CommandStop:   "%s stops: it finishes what runs, as far as its grace time allows.",
}

func (a *App) askProcess(wish engine.ProcessCommand) echo.HandlerFunc {
	return func(c echo.Context) error {
		id, err := parseProcessID(c)
		if err != nil {
			return err
		}
		ctx, cancel := query(c)
		defer cancel()
		p, err := a.Store.AskProcess(ctx, id, wish, a.by(c))
		var refused *jobs.NotAllowedError
		if errors.As(err, &refused) {
			return redirect(c, back(c, "/workers"), ui.FlashProps{Kind: "error", Text: "Nothing was done.", Detail: refused.Why})
		}
		if err != nil {
			return err
		}
		return redirect(c, back(c, "/workers"), ui.FlashProps{Kind: "done", Text: fmt.Sprintf(asked[wish], p.Name)})
	}
}

func (a *App) apiWorkers(c echo.Context) error {
	limit, err := parseLimit(c)
	if err != nil {
		return err
	}
	before, err := processCursor(c)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	list, next, err := a.Store.Processes(ctx, c.QueryParam("role"), before, limit)
	if err != nil {
		return err
	}
	cursor := ""
	if next != uuid.Nil {
		cursor = next.String()
	}
	return c.JSON(http.StatusOK, newList(list, cursor))
}

// apiAskProcess answers with the process, which does what was asked within seconds.
func (a *App) apiAskProcess(wish engine.ProcessCommand) echo.HandlerFunc {
	return func(c echo.Context) error {
		id, err := parseProcessID(c)
		if err != nil {
			return err
		}
		ctx, cancel := query(c)
		defer cancel()
		p, err := a.Store.AskProcess(ctx, id, wish, a.by(c))
		if err != nil {
			return err
		}
		if now, err := a.Store.Process(ctx, id); err == nil { // it may be gone already
			p = now
		}
		return c.JSON(http.StatusAccepted, p)
	}
}
