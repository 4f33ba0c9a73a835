package handlers

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/kinds"
	"github.com/warrenjobs/warren/jobs/messages"
	"github.com/warrenjobs/warren/jobs/tasks"
	"github.com/warrenjobs/warren/store/storetest"
)

// odd is a kind with a control of each sort.
type odd struct {
	Text   string `json:"text,omitempty"`
	Level  string `json:"level,omitempty" jsonschema:"enum=low,enum=high"`
	Flag   bool   `json:"flag,omitempty"`
	Number int64  `json:"number,omitempty"`
	Any    any    `json:"any,omitempty"`
	List   []int  `json:"list,omitempty"`
}

func (odd) Kind() string { return "odd" }

// pages serves the pages and the API on a database of its own.
func pages(t *testing.T) (*App, *echo.Echo) {
	t.Helper()
	r, err := jobs.NewRegistry(append(kinds.BuiltIn(kinds.Config{}), jobs.Describe[odd]())...)
	require.NoError(t, err)
	e := echo.New()
	app := &App{Store: storetest.New(t), Registry: r, Live: NewHub(), Broker: noBroker{},
		Tails: messages.NewTails(noBroker{}, nil), Metrics: http.NotFoundHandler(), Access: access(t, "", "", false),
		Log: slog.New(slog.DiscardHandler), Waiting: func() string { return "" }}
	app.routes(e)
	return app, e
}

func ask(e *echo.Echo, method, path, contentType, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "127.0.0.1"
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w
}

// browserForm returns what a browser sends of the form with that action.
func browserForm(t *testing.T, page io.Reader, action string) url.Values {
	t.Helper()
	doc, err := html.Parse(page)
	require.NoError(t, err)
	form, sent := url.Values{}, false
	for n := range doc.Descendants() {
		if n.Data != "form" || attr(n, "action") != action || attr(n, "method") != "post" {
			continue
		}
		sent = true
		for control := range n.Descendants() {
			if value, ok := browserValue(control); ok && attr(control, "name") != "" {
				form.Add(attr(control, "name"), strings.ReplaceAll(value, "\n", "\r\n"))
			}
		}
	}
	require.True(t, sent, "there is a form for %s", action)
	return form
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, name string) bool {
	for _, a := range n.Attr {
		if a.Key == name {
			return true
		}
	}
	return false
}

// browserValue returns the value of a control, unless a browser does not send it.
func browserValue(n *html.Node) (value string, ok bool) {
	switch {
	case n.Data == "textarea" && n.FirstChild != nil:
		return n.FirstChild.Data, true
	case n.Data == "textarea":
		return "", true
	case n.Data == "select":
		for o := range n.Descendants() {
			if o.Data == "option" && (!ok || has(o, "selected")) {
				value, ok = attr(o, "value"), true
			}
		}
		return value, ok
	case n.Data != "input":
		return "", false
	case attr(n, "type") == "checkbox":
		return attr(n, "value"), has(n, "checked")
	case attr(n, "type") == "hidden":
		return attr(n, "value"), true
	case attr(n, "type") == "datetime-local":
		at := attr(n, "value")
		_, err := time.Parse("2006-01-02T15:04:05.999", at)
		_, short := time.Parse("2006-01-02T15:04", at)
		_, fraction, _ := strings.Cut(at, ".")
		return at, at == "" || short == nil || err == nil && len(fraction) <= 3
	}
	return strings.NewReplacer("\r", "", "\n", "").Replace(attr(n, "value")), true
}

// opened adds a task and opens its form.
func opened(t *testing.T, app *App, e *echo.Echo, in tasks.Input) (task tasks.Task, path string, form url.Values) {
	t.Helper()
	require.NoError(t, in.Prepare())
	task, err := app.Store.CreateTask(t.Context(), in, "api", jobs.Actor{})
	require.NoError(t, err)
	path = "/tasks/" + task.ID.String() + "/edit"
	page := ask(e, http.MethodGet, path, "", "")
	require.Equal(t, http.StatusOK, page.Code, page.Body)
	return task, path, browserForm(t, page.Body, path)
}

func save(e *echo.Echo, path string, form url.Values) *httptest.ResponseRecorder {
	return ask(e, http.MethodPost, path, "application/x-www-form-urlencoded", form.Encode())
}

// saved requires that the form is saved.
func saved(t *testing.T, e *echo.Echo, path string, form url.Values) {
	t.Helper()
	w := save(e, path, form)
	wrong := regexp.MustCompile(`(?s)<p class="field-error".*?</p>`).FindAllString(w.Body.String(), -1)
	require.Equal(t, http.StatusSeeOther, w.Code, wrong)
}

func text(t *testing.T, in tasks.Input) string {
	t.Helper()
	raw, err := marshal(in)
	require.NoError(t, err)
	if in.Job != nil {
		raw = append(raw, in.Job.Args...) // marshal compacts them
	}
	return string(raw)
}

func TestTaskForm_ChangesNothingButWhatWasEdited(t *testing.T) {
	t.Parallel()
	app, e := pages(t)
	at := func(s string) *time.Time {
		at, err := tasks.ParseTime(s)
		require.NoError(t, err)
		return at
	}
	job := func(kind string, runs tasks.Runs, args string) *tasks.Job {
		return &tasks.Job{Kind: kind, Args: json.RawMessage(args), Runs: runs, Rule: "every 10m", Zone: "Europe/Berlin"}
	}
	long := strings.Repeat("x", 998)
	start := at("2027-12-01T09:00:45Z")
	for name, in := range map[string]tasks.Input{
		"no job":                   {Description: "a"},
		"done":                     {Description: "a", Done: true},
		"seconds":                  {StartAt: start, DueAt: at("2027-12-01T10:00:30.5Z"), Job: job("odd", tasks.RunsAtStart, `{}`)},
		"microseconds":             {StartAt: at("2027-12-01T09:00:00.000001Z"), DueAt: at("2027-12-01T10:00:30.123456Z")},
		"lines":                    {Description: "a\nb"},
		"CRLF":                     {Description: "a\r\nb"},
		"CR":                       {Description: "a\rb"},
		"lines at the limit":       {Description: long + "\n" + long + "\ny"},
		"HTML in the args":         {Job: job("http", tasks.RunsSchedule, `{"url": "https://shop.example/x?a=1&b=2"}`)},
		"first line blank":         {Job: job("http", tasks.RunsNow, `{"method":"POST","url":"http://a/","body":"\nfirst is blank"}`)},
		"two blank lines":          {Job: job("http", tasks.RunsNow, `{"url":"http://127.0.0.1:1/","body":"\n\n"}`)},
		"CRLF in the args":         {Job: job("http", tasks.RunsNow, `{"url":"http://127.0.0.1:1/","body":"a\r\nb\r"}`)},
		"lines in one line":        {Job: job("dots", tasks.RunsNow, `{"text":"\na\nb"}`)},
		"blanks":                   {Job: job("dots", tasks.RunsNow, `{"text":"  a  "}`)},
		"a zero byte":              {Job: job("dots", tasks.RunsNow, `{"text":"a\u0000b"}`)},
		"a lone surrogate":         {Job: job("dots", tasks.RunsNow, `{"text":"a\ud800b"}`)},
		"an unknown kind":          {Job: job("demo.sync-stock", tasks.RunsSchedule, `{"sku": [1, 2e3], "text": "a\r\n"}`)},
		"an unknown kind at start": {StartAt: start, Job: job("demo.sync-stock", tasks.RunsAtStart, `[]`)},
		"more than the kind has":   {Job: job("dots", tasks.RunsNow, `{"text":"a","since":"version 2"}`)},
		"no longer valid":          {Job: job("odd", tasks.RunsNow, `{"level":"medium","number":"x"}`)},
		"no object":                {Job: job("odd", tasks.RunsNow, `[1]`)},
		"null":                     {Job: job("odd", tasks.RunsNow, `null`)},
		"empty and null":           {Job: job("odd", tasks.RunsNow, `{"text":"","any":null,"list":null,"level":""}`)},
		"false":                    {Job: job("odd", tasks.RunsNow, `{"flag":false}`)},
		"true":                     {Job: job("odd", tasks.RunsNow, `{"flag":true}`)},
		"a large number":           {Job: job("odd", tasks.RunsNow, `{"number":9007199254740993}`)},
		"a float":                  {Job: job("odd", tasks.RunsNow, `{"number":1e5}`)},
		"JSON in JSON":             {Job: job("odd", tasks.RunsNow, `{"any":"[1]","list":[ 1,`+"\n\t"+`2 ]}`)},
		"the same name twice":      {Job: job("odd", tasks.RunsNow, `{"text":"a","text":"b"}`)},
		"descriptor":               {Job: &tasks.Job{Kind: "dots", Args: []byte(`{"text":"a"}`), Runs: tasks.RunsSchedule, Rule: "@daily"}},
		"another queue":            {Job: &tasks.Job{Kind: "dots", Args: []byte(`{"text":"a"}`), Runs: tasks.RunsNow, Queue: "mail"}},
	} {
		if in.Description == "" {
			in.Description = "a"
		}
		for field, value := range map[string]string{"priority": "high", "description": "edited", "": ""} {
			t.Run(name+", "+field, func(t *testing.T) {
				task, path, form := opened(t, app, e, in)
				want := task.Input()
				switch field {
				case "priority":
					want.Priority = tasks.PriorityHigh
				case "description":
					want.Description = value
				}
				if field != "" {
					form.Set(field, value)
				}
				saved(t, e, path, form)
				now, err := app.Store.Task(t.Context(), task.ID)
				require.NoError(t, err)
				require.Equal(t, text(t, want), text(t, now.Input()))
				require.Equal(t, changedOnly(field), audited(t, app, task.ID))
			})
		}
	}
}

func changedOnly(field string) []string {
	if field == "" {
		return []string{}
	}
	return []string{field}
}

// audited returns the fields that the last edit of a task changed, by the audit log.
func audited(t *testing.T, app *App, id uuid.UUID) []string {
	t.Helper()
	page, err := app.Store.Audit(t.Context(), jobs.AuditFilter{Target: "task:" + id.String()}, jobs.Cursor{}, 1)
	require.NoError(t, err)
	var details map[string]any
	require.NoError(t, json.Unmarshal(page.Items[0].Details, &details))
	names := []string{}
	for name := range details {
		names = append(names, name)
	}
	return names
}

func TestTaskForm_ChangesOneFieldOfTheArgsAndNoOther(t *testing.T) {
	t.Parallel()
	app, e := pages(t)
	for _, c := range []struct{ kind, was, field, value, want string }{
		{"http", `{"url": "https://shop.example/x?a=1&b=2"}`, "args.url", "https://shop.example/<y>?a=1&b=2",
			`{"url":"https://shop.example/<y>?a=1&b=2"}`},
		{"http", `{"url":"http://a.example/","body":"x"}`, "args.body", "", `{"url":"http://a.example/"}`},
		{"http", `{"url":"http://a/","body":"\r\nx"}`, "args.method", "POST", `{"body":"\r\nx","method":"POST","url":"http://a/"}`},
		{"http", `{"url":"http://a/","method":"PUT"}`, "args.body", "\r\nx\r\ny", `{"body":"\nx\ny","method":"PUT","url":"http://a/"}`},
		{"odd", `{"number":9007199254740993,"flag":true}`, "args.text", "a", `{"flag":true,"number":9007199254740993,"text":"a"}`},
		{"odd", `{"flag":true,"text":"a\u0000b"}`, "args.flag", "", `{"flag":false,"text":"a\u0000b"}`},
		{"odd", `{"text":"a"}`, "args.flag", "true", `{"flag":true,"text":"a"}`},
		{"odd", `{"any":"text","list":[1, 2]}`, "args.any", `"texts"`, `{"any":"texts","list":[1,2]}`},
		{"odd", `{"level":"low"}`, "args.level", "high", `{"level":"high"}`},
	} {
		task, path, form := opened(t, app, e, tasks.Input{Description: "a", Job: &tasks.Job{Kind: c.kind, Args: json.RawMessage(c.was),
			Runs: tasks.RunsNow}})
		if form.Set(c.field, c.value); c.field == "args.flag" && c.value == "" {
			form.Del(c.field) // a box that is not ticked is not sent
		}
		saved(t, e, path, form)
		now, err := app.Store.Task(t.Context(), task.ID)
		require.NoError(t, err)
		require.Equal(t, c.want, string(now.Job.Args), "%+v", c)
	}
}

func TestTaskForm_ChangesOneFieldOfTheJobAndNoOther(t *testing.T) {
	t.Parallel()
	app, e := pages(t)
	_, err := app.Store.Enqueue(t.Context(), jobs.NewJob{Kind: "dots", Queue: "bulk"}) // so that the queue is in use
	require.NoError(t, err)
	in := tasks.Input{Description: "a", Job: &tasks.Job{Kind: "http", Args: []byte(`{"url": "http://a.example/?a&b"}`),
		Runs: tasks.RunsSchedule, Rule: "0 9 * * 1", Zone: "Europe/Berlin", Queue: "mail"}}
	for field, c := range map[string]struct {
		value  string
		change func(*tasks.Job)
	}{
		"job.queue": {" bulk ", func(j *tasks.Job) { j.Queue = "bulk" }},
		"job.rule":  {"every 5m", func(j *tasks.Job) { j.Rule = "every 5m" }},
		"job.zone":  {"", func(j *tasks.Job) { j.Zone = "" }},
		"job.runs":  {"now", func(j *tasks.Job) { j.Runs, j.Rule, j.Zone = tasks.RunsNow, "", "" }},
		"job.kind":  {"dots", func(j *tasks.Job) { j.Kind, j.Args = "dots", []byte(`{"text":"."}`) }},
	} {
		task, path, form := opened(t, app, e, in)
		form.Set("args.text", ".")
		form.Set(field, c.value)
		saved(t, e, path, form)
		want := task.Input()
		c.change(want.Job)
		now, err := app.Store.Task(t.Context(), task.ID)
		require.NoError(t, err)
		require.Equal(t, text(t, want), text(t, now.Input()), field)
	}
	task, path, form := opened(t, app, e, in)
	form.Set("job.kind", "")
	saved(t, e, path, form)
	now, err := app.Store.Task(t.Context(), task.ID)
	require.NoError(t, err)
	require.Nil(t, now.Job, "No job was chosen")
}

func TestTaskForm_OfAnUnknownKindSaysThatTheJobIsKept(t *testing.T) {
	t.Parallel()
	app, e := pages(t)
	_, path, form := opened(t, app, e, tasks.Input{Description: "a", Job: &tasks.Job{Kind: "demo.sync-stock", Runs: tasks.RunsNow}})
	require.Equal(t, "demo.sync-stock", form.Get("job.kind"))
	require.Contains(t, ask(e, http.MethodGet, path, "", "").Body.String(), "The job is kept as it is, unless")

	form.Set("job.fields", "demo.sync-stock") // another process knew it, and showed its fields
	form.Set("args.sku", "2")
	refused := save(e, path, form)
	require.Equal(t, http.StatusUnprocessableEntity, refused.Code)
	require.Contains(t, refused.Body.String(), "its arguments were not read")
	saved(t, e, path, browserForm(t, refused.Body, path))

	form = url.Values{"description": {"a"}, "job.kind": {"never.heard-of"}}
	refused = save(e, "/tasks/new", form)
	require.Equal(t, http.StatusUnprocessableEntity, refused.Code)
	require.Equal(t, "never.heard-of", browserForm(t, refused.Body, "/tasks/new").Get("job.kind"), "what was chosen is not dropped")
}

func TestTaskForm_HasTheArgsAgainAfterAnotherKindWasLookedAt(t *testing.T) {
	t.Parallel()
	app, e := pages(t)
	task, path, form := opened(t, app, e, tasks.Input{Description: "a", Job: &tasks.Job{Kind: "http", Runs: tasks.RunsNow,
		Args: []byte(`{"url": "http://a.example/?a&b", "headers": {"X-A":"b"}}`)}})
	for _, kind := range []string{"dots", "http"} {
		form.Set("choose", "kind")
		form.Set("job.kind", kind)
		form = browserForm(t, ask(e, http.MethodGet, path+"?"+form.Encode(), "", "").Body, path)
		require.Equal(t, kind, form.Get("job.fields"))
	}
	saved(t, e, path, form)
	now, err := app.Store.Task(t.Context(), task.ID)
	require.NoError(t, err)
	require.Equal(t, string(task.Job.Args), string(now.Job.Args))
}

func TestTaskForm_KeepsABoxUntickedWhenAnotherFieldIsWrong(t *testing.T) {
	t.Parallel()
	app, e := pages(t)
	_, path, form := opened(t, app, e, tasks.Input{Description: "a", Job: &tasks.Job{Kind: "odd", Args: []byte(`{"flag":true}`),
		Runs: tasks.RunsNow}})
	form.Del("args.flag")
	form.Set("args.list", "[1")
	refused := save(e, path, form)
	require.Equal(t, http.StatusUnprocessableEntity, refused.Code)
	again := browserForm(t, refused.Body, path)
	require.False(t, again.Has("args.flag"))
	require.Equal(t, "[1", again.Get("args.list"))
}

func TestTaskForm_ShowsBothVersionsWithWhatWasNotChangedAsItIs(t *testing.T) {
	t.Parallel()
	app, e := pages(t)
	start := time.Date(2027, 12, 1, 9, 0, 45, 123456000, time.UTC)
	task, path, form := opened(t, app, e, tasks.Input{Description: "a\nb", StartAt: &start,
		Job: &tasks.Job{Kind: "http", Args: []byte(`{"url": "http://a.example/?a&b"}`), Runs: tasks.RunsAtStart}})
	_, err := app.Store.SetTaskPriority(t.Context(), task.ID, tasks.PriorityHigh, jobs.Actor{})
	require.NoError(t, err)
	conflict := save(e, path, form)
	require.Equal(t, http.StatusConflict, conflict.Code)
	require.Equal(t, 1, strings.Count(conflict.Body.String(), `<td class="tight text-muted">`), "only the priority differs")
	saved(t, e, path, browserForm(t, conflict.Body, path))
	require.Equal(t, []string{"priority"}, audited(t, app, task.ID))
}

func TestTaskAPI_PutsBackWhatItReadAndChangesNothingElse(t *testing.T) {
	t.Parallel()
	app, e := pages(t)
	for _, kind := range []string{"http", "demo.sync-stock"} {
		in := tasks.Input{Description: "a", Job: &tasks.Job{Kind: kind, Args: []byte(`{ "url":"http://a.example/?a&b"}`),
			Runs: tasks.RunsSchedule, Rule: "every 10m"}}
		require.NoError(t, in.Prepare())
		task, err := app.Store.CreateTask(t.Context(), in, "api", jobs.Actor{})
		require.NoError(t, err)
		path := "/api/v1/tasks/" + task.ID.String()
		body := ask(e, http.MethodGet, path, "", "").Body.String()
		var read map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(body), &read))
		put := map[string]json.RawMessage{"description": []byte(`"b"`), "version": read["version"], "job": read["job"]}
		raw, err := json.Marshal(put)
		require.NoError(t, err)
		w := ask(e, http.MethodPut, path, "application/json", string(raw))
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		now, err := app.Store.Task(t.Context(), task.ID)
		require.NoError(t, err)
		require.Equal(t, task.Job, now.Job)
		require.Equal(t, []string{"description"}, audited(t, app, task.ID))
	}
}

func TestJobForm_LeavesWhatPeopleTypeAsItIs(t *testing.T) {
	t.Parallel()
	app, e := pages(t)
	for _, c := range []struct {
		form url.Values
		want string
	}{
		{url.Values{"kind": {"http"}, "args.url": {"http://a.example/h?a=1&b=<2>"}, "args.method": {"POST"}, "args.body": {"\r\na\r\nb"}},
			`{"body":"\na\nb","method":"POST","url":"http://a.example/h?a=1&b=<2>"}`},
		{url.Values{"kind": {"dots"}, "as": {"json"}, "args": {"{\r\n  \"text\": \"a&b\"\r\n}"}}, "{\n  \"text\": \"a&b\"\n}"},
	} {
		w := save(e, "/jobs", c.form)
		require.Equal(t, http.StatusSeeOther, w.Code, "%v", c.form)
		job, err := app.Store.Job(t.Context(), uuid.MustParse(strings.TrimPrefix(w.Header().Get("Location"), "/jobs/")))
		require.NoError(t, err)
		require.Equal(t, c.want, string(job.Args))
	}
}

func TestTaskForm_ReadsTimesOnTheClocksOfItsZone(t *testing.T) {
	t.Parallel()
	app, e := pages(t)
	start := time.Date(2026, 7, 1, 13, 0, 5, 123456000, time.UTC)
	due := time.Date(2026, 11, 1, 6, 30, 0, 0, time.UTC) // 01:30 in New York, for the second time
	task, path, form := opened(t, app, e, tasks.Input{Description: "a", StartAt: &start, DueAt: &due})
	require.Equal(t, []string{"UTC", "2026-07-01T13:00:05"}, []string{form.Get("zone"), form.Get("start_at")})
	form.Set("zone", "America/New_York") // as the page's script does
	form.Set("start_at", "2026-07-01T09:00:05")
	form.Set("due_at", "2026-11-01T01:30")
	saved(t, e, path, form)
	require.Empty(t, audited(t, app, task.ID), "nothing was changed")

	form.Set("version", "2")
	form.Set("start_at", "2026-07-02T09:00")
	saved(t, e, path, form)
	now, err := app.Store.Task(t.Context(), task.ID)
	require.NoError(t, err)
	require.Equal(t, "2026-07-02T13:00:00Z", now.StartAt.UTC().Format(time.RFC3339))
	require.True(t, due.Equal(*now.DueAt))

	form.Set("version", "3")
	form.Set("start_at", "2026-03-08T02:30")
	require.Equal(t, []string{`"2026-03-08T02:30" does not exist in America/New_York: the clocks go forward there`},
		wrongFields(save(e, path, form)))
}
