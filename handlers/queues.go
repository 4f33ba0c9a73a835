package handlers

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/monitor"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/views"
)

// queuesPage is the number of queues on one page.
const queuesPage = 100

// trouble is the order of the page of queues, unless another is asked for.
const trouble = "trouble"

// ownQueues says which queues of the broker are this deployment's.
func (a *App) ownQueues() store.OwnQueues {
	return store.OwnQueues{VHost: a.VHost, Prefix: a.QueuePrefix, Dead: a.DeadQueue}
}

func parseQueues(c echo.Context) (store.QueueFilter, error) {
	f := store.QueueFilter{Search: strings.TrimSpace(c.QueryParam("q")), Sort: cmp.Or(c.QueryParam("sort"), trouble),
		Desc: c.QueryParam("desc") != ""}
	return f, shortTexts(map[string]string{"q": f.Search, "sort": f.Sort}).OrNil()
}

func (a *App) queues(ctx context.Context, c echo.Context, f store.QueueFilter, cursor jobs.Cursor) error {
	m, fresh, err := a.queuesModel(ctx, c.Request().URL.RequestURI(), f, cursor)
	if err != nil {
		return err
	}
	frame := a.frame(c, "queues", "Queues", engine.TopicQueues)
	frame.Lead, frame.Fresh, frame.Search = "All queues on the broker", fresh, ""
	return show(c, views.Queues(frame, m), views.QueuesTable(m))
}

func (a *App) queuesModel(
	ctx context.Context, here string, f store.QueueFilter, c jobs.Cursor,
) (m views.QueuesModel, fresh time.Time, err error) {
	f.Own = a.ownQueues()
	page, all, err := a.Store.Queues(ctx, f, c, queuesPage)
	if err != nil {
		return m, fresh, err
	}
	queues := page.Items
	sparks, err := a.Store.Sparklines(ctx, queues, time.Now())
	if err != nil {
		return m, fresh, err
	}
	m = views.QueuesModel{URL: here, Search: f.Search, Filtered: f.Search != "", Sorted: f.Sort != trouble,
		Cols: views.QueueCols(f.Sort, f.Desc), Holds: map[string]string{}}
	m.Holds[a.VHost+"/"+a.DeadQueue], m.Holds[a.VHost+"/"+a.Results] = "dead letters", "reports of workers in other languages"
	for i, q := range queues {
		m.Add(q, sparks[i])
		if q.SampledAt.After(fresh) {
			fresh = q.SampledAt
		}
	}
	m.Page(page, all, c, func(c jobs.Cursor) string { return queuesURL(f, c) })
	m.Limited = a.brokerSays(ctx)
	return m, fresh, nil
}

func queuesURL(f store.QueueFilter, c jobs.Cursor) string {
	q := url.Values{}
	if f.Sort != trouble {
		q.Set("sort", f.Sort)
	}
	if f.Desc {
		q.Set("desc", "1")
	}
	if f.Search != "" {
		q.Set("q", f.Search)
	}
	if cursor := c.String(); cursor != "" {
		q.Set("cursor", cursor)
	}
	return "/queues?" + q.Encode()
}

// brokerSays returns the monitor's message about its figures, "" when nothing limits them.
func (a *App) brokerSays(ctx context.Context) string {
	parts, err := a.Store.Health(ctx)
	if err != nil {
		return ""
	}
	return parts[monitor.Component].Message
}

func (a *App) queue(c echo.Context) error {
	ctx, cancel := query(c)
	defer cancel()
	if partial(c) && c.QueryParam("part") == "charts" {
		return a.queueCharts(ctx, c)
	}
	m, err := a.queueModel(ctx, c)
	if err != nil {
		return err
	}
	if partial(c) {
		switch c.QueryParam("part") {
		case "numbers":
			return render(c, http.StatusOK, views.QueueUpdate(m))
		case "channels":
			return render(c, http.StatusOK, views.QueueChannels(m))
		case "redeliveries":
			return render(c, http.StatusOK, views.QueueRedeliveries(m))
		}
	}
	frame := a.frame(c, "queues", m.Queue.Name, engine.TopicQueues)
	switch {
	case m.JobQueue != "":
		frame.Actions = views.QueueActions(m)
	case m.Queue.VHost == a.VHost && !m.Dead && !m.Gone: // job queues get jobs, by the form of a new one
		frame.Actions = views.PublishToQueue(m.Queue.Name)
	}
	frame.Lead, frame.Fresh = m.Lead(), m.Queue.SampledAt
	return render(c, http.StatusOK, views.Queue(frame, m))
}

func (a *App) queueModel(ctx context.Context, c echo.Context) (views.QueueModel, error) {
	m := views.QueueModel{Now: time.Now()}
	vhost, name, err := queueParams(c)
	if err != nil {
		return m, err
	}
	if err := a.queueHistory(ctx, c, &m, vhost, name); err != nil {
		return m, err
	}
	m.URL = m.Window.URL(m.Base, "")
	m.Queue, err = a.Store.Queue(ctx, a.ownQueues(), vhost, name)
	if errors.Is(err, jobs.ErrNotFound) && m.Series.Begin() < len(m.Series.At) {
		m.Gone, m.Queue = true, monitor.Queue{VHost: vhost, Name: name}
	} else if err != nil {
		return m, err
	}
	m.Row, m.Dead = views.NewQueueRow(m.Queue, nil, m.Base), vhost == a.VHost && name == a.DeadQueue
	if m.Channels, err = a.Store.Channels(ctx, vhost, name); err != nil {
		return m, err
	}
	queue, ours := a.jobQueue(vhost, name)
	if !ours {
		return m, nil
	}
	m.JobQueue, m.Jobs = queue, a.counts(ctx, jobs.Filter{Queue: queue})
	if err := a.queueState(ctx, &m); err != nil {
		return m, err
	}
	return m, a.redeliveries(ctx, c, &m)
}

// queueState reads the state of a job queue: who consumes or paused it, its drift, and a purge that
// can be undone.
func (a *App) queueState(ctx context.Context, m *views.QueueModel) (err error) {
	if m.Drift, err = a.Store.Drift(ctx, a.VHost, a.QueuePrefix, m.JobQueue); err != nil {
		return err
	}
	if m.Around, err = a.Store.AroundQueue(ctx, m.JobQueue); err != nil {
		return err
	}
	if m.Redelivered, err = a.Store.RedeliveriesSince(ctx, m.JobQueue, m.Now.Add(-time.Hour)); err != nil {
		return err
	}
	purge, left, err := a.Store.LastPurge(ctx, m.JobQueue)
	if errors.Is(err, jobs.ErrNotFound) {
		return nil
	}
	m.Purge, m.PurgeLeft = &purge, left
	return err
}

// redeliveriesShown is the number of redeliveries on one page.
const redeliveriesShown = 10

func (a *App) redeliveries(ctx context.Context, c echo.Context, m *views.QueueModel) error {
	cursor, err := parseCursor(c)
	if err != nil {
		return err
	}
	page, err := a.Store.Redeliveries(ctx, m.JobQueue, cursor, redeliveriesShown)
	if err != nil {
		return err
	}
	*m = m.WithRedeliveries(page, cursor)
	return nil
}

// queueHistory reads what the charts of a queue show.
func (a *App) queueHistory(ctx context.Context, c echo.Context, m *views.QueueModel, vhost, name string) (err error) {
	m.Base = views.QueueURL(vhost, name)
	if m.Window, err = chartWindow(c, m.Now); err != nil {
		return err
	}
	if m.Series, err = a.Store.Samples(ctx, vhost, name, m.Window.From, m.Window.To); err != nil {
		return err
	}
	if queue, ours := a.jobQueue(vhost, name); ours {
		m.Marks, err = a.Store.Marks(ctx, queue, m.Window.From, m.Window.To)
	}
	return err
}

// queueCharts responds with the charts of a queue that are to be drawn again.
func (a *App) queueCharts(ctx context.Context, c echo.Context) error {
	m := views.QueueModel{Now: time.Now()}
	vhost, name, err := queueParams(c)
	if err != nil {
		return err
	}
	if err := a.queueHistory(ctx, c, &m, vhost, name); err != nil {
		return err
	}
	return render(c, http.StatusOK, views.Timeline(m.Charts()))
}

// jobQueue returns Warren's name of a queue of the broker; ok is false if it is not one of our job
// queues.
func (a *App) jobQueue(vhost, name string) (queue string, ok bool) {
	queue, ok = strings.CutPrefix(name, a.QueuePrefix)
	return queue, ok && vhost == a.VHost
}
