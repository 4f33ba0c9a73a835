package handlers

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store"
)

// databaseHealth is what this process observed of the database, which cannot be asked while it is
// down.
type databaseHealth struct {
	mu        sync.Mutex
	okAt      time.Time
	downSince time.Time
	slow      time.Duration // duration of the last successful ping
}

// saw notes an answer or an error of the database, and reports whether it went away or came back.
func (h *databaseHealth) saw(err error, took time.Duration) (changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	changed = (err == nil) != h.downSince.IsZero()
	switch {
	case err == nil:
		h.okAt, h.downSince, h.slow = time.Now(), time.Time{}, took
	case changed:
		h.downSince = time.Now()
	}
	return changed
}

func (h *databaseHealth) get() (okAt, downSince time.Time, slow time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.okAt, h.downSince, h.slow
}

// sawDatabase notes what a question to the database came to. Open pages show at once that it went
// away, and refetch when it is back.
func (a *App) sawDatabase(err error, took time.Duration) {
	switch changed := a.database.saw(err, took); {
	case changed && err != nil:
		a.Live.Change(store.Change{Topic: engine.TopicHealth})
	case changed:
		a.Live.Lost()
	}
}

var errNotMigrated = errors.New("the database is not migrated yet")

// WatchDatabase pings the database every second until ctx ends.
func (a *App) WatchDatabase(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		ping, cancel := context.WithTimeout(ctx, 2*time.Second)
		began := time.Now()
		migrated, err := a.Store.Migrated(ping)
		cancel()
		if err == nil && !migrated {
			err = errNotMigrated
		}
		if ctx.Err() == nil {
			a.sawDatabase(err, time.Since(began))
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// healthz reports that the process is up.
func (a *App) healthz(c echo.Context) error {
	return c.JSON(http.StatusOK, map[string]string{"status": "ok"})
}

// readyz reports whether a job can be accepted: the database answers and has the schema. It lists
// the other parts, which may be away without loss.
func (a *App) readyz(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), 2*time.Second)
	defer cancel()
	parts := map[string]any{}
	migrated, err := a.Store.Migrated(ctx)
	switch {
	case err != nil:
		parts["database"] = a.toThoseWhoMayLook(c, a.whyNotReady(err), "away")
	case !migrated:
		parts["database"] = a.toThoseWhoMayLook(c, a.whyNotReady(nil), "not migrated yet")
	default:
		parts["database"] = "ok"
	}
	ready := err == nil && migrated
	for _, pill := range a.health(ctx).Pills {
		if name := pill.Name; name != "Database" {
			parts[strings.ToLower(name)] = string(pill.State)
		}
	}
	status, word := http.StatusOK, "ready"
	if !ready {
		status, word = http.StatusServiceUnavailable, "not ready"
	}
	return c.JSON(status, map[string]any{"status": word, "parts": parts})
}

// toThoseWhoMayLook is a sentence that names servers and accounts, if there is one and the request
// may see pages, and else a word for everybody: /readyz needs no sign-in.
func (a *App) toThoseWhoMayLook(c echo.Context, sentence, word string) string {
	if a.mayLook(c) {
		return cmp.Or(sentence, word)
	}
	return word
}

func (a *App) mayLook(c echo.Context) bool {
	if a.Access == nil {
		return true
	}
	user, err := a.identify(c)
	return err == nil && a.Access.answersFor(c.Request().Host) && (user.Name != "" || a.Access.User != nil || !a.Access.guarded())
}

func isHealth(c echo.Context) bool { return c.Path() == "/healthz" || c.Path() == "/readyz" }
