package handlers

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/views"
)

// by returns the actor of a request for the audit log: the user, their address and the reason.
func (a *App) by(c echo.Context) jobs.Actor {
	actor := "web"
	if isAPI(c) {
		actor = "api"
	}
	reason := c.FormValue("reason") // also of the query
	if form, err := c.FormParams(); err == nil {
		reason = cmp.Or(form["reason"]...) // the actions of a bulk bar have one field each
	}
	return jobs.Actor{Name: cmp.Or(accountOf(c), actor), From: c.RealIP(), Reason: reason}
}

func (a *App) audit(ctx context.Context, c echo.Context, f jobs.AuditFilter, cursor jobs.Cursor) error {
	page, err := a.Store.Audit(ctx, f, cursor, limitDefault)
	if err != nil {
		return err
	}
	actors, _ := a.Store.AuditActors(ctx) // a list without choices is better than none
	actions, _ := a.Store.AuditActions(ctx)
	names, _ := a.Store.AuditNames(ctx, targetsOf(page.Items)) // ids are better than no list
	m := views.NewAuditModel(views.AuditFacts{Page: page, Filter: f, Cursor: cursor, Actors: actors, Actions: actions, Names: names,
		Queue: a.queueURL})
	frame := a.frame(c, "audit", "Audit", engine.TopicAudit)
	frame.Lead = "Who did what, when and why"
	return show(c, views.Audit(frame, m), views.AuditList(m))
}

// targetsOf returns the targets of the entries, and the jobs that runs of tasks have made.
func targetsOf(entries []jobs.AuditEntry) (targets []string) {
	for _, e := range entries {
		var made struct{ Job string }
		if json.Unmarshal(e.Details, &made) == nil && made.Job != "" {
			targets = append(targets, "job:"+made.Job)
		}
		targets = append(targets, e.Target)
	}
	return targets
}

// parseAudit reads the query parameters that select entries; page and API share it.
func parseAudit(c echo.Context) (jobs.AuditFilter, error) {
	within, errs := parseWithin(c)
	f := jobs.AuditFilter{Actor: c.QueryParam("actor"), Action: c.QueryParam("action"), Target: strings.TrimSpace(c.QueryParam("target")),
		Within: within}
	return f, append(errs, shortTexts(map[string]string{"actor": f.Actor, "action": f.Action, "target": f.Target})...).OrNil()
}
