package handlers

import (
	"context"
	"strings"
	"time"

	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/views"
)

// Intervals of the status: between updates, and between marks of an outbox in which messages wait.
const (
	statusEvery = 2 * time.Second
	outboxEvery = 5 * time.Second
)

// WatchStatus sends open pages the status of the deployment until ctx ends, and marks the topics that
// change without a notification: a process misses its heartbeats, a transaction stays open.
func (a *App) WatchStatus(ctx context.Context) {
	ticker := time.NewTicker(statusEvery)
	defer ticker.Stop()
	shown := a.updateStatus(ctx, status{}) // so that a change between a first page and its stream is seen as one
	for {
		if a.Live.anybody() {
			shown = a.updateStatus(ctx, shown)
		}
		a.Live.forget(time.Now().Add(-liveNamed))
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-a.Live.hurry:
		}
	}
}

// status is what pages show that changes as time passes.
type status struct {
	pills     string
	failures  int64
	processes string // which there are, and which of them are silent
	outboxAt  time.Time
}

// updateStatus sends the status and returns it; was is the one before.
func (a *App) updateStatus(ctx context.Context, was status) status {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	health, entries := a.health(ctx), a.nav(ctx, "")
	var html strings.Builder
	if views.Status(health.Sources, entries).Render(ctx, &html) == nil {
		a.Live.tell(html.String())
	}
	now := was
	now.pills = ""
	for _, p := range health.Pills {
		now.pills += string(p.State) + " " + p.Why + " "
	}
	for _, e := range entries {
		if e.ID == "failures" {
			now.failures = e.Count
		}
	}
	if digest, err := a.Store.ProcessDigest(ctx); err == nil {
		now.processes = digest
	}
	if time.Since(was.outboxAt) >= outboxEvery && a.outboxAges(ctx) {
		now.outboxAt = time.Now()
	}
	if was.pills != "" {
		a.markChanged(was, now)
	}
	return now
}

func (a *App) markChanged(was, now status) {
	for topic, changed := range map[string]bool{
		engine.TopicHealth:   was.pills != now.pills,
		engine.TopicFailures: was.failures != now.failures,
		engine.TopicWorkers:  was.processes != now.processes,
		engine.TopicOutbox:   was.outboxAt != now.outboxAt,
	} {
		if changed {
			a.Live.Change(store.Change{Topic: topic})
		}
	}
}

// outboxAges reports whether messages wait or a transaction is open, for longer and longer.
func (a *App) outboxAges(ctx context.Context) bool {
	out, err := a.Store.Outbox(ctx)
	if err != nil || out.Waiting > 0 {
		return err == nil
	}
	open, err := a.Store.OpenTransactions(ctx, longTransaction)
	return err == nil && len(open) > 0
}
