package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/engine"
)

func TestExternal_AQueueOfOtherProgramsTakesAnyKind(t *testing.T) {
	d := deploy(t)
	d.start("web")
	d.ready()
	queue := "/queues/" + d.vhost.Name + "/warren.jobs.reports"
	const job = `{"kind":"report.render","queue":"reports","args":{"page":1}}`
	require.Equal(t, http.StatusUnprocessableEntity, d.do(http.MethodPost, "/api/v1/jobs", job, nil), "nobody knows the kind")

	out, errs, code := d.warren("queues", "external", "reports", "--report-within", "30m", "--reason", "in Python")
	require.Zero(t, code, errs)
	require.Equal(t, "reports: worked by other programs, which report within 30m\n", out)
	require.Equal(t, http.StatusCreated, d.do(http.MethodPost, "/api/v1/jobs", job, nil))
	require.Equal(t, http.StatusCreated, d.do(http.MethodPost, "/api/v1/jobs", "["+job+","+job+"]", nil))
	d.submit("report.render", `{"page":2}`, "--queue", "reports")
	require.Equal(t, http.StatusUnprocessableEntity, d.do(http.MethodPost, "/api/v1/jobs", `{"kind":"report.render","args":{}}`, nil),
		"only this queue takes any kind")
	require.Equal(t, http.StatusUnprocessableEntity, d.do(http.MethodPost, "/api/v1/jobs", `{"kind":"Report","queue":"reports"}`, nil))

	_, body := d.raw(http.MethodGet, "/jobs/new?kind=*", "")
	require.Contains(t, string(body), "Kind of the other program")
	form := url.Values{"kind": {"*"}, "other_kind": {"report.render"}, "queue": {"reports"}, "as": {"json"}, "args": {`{"page": 3}`}}
	status, location, page := d.form("/jobs", "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
	require.Equal(t, http.StatusSeeOther, status, page)
	made := d.job(strings.TrimPrefix(location, "/jobs/"))
	require.Equal(t, []string{"report.render", "reports"}, []string{made.Kind, made.Queue})
	_, body = d.raw(http.MethodGet, "/jobs/new?like="+made.ID.String(), "")
	require.Contains(t, string(body), `value="report.render"`)
	form.Set("other_kind", "Report")
	status, _, page = d.form("/jobs", "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
	require.Equal(t, http.StatusUnprocessableEntity, status)
	require.Contains(t, page, "other_kind-error")

	for body, field := range map[string]string{`{}`: "external", `{"external":"yes"}`: "external",
		`{"external":true,"report_within":"soon"}`: "report_within",
		`{"external":true,"report_within":"0s"}`:   "report_within"} {
		var problem struct{ Errors []struct{ Field string } }
		require.Equal(t, http.StatusUnprocessableEntity, d.do(http.MethodPut, "/api/v1"+queue+"/external", body, &problem), body)
		require.Equal(t, field, problem.Errors[0].Field, body)
	}
	var set engine.ExternalQueue
	require.Equal(t, http.StatusOK, d.do(http.MethodPut, "/api/v1"+queue+"/external", `{"external":true,"report_within":"off"}`, &set))
	require.Equal(t, engine.ExternalQueue{External: true}, set)
	foreign := "/api/v1/queues/" + d.vhost.Name + "/foreign/external"
	require.Equal(t, http.StatusConflict, d.do(http.MethodPut, foreign, `{"external":true}`, nil))

	status, _, _ = d.form(queue+"/external", "application/x-www-form-urlencoded", strings.NewReader("report_within=1h"))
	require.Equal(t, http.StatusSeeOther, status, "a box that is not ticked is not sent")
	require.Equal(t, http.StatusUnprocessableEntity, d.do(http.MethodPost, "/api/v1/jobs", job, nil), "Warren's workers alone work it now")
	_, body = d.raw(http.MethodGet, "/audit", "")
	for _, said := range []string{"changed who works queue", "in Python", "report within 30m", "need not report", "workers alone"} {
		require.Contains(t, strings.ReplaceAll(string(body), "&#39;", "'"), said)
	}
	_, _, code = d.warren("queues", "external", "reports", "--report-within", "never")
	require.Equal(t, 2, code)
}
