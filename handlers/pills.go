package handlers

import (
	"context"
	"strings"
	"time"

	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/views"
	"github.com/warrenjobs/warren/views/ui"
)

// A part that has not spoken for so long is not known to be well.
const (
	brokerSilence = 45 * time.Second // the poller backs off to 30 s
	relaySilence  = 10 * time.Second
	slowAnswer    = 300 * time.Millisecond
)

func lower(s string) string { return strings.ToLower(s) }

// pills says how the parts do, as far as the database knows and can be asked.
func (a *App) pills(ctx context.Context) []views.Pill {
	okAt, downSince, slow := a.database.get()
	database := views.Pill{Name: "Database", Icon: "database", State: views.OK, Last: okAt}
	switch {
	case !downSince.IsZero():
		database.State, database.Note = views.Down, "since "+clock(downSince)
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
	if parts, err := a.Store.Health(ctx); err == nil {
		broker = pill(broker, parts["broker"], brokerSilence)
		relay = pill(relay, parts["relay"], relaySilence)
	}
	if n, _, err := a.Store.Workers(ctx); err == nil {
		workers.State, workers.Last = views.OK, time.Now()
		if n == 0 {
			workers.State, workers.Note, workers.Last = views.Down, "none runs", time.Time{}
		}
	}
	return []views.Pill{database, broker, relay, workers}
}

// pill reads a row of health; a zero row means that nobody ever spoke for the part.
func pill(p views.Pill, h store.Health, silence time.Duration) views.Pill {
	if h.At.IsZero() {
		return p
	}
	p.State = views.OK
	if h.OkAt != nil {
		p.Last = *h.OkAt
	}
	switch {
	case h.DownSince != nil:
		p.State, p.Note = views.Down, "since "+clock(*h.DownSince)
	case time.Since(h.At) > silence:
		p.State, p.Note = views.Down, "silent for "+ui.Duration(time.Since(h.At))
	}
	return p
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05 UTC") }
