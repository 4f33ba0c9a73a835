package main

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
)

// failures lists the groups of dead jobs by the API.
func (d *deployment) failures() []jobs.FailureGroup {
	d.t.Helper()
	return list[jobs.FailureGroup](d, "failures")
}

// die makes n dead jobs of one failure.
func (d *deployment) die(n int) (ids []string) {
	d.t.Helper()
	ids = d.submitMany(n, "dots", `{"text":"..."}`, "--timeout", "50ms", "--max-attempts", "1")
	for _, id := range ids {
		d.inState(id, jobs.Dead)
	}
	return ids
}

func TestFailures_IsActedOnFromItsPageWhichStays(t *testing.T) {
	d := deploy(t)
	d.start()
	d.ready()
	ids := d.die(3)
	b := d.open()
	b.live("/failures")
	b.until(`document.querySelectorAll("#failures-list tbody tr").length === 1 &&
		document.querySelector("#failures-list .num").innerText === "3"`)
	b.do(chromedp.Click(chromedp.CSS("#failures-list a[data-open]")))
	b.until(`document.querySelectorAll("#failure tbody tr").length === 3`)

	b.do(chromedp.Click(chromedp.CSS("#job-" + ids[0] + ` form[action$="/retry"] button`)))
	b.until(`document.querySelector("#flash")?.innerText.includes("Retried.") && document.querySelector("#failure")`)
	d.until("it fails again, and is in its group again", func() bool {
		j := d.job(ids[0])
		return j.State == jobs.Dead &&
			len(j.Attempts) == 2
	})

	b.live("/failures/" + d.failures()[0].Key.String())
	b.until(`document.querySelectorAll("#failure tbody tr").length === 3`)
	require.Contains(t, value[string](b, `document.querySelector("h1").innerText`), "timeout", "the error is the title")
	require.Contains(t, value[string](b, `document.querySelector("#failure tbody").innerText`), "text ...", "jobs differ by their args")
	asked := "/failures/" + d.failures()[0].Key.String() + "?ask=delete-" + ids[1]
	require.Equal(t, asked+"#delete-"+ids[1],
		value[string](b, `document.querySelector("#job-`+ids[1]+` a[data-ask]").getAttribute("href")`))
	_, page := d.raw("GET", asked, "")
	require.Contains(t, string(page), `id="delete-`+ids[1]+`" data-menu open>`, "without JavaScript the page asks in the row")
	b.do(chromedp.Click(chromedp.CSS("#job-"+ids[1]+" a[data-ask]")),
		chromedp.SendKeys(chromedp.CSS("#confirm input[name=reason]"), "no use"),
		chromedp.Click(chromedp.CSS("#confirm button[type=submit]")))
	b.until(`document.querySelector("#flash")?.innerText.includes("Deleted job") &&
		document.querySelectorAll("#failure tbody tr").length === 2`)

	b.do(chromedp.Click(chromedp.CSS("#delete-all summary")), chromedp.SendKeys(chromedp.CSS("#delete-all-reason"), "no use"),
		chromedp.Click(chromedp.CSS("#delete-all form button[type=submit]")))
	b.until(`document.querySelector("#flash")?.innerText.includes("Deleted 2 jobs.") &&
		document.querySelector("#failure")?.innerText.includes("All cleared")`)
	require.Contains(t, value[string](b, `document.querySelector("h1").innerText`), "timeout", "also when its jobs are gone")
	require.Empty(t, d.failures())
}

func TestFailures_AfterRetryAllItsJobsAreWatched(t *testing.T) {
	d := deploy(t)
	d.start()
	d.ready()
	d.submit("dots", `{"text":"another"}`)
	ids := d.die(3)
	b := d.open()
	b.live("/failures/" + d.failures()[0].Key.String())
	b.do(chromedp.Click(chromedp.CSS("#retry-all summary")), chromedp.Click(chromedp.CSS("#retry-all form button[type=submit]")))
	// They fail again.
	b.until(`document.querySelector("#failure .explanation")?.innerText.match(/^3 jobs were retried .* on the dashboard: 3 dead/)`)
	b.do(chromedp.Click(chromedp.CSS("#failure .explanation a")))
	b.until(`document.querySelectorAll("#jobs-list tbody tr").length === 3`)
	for _, id := range ids {
		b.shows(id, "dead")
	}
}

func TestFailures_TheAPIActsOnAFailure(t *testing.T) {
	d := deploy(t)
	d.start()
	d.ready()
	ids := d.die(2)
	groups := d.failures()
	require.Len(t, groups, 1)
	require.EqualValues(t, 2, groups[0].Count)
	at := "/api/v1/failures/" + groups[0].Key.String()
	var r jobs.BulkResult
	before := url.QueryEscape(groups[0].FirstSeen.Add(-1).Format("2006-01-02T15:04:05.999999999Z07:00"))
	require.Equal(t, 200, d.do("POST", at+"/retry?until="+before, "", &r))
	require.Zero(t, r.Done, "they failed later")
	require.Equal(t, 200, d.do("POST", at+"/retry", "", &r))
	require.Equal(t, 2, r.Done)
	require.Len(t, list[jobs.Job](d, "jobs?operation="+r.Operation.String()), 2)
	for _, id := range ids {
		d.until("it has failed twice", func() bool { j := d.job(id); return j.State == jobs.Dead && len(j.Attempts) == 2 })
	}
	r = jobs.BulkResult{}
	require.Equal(t, 200, d.do("DELETE", at+"?reason=why", "", &r))
	require.Equal(t, jobs.BulkResult{Done: 2}, r)
	require.Equal(t, 404, d.do("DELETE", at, "", nil))
	for path, status := range map[string]int{"/nope/retry": 400, "/" + uuid.NewString() + "/retry": 404, fmt.Sprintf("/%s/retry?until=soon",
		groups[0].Key): 422} {
		require.Equal(t, status, d.do("POST", "/api/v1/failures"+path, "", nil), path)
	}
}
