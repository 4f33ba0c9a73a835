package handlers

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/views"
	"github.com/warrenjobs/warren/views/ui"
)

// purgeTimeout bounds the purge of a queue: some 20,000 jobs a second are cancelled.
const purgeTimeout = 50 * time.Second

// queueAction is PauseQueue or ResumeQueue of the store.
type queueAction func(ctx context.Context, queue string, by jobs.Actor) error

// ownQueue reads which of our job queues a request means, by Warren's name of it.
func (a *App) ownQueue(c echo.Context) (queue, page string, err error) {
	vhost, name, err := queueParams(c)
	if err != nil {
		return "", "", err
	}
	queue, ok := a.jobQueue(vhost, name)
	if !ok || queue == "" {
		return "", "", echo.NewHTTPError(http.StatusConflict, "This is not a queue of Warren's jobs: it can only be looked at here.")
	}
	return queue, views.QueueURL(vhost, name), nil
}

func (a *App) switchQueue(c echo.Context, act queueAction) (page string, err error) {
	queue, page, err := a.ownQueue(c)
	if err != nil {
		return page, err
	}
	ctx, cancel := query(c)
	defer cancel()
	if err := act(ctx, queue, a.by(c)); err != nil {
		return page, err
	}
	return page, nil
}

func (a *App) actOnQueue(done string, act queueAction) echo.HandlerFunc {
	return func(c echo.Context) error {
		page, err := a.switchQueue(c, act)
		var refused *jobs.NotAllowedError
		if errors.As(err, &refused) {
			return redirect(c, page, ui.FlashProps{Kind: "note", Text: refused.Why})
		}
		if err != nil {
			return err
		}
		return redirect(c, page, ui.FlashProps{Kind: "done", Text: done})
	}
}

func (a *App) apiActOnQueue(act queueAction) echo.HandlerFunc {
	return func(c echo.Context) error {
		if _, err := a.switchQueue(c, act); err != nil {
			return err
		}
		return c.NoContent(http.StatusNoContent)
	}
}

// purge does it if the name of the queue was typed.
func (a *App) purge(c echo.Context) (purge engine.Purge, page string, err error) {
	queue, page, err := a.ownQueue(c)
	if err != nil {
		return purge, page, err
	}
	if c.FormValue("confirm") != queue {
		return purge, page, badField("confirm", "must be the name of the queue: "+queue)
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), purgeTimeout)
	defer cancel()
	purge, err = a.Purger.Purge(ctx, queue, a.by(c))
	return purge, page, err
}

func (a *App) purgeQueue(c echo.Context) error {
	purge, page, err := a.purge(c)
	var fields jobs.FieldErrors
	switch {
	case errors.As(err, &fields):
		return redirect(c, page, ui.FlashProps{Kind: "error", Text: "Nothing was done.", Detail: fields.Error()})
	case errors.Is(err, jobs.ErrUnavailable):
		return redirect(c, page, ui.FlashProps{Kind: "error", Text: "The broker cannot be reached: its messages are still there.", Detail: views.Purged(purge)})
	case err != nil:
		return err
	}
	return redirect(c, page, ui.FlashProps{Kind: "done", Text: "The queue is empty.", Detail: views.Purged(purge)})
}

func (a *App) apiPurgeQueue(c echo.Context) error {
	purge, _, err := a.purge(c)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, purge)
}

func (a *App) undo(c echo.Context) (result jobs.BulkResult, page string, err error) {
	queue, page, err := a.ownQueue(c)
	if err != nil {
		return result, page, err
	}
	operation, err := uuid.Parse(c.Param("id"))
	if err != nil {
		return result, page, echo.NewHTTPError(http.StatusBadRequest, "This is no purge: its answer, and the audit log, have its id as operation.")
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), purgeTimeout)
	defer cancel()
	result, err = a.Store.UndoPurge(ctx, queue, operation, a.by(c))
	return result, page, err
}

func (a *App) undoPurge(c echo.Context) error {
	result, page, err := a.undo(c)
	if err != nil {
		return err
	}
	return redirect(c, page, views.Acted("Retried", result))
}

func (a *App) apiUndoPurge(c echo.Context) error {
	result, _, err := a.undo(c)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, result)
}
