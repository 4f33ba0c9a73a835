package handlers

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/views/ui"
)

// setExternal handles the form that says whether other programs work a queue.
func (a *App) setExternal(c echo.Context) error {
	queue, page, err := a.ownQueue(c)
	if err != nil {
		return err
	}
	var fields jobs.FieldErrors
	_, err = a.saveExternal(c, queue, c.FormValue("external") == "true", c.FormValue("report_within"))
	switch {
	case errors.As(err, &fields):
		return redirect(c, page, ui.FlashProps{Kind: "error", Text: "Nothing was saved.", Detail: fields[0].Message + "."})
	case err != nil:
		return err
	}
	return redirect(c, page, ui.FlashProps{Kind: "done", Text: "Saved who works " + queue + "."})
}

// externalRequest is the body of PUT /api/v1/queues/:vhost/:name/external.
type externalRequest struct {
	External     *bool   `json:"external"`
	ReportWithin *string `json:"report_within"`
}

func (a *App) apiSetExternal(c echo.Context) error {
	queue, _, err := a.ownQueue(c)
	if err != nil {
		return err
	}
	var req externalRequest
	wrong, err := readJSON(c, &req)
	if err != nil {
		return err
	}
	if req.External == nil && len(wrong) == 0 {
		wrong = jobs.FieldErrors{{Field: "external", Message: "is required"}}
	}
	if len(wrong) > 0 {
		return wrong
	}
	within := ""
	if req.ReportWithin != nil {
		within = *req.ReportWithin
	}
	set, err := a.saveExternal(c, queue, *req.External, within)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, set)
}

func (a *App) saveExternal(c echo.Context, queue string, external bool, within string) (set engine.ExternalQueue, err error) {
	set.External = external
	if set.ReportWithin, err = engine.ParseReportWithin(strings.TrimSpace(within)); err != nil {
		return set, err
	}
	ctx, cancel := query(c)
	defer cancel()
	return set, a.Store.SetExternal(ctx, queue, set, a.by(c))
}

// isExternal reports whether workers of other programs work the queue, "" for the default one: they
// may know kinds that Warren does not. An error counts as no.
func (a *App) isExternal(ctx context.Context, queue string) bool {
	if queue == "" {
		queue = jobs.QueueDefault
	}
	external, err := a.Store.IsExternal(ctx, queue)
	return err == nil && external
}
