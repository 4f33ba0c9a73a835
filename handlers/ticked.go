package handlers

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/views"
)

// parseTicked reads the ids of the rows that were ticked in a list of jobs.
func parseTicked(c echo.Context) ([]uuid.UUID, error) {
	form, err := readForm(c)
	if err != nil {
		return nil, err
	}
	if len(form["id"]) > limitMax {
		return nil, badField("id", fmt.Sprintf("has at most %d values", limitMax))
	}
	ids := make([]uuid.UUID, len(form["id"]))
	for i, text := range form["id"] {
		if ids[i], err = uuid.Parse(text); err != nil {
			return nil, badField("id", fmt.Sprintf("%q is not a valid job id", text))
		}
	}
	return ids, nil
}

// onTicked carries out an action on the jobs that were ticked, and says what was done and what was
// not.
func (a *App) onTicked(act jobs.Action) func(context.Context, []uuid.UUID, jobs.Actor) (done, error) {
	return func(ctx context.Context, ids []uuid.UUID, by jobs.Actor) (done, error) {
		result, err := a.Store.Operate(ctx, act, ids, by)
		return done{page: "/jobs", flash: views.ActedOnTicked(act, result)}, err
	}
}
