package main

import (
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
)

func TestTicks_JobsAreTickedByKeyAndActedOnTogether(t *testing.T) {
	d := deploy(t)
	d.start()
	d.ready()
	ids := d.submitMany(4, "dots", `{"text":"x"}`, "--at", "+1h")
	b := d.open()
	b.live("/jobs")
	b.until(`document.querySelectorAll("[data-pick]").length === 4 && document.querySelector(".bulk").hidden`)
	b.do(chromedp.KeyEvent("j"), chromedp.KeyEvent("x"), chromedp.KeyEvent("j"), chromedp.KeyEvent("j"), chromedp.KeyEvent("X"))
	b.until(`document.querySelector(".bulk [data-picked]").textContent === "3"`)
	late := d.submit("dots", `{"text":"x"}`, "--at", "+1h")
	b.until(`document.querySelector("[data-news]")?.textContent === "1 new"`)
	b.do(chromedp.Click(chromedp.CSS("#cancel-ticked summary")), chromedp.SendKeys(chromedp.CSS("#cancel-ticked-reason"), "not today"),
		chromedp.Click(chromedp.CSS(`#cancel-ticked button[type=submit]`)))
	b.until(whole + ` && document.querySelector("#flash").innerText.includes("Cancelled 3 jobs.") && location.pathname === "/jobs"`)
	left := 0
	for _, id := range append(ids, late) {
		if d.job(id).State == jobs.Scheduled {
			left++
		}
	}
	require.Equal(t, 2, left)
	require.Contains(t, d.page("/audit"), "“not today”")

	b.do(chromedp.Click(chromedp.CSS("[data-pick-all]")), chromedp.Click(chromedp.CSS(`.bulk [formaction="/jobs/retry"]`)))
	b.until(`document.querySelector("#flash").innerText.includes("Retried 3 jobs. ` +
		`Skipped 2 scheduled: only jobs that have ended can be retried.")`)
}

func TestJobs_TheKeysLeadFromAJobToItsNeighboursInTheList(t *testing.T) {
	d := deploy(t)
	d.start()
	d.ready()
	ids := d.submitMany(3, "dots", `{"text":"x"}`, "--at", "+1h")
	b := d.open()
	b.live("/jobs")
	b.until(`document.querySelectorAll("[data-row]").length === 3`)
	b.do(chromedp.KeyEvent("j"), chromedp.KeyEvent("j"), chromedp.KeyEvent("\r"))
	b.until(whole + ` && document.querySelectorAll("[data-near] a[href]").length === 2`)
	b.do(chromedp.KeyEvent("k"))
	b.until(whole + fmt.Sprintf(` && location.pathname === "/jobs/%s" && document.querySelector("[data-near-key=k]").hidden`, ids[2]))
}

// The bar is a plain form: this is what a browser without JavaScript sends.
func TestTicks_WorkWithoutJavaScriptAndSayWhatWasDone(t *testing.T) {
	d := deploy(t)
	d.start()
	d.ready()
	dead := d.die(2)
	waits := d.submit("dots", `{"text":"x"}`, "--at", "+1h")
	require.Contains(t, d.page("/jobs"), fmt.Sprintf(`form="ticked" name="id" value=%q`, waits))
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client := &http.Client{Jar: jar}
	post := func(action string, form url.Values) string {
		form.Set("back", "/jobs?kind=dots")
		resp, err := client.PostForm(d.base+"/jobs/"+action, form)
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		require.Equal(t, "/jobs?kind=dots", resp.Request.URL.RequestURI(), "back where the form was")
		return textOf(t, resp.Body)
	}
	for _, step := range []struct {
		action string
		ids    []string
		says   string
	}{
		{"retry", nil, "Nothing was done: no job was selected."},
		{"run", dead, "Nothing was done. Skipped 2 dead: only scheduled and retrying jobs can be run now."},
		{"delete", append([]string{waits}, dead...), "Deleted 3 jobs."},
		{"delete", []string{waits}, "Nothing was done. 1 job no longer exists."},
	} {
		require.Contains(t, post(step.action, url.Values{"id": step.ids, "reason": {"", "why not"}}), step.says, step.action)
	}
	require.Contains(t, d.page("/audit"), "“why not”", "the reason beside the button that was pressed")
	for _, bad := range []url.Values{{"id": {"no-id"}}, {"id": make([]string, 201)}} {
		resp, err := client.PostForm(d.base+"/jobs/retry", bad)
		require.NoError(t, err)
		_ = resp.Body.Close()
		require.Equal(t, http.StatusUnprocessableEntity, resp.StatusCode)
	}
}

func TestTicks_AFlashLeavesOnceThePageShowsSomethingElse(t *testing.T) {
	d := deploy(t)
	d.start()
	d.ready()
	id := d.submit("dots", `{"text":"x"}`, "--at", "+1h")
	b := d.open()
	b.live("/jobs/" + id)
	b.do(chromedp.Click(chromedp.CSS(`#job-actions form[action$="/run"] button`)))
	b.until(whole + ` && document.querySelector("#flash [role=status]")?.innerText.includes("Queued to run now.")`)
	b.until(`document.querySelector("#job-state").innerText.includes("completed") && !document.querySelector("#flash [role=status]")`)
}

var tag = regexp.MustCompile(`<[^>]*>`)

// textOf returns the text of a page, with single spaces.
func textOf(t *testing.T, page io.Reader) string {
	t.Helper()
	raw, err := io.ReadAll(page)
	require.NoError(t, err)
	return strings.Join(strings.Fields(html.UnescapeString(tag.ReplaceAllString(string(raw), " "))), " ")
}
