package handlers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
)

// Sizes of lists in the API.
const (
	limitDefault = 50
	limitMax     = 200
)

// list is how the API answers with many: next is the cursor of the next page, or null.
type list[T any] struct {
	Items []T     `json:"items"`
	Next  *string `json:"next"`
}

func newList[T any](items []T, next string) list[T] {
	if items == nil {
		items = []T{}
	}
	l := list[T]{Items: items}
	if next != "" {
		l.Next = &next
	}
	return l
}

// jobRequest is the body of POST /api/v1/jobs.
type jobRequest struct {
	Kind        string          `json:"kind"`
	Args        json.RawMessage `json:"args"`
	Queue       string          `json:"queue"`
	RunAt       *string         `json:"run_at"`
	MaxAttempts *int            `json:"max_attempts"`
	UniqueKey   *string         `json:"unique_key"`
	Tags        []string        `json:"tags"`
	Timeout     *string         `json:"timeout"`
}

// job reads the request; the errors name what could not be read.
func (r jobRequest) job(now time.Time) (jobs.NewJob, jobs.FieldErrors) {
	j := jobs.NewJob{Kind: r.Kind, Args: r.Args, Queue: r.Queue, Tags: r.Tags, Origin: "api"}
	var errs jobs.FieldErrors
	if r.RunAt != nil {
		at, err := jobs.ParseTime(*r.RunAt, now)
		if err != nil {
			errs = append(errs, jobs.FieldError{Field: "run_at", Message: err.Error()})
		}
		j.RunAt = at
	}
	if r.Timeout != nil {
		d, err := time.ParseDuration(*r.Timeout)
		if err != nil {
			errs = append(errs, jobs.FieldError{Field: "timeout", Message: fmt.Sprintf("%q is no duration: write it as 30s or 5m", *r.Timeout)})
		}
		j.Timeout = d
	}
	if r.MaxAttempts != nil {
		if j.MaxAttempts = *r.MaxAttempts; j.MaxAttempts == 0 {
			errs = append(errs, jobs.FieldError{Field: "max_attempts", Message: "must be at least 1"})
		}
	}
	if r.UniqueKey != nil {
		j.UniqueKey = *r.UniqueKey
	}
	return j, errs
}

// apiJob is a job in an answer; duplicate marks the open job of a taken unique key.
type apiJob struct {
	jobs.Detail
	Duplicate bool `json:"duplicate,omitempty"`
}

func (a *App) apiCreateJob(c echo.Context) error {
	var req jobRequest
	if err := readJSON(c, &req); err != nil {
		return err
	}
	job, unreadable := req.job(time.Now())
	ctx, cancel := query(c)
	defer cancel()
	id, duplicate, err := a.enqueue(ctx, job, unreadable)
	if err != nil {
		return err
	}
	detail, err := a.readJob(ctx, id)
	if err != nil {
		return err
	}
	status := http.StatusCreated
	if duplicate {
		status = http.StatusOK
	}
	c.Response().Header().Set("Location", at(c, "/api/v1/jobs/"+id.String()))
	return c.JSON(status, apiJob{detail, duplicate})
}

// enqueue checks and adds one job; duplicate means that id is the open job of
// its unique key. What could not be read of the request is told together with
// what is wrong with the rest: nobody should have to try field by field.
func (a *App) enqueue(ctx context.Context, job jobs.NewJob, unreadable jobs.FieldErrors) (id uuid.UUID, duplicate bool, err error) {
	var wrong jobs.FieldErrors
	errors.As(a.Registry.Prepare(&job), &wrong)
	if wrong = addNew(unreadable, wrong); len(wrong) > 0 {
		return id, false, wrong
	}
	added, err := a.Store.Enqueue(ctx, job)
	if err != nil {
		return id, false, err
	}
	return added[0].ID, added[0].Duplicate, nil
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

func (a *App) apiJobs(c echo.Context) error {
	f, cursor, err := parseFilter(c)
	if err != nil {
		return err
	}
	limit, err := parseLimit(c)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	page, err := a.readJobs(ctx, f, cursor, limit)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, newList(page.Jobs, page.Older.String()))
}

func (a *App) apiJob(c echo.Context) error {
	id, err := idOf(c, "job")
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	detail, err := a.readJob(ctx, id)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, detail)
}

// apiAct answers an action with the job as it is afterwards.
func (a *App) apiAct(act action) echo.HandlerFunc {
	return func(c echo.Context) error {
		id, err := idOf(c, "job")
		if err != nil {
			return err
		}
		ctx, cancel := query(c)
		defer cancel()
		if err := act(ctx, id, a.by(c)); err != nil {
			return err
		}
		detail, err := a.readJob(ctx, id)
		if errors.Is(err, jobs.ErrNotFound) { // it was deleted
			return c.NoContent(http.StatusNoContent)
		}
		if err != nil {
			return err
		}
		return c.JSON(http.StatusOK, detail)
	}
}

// action is one of the store's operator actions.
type action func(ctx context.Context, id uuid.UUID, by jobs.Actor) error

// idOf is the id in the path, of a job, a task or a file.
func idOf(c echo.Context, what string) (uuid.UUID, error) {
	id, err := uuid.Parse(c.Param("id"))
	if err != nil {
		return id, echo.NewHTTPError(http.StatusBadRequest, fmt.Sprintf("%q is no %s id: an id looks like 0198c5f2-7c1e-7a30-8f51-0d2b9a4c6e11.", c.Param("id"), what))
	}
	return id, nil
}

// parseFilter reads the query parameters that pick jobs; pages and API share it.
func parseFilter(c echo.Context) (jobs.Filter, jobs.Cursor, error) {
	f := jobs.Filter{Kind: c.QueryParam("kind"), Queue: c.QueryParam("queue"), Text: strings.TrimSpace(c.QueryParam("q"))}
	var errs jobs.FieldErrors
	if s := c.QueryParam("state"); s != "" {
		state, err := jobs.ParseState(s)
		if err != nil {
			errs = append(errs, jobs.FieldError{Field: "state", Message: err.Error()})
		}
		f.State = state
	}
	for name, value := range map[string]string{"kind": f.Kind, "queue": f.Queue, "q": f.Text} {
		if len(value) > 500 || strings.ContainsRune(value, 0) {
			errs = append(errs, jobs.FieldError{Field: name, Message: "has at most 500 bytes of plain text"})
		}
	}
	cursor, err := jobs.ParseCursor(c.QueryParam("cursor"))
	var bad jobs.FieldErrors
	if errors.As(err, &bad) {
		errs = append(errs, bad...)
	}
	if len(errs) > 0 {
		return f, cursor, errs
	}
	return f, cursor, nil
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
	return echo.NewHTTPError(http.StatusBadRequest, "The body is not valid JSON: "+err.Error()+".")
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
