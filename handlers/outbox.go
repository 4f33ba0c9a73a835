package handlers

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/views"
	"github.com/warrenjobs/warren/views/ui"
)

// longTransaction is when an open transaction is worth a word.
const longTransaction = 30 * time.Second

func (a *App) outbox(c echo.Context) error {
	filter, err := engine.ParseOutboxFilter(c.QueryParam("show"))
	if err != nil {
		return err
	}
	place, err := outboxPlace(c)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	if partial(c) && c.QueryParam("part") == "numbers" {
		facts, err := a.outboxFacts(ctx)
		if err != nil {
			return err
		}
		return render(c, http.StatusOK, views.OutboxNumbers(views.NewOutboxNumbers(facts)))
	}
	page, err := a.Store.OutboxRows(ctx, filter, place, limitDefault)
	if err != nil {
		return err
	}
	failing, err := a.Store.FailingOutbox(ctx)
	if err != nil {
		return err
	}
	list := views.NewOutboxList(page, filter, place, failing)
	if partial(c) {
		return render(c, http.StatusOK, views.OutboxList(list))
	}
	facts, err := a.outboxFacts(ctx)
	if err != nil {
		return err
	}
	frame := a.frame(c, "outbox", "Outbox", engine.TopicOutbox, engine.TopicJobs)
	frame.Lead, frame.Fresh = "Messages that wait for the relay", facts.Now
	return render(c, http.StatusOK, views.Outbox(frame, views.NewOutboxNumbers(facts), list))
}

func outboxPlace(c echo.Context) (p engine.OutboxPlace, err error) {
	for name, to := range map[string]*int64{"after": &p.After, "before": &p.Before} {
		s := c.QueryParam(name)
		if s == "" {
			continue
		}
		if *to, err = strconv.ParseInt(s, 10, 64); err != nil || *to < 1 {
			return p, badField(name, "is no place in this list")
		}
	}
	if p.After != 0 && p.Before != 0 {
		return p, badField("before", "cannot be beside after")
	}
	return p, nil
}

func (a *App) outboxFacts(ctx context.Context) (f views.OutboxFacts, err error) {
	f.Now = time.Now()
	stats, err := a.Store.Outbox(ctx)
	if err != nil {
		return f, err
	}
	f.Waiting, f.Events, f.Lag, f.Failing = stats.Waiting, stats.Events, stats.OldestAge, stats.Failing
	if f.Failures, err = a.Store.OutboxFailures(ctx); err != nil {
		return f, err
	}
	if f.Transactions, err = a.Store.OpenTransactions(ctx, longTransaction); err != nil {
		return f, err
	}
	if f.Paused, err = a.Store.PausedQueues(ctx); err != nil {
		return f, err
	}
	if f.Relays, _, err = a.Store.Processes(ctx, "relay", uuid.Nil, limitMax); err != nil {
		return f, err
	}
	if f.Activity, err = a.Store.Activity(ctx, f.Now.Add(-views.OverviewSpan)); err != nil {
		return f, err
	}
	parts, err := a.Store.Health(ctx)
	f.RelaySeen = parts["relay"].At
	return f, err
}

func (a *App) retryOutbox(c echo.Context) error {
	id, err := parseOutboxID(c)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	if err := a.Store.RetryOutbox(ctx, id, a.by(c)); err != nil {
		return a.outboxRefused(c, err)
	}
	return redirect(c, back(c, "/outbox"), ui.FlashProps{Kind: "done", Text: "The message is sent as soon as a relay can."})
}

func (a *App) retryFailingOutbox(c echo.Context) error {
	ctx, cancel := query(c)
	defer cancel()
	n, err := a.Store.RetryFailingOutbox(ctx, a.by(c))
	if err != nil {
		return err
	}
	flash := ui.FlashProps{Kind: "done", Text: views.RetriedMessages(n)}
	if n == 0 {
		flash = ui.FlashProps{Kind: "note", Text: "No failing message waits for its next try.", Detail: "They were sent meanwhile, or are just being sent."}
	}
	return redirect(c, back(c, "/outbox"), flash)
}

func (a *App) discardOutbox(c echo.Context) error {
	id, err := parseOutboxID(c)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	cancelled, err := a.Store.DiscardOutbox(ctx, id, a.by(c))
	if err != nil {
		return a.outboxRefused(c, err)
	}
	flash := ui.FlashProps{Kind: "done", Text: "The message is discarded."}
	if cancelled != uuid.Nil {
		flash.Detail = "Its job " + cancelled.String() + " is cancelled; it can be retried from its page."
	}
	return redirect(c, back(c, "/outbox"), flash)
}

// outboxRefused comes back to the list with a line that says why nothing was done.
func (a *App) outboxRefused(c echo.Context, err error) error {
	flash := ui.FlashProps{Kind: "error", Text: "Nothing was done.", Detail: problemOf(err).Detail}
	var refused *jobs.NotAllowedError
	var fields jobs.FieldErrors
	switch {
	case errors.Is(err, jobs.ErrNotFound):
		flash = ui.FlashProps{Kind: "note", Text: "This message is no longer in the outbox.", Detail: "It was sent or discarded meanwhile."}
	case errors.As(err, &refused), errors.As(err, &fields):
	default:
		return err
	}
	return redirect(c, back(c, "/outbox"), flash)
}

func parseOutboxID(c echo.Context) (int64, error) {
	id, err := strconv.ParseInt(c.Param("id"), 10, 64)
	if err != nil || id < 1 {
		return 0, echo.NewHTTPError(http.StatusBadRequest, strconv.Quote(c.Param("id"))+" is no row of the outbox: it is a number.")
	}
	return id, nil
}

func (a *App) apiOutbox(c echo.Context) error {
	filter, err := engine.ParseOutboxFilter(c.QueryParam("show"))
	if err != nil {
		return err
	}
	limit, err := parseLimit(c)
	if err != nil {
		return err
	}
	after, err := parseNumber(c)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	page, err := a.Store.OutboxRows(ctx, filter, engine.OutboxPlace{After: after}, limit)
	if err != nil {
		return err
	}
	next := ""
	if page.Newer.After != 0 {
		next = strconv.FormatInt(page.Newer.After, 10)
	}
	return c.JSON(http.StatusOK, newList(page.Rows, next))
}

func (a *App) apiRetryOutbox(c echo.Context) error {
	id, err := parseOutboxID(c)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	if err := a.Store.RetryOutbox(ctx, id, a.by(c)); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

func (a *App) apiDiscardOutbox(c echo.Context) error {
	id, err := parseOutboxID(c)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	if _, err := a.Store.DiscardOutbox(ctx, id, a.by(c)); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
