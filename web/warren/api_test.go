package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
)

func TestAPI_BadInputIsAProblemThatNamesTheField(t *testing.T) {
	d := deploy(t)
	d.start("web")
	d.ready()
	long := strings.Repeat("x", 8<<20)
	for _, c := range []struct {
		method, path, body string
		status             int
		field              string
	}{
		{"POST", "/api/v1/jobs", `{"kind":"nope"}`, 422, "kind"},
		{"POST", "/api/v1/jobs", `{"kind":""}`, 422, "kind"},
		{"POST", "/api/v1/jobs", `{"kind":7}`, 422, "kind"},
		{"POST", "/api/v1/jobs", `{"kind":"dots"}`, 422, "args.text"},
		{"POST", "/api/v1/jobs", `{"kind":"dots","args":{"text":5}}`, 422, "args.text"},
		{"POST", "/api/v1/jobs", `{"kind":"dots","args":{"text":""}}`, 422, "args.text"},
		{"POST", "/api/v1/jobs", `{"kind":"dots","args":{"text":"x","else":1}}`, 422, "args.else"},
		{"POST", "/api/v1/jobs", `{"kind":"dots","args":[]}`, 422, "args"},
		{"POST", "/api/v1/jobs", `{"kind":"http","args":{"url":"ftp://x"}}`, 422, "args.url"},
		{"POST", "/api/v1/jobs", `{"kind":"dots","args":null}`, 422, "args"},
		{"POST", "/api/v1/jobs", `{"kind":"dots","args":{"text":"x"},"queue":"a b"}`, 422, "queue"},
		{"POST", "/api/v1/jobs", `{"kind":"dots","args":{"text":"x"},"run_at":"soon"}`, 422, "run_at"},
		{"POST", "/api/v1/jobs", `{"kind":"dots","args":{"text":"x"},"run_at":5}`, 422, "run_at"},
		{"POST", "/api/v1/jobs", `{"kind":"dots","args":{"text":"x"},"timeout":"long"}`, 422, "timeout"},
		{"POST", "/api/v1/jobs", `{"kind":"dots","args":{"text":"x"},"timeout":"-1s"}`, 422, "timeout"},
		{"POST", "/api/v1/jobs", `{"kind":"dots","args":{"text":"x"},"max_attempts":0}`, 422, "max_attempts"},
		{"POST", "/api/v1/jobs", `{"kind":"dots","args":{"text":"x"},"tags":"a"}`, 422, "tags"},
		{"POST", "/api/v1/jobs", `{"kind":"dots","args":{"text":"x"},"unique_key":"a\u0000b"}`, 422, "unique_key"},
		{"POST", "/api/v1/jobs", `{"kind":"dots","args":{"text":"x"},"odd":1}`, 422, "odd"},
		{"POST", "/api/v1/jobs", `{"kind":"dots"`, 400, ""},
		{"POST", "/api/v1/jobs", `{} {}`, 400, ""},
		{"POST", "/api/v1/jobs", `[]`, 400, ""},
		{"POST", "/api/v1/jobs", `[{"kind":"dots","args":{"text":"x"}},{"kind":"dots","args":{},"tags":1}]`, 422, "1.args.text"},
		{"POST", "/api/v1/jobs", `[{"kind":"dots","args":{"text":"x"}},7]`, 422, "1.job"},
		{"POST", "/api/v1/jobs", `[{"kind":"dots","args":{"text":"x"}},{"kind":"dots","args":{"text":"x"},"queue":"invented"}]`, 422,
			"1.queue"},
		{"POST", "/api/v1/jobs", `"x"`, 400, ""},
		{"POST", "/api/v1/jobs", `{"kind":"dots","args":{"text":"` + long[:1<<20] + `"}}`, 422, "args"},
		{"POST", "/api/v1/jobs", `{"kind":"dots","args":{"text":"` + long + `"}}`, 413, ""},
		{"GET", "/api/v1/jobs/nope", "", 400, ""},
		{"GET", "/api/v1/jobs/01a1fc51-8ed1-7ccc-b1e9-a7f2c11bda29", "", 404, ""},
		{"DELETE", "/api/v1/jobs/01a1fc51-8ed1-7ccc-b1e9-a7f2c11bda29", "", 404, ""},
		{"GET", "/api/v1/jobs?state=odd", "", 422, "state"},
		{"GET", "/api/v1/jobs?cursor=odd", "", 422, "cursor"},
		{"GET", "/api/v1/jobs?limit=201", "", 422, "limit"},
		{"GET", "/api/v1/jobs?q=%00", "", 422, "q"},
		{"GET", "/api/v1/queues?cursor=x", "", 422, "cursor"},
		{"GET", "/api/v1/audit?cursor=x", "", 422, "cursor"},
		{"GET", "/api/v1/odd", "", 404, ""},
		{"PUT", "/api/v1/jobs", "{}", 405, ""},
	} {
		var p struct {
			Status int
			Detail string
			Errors []jobs.FieldError
		}
		what := c.method + " " + c.path + " " + c.body[:min(len(c.body), 80)]
		require.Equal(t, c.status, d.do(c.method, c.path, c.body, &p), what)
		require.Equal(t, c.status, p.Status, what)
		require.NotEmpty(t, p.Detail, what)
		if c.field != "" {
			require.True(t, slices.ContainsFunc(p.Errors, func(e jobs.FieldError) bool { return e.Field == c.field }), "%s: %v", what,
				p.Errors)
		}
	}
}

func TestAPI_EverythingThatIsWrongIsSaidAtOnce(t *testing.T) {
	d := deploy(t)
	d.start("web")
	d.ready()
	var p struct{ Errors []jobs.FieldError }
	require.Equal(t, 422, d.do("POST", "/api/v1/jobs",
		`{"kind":"dots","args":{},"queue":"a b","run_at":"soon","timeout":"x","max_attempts":0,"tags":1,"odd":1}`, &p))
	var fields []string
	for _, e := range p.Errors {
		fields = append(fields, e.Field)
	}
	require.ElementsMatch(t, []string{"args.text", "queue", "run_at", "timeout", "max_attempts", "tags", "odd"}, fields)

	// What is right: args of the largest size, a whole list at once, and the kinds to choose from.
	args := `{"url":"http://shop.example","method":"POST","body":"`
	args += strings.Repeat("x", 1<<20-len(args)-2) + `"}`
	require.Equal(t, 201, d.do("POST", "/api/v1/jobs", `{"kind":"http","args":`+args+`}`, nil))
	list := []string{`{"kind":"dots","args":{"text":"x"},"unique_key":"k"}`, `{"kind":"dots","args":{"text":"y"}}`}
	var added struct {
		Items []struct {
			ID        string
			Duplicate bool
		}
	}
	for _, again := range []bool{false, true} {
		require.Equal(t, 201, d.do("POST", "/api/v1/jobs", "["+strings.Join(list, ",")+"]", &added))
		require.Len(t, added.Items, 2)
		require.Equal(t, []bool{again, false}, []bool{added.Items[0].Duplicate, added.Items[1].Duplicate})
	}
	var job map[string]any
	require.Equal(t, 200, d.do("GET", "/api/v1/jobs/"+added.Items[1].ID, "", &job))
	for _, unknown := range []string{"unique_key", "timeout", "cancel_requested_at", "task_id", "trace_id", "output", "last_error",
		"worker"} {
		require.Contains(t, job, unknown)
		require.Nil(t, job[unknown], unknown)
	}
	var kinds struct{ Items []map[string]any }
	require.Equal(t, 200, d.do("GET", "/api/v1/kinds", "", &kinds))
	require.Contains(t, kinds.Items[0], "schema")
	require.Equal(t, "dots", kinds.Items[0]["name"])
}

func TestAPI_TakesOnlyJSONFromItsOwnSite(t *testing.T) {
	d := deploy(t)
	d.start("web")
	d.ready()
	send := func(header, value string) int {
		req, err := http.NewRequestWithContext(d.ctx, http.MethodPost, d.base+"/api/v1/jobs",
			strings.NewReader(`{"kind":"dots","args":{"text":"x"}}`))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set(header, value)
		if header == "Host" {
			req.Host = value
		}
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode
	}
	require.Equal(t, 415, send("Content-Type", "text/plain"))
	require.Equal(t, 415, send("Content-Type", "application/x-www-form-urlencoded"))
	require.Equal(t, 403, send("Origin", "http://elsewhere.example"))
	require.Equal(t, 403, send("Sec-Fetch-Site", "cross-site"))
	require.Equal(t, 403, send("Host", "elsewhere.example"))
	require.Equal(t, 201, send("Content-Type", "application/json; charset=utf-8"))
}

func TestAPI_ActionsAreRefusedWith409WhereTheStateDoesNotAllowThem(t *testing.T) {
	d := deploy(t)
	for _, role := range []string{"web", "relay"} { // no worker: the job stays queued
		d.start(role)
	}
	d.ready()
	var j jobs.Detail
	require.Equal(t, 201, d.do("POST", "/api/v1/jobs", `{"kind":"dots","args":{"text":"x"},"run_at":"+1h"}`, &j))
	at := "/api/v1/jobs/" + j.ID.String()
	require.Equal(t, jobs.Scheduled, j.State)
	require.Equal(t, 409, d.do("POST", at+"/retry", "", nil))
	require.Equal(t, 200, d.do("POST", at+"/run", "", &j))
	require.Equal(t, jobs.Queued, j.State)
	require.Equal(t, 409, d.do("DELETE", at, "", nil))
	require.Equal(t, 409, d.do("POST", at+"/run", "", nil))
	require.Equal(t, 200, d.do("POST", at+"/cancel", "", &j))
	require.Equal(t, jobs.Cancelled, j.State)
	require.Equal(t, 200, d.do("POST", at+"/retry", "", &j))
	require.Equal(t, jobs.Queued, j.State)
	require.Equal(t, 200, d.do("POST", at+"/cancel", "", &j))
	require.Equal(t, 204, d.do("DELETE", at, "", nil))
	require.Equal(t, 404, d.do("GET", at, "", nil))

	const keyed = `{"kind":"dots","args":{"text":"x"},"unique_key":"k"}`
	require.Equal(t, 201, d.do("POST", "/api/v1/jobs", keyed, &j))
	at = "/api/v1/jobs/" + j.ID.String()
	require.Equal(t, 200, d.do("POST", at+"/cancel", "", nil))
	require.Equal(t, 201, d.do("POST", "/api/v1/jobs", keyed, nil))
	require.Equal(t, 409, d.do("POST", at+"/retry", "", nil), "a newer open job has its key")
}

func TestAPI_ListsGoOnFromTheirCursorAndEndWithNull(t *testing.T) {
	d := deploy(t)
	d.start("web")
	d.ready()
	_, errs, code := d.warren("enqueue", "dots", `{"text":"x"}`, "--count", "25")
	require.Zero(t, code, errs)
	seen := map[string]bool{}
	next := ""
	for pages := 1; ; pages++ {
		var list struct {
			Items []jobs.Job
			Next  *string
		}
		require.Equal(t, 200, d.do("GET", "/api/v1/jobs?limit=10&cursor="+next, "", &list))
		for _, j := range list.Items {
			require.False(t, seen[j.ID.String()])
			seen[j.ID.String()] = true
		}
		if list.Next == nil {
			require.Equal(t, 3, pages)
			break
		}
		next = *list.Next
	}
	require.Len(t, seen, 25)
}

func TestAPI_AJobIsAcceptedWhileTheBrokerIsAway(t *testing.T) {
	d := deploy(t)
	d.env = append(d.env, "AMQP_URL=amqp://guest:guest@127.0.0.1:1/", "RABBITMQ_MANAGEMENT_URL=http://guest:guest@127.0.0.1:1")
	d.start()
	d.ready()
	var j jobs.Detail
	require.Equal(t, 201, d.do("POST", "/api/v1/jobs", `{"kind":"dots","args":{"text":"x"}}`, &j))
	require.Equal(t, jobs.Queued, j.State)
	d.until("the pages say that broker and relay are down", func() bool {
		_, raw := d.raw("GET", "/readyz", "")
		var ready struct{ Parts map[string]string }
		return json.Unmarshal(raw, &ready) == nil && ready.Parts["relay"] == "down" && ready.Parts["broker"] == "down"
	})
	status, page := d.raw("GET", "/", "")
	require.Equal(t, 200, status)
	require.Contains(t, string(page), "<b>The broker is down</b> (since ")
}

func TestAPI_TheDashboardAnswersWhileTheDatabaseIsAway(t *testing.T) {
	d := deploy(t)
	d.env = append(d.env, "DATABASE_URL=postgres://nobody:secret@127.0.0.1:1/nothing")
	p := d.start()
	d.until("it answers", func() bool {
		resp, err := http.Get(d.base + "/healthz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	status, page := d.raw("GET", "/", "")
	require.Equal(t, 503, status)
	require.Contains(t, string(page), "The database cannot be reached")
	status, _ = d.raw("GET", "/readyz", "")
	require.Equal(t, 503, status)
	require.Equal(t, 503, d.do("POST", "/api/v1/jobs", `{"kind":"dots","args":{"text":"x"}}`, nil))
	require.NotContains(t, p.log.String(), "secret")
}
