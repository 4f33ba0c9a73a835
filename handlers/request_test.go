package handlers

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/tasks"
	"github.com/warrenjobs/warren/views"
)

func TestRequest_HeadIsAnsweredLikeGetOnEveryRoute(t *testing.T) {
	t.Parallel()
	for _, a := range []*Access{access(t, "", "X-User", false), withPassword(t)} {
		e := site(t, a)
		for _, route := range e.Routes() {
			if route.Method != http.MethodGet {
				continue
			}
			head := request(e, http.MethodHead, route.Path, "X-User", "ada")
			if route.Path == "/live" {
				require.Less(t, head.Code, 500, "it does not wait for changes")
				continue
			}
			require.Equal(t, request(e, http.MethodGet, route.Path, "X-User", "ada").Code, head.Code, route.Path)
		}
	}
}

func TestRequest_ALinkIntoAListThatHasExpiredLeadsToItsFirstPage(t *testing.T) {
	t.Parallel()
	w := request(site(t, behindProxy(t, false)), http.MethodGet, "/jobs?state=dead&cursor=x", "X-Forwarded-User", "ada")
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	require.Regexp(t, `<h1>\s*This link has expired\s*</h1>`, w.Body.String())
	require.Regexp(t, `<a class="btn" href="/jobs\?state=dead">First page</a>`, w.Body.String())
}

func TestRequest_ThePageOfTasksOrdersThoseThatAreNotDoneByDueTime(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]tasks.Filter{
		"":                          {View: tasks.ViewOpen, Order: tasks.OrderDue},
		"?view=overdue":             {View: tasks.ViewOverdue, Order: tasks.OrderDue},
		"?view=open&sort=newest":    {View: tasks.ViewOpen},
		"?view=done":                {View: tasks.ViewDone},
		"?view=all&priority=high":   {View: tasks.ViewAll, Priority: tasks.PriorityHigh},
		"?sort=due&q=+certificate+": {View: tasks.ViewOpen, Order: tasks.OrderDue, Text: "certificate"},
	} {
		c := echo.New().NewContext(httptest.NewRequest(http.MethodGet, "/tasks"+query, nil), httptest.NewRecorder())
		f, err := parseTaskPage(c)
		require.NoError(t, err, query)
		require.Equal(t, want, f, query)
	}
}

func TestRequest_ABodyIsBoundedBeforeAndWhileItIsRead(t *testing.T) {
	t.Parallel()
	e := site(t, access(t, "", "X-User", false))
	send := func(path, mediaType string, size int64, known bool) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(make([]byte, size)))
		r.Header.Set("Content-Type", mediaType)
		r.Host, r.RemoteAddr = "127.0.0.1", "127.0.0.1:4711"
		r.Header.Set("X-User", "ada")
		if !known {
			r.ContentLength = -1
		}
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		return w
	}
	for _, known := range []bool{true, false} {
		w := send("/api/v1/jobs", "application/json", views.FormMax+1, known)
		require.Equal(t, http.StatusRequestEntityTooLarge, w.Code)
		require.Contains(t, w.Body.String(), "The request is larger than 8 MiB.")
		require.Equal(t, http.StatusBadRequest, send("/api/v1/jobs", "application/json", views.FormMax, known).Code)
		require.Equal(t, http.StatusRequestEntityTooLarge, send("/jobs", "application/x-www-form-urlencoded", views.FormMax+1, known).Code)
	}
	require.Equal(t, http.StatusRequestEntityTooLarge, send("/login", "application/x-www-form-urlencoded", openBodyMax+1, true).Code)
}

func TestRequest_EveryWrongFieldOfAnObjectIsNamedInWords(t *testing.T) {
	t.Parallel()
	var task taskRequest
	wrong, err := readObject([]byte(`{"description":1,"priority":[],"done":"yes","start_at":{},"version":1.5,"odd":1,
		"job":{"kind":true,"odd":2}}`), &task)
	require.NoError(t, err)
	require.Equal(t, jobs.FieldErrors{
		{Field: "description", Message: "must be a string, not a number"}, {Field: "done", Message: "must be true or false, not a string"},
		{Field: "job.kind", Message: "must be a string, not true or false"}, {Field: "odd", Message: "is not a field of this object"},
		{Field: "priority", Message: "must be a string, not a list"}, {Field: "start_at", Message: "must be a string, not an object"},
		{Field: "version", Message: "must be a whole number, not 1.5"},
	}, wrong)
	var job jobRequest
	const sent = `{"a":"\u0026<é","n":1e2 }`
	wrong, err = readObject([]byte(`{"kind":"x","args":`+sent+`,"tags":["a",2]}`), &job)
	require.NoError(t, err)
	require.Equal(t, jobs.FieldErrors{{Field: "tags", Message: "must be a string, not a number"}}, wrong)
	require.True(t, bytes.Equal([]byte(sent), job.Args), "args stay as they were: %s", job.Args)

	for body, want := range map[string]string{`[]`: "not a list", `"x"`: "not a string", `7`: "not a number", `null`: "not null",
		`true`: "not true or false", `{"a":1} {}`: "not valid JSON", ``: "not valid JSON", `{`: "not valid JSON"} {
		_, err := readObject([]byte(body), &job)
		require.ErrorContains(t, err, want, body)
		require.NotContains(t, err.Error(), "Request", "no type of ours")
	}
}

func TestRequest_WhatWasTypedStaysWhenAJobIsRefused(t *testing.T) {
	t.Parallel()
	registry, err := jobs.NewRegistry(jobs.Describe[note]())
	require.NoError(t, err)
	a := app(t, access(t, "", "", false))
	a.Registry = registry
	e := echo.New()
	a.routes(e)
	long := strings.Repeat("я", 600_000) // 1.2 MB, and 3.6 MB as a form
	for text, status := range map[string]int{"typed": http.StatusServiceUnavailable, long: http.StatusUnprocessableEntity} {
		form := strings.NewReader("kind=note&args.text=" + strings.ReplaceAll(text, "я", "%D1%8F"))
		r := httptest.NewRequest(http.MethodPost, "/jobs", form)
		r.Host = "127.0.0.1"
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		require.Equal(t, status, w.Code)
		require.Contains(t, w.Body.String(), text)
	}
}

type note struct {
	Text string `json:"text"`
}

func (note) Kind() string { return "note" }
