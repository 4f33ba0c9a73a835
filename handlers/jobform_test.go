package handlers

import (
	"bytes"
	"context"
	"net/url"
	"os"
	"regexp"
	"testing"

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
