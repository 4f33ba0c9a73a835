package handlers

import (
	"context"
	"encoding/json"
	"time"

	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/monitor"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/views"
	"github.com/warrenjobs/warren/views/ui"
)

// Times without a report after which a part is no longer known to be healthy.
const (
	brokerSilence = 45 * time.Second // the poller backs off to 30 s
	relaySilence  = 10 * time.Second
	sampleLate    = 4 * monitor.IntervalDefault // of the broker's figures: three polls are missing
	// Reports of workers that are gone no longer count: a worker that cannot consume reports it
	// every few seconds.
	consumeSilence = 30 * time.Second
	slowAnswer     = 300 * time.Millisecond
)

// health is the health of each part, and the source of figures that is away.
type health struct {
	Pills   []views.Pill
	Sources views.Sources
}

// health returns the health of the deployment, as far as the database knows it and can be asked.
func (a *App) health(ctx context.Context) (h health) {
	okAt, downSince, slow := a.database.get()
	database := views.Pill{Name: "Database", Icon: "database", State: views.OK}
	switch {
	case !downSince.IsZero():
		database.State, database.Since = views.Down, downSince
	case okAt.IsZero():
		database.State = views.Unasked
	case slow > slowAnswer:
		database.State, database.Note = views.Slow, ui.Duration(slow)
	}
	broker := views.Pill{Name: "Broker", Icon: "broker", State: views.Unasked}
	relay := views.Pill{Name: "Relay", Icon: "relay", State: views.Unasked}
	workers := views.Pill{Name: "Workers", Icon: "workers", State: views.Unasked}
	if !downSince.IsZero() {
		h.Sources = views.Sources{Away: views.SourceDatabase, What: "Database down", Since: downSince}
		h.Pills = []views.Pill{database, broker, relay, workers}
		return h
	}
	var consume store.Health
	if parts, err := a.Store.Health(ctx); err == nil {
		broker = a.brokerPill(pill(broker, parts[monitor.Component], brokerSilence), parts[monitor.Component])
		h.Sources = a.brokerSource(ctx, broker)
		relay = pill(relay, parts["relay"], relaySilence)
		consume = parts[engine.ComponentConsume]
	}
	h.Pills = []views.Pill{database, broker, relay, a.workersPill(ctx, workers, consume, h.Sources)}
	return h
}

// workersPill is green where workers run, can take jobs and, by figures of the broker that are not old, leave no queue out.
func (a *App) workersPill(ctx context.Context, p views.Pill, consume store.Health, s views.Sources) views.Pill {
	n, _, err := a.Store.Workers(ctx)
	if err != nil {
		return p
	}
	p.State = views.OK
	switch {
	case n == 0:
		p.State, p.Note = views.Down, "none running"
		return p
	case consume.DownSince != nil && time.Since(consume.At) < consumeSilence:
		p.State, p.Note, p.Why = views.Down, "cannot take jobs", consume.Message
		return p
	}
	if s.Away == views.SourceBroker {
		return p
	}
	if queues, err := a.Store.Unconsumed(ctx, a.ownQueues(), limitMax); err == nil && len(queues) > 0 {
		return p.Unconsumed(queues)
	}
	return p
}

// brokerSource returns when the broker was last sampled, and whether its figures are old.
func (a *App) brokerSource(ctx context.Context, broker views.Pill) (s views.Sources) {
	var err error
	if s.Broker, err = a.Store.LastSample(ctx); err != nil || s.Broker.IsZero() {
		return s
	}
	switch {
	case broker.State == views.Down && broker.Note == "":
		s.Away, s.What, s.Since = views.SourceBroker, "Broker down", broker.Since
	case time.Since(s.Broker) > sampleLate:
		s.Away, s.What, s.Since = views.SourceBroker, "No figures from the broker", s.Broker
	}
	return s
}

// brokerPill marks a broker that takes jobs as limited while its management API does not answer,
// unless it is configured to have none.
func (a *App) brokerPill(p views.Pill, h store.Health) views.Pill {
	var details monitor.Details
	if p.State == views.OK && a.Management && json.Unmarshal(h.Details, &details) == nil && !details.Management {
		p.State, p.Note, p.Why = views.Limited, "no figures", h.Message
	}
	return p
}

// pill applies a health row to a pill; a zero row means that the part has never been reported on.
func pill(p views.Pill, h store.Health, silence time.Duration) views.Pill {
	if h.At.IsZero() {
		return p
	}
	p.State = views.OK
	switch {
	case h.DownSince != nil:
		p.State, p.Since, p.Why = views.Down, *h.DownSince, h.Message
	case time.Since(h.At) > silence:
		p.State, p.Note, p.Since = views.Down, "silent", h.At
	}
	return p
}
