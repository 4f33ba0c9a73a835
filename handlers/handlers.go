// Package handlers is HTTP in, component out: one file per resource, the one
// route table, and the JSON API beside the pages.
package handlers

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store"
)

// App is what the handlers work with. Its fields are set once, at start.
type App struct {
	Store       *store.Store
	Registry    *jobs.Registry
	Purger      *engine.Purger
	Live        *Hub
	Metrics     http.Handler
	VHost       string // where the job queues are
	QueuePrefix string // of the broker's names of job queues
	DeadQueue   string // the broker's name of the dead-letter queue
	Environment string // badge: "production" is red
	Access      *Access
	CSP         *string   // header of the content security policy; nil: views.CSP, "": none
	Base        string    // path below which the dashboard is mounted, without a slash at its end; "" for the root
	Management  bool      // there is a management API to watch the broker by
	Process     uuid.UUID // that serves the pages
	Log         *slog.Logger
	// Waiting says what the database lacks before work can begin, in a sentence; "" when nothing does.
	Waiting func() string

	database databaseHealth
}

// queryTimeout bounds every request's work in the database.
const queryTimeout = 5 * time.Second

// query is the request's context with the time that a page may take.
func query(c echo.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.Request().Context(), queryTimeout)
}
