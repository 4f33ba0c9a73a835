// Package handlers serves the pages and, beside them, the JSON API: one file per resource, and one
// route table.
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
	"github.com/warrenjobs/warren/jobs/messages"
	"github.com/warrenjobs/warren/store"
)

// App holds what the handlers depend on. Its fields are set once, at start.
type App struct {
	Store       *store.Store
	Registry    *jobs.Registry
	Purger      *engine.Purger
	Live        *Hub
	Broker      messages.Broker // for what is done by hand
	Tails       *messages.Tails
	Metrics     http.Handler
	VHost       string // where the job queues are
	QueuePrefix string // of the broker's names of job queues
	DeadQueue   string // the broker's name of the dead-letter queue
	Results     string // and that of the queue in which workers in other languages report
	Environment string // badge: "production" is red
	Access      *Access
	CSP         *string   // header of the content security policy; nil: views.CSP, "": none
	Base        string    // path below which the dashboard is mounted, without a slash at its end; "" for the root
	Management  bool      // there is a management API to monitor the broker with
	Process     uuid.UUID // the process that serves the pages
	Log         *slog.Logger
	// Waiting returns, in a sentence, what the database lacks before work can begin; "" if it lacks
	// nothing.
	Waiting func() string

	database databaseHealth
}

// queryTimeout bounds every request's work in the database.
const queryTimeout = 5 * time.Second

// query returns the context of the request, bounded by queryTimeout.
func query(c echo.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.Request().Context(), queryTimeout)
}
