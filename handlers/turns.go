package handlers

import (
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

// connectionsLeft is how many connections of the pool pages and API leave to others: to /readyz and
// /metrics, and to the relay, the worker and the heartbeat of a process that has these roles too.
const connectionsLeft = 3

// turns bounds the requests that use the database at once: each uses one connection at a time.
type turns chan struct{}

func newTurns(connections int) turns { return make(turns, max(1, connections-connectionsLeft)) }

// take makes a request wait for its turn, for at most queryTimeout.
func (t turns) take(open map[string]bool) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if open[c.Path()] || holdsNoConnection(c) {
				return next(c)
			}
			late := time.NewTimer(queryTimeout)
			defer late.Stop()
			select {
			case t <- struct{}{}:
				defer func() { <-t }()
				return next(c)
			case <-late.C:
				return echo.NewHTTPError(http.StatusServiceUnavailable, "The database is busy with other pages. Try again in a moment.")
			case <-c.Request().Context().Done():
				return c.Request().Context().Err()
			}
		}
	}
}

// holdsNoConnection reports whether a request lasts as long as its client, or the broker, likes, and
// uses the database only for moments of that: the live stream, uploads and downloads, and what is done
// with the broker by hand. A scrape must succeed while pages wait.
func holdsNoConnection(c echo.Context) bool {
	path := c.Path()
	byHand := path == "/tail" || path == "/publish" || path == "/api/v1/messages"
	return byHand || path == "/live" || path == "/metrics" || isUpload(c) || isDocument(c) || strings.HasPrefix(path, "/files/")
}
