package handlers

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
)

// FuzzListParameters checks that the parameters of a list are refused with their names, or are short plain
// text.
func FuzzListParameters(f *testing.F) {
	for _, query := range []string{"", "q=a%3D1%26b%3D2&state=dead&kind=http&queue=default&limit=200", "q=%00",
		"q=%ff&kind=%ff&actor=%ff", "state=gone&show=gone&view=gone",
		"limit=-1&cursor=%00", "cursor=YWE&limit=1e2", "q=" + strings.Repeat("a", 501), "sort=%3B&desc=1", "a=%zz&;q=1",
		"priority=high&view=overdue", "role=relay%00",
		"q=%E2%80%AE&target=job%3A%27--"} {
		f.Add(query)
	}
	parsers := []func(echo.Context) (any, error){
		func(c echo.Context) (any, error) { return parseFilter(c) },
		func(c echo.Context) (any, error) { return parseFailureFilter(c) },
		func(c echo.Context) (any, error) { return parseAudit(c) },
		func(c echo.Context) (any, error) { return parseOutbox(c) },
		func(c echo.Context) (any, error) { return parseQueues(c) },
		func(c echo.Context) (any, error) { return parseProcesses(c) },
		func(c echo.Context) (any, error) { return parseTaskFilter(c) },
		func(c echo.Context) (any, error) { return parseCursor(c) },
		func(c echo.Context) (any, error) { return parseLimit(c) },
	}
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.RawQuery = query
		c := echo.New().NewContext(r, httptest.NewRecorder())
		for _, parse := range parsers {
			got, err := parse(c)
			if err == nil {
				text := fmt.Sprint(got)
				require.LessOrEqual(t, len(text), 2_000)
				require.True(t, jobs.PlainText(text) || c.QueryParam("cursor") != "", "%q", text)
				continue
			}
			var wrong jobs.FieldErrors
			require.ErrorAs(t, err, &wrong)
			require.Equal(t, http.StatusUnprocessableEntity, problemOf(err).Status)
			require.Less(t, len(err.Error()), 1_000)
		}
	})
}

// FuzzQueueURL checks that every pair of names leads back to itself, and that no other path breaks anything.
func FuzzQueueURL(f *testing.F) {
	for _, path := range []string{"/queues/~1/warren.jobs.default", "/queues/%2F/a%2Fb", "/queues/x/100%25", "/queues/~0/~",
		"/queues/%ff/%00", "/queues//"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		u, err := url.ParseRequestURI(path)
		if err != nil || !strings.HasPrefix(u.Path, "/queues/") {
			return
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL = u
		e := echo.New()
		e.GET("/queues/:vhost/:name", func(c echo.Context) error {
			vhost, name, err := queueParams(c)
			var refused *echo.HTTPError
			if err != nil && (!errors.As(err, &refused) || refused.Code != http.StatusBadRequest) {
				t.Errorf("%q: %v", path, err)
			}
			if err == nil && (vhost == "" || name == "") {
				t.Errorf("%q names no queue", path)
			}
			return nil
		})
		e.ServeHTTP(httptest.NewRecorder(), r)
	})
}
