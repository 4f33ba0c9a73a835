package views_test

import (
	"context"
	"go/format"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/views"
)

// shownText returns what a tab of the preview has to copy.
func shownText(t *testing.T, p views.JobPreview) string {
	t.Helper()
	var page strings.Builder
	require.NoError(t, views.Preview(p).Render(context.Background(), &page))
	m := regexp.MustCompile(`(?s)<pre[^>]*>(.*)</pre>`).FindStringSubmatch(page.String())
	if m == nil {
		return ""
	}
	return html.UnescapeString(m[1])
}

const nasty = `it's "quoted" $HOME ` + "`id`" + ` \ ü\n<&>`

func TestPreview_GoCodeIsFormattedAndCompiles(t *testing.T) {
	t.Parallel()
	var body strings.Builder
	for _, r := range []views.JobRequest{
		{Kind: "dots", Args: []byte(`{"text":"x"}`)},
		{Kind: "dots", Args: []byte(`{"text":"` + "`" + `"}`), Queue: "mail", RunAt: "+10m", MaxAttempts: 3, UniqueKey: nasty,
			Tags: []string{"a", `"b"`}, Timeout: "1m30s"},
		{Kind: "dots", Args: []byte(`{}`), RunAt: "2026-12-01T09:00:00+01:00", Timeout: "1.5s"},
	} {
		code := shownText(t, views.JobPreview{Request: r, Show: "go"})
		formatted, err := format.Source([]byte(code))
		require.NoError(t, err, code)
		require.Equal(t, code, string(formatted))
		body.WriteString("{\n" + code + "\n_, _ = added, err\n}\n")
	}
	file := filepath.Join(t.TempDir(), "main.go")
	require.NoError(t, os.WriteFile(file, []byte(`package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/warrenjobs/warren"
	"github.com/warrenjobs/warren/jobs"
)

var _ = time.Now

func enqueue(ctx context.Context, client *warren.Client) {
`+body.String()+`}

func main() { enqueue(context.Background(), nil) }
`), 0o600))
	out, err := exec.Command("go", "vet", file).CombinedOutput()
	require.NoError(t, err, string(out))
}

func TestPreview_ShowsNothingToCopyWhileTheArgumentsAreNoJSON(t *testing.T) {
	t.Parallel()
	for _, tab := range []string{"json", "curl", "cli", "go"} {
		require.Empty(t, shownText(t, views.JobPreview{Request: views.JobRequest{Kind: "dots", Args: []byte(`{"text":`)}, Show: tab}))
	}
}
