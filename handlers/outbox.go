package handlers

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/explain"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/views"
	"github.com/warrenjobs/warren/views/ui"
)

// longTransaction is the age from which an open transaction is shown.
const longTransaction = 30 * time.Second

func (a *App) outbox(ctx context.Context, c echo.Context, filter engine.OutboxFilter, cursor jobs.Cursor) error {
	around, err := a.outboxAround(ctx)
	if err != nil {
		return err
	}
	view, err := a.Store.OutboxView(ctx, filter, cursor, limitDefault)
	if err != nil {
		return err
	}
	facts, err := a.outboxFacts(ctx, view, around)
	if err != nil {
		return err
	}
	m := views.OutboxModel{OutboxNumbersModel: views.NewOutboxNumbers(facts, a.queueURL),
		OutboxListModel: views.NewOutboxList(view.Page, filter, cursor, facts, around, a.queueURL)}
	frame := a.frame(c, "outbox", "Outbox", engine.TopicOutbox, engine.TopicJobs)
	frame.Lead, frame.Fresh = "Messages not yet sent", facts.Now
	return show(c, views.Outbox(frame, m), views.OutboxBody(m))
}

// outboxAround reads what may keep relays from sending the rows.
func (a *App) outboxAround(ctx context.Context) (around explain.OutboxAround, err error) {
	around.Now = time.Now()
	if around.Relays, err = a.relays(ctx); err != nil {
		return around, err
	}
	if around.Paused, err = a.Store.PausedQueues(ctx); err != nil {
		return around, err
	}
	around.Refusing, err = a.Store.RefusingQueues(ctx)
	return around, err
}

// relays reads the processes with a relay that are alive.
func (a *App) relays(ctx context.Context) ([]engine.Process, error) {
	page, err := a.Store.Processes(ctx, engine.ProcessFilter{Role: "relay", Alive: true}, jobs.Cursor{}, limitMax)
	return page.Items, err
}

func (a *App) outboxFacts(
	ctx context.Context, view store.OutboxView, around explain.OutboxAround,
) (f views.OutboxFacts, err error) {
	f.Now, f.Relays, f.Paused = around.Now, around.Relays, around.Paused
	f.Waiting, f.Events, f.Lag, f.Failing, f.Failures = view.Waiting, view.Events, view.OldestAge, view.Failing, view.Failures
	if f.Transactions, err = a.Store.OpenTransactions(ctx, longTransaction); err != nil {
		return f, err
	}
	if f.Activity, err = a.Store.Activity(ctx, f.Now.Add(-views.Ranges[0].Span), f.Now); err != nil {
		return f, err
	}
	parts, err := a.Store.Health(ctx)
	f.RelaySeen = parts["relay"].At
	return f, err
}

func parseOutbox(c echo.Context) (engine.OutboxFilter, error) {
	return engine.ParseOutboxFilter(c.QueryParam("show"))
}

func outboxID(c echo.Context) (int64, error) {
	id, err := strconv.ParseInt(c.Param("id"), 10, 64)
	if err != nil || id < 1 {
		return 0, badRequest("%q is not a row of the outbox: it is a number.", c.Param("id"))
	}
	return id, nil
}

func (a *App) retryOutbox(ctx context.Context, id int64, by jobs.Actor) (done, error) {
	return orSent(did("/outbox", "The message will be sent as soon as a relay can."), a.Store.RetryOutbox(ctx, id, by))
}

func (a *App) discardOutbox(ctx context.Context, id int64, by jobs.Actor) (done, error) {
	cancelled, err := a.Store.DiscardOutbox(ctx, id, by)
	d := did("/outbox", "Discarded the message.")
	if cancelled != uuid.Nil {
		d.flash.Detail = "Its job " + cancelled.String() + " was cancelled; it can be retried from its page."
	}
	return orSent(d, err)
}

// orSent turns jobs.ErrNotFound into a note that the message was sent or discarded meanwhile.
func orSent(d done, err error) (done, error) {
	if errors.Is(err, jobs.ErrNotFound) {
		d.flash = ui.FlashProps{Kind: "note", Text: "This message is no longer in the outbox.",
			Detail: "It has been sent or discarded."}
		return d, nil
	}
	return d, err
}

func (a *App) retryFailingOutbox(ctx context.Context, _ struct{}, by jobs.Actor) (done, error) {
	n, err := a.Store.RetryFailingOutbox(ctx, by)
	d := did("/outbox", views.RetriedMessages(n))
	if n == 0 {
		d.flash = ui.FlashProps{Kind: "note", Text: "No failing message is waiting for its next try.",
			Detail: "They have been sent, or are being sent right now."}
	}
	return d, err
}

func (a *App) apiRetryOutbox(ctx context.Context, id int64, by jobs.Actor) (reply, error) {
	return reply{}, a.Store.RetryOutbox(ctx, id, by)
}

func (a *App) apiDiscardOutbox(ctx context.Context, id int64, by jobs.Actor) (reply, error) {
	_, err := a.Store.DiscardOutbox(ctx, id, by)
	return reply{}, err
}
