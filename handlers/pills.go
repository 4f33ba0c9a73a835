package handlers

import (
	"context"
	"encoding/json"
	"strings"
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
	// Reports of workers that are gone no longer count: a worker that cannot consume reports it
	// every few seconds.
	consumeSilence = 30 * time.Second
	slowAnswer     = 300 * time.Millisecond
)

func lower(s string) string { return strings.ToLower(s) }

// pills returns the health of each part, as far as the database knows it and can be asked.
func (a *App) pills(ctx context.Context) []views.Pill {
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
		return []views.Pill{database, broker, relay, workers}
	}
	var consume store.Health
	if parts, err := a.Store.Health(ctx); err == nil {
		broker = a.brokerPill(pill(broker, parts[monitor.Component], brokerSilence), parts[monitor.Component])
		relay = pill(relay, parts["relay"], relaySilence)
		consume = parts[engine.ComponentConsume]
	}
	if n, _, err := a.Store.Workers(ctx); err == nil {
		workers.State = views.OK
		if n == 0 {
			workers.State, workers.Note = views.Down, "none running"
		} else if consume.DownSince != nil && time.Since(consume.At) < consumeSilence {
			workers.State, workers.Note, workers.Why = views.Down, "cannot take jobs", consume.Message
		}
	}
	return []views.Pill{database, broker, relay, workers}
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
		p.Why = h.Message
		p.State, p.Since = views.Down, *h.DownSince
	case time.Since(h.At) > silence:
		p.State, p.Note = views.Down, "silent for "+ui.Duration(time.Since(h.At))
	}
	return p
}
