package handlers

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/views"
	"github.com/warrenjobs/warren/views/ui"
)

func (a *App) overview(c echo.Context) error {
	ctx, cancel := query(c)
	defer cancel()
	facts, err := a.overviewFacts(ctx)
	if err != nil {
		return err
	}
	m := views.NewOverviewModel(facts)
	if partial(c) {
		if c.QueryParam("part") == "lists" {
			return render(c, http.StatusOK, views.OverviewLists(m))
		}
		return render(c, http.StatusOK, views.OverviewNumbers(m))
	}
	frame := a.frame(c, "overview", "Overview", engine.TopicJobs, engine.TopicQueues)
	frame.Lead, frame.Fresh, frame.Charts = "System health", facts.Now, true
	frame.Actions = views.NewJobButton()
	return render(c, http.StatusOK, views.Overview(frame, m))
}

func (a *App) overviewFacts(ctx context.Context) (f views.OverviewFacts, err error) {
	f.Now, f.DeadQueue, f.Pills = time.Now(), a.DeadQueue, a.pills(ctx)
	if f.Counts, err = a.Store.Counts(ctx, jobs.Filter{}); err != nil {
		return f, err
	}
	out, err := a.Store.Outbox(ctx)
	if err != nil {
		return f, err
	}
	f.Waiting, f.Lag, f.Failing, f.LastError = out.Waiting, out.OldestAge, out.Failing, out.LastError
	if f.Paused, err = a.Store.PausedQueues(ctx); err != nil {
		return f, err
	}
	if f.Unknown, err = a.Store.UnknownKinds(ctx); err != nil {
		return f, err
	}
	if f.Drift, err = a.Store.Drift(ctx, a.VHost, a.QueuePrefix, ""); err != nil {
		return f, err
	}
	if f.Forgotten, err = a.Store.ForgottenAcks(ctx, f.Now); err != nil {
		return f, err
	}
	if f.Transactions, err = a.Store.OpenTransactions(ctx, longTransaction); err != nil {
		return f, err
	}
	if f.Workers, f.Slots, err = a.Store.Workers(ctx); err != nil {
		return f, err
	}
	parts, err := a.Store.Health(ctx)
	if err != nil {
		return f, err
	}
	if policy := parts[engine.ComponentPolicy]; policy.DownSince != nil {
		f.Policy, f.Command = policy.Message, policyCommand(policy)
	}
	queues, _, err := a.Store.Queues(ctx, store.QueueFilter{Own: a.ownQueues(), Sort: trouble}, jobs.Cursor{}, limitMax)
	if err != nil {
		return f, err
	}
	f.Queues = queues.Items
	if f.Sparks, err = a.Store.Sparklines(ctx, f.Queues, f.Now); err != nil {
		return f, err
	}
	failures, err := a.readFailures(ctx, jobs.FailureFilter{}, jobs.Cursor{}, 5)
	if err != nil {
		return f, err
	}
	recent, err := a.readJobs(ctx, jobs.Filter{}, jobs.Cursor{}, 10)
	if err != nil {
		return f, err
	}
	f.Failures, f.Recent = failures.Items, recent.Items
	return f, a.overviewHistory(ctx, &f)
}

// policyCommand returns the command with which an administrator gives the job queues their policy.
func policyCommand(h store.Health) string {
	var note engine.PolicyNote
	_ = json.Unmarshal(h.Details, &note) // without a note there is no command to show
	return note.Command
}

func (a *App) overviewHistory(ctx context.Context, f *views.OverviewFacts) (err error) {
	since := f.Now.Add(-views.OverviewSpan)
	if f.Activity, err = a.Store.Activity(ctx, since); err != nil {
		return err
	}
	f.Total, err = a.Store.TotalSamples(ctx, since, f.Now)
	return err
}

// overviewSamples responds with the data of a chart that is to be redrawn.
func (a *App) overviewSamples(c echo.Context) error {
	ctx, cancel := query(c)
	defer cancel()
	f := views.OverviewFacts{Now: time.Now()}
	if err := a.overviewHistory(ctx, &f); err != nil {
		return err
	}
	m := views.NewOverviewModel(f)
	return chartData(c, func(id string) (ui.ChartProps, bool) {
		for _, chart := range m.Charts {
			if chart.ID == "chart-"+id {
				return chart, true
			}
		}
		return ui.ChartProps{}, false
	})
}
