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
	"github.com/warrenjobs/warren/jobs/monitor"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/views"
	"github.com/warrenjobs/warren/views/ui"
)

// purgeTimeout bounds the purge of a queue, which cancels some 20,000 jobs a second.
const purgeTimeout = 50 * time.Second

// ownQueue returns the job queue of a request, by Warren's name of it, and its page. Other queues
// are refused.
func (a *App) ownQueue(c echo.Context) (queue, page string, err error) {
	vhost, name, err := queueParams(c)
	if err != nil {
		return "", "", err
	}
	queue, ok := a.jobQueue(vhost, name)
	if !ok || queue == "" {
		return "", "", echo.NewHTTPError(http.StatusConflict, "This is not a queue of Warren's jobs: it can only be looked at here.")
	}
	if err := jobs.CheckQueue(queue); err != nil {
		return "", "", err
	}
	return queue, views.QueueURL(vhost, name), nil
}

// purge purges the queue if its name was typed as confirmation.
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
		return redirect(c, page, ui.FlashProps{Kind: "error", Text: "The broker cannot be reached: its messages are still there.",
			Detail: views.Purged(purge)})
	case err != nil:
		return err
	}
	return redirect(c, page, ui.FlashProps{Kind: "done", Text: "Purged.", Detail: views.Purged(purge)})
}

func (a *App) apiPurgeQueue(c echo.Context) error {
	purge, _, err := a.purge(c)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, purge)
}

// queueAction is PauseQueue or ResumeQueue of the store.
type queueAction func(ctx context.Context, queue string, by jobs.Actor) error

// ownedQueue is one of our job queues, and its page.
type ownedQueue struct{ name, page string }

func (a *App) queueTarget(c echo.Context) (ownedQueue, error) {
	name, page, err := a.ownQueue(c)
	return ownedQueue{name, page}, err
}

func queueDid(text, detail string, act queueAction) func(context.Context, ownedQueue, jobs.Actor) (done, error) {
	return func(ctx context.Context, q ownedQueue, by jobs.Actor) (done, error) {
		d := did(q.page, text+" "+q.name+".")
		d.flash.Detail = detail
		return d, act(ctx, q.name, by)
	}
}

func queueReply(act queueAction) func(context.Context, ownedQueue, jobs.Actor) (reply, error) {
	return func(ctx context.Context, q ownedQueue, by jobs.Actor) (reply, error) {
		return reply{}, act(ctx, q.name, by)
	}
}

// purgeOf is an earlier purge of a queue.
type purgeOf struct {
	ownedQueue
	operation uuid.UUID
}

func (a *App) purgeTarget(c echo.Context) (p purgeOf, err error) {
	if p.ownedQueue, err = a.queueTarget(c); err != nil {
		return p, err
	}
	if p.operation, err = uuid.Parse(c.Param("id")); err != nil {
		return p, badRequest("This is not a purge: its answer, and the audit log, have its id as operation.")
	}
	return p, nil
}

func (a *App) undo(ctx context.Context, p purgeOf, by jobs.Actor) (jobs.BulkResult, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), purgeTimeout)
	defer cancel()
	return a.Store.UndoPurge(ctx, p.name, p.operation, by)
}

func (a *App) undoPurge(ctx context.Context, p purgeOf, by jobs.Actor) (done, error) {
	result, err := a.undo(ctx, p, by)
	return done{page: p.page, leave: true, flash: views.Acted("Retried", result)}, err
}

func (a *App) apiUndoPurge(ctx context.Context, p purgeOf, by jobs.Actor) (reply, error) {
	result, err := a.undo(ctx, p, by)
	return reply{body: result}, err
}

// foreignQueue stands for every queue that is not a job queue of ours: workers of this deployment
// see only its own.
const foreignQueue = ""

func (a *App) redeliveryTarget(c echo.Context) (queue string, err error) {
	vhost, name, err := queueParams(c)
	if err != nil {
		return "", err
	}
	if queue, ours := a.jobQueue(vhost, name); ours {
		return queue, nil
	}
	return foreignQueue, nil
}

func (a *App) readRedeliveries(ctx context.Context, queue string, c jobs.Cursor, limit int) (jobs.Page[jobs.Redelivery], error) {
	if queue == foreignQueue {
		return jobs.Page[jobs.Redelivery]{}, nil
	}
	return a.Store.Redeliveries(ctx, queue, c, limit)
}

func (a *App) readQueues(ctx context.Context, _ struct{}, c jobs.Cursor, limit int) (jobs.Page[monitor.Queue], error) {
	page, _, err := a.Store.Queues(ctx, store.QueueFilter{Own: a.ownQueues()}, c, limit)
	return page, err
}
