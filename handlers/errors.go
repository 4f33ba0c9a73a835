package handlers

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/store"
)

// problem is an error as an RFC 9457 problem, with the invalid fields.
type problem struct {
	Type   string            `json:"type"`
	Title  string            `json:"title"`
	Status int               `json:"status"`
	Detail string            `json:"detail"`
	Errors []jobs.FieldError `json:"errors,omitempty"`

	mends   bool // it ends when the database answers
	expired bool // the place in a list that a link led to is gone
}

func newProblem(status int, detail string) problem {
	return problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail}
}

// problemOf maps every error that a handler may return. An unknown error is an internal error: the
// user gets a sentence, the log the rest.
func problemOf(err error) problem {
	var fields jobs.FieldErrors
	var notAllowed *jobs.NotAllowedError
	var keyTaken *jobs.KeyTakenError
	var http400 *echo.HTTPError
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &fields):
		p := newProblem(http.StatusUnprocessableEntity, fields.Error())
		if p.Errors = fields; p.Detail == jobs.ErrCursor.Error() {
			p.Detail, p.expired = "This page link has expired. Back to the first page.", true
		}
		return p
	case errors.As(err, &notAllowed):
		return newProblem(http.StatusConflict, notAllowed.Error())
	case errors.As(err, &keyTaken):
		return newProblem(http.StatusConflict, keyTaken.Error())
	case errors.Is(err, jobs.ErrNotFound):
		return newProblem(http.StatusNotFound,
			"There is nothing at this address. It may have been deleted, or removed after its retention time.")
	case errors.As(err, &http400):
		return newProblem(http400.Code, httpDetail(http400))
	case errors.As(err, &tooLarge):
		return newProblem(http.StatusRequestEntityTooLarge, "The request is larger than "+binary(tooLarge.Limit)+".")
	case errors.Is(err, context.DeadlineExceeded), store.IsTimeout(err):
		return newProblem(http.StatusServiceUnavailable, "The database took too long to answer. Try again.")
	case store.IsAway(err):
		return away()
	}
	return newProblem(http.StatusInternalServerError, "Something went wrong on the server; its log says what.")
}

func away() problem {
	p := newProblem(http.StatusServiceUnavailable, "The database cannot be reached. Warren resumes automatically when it is back.")
	p.mends = true
	return p
}

// binary writes one of our limits.
func binary(bytes int64) string {
	if bytes < 1<<20 {
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d MiB", bytes>>20)
}

func httpDetail(err *echo.HTTPError) string {
	if s, ok := err.Message.(string); ok && s != http.StatusText(err.Code) {
		return s
	}
	switch err.Code {
	case http.StatusNotFound:
		return "There is no page at this address. Check the link, or start from the overview."
	case http.StatusMethodNotAllowed:
		return "This address does not accept this method."
	}
	return http.StatusText(err.Code)
}

// badField returns an error that names one field; its status is 422.
func badField(field, message string) error {
	return jobs.FieldErrors{{Field: field, Message: message}}
}

// HandleError is the one error handler: API requests get a problem, pages a page or a fragment.
func (a *App) HandleError(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	p := a.problem(c, err)
	if isAPI(c) {
		err = writeProblem(c, p)
	} else {
		err = a.errorPage(c, p)
	}
	if err != nil {
		a.Log.Warn("answer with an error", "error", err)
		_ = c.NoContent(p.Status) // an empty 200 would be swapped in as the new content
	}
}

// problem returns the problem of an error, with what an administrator can do about it, and logs it if
// it is the server's.
func (a *App) problem(c echo.Context, err error) problem {
	p := problemOf(err)
	if store.IsAway(err) && c.Request().Context().Err() == nil {
		a.sawDatabase(err, 0) // the pills say the same at once
	}
	_, downSince, _ := a.database.get()
	var own *echo.HTTPError // says more than that the database is away
	switch {
	case p.Status == http.StatusServiceUnavailable && !downSince.IsZero() && !errors.As(err, &own):
		p = away() // also a database that hangs
	case p.Status == http.StatusServiceUnavailable && c.QueryParam("q") != "":
		p.Detail = "The search took too long. Narrow it, or try again."
	}
	if p.Status >= 500 {
		if why := a.whyNotReady(err); why != "" {
			p.Status, p.Title, p.Detail, p.mends = http.StatusServiceUnavailable, http.StatusText(http.StatusServiceUnavailable), why, true
		}
	}
	if p.Status >= 500 && p.Status != http.StatusNotImplemented && c.Request().Context().Err() == nil {
		a.Log.Error("request failed", "method", c.Request().Method, "path", c.Request().URL.Path, "status", p.Status, "error", err)
	}
	return p
}

// whyNotReady returns what an administrator can do about the database; "" when the cause is
// another.
func (a *App) whyNotReady(err error) string {
	if err == nil {
		return a.Waiting()
	}
	return cmp.Or(a.Store.Explain(err), a.Waiting())
}

func isAPI(c echo.Context) bool {
	path := c.Request().URL.Path
	return strings.HasPrefix(path, "/api/") || path == "/healthz" || path == "/readyz" || path == "/metrics"
}

func writeProblem(c echo.Context, p problem) error {
	raw, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return c.Blob(p.Status, "application/problem+json", append(raw, '\n'))
}
