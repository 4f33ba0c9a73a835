package handlers

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/explain"
	"github.com/warrenjobs/warren/jobs/monitor"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/views"
)

// overviewRead reads facts that parts of the overview show.
type overviewRead struct {
	read  func(a *App, ctx context.Context, f *views.OverviewFacts) error
	parts []string
}

var overviewReads = []overviewRead{
	{(*App).readWaiting, []string{"findings", "tiles"}},
	{(*App).readFindings, []string{"findings"}},
	{(*App).readActivity, []string{"findings", "tiles"}},
	{(*App).readDepth, []string{"tiles"}},
	{(*App).readMarks, nil},
	{(*App).readNewestFailures, []string{"failures"}},
	{(*App).readNewestJobs, []string{"jobs"}},
}

var overviewParts = map[string]func(views.OverviewModel) templ.Component{
	"findings": views.OverviewFindings, "tiles": views.OverviewTiles, "failures": views.OverviewFailures, "jobs": views.OverviewJobs,
}

func (a *App) overview(c echo.Context) error {
	ctx, cancel := query(c)
	defer cancel()
	window, err := chartWindow(c, time.Now())
	if err != nil {
		return err
	}
	if partial(c) && c.QueryParam("part") == "charts" {
		return a.overviewCharts(ctx, c, window)
	}
	part, show := "", overviewParts[c.QueryParam("part")]
	if partial(c) && show != nil {
		part = c.QueryParam("part")
	}
	facts, err := a.overviewFacts(ctx, part)
	if err != nil {
		return err
	}
	m := views.NewOverviewModel(facts)
	if part != "" {
		return render(c, http.StatusOK, show(m))
	}
	if window.Range != facts.Window.Range { // the tiles are of now
		if m.Charts, err = a.overviewTimeline(ctx, window); err != nil {
			return err
		}
	}
	frame := a.frame(c, "overview", "Overview", engine.TopicJobs, engine.TopicQueues, engine.TopicFailures)
	frame.Lead, frame.Fresh = "System health", facts.Now
	frame.Actions = views.NewJobButton()
	return render(c, http.StatusOK, views.Overview(frame, m))
}

// overviewFacts reads what a part of the overview shows; "" is the whole.
func (a *App) overviewFacts(ctx context.Context, part string) (views.OverviewFacts, error) {
	f := views.OverviewFacts{FindingFacts: views.FindingFacts{Now: time.Now(), VHost: a.VHost, QueuePrefix: a.QueuePrefix}}
	for _, r := range overviewReads {
		if part != "" && !slices.Contains(r.parts, part) {
			continue
		}
		if err := r.read(a, ctx, &f); err != nil {
			return f, err
		}
	}
	return f, nil
}

// readWaiting reads what waits, and where.
func (a *App) readWaiting(ctx context.Context, f *views.OverviewFacts) (err error) {
	if f.Schedules, err = a.Store.ScheduleTrouble(ctx, views.SchedulesLooked); err != nil {
		return err
	}
	if f.Paused, err = a.Store.PausedQueues(ctx); err != nil {
		return err
	}
	if f.Oldest, err = a.Store.OldestWaiting(ctx); err != nil {
		return err
	}
	if f.Workers, f.Slots, err = a.Store.Workers(ctx); err != nil {
		return err
	}
	out, err := a.Store.Outbox(ctx)
	f.Waiting, f.Failing, f.LastError = out.Waiting, out.Failing, out.LastError
	return err
}

func (a *App) readNewestFailures(ctx context.Context, f *views.OverviewFacts) error {
	page, err := a.readFailures(ctx, jobs.FailureFilter{Status: jobs.FailureOpen}, jobs.Cursor{}, 5)
	f.Failures = slices.DeleteFunc(page.Items, func(g jobs.FailureGroup) bool { return f.Now.Sub(g.LastSeen) > deadFor })
	return err
}

func (a *App) readNewestJobs(ctx context.Context, f *views.OverviewFacts) error {
	page, err := a.readJobs(ctx, jobs.Filter{}, jobs.Cursor{}, 10)
	f.Recent = page.Items
	return err
}

// readFindings reads what else asks for attention.
func (a *App) readFindings(ctx context.Context, f *views.OverviewFacts) error {
	parts, err := a.Store.Health(ctx)
	if err != nil {
		return err
	}
	a.outages(parts, &f.FindingFacts)
	gone, err := a.Store.GoneProcesses(ctx, "")
	if err != nil {
		return err
	}
	f.Dying = explain.GoneProcesses(gone, f.Now).Dying
	if f.Unknown, err = a.Store.UnknownKinds(ctx); err != nil {
		return err
	}
	if f.Drift, err = a.Store.Drift(ctx, a.VHost, a.QueuePrefix, ""); err != nil {
		return err
	}
	if f.Forgotten, err = a.Store.ForgottenAcks(ctx, f.Now); err != nil {
		return err
	}
	if f.Transactions, err = a.Store.OpenTransactions(ctx, longTransaction); err != nil {
		return err
	}
	if f.Dead, err = a.Store.DeadJobs(ctx, f.Now.Add(-deadFor)); err != nil {
		return err
	}
	queues, _, err := a.Store.Queues(ctx, store.QueueFilter{Own: a.ownQueues(), Sort: trouble}, jobs.Cursor{}, limitMax)
	f.Queues = queues.Items
	return err
}

// outages are the parts that their own reports call down, or that have not reported for long.
func (a *App) outages(parts map[string]store.Health, f *views.FindingFacts) {
	broker, consume, policy := parts[monitor.Component], parts[engine.ComponentConsume], parts[engine.ComponentPolicy]
	f.Broker, f.Relay = outage(broker, brokerSilence), outage(parts["relay"], relaySilence)
	if p := a.brokerPill(pill(views.Pill{}, broker, brokerSilence), broker); p.State == views.Limited {
		f.Limits = p.Why
	}
	if consume.DownSince != nil && f.Now.Sub(consume.At) < consumeSilence {
		f.Consume = &views.Outage{Since: *consume.DownSince, Why: consume.Message}
	}
	if policy.DownSince != nil {
		f.Policy, f.Command = policy.Message, policyCommand(policy)
	}
}

// outage returns nil for a part that is well or has never reported.
func outage(h store.Health, silence time.Duration) *views.Outage {
	switch {
	case pill(views.Pill{}, h, silence).State != views.Down:
		return nil
	case h.DownSince == nil || time.Since(h.At) > silence:
		return &views.Outage{Since: h.At}
	}
	return &views.Outage{Since: *h.DownSince, Why: h.Message}
}

// policyCommand returns the command with which an administrator gives the job queues their policy.
func policyCommand(h store.Health) string {
	var note engine.PolicyNote
	_ = json.Unmarshal(h.Details, &note) // without a note there is no command to show
	return note.Command
}

func (a *App) readActivity(ctx context.Context, f *views.OverviewFacts) (err error) {
	f.Activity, err = a.Store.Activity(ctx, f.Now.Add(-views.OverviewSpan), f.Now)
	return err
}

func (a *App) readDepth(ctx context.Context, f *views.OverviewFacts) (err error) {
	f.Total, err = a.Store.TotalSamples(ctx, f.Now.Add(-views.OverviewSpan), f.Now)
	return err
}

func (a *App) readMarks(ctx context.Context, f *views.OverviewFacts) (err error) {
	f.Window, _ = views.RangeWindow(views.Ranges[0].Name, f.Now)
	f.Marks, err = a.Store.Marks(ctx, "", f.Window.From, f.Window.To)
	return err
}

// overviewTimeline reads the charts of another time than that of the tiles.
func (a *App) overviewTimeline(ctx context.Context, w views.Window) (m views.TimelineModel, err error) {
	total, err := a.Store.TotalSamples(ctx, w.From, w.To)
	if err != nil {
		return m, err
	}
	activity, err := a.Store.Activity(ctx, w.From, w.To)
	if err != nil {
		return m, err
	}
	marks, err := a.Store.Marks(ctx, "", w.From, w.To)
	return views.OverviewTimeline(w, total, activity, marks), err
}

// overviewCharts responds with the charts that are to be drawn again.
func (a *App) overviewCharts(ctx context.Context, c echo.Context, w views.Window) error {
	m, err := a.overviewTimeline(ctx, w)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, views.Timeline(m))
}
