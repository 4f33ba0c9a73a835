package handlers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/views/ui"
)

// Page sizes of lists.
const (
	limitDefault = 50
	limitMax     = 200
)

// listPage returns the handler of a list: parse reads the filter, draw reads and renders the page
// at the cursor.
func listPage[F any](
	parse func(echo.Context) (F, error), draw func(ctx context.Context, c echo.Context, f F, at jobs.Cursor) error,
) echo.HandlerFunc {
	return func(c echo.Context) error {
		f, err := parse(c)
		if err != nil {
			return err
		}
		at, err := parseCursor(c)
		if err != nil {
			return err
		}
		ctx, cancel := query(c)
		defer cancel()
		return draw(ctx, c, f, at)
	}
}

// list returns the API handler of a list: read reads the page at the cursor.
func list[F, T any](
	parse func(echo.Context) (F, error), read func(ctx context.Context, f F, at jobs.Cursor, limit int) (jobs.Page[T], error),
) echo.HandlerFunc {
	return listPage(parse, func(ctx context.Context, c echo.Context, f F, at jobs.Cursor) error {
		limit, err := parseLimit(c)
		if err != nil {
			return err
		}
		page, err := read(ctx, f, at, limit)
		if err != nil {
			return err
		}
		return c.JSON(http.StatusOK, page)
	})
}

// answer is the result of an action: done on a page, reply in the API.
type answer interface{ send(c echo.Context) error }

// action returns the handler of a request that changes something: target parses the target of the
// action, do carries it out. On a page, a refused action redirects back with the reason.
func action[T any, A answer](
	a *App, target func(echo.Context) (T, error), do func(ctx context.Context, target T, by jobs.Actor) (A, error),
) echo.HandlerFunc {
	return func(c echo.Context) error {
		what, err := target(c)
		if err != nil {
			return err
		}
		ctx, cancel := query(c)
		defer cancel()
		result, err := do(ctx, what, a.by(c))
		if err == nil {
			return result.send(c)
		}
		if d, page := any(result).(done); page && isRefusal(err) {
			return redirect(c, back(c, d.page), ui.FlashProps{Kind: "error", Text: "Nothing was done.", Detail: problemOf(err).Detail})
		}
		return err
	}
}

// isRefusal reports whether err explains to users why an action is not allowed on its target.
func isRefusal(err error) bool {
	var notAllowed *jobs.NotAllowedError
	var keyTaken *jobs.KeyTakenError
	return errors.As(err, &notAllowed) || errors.As(err, &keyTaken)
}

// done redirects to where a form came from, or else to page, with a flash message. A refused action
// needs page only.
type done struct {
	page  string
	leave bool // to page wherever the form came from
	flash ui.FlashProps
}

// did returns a done with that message.
func did(page, text string) done {
	return done{page: page, flash: ui.FlashProps{Kind: "done", Text: text}}
}

func (d done) send(c echo.Context) error {
	if d.leave {
		return redirect(c, d.page, d.flash)
	}
	return redirect(c, back(c, d.page), d.flash)
}

// reply is a response of the API; the zero reply has no content.
type reply struct {
	status   int // 0: 200
	body     any
	location string
}

func (r reply) send(c echo.Context) error {
	if r.location != "" {
		c.Response().Header().Set("Location", at(c, r.location))
	}
	if r.body == nil {
		return c.NoContent(http.StatusNoContent)
	}
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return c.JSON(r.status, r.body)
}

func badRequest(format string, args ...any) error {
	return echo.NewHTTPError(http.StatusBadRequest, fmt.Sprintf(format, args...))
}

// idOf returns a parser of the id in the path, of a job, a task or a file.
func idOf(what string) func(echo.Context) (uuid.UUID, error) {
	return func(c echo.Context) (uuid.UUID, error) {
		id, err := uuid.Parse(c.Param("id"))
		if err != nil {
			return id, badRequest("%q is not a valid %s id: an id looks like 0198c5f2-7c1e-7a30-8f51-0d2b9a4c6e11.", c.Param("id"), what)
		}
		return id, nil
	}
}

var (
	jobID  = idOf("job")
	taskID = idOf("task")
	fileID = idOf("file")
)

// nothing is the parser of lists without a filter and actions without a target.
func nothing(echo.Context) (struct{}, error) { return struct{}{}, nil }

func parseCursor(c echo.Context) (jobs.Cursor, error) {
	return jobs.ParseCursor(c.QueryParam("cursor"))
}

func parseLimit(c echo.Context) (int, error) {
	s := c.QueryParam("limit")
	if s == "" {
		return limitDefault, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > limitMax {
		return 0, badField("limit", fmt.Sprintf("must be a number from 1 to %d", limitMax))
	}
	return n, nil
}

// shortTexts returns an error for each parameter that is too long to search for, or not plain text.
func shortTexts(params map[string]string) (errs jobs.FieldErrors) {
	for name, value := range params {
		if len(value) > 500 || !jobs.PlainText(value) {
			errs = append(errs, jobs.FieldError{Field: name, Message: "has at most 500 bytes of plain text"})
		}
	}
	return errs
}

// addNew adds to list the errors of fields that it does not name yet.
func addNew(list, more jobs.FieldErrors) jobs.FieldErrors {
	for _, e := range more {
		if !slices.ContainsFunc(list, func(have jobs.FieldError) bool { return have.Field == e.Field }) {
			list = append(list, e)
		}
	}
	return list
}

// queueParams reads vhost and name, each one path segment that ui.Segment wrote; a
// slash may also be %2F.
func queueParams(c echo.Context) (vhost, name string, err error) {
	unescape := url.PathUnescape
	if c.Request().URL.RawPath == "" { // echo routes by the raw path if there is one, else by the decoded
		unescape = func(s string) (string, error) { return s, nil }
	}
	vhost, err1 := unescape(c.Param("vhost"))
	name, err2 := unescape(c.Param("name"))
	if err1 != nil || err2 != nil || vhost == "" || name == "" {
		return "", "", badRequest("%q / %q is not a queue: write ~1 for a slash, as of the virtual host /, and ~0 for ~.", c.Param("vhost"),
			c.Param("name"))
	}
	return ui.FromSegment(vhost), ui.FromSegment(name), nil
}

// readJSON reads one JSON object, and nothing after it, into v.
func readJSON(c echo.Context, v any) error {
	body, err := io.ReadAll(c.Request().Body)
	if err != nil {
		return err // over the limit: already an HTTP error
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	err = dec.Decode(v)
	if err == nil {
		if _, end := dec.Token(); end == nil || !errors.Is(end, io.EOF) {
			err = errors.New("there is something after the JSON object")
		}
	}
	if err == nil {
		return nil
	}
	var wrongType *json.UnmarshalTypeError
	if errors.As(err, &wrongType) && wrongType.Field != "" {
		return badField(wrongType.Field, fmt.Sprintf("must be %s, not %s", jsonType(wrongType.Type.String()), wrongType.Value))
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return badField(strings.Trim(name, `"`), "is not a field of this object")
	}
	return badRequest("The body is not valid JSON: %v.", err)
}

func jsonType(goType string) string {
	switch strings.TrimPrefix(goType, "*") {
	case "string":
		return "a string"
	case "int":
		return "a whole number"
	case "[]string":
		return "a list of strings"
	}
	return "a JSON object"
}
