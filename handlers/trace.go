package handlers

import (
	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/otel/propagation"

	"github.com/warrenjobs/warren/jobs/tracing"
)

// continueTrace makes the jobs that a request enqueues continue the trace of the request.
func continueTrace(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if r := c.Request(); r.Header.Get("Traceparent") != "" {
			c.SetRequest(r.WithContext(tracing.Continue(r.Context(), tracing.Parse(propagation.HeaderCarrier(r.Header)))))
		}
		return next(c)
	}
}
