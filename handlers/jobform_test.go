package handlers

import (
	"bytes"
	"context"
	"html"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/kinds"
	"github.com/warrenjobs/warren/views"
)

func builtIn(t *testing.T) *jobs.Registry {
	t.Helper()
	r, err := jobs.NewRegistry(kinds.BuiltIn(kinds.Config{})...)
	require.NoError(t, err)
	return r
}

func TestJobForm_ListsAndObjectsAreTypedAsJSONInTheForm(t *testing.T) {
	t.Parallel()
	job, wrong := jobOfForm(url.Values{
		"args.method": {"POST"}, "args.url": {"https://example.com"}, "args.headers": {` {"X-A": "b"} `}, "args.expect": {"[200,\r\n404]"},
		"args.body": {"a\r\nb"}, "args.timeout": {""},
	}, builtIn(t).Lookup("http"), false)
	require.Empty(t, wrong)
	require.JSONEq(t, `{"method":"POST","url":"https://example.com","headers":{"X-A":"b"},"expect":[200,404],"body":"a\nb"}`,
		string(job.Args))
	require.NoError(t, builtIn(t).Prepare(&job))
}

func TestJobForm_ATextThatLooksLikeJSONStaysText(t *testing.T) {
	t.Parallel()
	job, wrong := jobOfForm(url.Values{"args.text": {`{"a":1}`}}, builtIn(t).Lookup("dots"), false)
	require.Empty(t, wrong)
	require.JSONEq(t, `{"text":"{\"a\":1}"}`, string(job.Args))
}

func TestJobForm_WrongJSONOfAFieldIsNamedBesideIt(t *testing.T) {
	t.Parallel()
	r, form := builtIn(t), url.Values{"args.url": {"https://example.com"}, "args.headers": {`{"X-A":`}, "args.expect": {"[200, 99]"}}
	kind := r.Lookup("http")
	job, wrong := jobOfForm(form, kind, false)
	require.Equal(t, jobs.FieldErrors{{Field: "args.headers", Message: "is not valid JSON"}}, wrong)

	var more jobs.FieldErrors
	require.ErrorAs(t, r.Prepare(&job), &more)
	m := views.NewJobForm(r, kind, nil, map[string]string{"args.headers": `{"X-A":`}, append(wrong, more...), false)
	var page bytes.Buffer
	require.NoError(t, views.NewJob(views.Page{}, m).Render(context.Background(), &page))
	require.Contains(t, page.String(), `{&#34;X-A&#34;:</textarea>`, "what was typed is still there")
	require.Equal(t, map[string]string{"args.headers": "is not valid JSON", "args.expect": "1: must be at least 200"}, m.Errors)
	require.Empty(t, m.Problem)
}

// The args that docs/kinds.md shows are valid for their kinds.
func TestJobForm_TheArgsInTheDocsAreTaken(t *testing.T) {
	t.Parallel()
	docs, err := os.ReadFile("../docs/kinds.md")
	require.NoError(t, err)
	examples := regexp.MustCompile("(?s)## ([a-z.]+)\n[^#]*?```json\n(.*?)```").FindAllSubmatch(docs, -1)
	require.GreaterOrEqual(t, len(examples), 3)
	for _, e := range examples {
		require.NoError(t, builtIn(t).Check(string(e[1]), e[2]), "%s", e[2])
	}
}

// press sends the form of a new job with one of its switches, and returns it as it comes back.
func press(t *testing.T, e *echo.Echo, form url.Values, name, value string) url.Values {
	t.Helper()
	form.Set(name, value)
	page := save(e, "/jobs/new", form)
	require.Equal(t, http.StatusOK, page.Code, page.Body)
	return browserForm(t, page.Body, "/jobs")
}

// wrongFields returns what a page says beside fields.
func wrongFields(page *httptest.ResponseRecorder) (list []string) {
	fieldError := regexp.MustCompile(`(?s)<p class="field-error"[^>]*>.*?</svg>(.*?)</p>`)
	for _, m := range fieldError.FindAllStringSubmatch(page.Body.String(), -1) {
		list = append(list, html.UnescapeString(strings.TrimSpace(m[1])))
	}
	return list
}

func TestJobForm_KeepsWhatWasTypedOverEverySwitch(t *testing.T) {
	t.Parallel()
	_, e := pages(t)
	form := browserForm(t, ask(e, http.MethodGet, "/jobs/new?kind=odd", "", "").Body, "/jobs")
	for name, value := range map[string]string{"args.text": "a\r\n\"ü\" <b>", "args.level": "high", "args.flag": "true",
		"args.list": "[1,2]", "queue": "mail", "tags": "x, y", "max_attempts": "7", "timeout": "30s", "unique_key": "k",
		"when": "at", "run_at": "2027-01-02T03:04",
		"zone": "Asia/Tokyo"} {
		form.Set(name, value)
	}
	typed := maps.Clone(form)
	same := func(after string) {
		t.Helper()
		for name := range typed {
			require.Equal(t, typed.Get(name), form.Get(name), "%s after %s", name, after)
		}
	}
	form = press(t, e, form, "to", "json")
	require.JSONEq(t, `{"text":"a\n\"ü\" <b>","level":"high","flag":true,"list":[1,2]}`, form.Get("args"))
	require.Equal(t, "x, y", form.Get("tags"))
	form = press(t, e, form, "to", "form")
	same("JSON and back")
	form = press(t, e, form, "kind", "mail")
	require.Equal(t, typed.Get("args.text"), form.Get("args.text"), "both kinds have the field text")
	require.Equal(t, "Asia/Tokyo", form.Get("zone"))
	form = press(t, e, form, "kind", "odd")
	same("another kind and back")
	form.Set("args.list", "[1")
	form = press(t, e, form, "to", "json")
	require.Empty(t, form.Get("as"), "what is no JSON yet stays in the form")
	require.Equal(t, "[1", form.Get("args.list"))
	form.Del("args.flag") // not ticked any more
	form = press(t, e, press(t, e, form, "kind", "dots"), "kind", "odd")
	require.False(t, form.Has("args.flag"))
}

func TestJobForm_OffersTheQueueAndTheAttemptsOfTheNewestJobOfTheKind(t *testing.T) {
	t.Parallel()
	app, e := pages(t)
	_, err := app.Store.Enqueue(t.Context(), jobs.NewJob{Kind: "odd", Args: []byte(`{}`), Queue: "billing", MaxAttempts: 3})
	require.NoError(t, err)
	page := ask(e, http.MethodGet, "/jobs/new?kind=odd", "", "").Body.String()
	require.Regexp(t, `Copied from the latest job of this kind. If empty: \s*<span class="mono">default</span>`, page)
	require.Contains(t, page, "No worker takes jobs from the queue billing")
	form := browserForm(t, strings.NewReader(page), "/jobs")
	require.Equal(t, []string{"billing", "3"}, []string{form.Get("queue"), form.Get("max_attempts")})
	form = press(t, e, form, "kind", "dots")
	require.Equal(t, []string{"", ""}, []string{form.Get("queue"), form.Get("max_attempts")}, "no such job is known")
	form.Set("queue", "mine")
	form = press(t, e, form, "kind", "odd")
	require.Equal(t, []string{"mine", "3"}, []string{form.Get("queue"), form.Get("max_attempts")}, "what was typed stays")
}

func TestJobForm_ThePreviewNamesWhatIsStillNeeded(t *testing.T) {
	t.Parallel()
	_, e := pages(t)
	page := html.UnescapeString(ask(e, http.MethodGet, "/jobs/new?kind=http", "", "").Body.String())
	require.Contains(t, page, "Still needed: URL.")
	require.NotContains(t, page, "URL is required")
}

func TestJobForm_JSONThatTheFormCannotShowStaysJSON(t *testing.T) {
	t.Parallel()
	_, e := pages(t)
	for args, want := range map[string][]string{
		`{"text":"x","more":1}`: {`"more" is not a field of this kind`},
		`{"text":"x"`:           {"Not valid JSON"},
		`[1]`:                   {"Must be an object"},
	} {
		form := browserForm(t, ask(e, http.MethodGet, "/jobs/new?kind=dots&as=json", "", "").Body, "/jobs")
		form.Set("args", args)
		form.Set("to", "form")
		page := save(e, "/jobs/new", form)
		require.Equal(t, want, wrongFields(page), args)
		form = browserForm(t, page.Body, "/jobs")
		require.Equal(t, "json", form.Get("as"), args)
		require.Equal(t, args, form.Get("args"))
	}
}

func TestJobForm_SaysBesideTheFieldWhatIsWrongAndNothingElse(t *testing.T) {
	t.Parallel()
	_, e := pages(t)
	for _, c := range []struct {
		form url.Values
		want []string
	}{
		{url.Values{"kind": {"http"}, "as": {"json"}, "args": {`{"url": "https://example.com",}`}}, []string{"Not valid JSON"}},
		{url.Values{"kind": {"http"}}, []string{"URL is required"}},
		{url.Values{"kind": {"dots"}, "args.text": {"x"}, "max_attempts": {"none"}, "timeout": {"soon"}, "queue": {"a b"}},
			[]string{`"a b" is not a valid queue name: letters, digits, dot, _ and -, at most 100 characters`,
				"Must be a whole number, 1 or more", `"soon" is not a valid duration. Use 30s or 5m`}},
		{url.Values{"kind": {"dots"}, "args.text": {"x"}, "when": {"at"}}, []string{"Must be picked, with date and time"}},
	} {
		page := save(e, "/jobs", c.form)
		require.Equal(t, http.StatusUnprocessableEntity, page.Code)
		require.Equal(t, c.want, wrongFields(page))
	}
}

func TestJobForm_TimesAreThoseOfTheReadersClock(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 30, 23, 30, 0, 0, time.UTC)
	for want, form := range map[string]url.Values{
		"":                     {"when": {""}, "run_at": {"2027-01-02T03:04"}},
		"+10m":                 {"when": {"+10m"}},
		"2026-12-01T09:00:00Z": {"when": {"tomorrow"}},
		"2026-12-02T00:00:00Z": {"when": {"tomorrow"}, "zone": {"Asia/Tokyo"}}, // where it is 1 December already
		"2027-01-01T18:04:00Z": {"when": {"at"}, "run_at": {"2027-01-02T03:04"}, "zone": {"Asia/Tokyo"}},
		"2027-01-02T03:04:00Z": {"when": {"at"}, "run_at": {"2027-01-02T03:04"}},
	} {
		at, err := runAtOfForm(form, now)
		require.NoError(t, err)
		require.Equal(t, want, at, form)
	}
	_, err := runAtOfForm(url.Values{"when": {"tomorrow"}, "zone": {"Mars/Base"}}, now)
	require.ErrorContains(t, err, "is not a known time zone")
}
