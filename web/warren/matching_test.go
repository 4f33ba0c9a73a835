package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
)

// submitList submits n jobs that are due in an hour by one request.
func (d *deployment) submitList(n int) {
	d.t.Helper()
	list := strings.TrimSuffix(strings.Repeat(`{"kind":"dots","args":{"text":"x"},"run_at":"+1h"},`, n), ",")
	require.Equal(d.t, http.StatusCreated, d.do("POST", "/api/v1/jobs", "["+list+"]", nil))
}

// count returns how many jobs are in a state, up to 200.
func (d *deployment) count(state jobs.State) int {
	d.t.Helper()
	return len(list[jobs.Job](d, "jobs?limit=200&state="+string(state)))
}

func TestMatching_AllThatMatchAreActedOnAndLaterJobsAreNot(t *testing.T) {
	d := deploy(t)
	d.start()
	d.ready()
	d.submitList(60)
	b := d.open()
	b.live("/jobs?state=scheduled")
	b.until(`document.querySelectorAll("[data-pick]").length === 50 && document.querySelector("[data-when-all]").hidden`)
	b.do(chromedp.Click(chromedp.CSS("[data-pick-all]")))
	b.until(`document.querySelector("[data-take-all]").innerText === "All 60 that match"`)
	b.do(chromedp.Click(chromedp.CSS("[data-take-all]")))
	b.until(`!document.querySelector("[data-when-all]").hidden && document.querySelector("#ticked").hidden`)

	d.submitList(1)
	b.until(`document.querySelector(".tabs [aria-current] .n").innerText === "61"`)
	require.Equal(t, "All 60 that match", value[string](b, `document.querySelector("[data-when-all] b").innerText`), "those in view")
	b.do(chromedp.Click(chromedp.CSS("#cancel-matching summary")))
	b.until(`document.querySelector("#cancel-matching .pop").innerText.includes("Cancel 60 jobs?")`)
	require.Contains(t, value[string](b, `document.querySelector("#cancel-matching .pop").innerText`), "all scheduled jobs")
	b.do(chromedp.SendKeys(chromedp.CSS("#cancel-matching-reason"), "not today"),
		chromedp.Click(chromedp.CSS("#cancel-matching button[type=submit]")))
	b.until(whole + ` && document.querySelector("#flash").innerText.includes("Cancelled 60 jobs.")`)
	require.Equal(t, 1, d.count(jobs.Scheduled))
	require.Contains(t, d.page("/audit"), "“not today”")

	b.do(chromedp.Click(chromedp.CSS("#flash a")))
	b.until(whole + ` && location.search.startsWith("?operation=") &&
		document.querySelectorAll("#jobs-list tbody .s-cancelled").length === 50`)
	b.do(chromedp.Click(chromedp.CSS("[data-pick-all]")), chromedp.Click(chromedp.CSS("[data-take-all]")),
		chromedp.Click(chromedp.CSS("#retry-matching summary")))
	b.until(`document.querySelector("#retry-matching .pop").innerText.includes("60 cancelled")`)
	b.do(chromedp.Click(chromedp.CSS("#retry-matching button[type=submit]")))
	b.until(whole + ` && document.querySelector("#flash").innerText.includes("Retried 60 jobs.")`)
}

func TestMatching_DeadJobsAreRetriedFromBesideTheTitle(t *testing.T) {
	d := deploy(t)
	d.start()
	d.ready()
	ids := d.die(2)
	b := d.open()
	b.live("/jobs?state=dead")
	b.do(chromedp.Click(chromedp.CSS("#retry-dead summary")))
	b.until(`document.querySelector("#retry-dead .pop").innerText.includes("Retry 2 jobs?")`)
	b.do(chromedp.Click(chromedp.CSS("#retry-dead button[type=submit]")))
	b.until(whole + ` && document.querySelector("#flash").innerText.includes("Retried 2 jobs.")`)
	for _, id := range ids {
		d.until("it fails again", func() bool { j := d.job(id); return j.State == jobs.Dead && len(j.Attempts) == 2 })
	}
}

// formTo returns the hidden fields of the form of a page that is sent to a path.
func formTo(t *testing.T, page, path string) url.Values {
	t.Helper()
	_, rest, found := strings.Cut(page, fmt.Sprintf(`action=%q`, path))
	require.True(t, found, path)
	form, _, _ := strings.Cut(rest, "</form>")
	values := url.Values{}
	for _, field := range regexp.MustCompile(`type="hidden" name="(\w+)" value="([^"]*)"`).FindAllStringSubmatch(form, -1) {
		values.Set(field[1], field[2])
	}
	return values
}

// The bar is plain forms: this is what a browser without JavaScript sends.
func TestMatching_WorksWithoutJavaScriptAndAsksForAReasonToDelete(t *testing.T) {
	d := deploy(t)
	d.start()
	d.ready()
	d.submitList(51)
	page := d.page("/jobs?state=scheduled&kind=dots")
	d.submitList(1)
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client := &http.Client{Jar: jar}
	form := formTo(t, page, "/jobs/all/delete")
	resp, err := client.PostForm(d.base+"/jobs/all/delete", form)
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, http.StatusUnprocessableEntity, resp.StatusCode)
	require.Equal(t, 52, d.count(jobs.Scheduled))

	form.Set("reason", "no use")
	resp, err = client.PostForm(d.base+"/jobs/all/delete", form)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	require.Contains(t, textOf(t, resp.Body), "Deleted 51 jobs.")
	require.Equal(t, "/jobs", resp.Request.URL.Path)
	require.Contains(t, resp.Request.URL.RawQuery, "state=scheduled", "back where the form was")
	require.Equal(t, 1, d.count(jobs.Scheduled))
	require.Contains(t, strings.Join(strings.Fields(tag.ReplaceAllString(d.page("/audit"), " ")), " "),
		"deleted all scheduled jobs of kind dots: 51 jobs")
}

func TestMatching_TheAPIActsOnAllThatMatch(t *testing.T) {
	d := deploy(t)
	d.start()
	d.ready()
	d.submitList(3)
	before := url.QueryEscape(time.Now().Add(-time.Hour).Format(time.RFC3339))
	for path, status := range map[string]int{"": 422, "?state=odd": 422, "?state=scheduled&until=soon": 422, "?until=" + before: 422} {
		require.Equal(t, status, d.do("POST", "/api/v1/jobs/cancel"+path, "", nil), path)
		require.Equal(t, status, d.do("DELETE", "/api/v1/jobs"+path, "", nil), path)
	}
	var r jobs.BulkResult
	require.Equal(t, 200, d.do("POST", "/api/v1/jobs/cancel?state=scheduled&until="+before, "", &r))
	require.Zero(t, r.Done, "they came later")
	require.Equal(t, 200, d.do("POST", "/api/v1/jobs/cancel?all=true&reason=why", "", &r))
	require.Equal(t, 3, r.Done)
	require.Len(t, list[jobs.Job](d, "jobs?operation="+r.Operation.String()), 3)
	require.Equal(t, 200, d.do("POST", "/api/v1/jobs/retry?operation="+r.Operation.String(), "", &r))
	require.Equal(t, 3, r.Done)
	d.until("they have run", func() bool { return d.count(jobs.Completed) == 3 })
	r = jobs.BulkResult{}
	require.Equal(t, 200, d.do("DELETE", "/api/v1/jobs?state=completed&kind=dots", "", &r))
	require.Equal(t, jobs.BulkResult{Done: 3}, r)
}

func TestMatching_TheCommandActsOnAllThatMatch(t *testing.T) {
	d := deploy(t)
	d.start()
	d.ready()
	d.submitList(3)
	one := d.submit("dots", `{"text":"x"}`, "--at", "+1h")
	for _, bad := range [][]string{{}, {"--state", "odd"}, {"--all", "--state", "dead"}, {one, "--all"}} {
		_, errs, code := d.warren(append([]string{"jobs", "cancel"}, bad...)...)
		require.Equal(t, exitUsage, code, "%v: %s", bad, errs)
	}
	out, errs, code := d.warren("jobs", "cancel", "--state", "scheduled", "--kind", "dots", "--reason", "why", "--json")
	require.Zero(t, code, errs)
	var r jobs.BulkResult
	require.NoError(t, json.Unmarshal([]byte(out), &r))
	require.Equal(t, 4, r.Done)
	require.Len(t, list[jobs.Job](d, "jobs?operation="+r.Operation.String()), 4)
	out, errs, code = d.warren("jobs", "delete", "--state", "cancelled")
	require.Zero(t, code, errs)
	require.Regexp(t, `delete +cancelled jobs +4 +0 +no`, out)
}
