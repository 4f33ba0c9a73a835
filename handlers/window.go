package handlers

import (
	"time"

	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/views"
)

// chartWindow returns the time that the charts of a page are asked for: from and to, or a range.
func chartWindow(c echo.Context, now time.Time) (views.Window, error) {
	if from, to := c.QueryParam("from"), c.QueryParam("to"); from != "" || to != "" {
		return fixedWindow(from, to, now)
	}
	name := c.QueryParam("range")
	if name == "" {
		name = views.Ranges[0].Name
	}
	w, ok := views.RangeWindow(name, now)
	if !ok {
		return w, badField("range", "must be one of 15m, 1h, 6h, 24h, 7d, 30d")
	}
	return w, nil
}

// windowLeast and windowMost bound a fixed window; samples are kept for windowMost.
const (
	windowLeast = 10 * time.Second
	windowMost  = 90 * 24 * time.Hour
)

func fixedWindow(from, to string, now time.Time) (w views.Window, err error) {
	if w.From, err = time.Parse(time.RFC3339, from); err != nil {
		return w, badField("from", "must be a time such as 2026-01-31T15:04:05Z")
	}
	if w.To, err = time.Parse(time.RFC3339, to); err != nil {
		return w, badField("to", "must be a time such as 2026-01-31T15:04:05Z")
	}
	if w.To.After(now) {
		w.To = now
	}
	switch {
	case w.To.Sub(w.From) < windowLeast:
		return w, badField("from", "must be at least 10 s before the end of the charts, and in the past")
	case now.Sub(w.From) > windowMost:
		return w, badField("from", "must be at most 90 days ago")
	}
	return w, nil
}
