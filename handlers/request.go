package handlers

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/views"
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

// readForm returns the fields of a form, and of the query. It refuses a form that cannot be read,
// such as one with more than 10,000 fields, which net/url does not take.
func readForm(c echo.Context) (url.Values, error) {
	form, err := c.FormParams()
	var tooLarge *http.MaxBytesError
	if err == nil || errors.As(err, &tooLarge) {
		return form, err
	}
	return nil, badRequest("The form cannot be read: %v.", err)
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

// parseWithin reads how old the rows of a list may be; 0 means any age.
func parseWithin(c echo.Context) (time.Duration, jobs.FieldErrors) {
	text := c.QueryParam("within")
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, jobs.FieldErrors{{Field: "within", Message: "must be how old they may be, such as 90m or 24h"}}
	}
	return d, nil
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

// openBodyMax bounds the body of a request that needs no user, such as a sign-in. The bound of the
// others is views.FormMax, also for the API.
const openBodyMax = 64 << 10

// limitBody refuses a body that is too large, before it is read if its length is known. Uploads are
// streamed, and bounded by their handlers.
func (t table) limitBody(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r, most := c.Request(), int64(views.FormMax)
		if t.open[c.Path()] {
			most = openBodyMax
		}
		switch {
		case isUpload(c):
			return next(c)
		case r.ContentLength > most:
			return &http.MaxBytesError{Limit: most}
		}
		r.Body = http.MaxBytesReader(c.Response(), r.Body, most)
		return next(c)
	}
}

// readJSON reads one JSON object, and nothing after it, into v, as readObject does.
func readJSON(c echo.Context, v any) (jobs.FieldErrors, error) {
	body, err := io.ReadAll(c.Request().Body)
	if err != nil {
		return nil, err
	}
	return readObject(body, v)
}

// readObject reads a JSON object into v, field by field: its FieldErrors name each field that is not
// known or has the wrong type, so that the caller can add what is wrong with the others.
func readObject(raw []byte, v any) (wrong jobs.FieldErrors, err error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil || fields == nil {
		var other *json.UnmarshalTypeError
		switch {
		case errors.As(err, &other):
			return nil, badRequest("The body must be a JSON object, not %s.", jsonValue(other.Value))
		case err != nil:
			return nil, badRequest("The body is not valid JSON: %v.", err)
		}
		return nil, badRequest("The body must be a JSON object, not null.")
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if e := readField(name, fields[name], v); e != nil {
			wrong = append(wrong, *e)
		}
	}
	return wrong, nil
}

// readField reads one field of an object into v.
func readField(name string, raw json.RawMessage, v any) *jobs.FieldError {
	key, err := json.Marshal(name)
	if err != nil {
		return &jobs.FieldError{Field: name, Message: err.Error()}
	}
	// Not by json.Marshal of a map: it would rewrite the value.
	dec := json.NewDecoder(bytes.NewReader(slices.Concat([]byte("{"), key, []byte(":"), raw, []byte("}"))))
	dec.DisallowUnknownFields()
	err = dec.Decode(v)
	var other *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &other):
		return &jobs.FieldError{Field: cmp.Or(other.Field, name),
			Message: fmt.Sprintf("must be %s, not %s", jsonType(other.Type), jsonValue(other.Value))}
	}
	if unknown, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		field := strings.Trim(unknown, `"`)
		if field != name {
			field = name + "." + field
		}
		return &jobs.FieldError{Field: field, Message: "is not a field of this object"}
	}
	return &jobs.FieldError{Field: name, Message: err.Error()}
}

// jsonType says in words what JSON a Go type is read from.
func jsonType(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Int:
		return "a whole number"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list of strings"
	}
	return "an object"
}

// jsonValue says in words what package json calls a value, such as "array" or "number 1.5".
func jsonValue(value string) string {
	if number, ok := strings.CutPrefix(value, "number "); ok {
		return number
	}
	switch value {
	case "array":
		return "a list"
	case "object":
		return "an object"
	case "bool":
		return "true or false"
	}
	return "a " + value
}
