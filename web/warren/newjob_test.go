package main

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/tasks"
)

// preview returns what a tab of the preview shows for a form.
func (d *deployment) preview(tab string, form url.Values) string {
	d.t.Helper()
	form.Set("tab", tab)
	status, _, page := d.form("/jobs/new", "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
	require.Equal(d.t, http.StatusOK, status, page)
	m := regexp.MustCompile(`(?s)id="preview".*?<pre[^>]*>(.*?)</pre>`).FindStringSubmatch(page)
	require.NotNil(d.t, m, page)
	return html.UnescapeString(m[1])
}

// shell runs a script as it is pasted into a shell on which warren is installed.
func (d *deployment) shell(script string) string {
	d.t.Helper()
	bin := d.t.TempDir()
	require.NoError(d.t, os.Symlink(d.binary, filepath.Join(bin, "warren")))
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir, cmd.Env = d.dir, slices.Concat(d.env, []string{"PATH=" + bin + ":" + os.Getenv("PATH")})
	out, err := cmd.Output()
	require.NoError(d.t, err, script)
	return string(out)
}

func TestNewJob_WhatIsCopiedFromThePreviewSubmitsTheJobOfTheForm(t *testing.T) {
	d := deploy(t)
	d.start("web")
	d.ready()
	form := func() url.Values {
		return url.Values{"kind": {"dots"}, "args.text": {"it's \"quoted\" $HOME `id` \\n ü €\r\nsecond line <&> !$$"},
			"queue": {"default"}, "when": {"+1h"}, "max_attempts": {"3"}, "timeout": {"90s"}, "unique_key": {"it's $HOME \"one\""},
			"tags": {`plain, it's "two", ü`}}
	}
	status, location, page := d.form("/jobs", "application/x-www-form-urlencoded", strings.NewReader(form().Encode()))
	require.Equal(t, http.StatusSeeOther, status, page)
	want := d.job(strings.TrimPrefix(location, "/jobs/"))
	require.Equal(t, jobs.Scheduled, want.State)
	cancel := func(id string) { // its unique key is free again
		t.Helper()
		require.Equal(t, http.StatusOK, d.do("POST", "/api/v1/jobs/"+id+"/cancel", "", nil))
	}
	cancel(want.ID.String())
	var added struct{ ID string }
	for tab, submit := range map[string]func(text string){
		"json": func(text string) { require.Equal(t, http.StatusCreated, d.do("POST", "/api/v1/jobs", text, &added)) },
		"curl": func(text string) { require.NoError(t, json.Unmarshal([]byte(d.shell(text)), &added)) },
		"cli":  func(text string) { added.ID = strings.TrimSuffix(d.shell(text), "  scheduled\n") },
	} {
		submit(d.preview(tab, form()))
		got := d.job(added.ID)
		require.Equal(t, []any{want.Kind, want.Queue, want.MaxAttempts, want.UniqueKey, want.Tags, want.Timeout, want.State},
			[]any{got.Kind, got.Queue, got.MaxAttempts, got.UniqueKey, got.Tags, got.Timeout, got.State}, tab)
		require.JSONEq(t, string(want.Args), string(got.Args), tab)
		require.WithinDuration(t, got.CreatedAt.Add(time.Hour), got.RunAt, time.Minute, tab)
		cancel(added.ID)
	}
}

// inNewYork opens a tab whose clock shows the time of New York.
func (d *deployment) inNewYork() *tab {
	d.t.Helper()
	b := d.open()
	command(b, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "America/New_York"})
	return b
}

func TestNewJob_TheFormKeepsWhatWasTypedAndThePreviewFollowsIt(t *testing.T) {
	d := deploy(t)
	d.start("web")
	d.ready()
	b := d.inNewYork()
	choose := func(name, option string) {
		b.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`(s => { s.value = %q; for (const type of ["input", "change"])
			s.dispatchEvent(new Event(type, {bubbles: true})); })(document.querySelector("select[name=%s]"))`, option, name)))
	}
	has := func(name, value string) string {
		return fmt.Sprintf(`document.querySelector("[name='%s']").value === %q`, name, value)
	}
	const shown = `document.querySelector("#preview pre").textContent`
	b.goTo("/jobs/new?kind=dots")
	b.do(chromedp.SendKeys(chromedp.CSS(`[name="args.text"]`), `it's typed`), chromedp.SendKeys(chromedp.CSS(`[name="tags"]`), "a, b"))
	b.until(shown + `.includes('"text": "it\'s typed"') && ` + shown + `.includes('"b"')`)
	b.do(chromedp.Click(chromedp.CSS(`#preview [value="cli"]`)))
	b.until(shown + `.startsWith("warren enqueue dots")`)
	choose("when", "tomorrow")
	b.until(shown + `.match(/--at \d{4}-\d\d-\d\dT1[34]:00:00Z/)`) // 09:00 in New York, in winter or summer
	require.Equal(t, "it's typed", value[string](b, `document.querySelector("[name='args.text']").value`))

	press := func(button string) { b.do(chromedp.Click(chromedp.CSS(button))) }
	press(`[name="to"][value="json"]`)
	b.until(whole + ` && document.querySelector("[name=args]")?.value.includes("it's typed")`)
	press(`[name="to"][value="form"]`)
	b.until(whole + ` && document.querySelector("[name='args.text']")`)
	choose("kind", "mail")
	b.until(whole + ` && document.querySelector("[name='args.subject']")`)
	for name, want := range map[string]string{"args.text": "it's typed", "tags": "a, b", "when": "tomorrow", "zone": "America/New_York"} {
		b.until(has(name, want))
	}
	b.until(shown + `.startsWith("warren enqueue mail")`)
}

func TestTasks_TimesAreTypedOnTheReadersClock(t *testing.T) {
	d := deploy(t)
	d.start("web")
	d.ready()
	var task tasks.Task
	require.Equal(t, http.StatusCreated, d.do("POST", "/api/v1/tasks", `{"description":"a","due_at":"2027-07-01T13:00:00Z"}`, &task))
	b := d.inNewYork()
	b.goTo("/tasks/" + task.ID.String() + "/edit")
	b.until(`document.querySelector("[name=due_at]").value === "2027-07-01T09:00"`)
	require.Equal(t, "America/New_York", value[string](b, `document.querySelector("[data-zone]").textContent`))
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector("[name=due_at]").value = "2027-07-01T10:30"`),
		chromedp.Click(chromedp.CSS(`main form button.btn-primary`)))
	b.until(`document.querySelector("#flash")?.textContent.includes("Saved as version 2")`)
	require.Equal(t, http.StatusOK, d.do("GET", "/api/v1/tasks/"+task.ID.String(), "", &task))
	require.Equal(t, "2027-07-01T14:30:00Z", task.DueAt.UTC().Format(time.RFC3339))
}
