package handlers

import (
	"cmp"

	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
)

// by says who makes the request, from where and why, for the audit log.
func (a *App) by(c echo.Context) jobs.By {
	actor := "web"
	if isAPI(c) {
		actor = "api"
	}
	return jobs.By{Actor: actor, From: c.RealIP(), Reason: cmp.Or(c.FormValue("reason"), c.QueryParam("reason"))}
}
