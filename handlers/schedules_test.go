package handlers

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/schedule"
	"github.com/warrenjobs/warren/jobs/tasks"
)

func sendForm(e *echo.Echo, path string, form url.Values) *httptest.ResponseRecorder {
	return ask(e, http.MethodPost, path, echo.MIMEApplicationForm, form.Encode())
}

func TestSchedules_AFormWithoutJavaScriptMakesOneOfAnEventAndThenOfAJob(t *testing.T) {
	t.Parallel()
	app, e := pages(t)
	form := browserForm(t, ask(e, http.MethodGet, "/schedules/new", "", "").Body, "/schedules/new")
	form.Set("name", "ticker")
	form.Set("rule", "every 1s")
	form.Set("does", "event")
	form.Set("show", "does")
	form = browserForm(t, sendForm(e, "/schedules/new", form).Body, "/schedules/new")
	require.Equal(t, "ticker", form.Get("name"), "what was typed stays")
	require.True(t, form.Has("exchange"))
	require.False(t, form.Has("kind"))
	form.Set("exchange", "amq.topic")
	form.Set("key", "ping")
	form.Set("body", "{")
	form.Set("rule", "sometimes")
	refused := sendForm(e, "/schedules/new", form)
	require.Equal(t, http.StatusUnprocessableEntity, refused.Code)
	require.Contains(t, refused.Body.String(), "Not valid JSON")
	require.Contains(t, refused.Body.String(), "is not a valid rule")
	form.Set("body", "{\r\n \"n\": 7}")
	form.Set("rule", "every 1s")
	saved := sendForm(e, "/schedules/new", form)
	require.Equal(t, http.StatusSeeOther, saved.Code, saved.Body)
	page := saved.Header().Get("Location")
	made, err := app.Store.ScheduleNamed(t.Context(), "ticker")
	require.NoError(t, err)
	require.Equal(t, "{\n \"n\": 7}", string(made.Event.Body))

	edit := page + "/edit"
	form = browserForm(t, ask(e, http.MethodGet, edit, "", "").Body, edit)
	require.Equal(t, http.StatusSeeOther, sendForm(e, edit, form).Code)
	same, err := app.Store.Schedule(t.Context(), made.ID)
	require.NoError(t, err)
	require.Equal(t, made, same, "a form that is saved as it was changes nothing")
	form.Set("does", "job")
	form.Set("kind", "dots")
	form.Set("show", "kind")
	unchosen := maps.Clone(form)
	unchosen.Del("kind")
	unchosen.Del("show")
	require.Equal(t, http.StatusUnprocessableEntity, sendForm(e, edit, unchosen).Code, "no kind is chosen for anybody")
	form = browserForm(t, sendForm(e, edit, form).Body, edit)
	form.Set("args.text", "...")
	require.Equal(t, http.StatusSeeOther, sendForm(e, edit, form).Code)
	now, err := app.Store.Schedule(t.Context(), made.ID)
	require.NoError(t, err)
	require.Nil(t, now.Event)
	require.JSONEq(t, `{"text":"..."}`, string(now.Job.Args))

	late := sendForm(e, edit, form)
	require.Equal(t, http.StatusConflict, late.Code)
	require.Contains(t, late.Body.String(), "Someone else saved version 2")
	require.Equal(t, "2", browserForm(t, late.Body, edit).Get("version"), "saving again overwrites it")
}

func TestSchedules_OneOfATaskIsShownAndChangedWithItsTaskOnly(t *testing.T) {
	t.Parallel()
	app, e := pages(t)
	_, _, _ = opened(t, app, e, tasks.Input{Description: "Water the plants",
		Job: &tasks.Job{Kind: "dots", Args: json.RawMessage(`{"text":"."}`), Runs: tasks.RunsSchedule, Rule: "0 9 * * 1"}})
	list := ask(e, http.MethodGet, "/schedules?zone=Asia/Tokyo", "", "").Body.String()
	require.Contains(t, list, "Water the plants")
	require.Contains(t, list, "18:00 JST", "times are shown in the chosen zone")
	page, err := app.Store.Schedules(t.Context(), schedule.Filter{}, jobs.Cursor{}, 1)
	require.NoError(t, err)
	url := "/schedules/" + page.Items[0].ID.String()
	shown := ask(e, http.MethodGet, url, "", "")
	require.Equal(t, http.StatusOK, shown.Code)
	require.NotContains(t, shown.Body.String(), "/pause")
	require.Equal(t, http.StatusConflict, ask(e, http.MethodGet, url+"/edit", "", "").Code)
	require.Equal(t, http.StatusNotFound, sendForm(e, url+"/pause", nil).Code)
	require.Equal(t, http.StatusNotFound, sendForm(e, url+"/delete", nil).Code)
	require.Equal(t, http.StatusUnprocessableEntity, ask(e, http.MethodGet, "/schedules?zone=Mars/Base", "", "").Code)
}

func TestSchedules_TheAPIAddsPausesRunsAndDeletesOne(t *testing.T) {
	t.Parallel()
	_, e := pages(t)
	api := func(method, path, body string, status int) (s schedule.Schedule) {
		t.Helper()
		w := ask(e, method, "/api/v1/schedules"+path, "application/json", body)
		require.Equal(t, status, w.Code, w.Body)
		_ = json.Unmarshal(w.Body.Bytes(), &s)
		return s
	}
	made := api("POST", "",
		`{"name":"a","rule":"0 2 * * *","zone":"Europe/Berlin","job":{"kind":"dots","args":{"text":"."},"timeout":"30s"}}`, 201)
	require.Equal(t, schedule.OverlapSkip, made.Overlap)
	require.NotNil(t, made.NextAt)
	for _, wrong := range []string{`{"name":"a","rule":"@daily","job":{"kind":"dots","args":{"text":"."}}}`, // the name is taken
		`{"name":"b","rule":"@daily"}`, `{"name":"b","rule":"@daily","job":{"kind":"dots"}}`,
		`{"name":"b","rule":"@daily","job":{"kind":"dots","args":{"text":"."}},"event":{"exchange":"x","key":"y"}}`,
		`{"name":"b","rule":"@daily","catch_up":"all","job":{"kind":"dots","args":{"text":"."}}}`,
		`{"name":"b","rule":"@daily","event":{"exchange":"x","key":"y","content_type":"text/plain","body":7}}`} {
		api("POST", "", wrong, 422)
	}
	path := "/" + made.ID.String()
	require.NotNil(t, api("POST", path+"/pause", "", 200).PausedAt)
	api("POST", path+"/pause", "", 409)
	api("POST", path+"/run", "", 201)
	require.Nil(t, api("POST", path+"/resume", "", 200).PausedAt)
	api("PUT", path, `{"name":"a","rule":"@daily","job":{"kind":"dots","args":{"text":"."}},"version":7}`, 409)
	edited := api("PUT", path, `{"name":"a","rule":"@daily","job":{"kind":"dots","args":{"text":"."}},"version":1}`, 200)
	require.Equal(t, "@daily", edited.Rule)
	require.Equal(t, schedule.Enqueued, api("GET", path, "", 200).Last.Outcome)
	require.True(t, strings.HasPrefix(ask(e, "GET", "/api/v1/schedules"+path+"/history", "", "").Body.String(), `{"items":[{"planned_at"`))
	api("DELETE", path, "", 204)
	api("GET", path, "", 404)
	api("GET", path+"/history", "", 404)
}
