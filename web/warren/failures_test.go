package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
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
	require.Contains(t, value[string](b, `document.querySelector("#failure tbody").innerText`), "text\u00a0...",
		"jobs differ by their args")
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

func TestFailures_TheOverviewIsRedForOpenOnesAndAmberForKnownOnes(t *testing.T) {
	d := deploy(t)
	d.start()
	d.ready()
	d.die(2)
	key := d.failures()[0].Key.String()
	b := d.open()
	b.live("/")
	// The line alone: the verdict is also of queues of others on the broker.
	says := func(class, text string) string {
		return `[...document.querySelectorAll("#overview-findings li.` + class + `")].some((li) => li.innerText.includes("` + text + `"))`
	}
	const rail = `Number(document.querySelector(".nav-count-failures").dataset.attention)`
	b.until(says("s-dead", "2 jobs died in the last 24 h.") + ` && ` + rail + ` === 2`)

	b.live("/failures/" + key)
	b.do(chromedp.Click(chromedp.CSS("#mark-known summary")), chromedp.SendKeys(chromedp.CSS("#mark-known-note"), "the vendor is told"),
		chromedp.Click(chromedp.CSS("#mark-known form button[type=submit]")))
	b.until(`document.querySelector("#flash")?.innerText.includes("Marked the failure as known.") &&
		document.querySelector("#failure-status").innerText === "known" && !document.querySelector("#mark-known")`)
	require.Regexp(t, `^Marked as known on the dashboard .* \(“the vendor is told”\)\.$`,
		value[string](b, `document.querySelector("#failure-mark").innerText`))

	b.live("/")
	b.until(says("s-retrying", "2 jobs died in the last 24 h of 1 known failure.") + ` && ` + rail + ` === 0`)
	require.Equal(t, 200, d.do("POST", "/api/v1/failures/"+key+"/fixed", `{"note":"deployed"}`, nil))
	b.until(`!document.querySelector("#overview-findings").innerText.includes("died")`)
	d.die(1)
	b.until(says("s-dead", "1 job died in the last 24 h.") + ` && ` + rail + ` === 1`)

	b.live("/failures")
	b.until(`document.querySelector("#failures-list tbody tr")?.innerText.includes("came back")`)
	require.Regexp(t, `came back: fixed via the API .*, 1 job died since \(“deployed”\)`,
		value[string](b, `document.querySelector("#failures-list tbody tr").innerText`))
}

func TestFailures_TheListOfOpenOnesFollowsAMarkAndSaysWhatItDoesNotShow(t *testing.T) {
	d := deploy(t)
	d.start()
	d.ready()
	d.die(1)
	key := d.failures()[0].Key.String()
	b := d.open()
	b.live("/failures")
	b.until(`document.querySelectorAll("#failures-list tbody tr").length === 1`)
	require.Equal(t, 200, d.do("POST", "/api/v1/failures/"+key+"/known", "", nil))
	b.until(`document.querySelector("#failures-list").innerText.includes("No open failures") &&
		document.querySelector("#failures-list .note").innerText.startsWith("1 known failure is not shown.")`)
	b.do(chromedp.Click(chromedp.CSS("#failures-list .note a")))
	b.until(`document.querySelectorAll("#failures-list tbody tr").length === 1 &&
		document.querySelector("#failures-list tbody tr").innerText.includes("known")`)
	b.do(chromedp.Click(chromedp.CSS("#failures-list a[data-open]")))
	b.until(`document.querySelector("#failure-status")`)
	b.do(chromedp.Click(chromedp.CSS(`#failure-actions form[action$="/reopen"] button`)))
	b.until(`document.querySelector("#failure-status").innerText === "open" && !document.querySelector("#failure-mark")`)
}

func TestFailures_TheAPIMarksAFailure(t *testing.T) {
	d := deploy(t)
	d.start()
	d.ready()
	d.die(1)
	require.Equal(t, jobs.FailureOpen, d.failures()[0].Status)
	at := "/api/v1/failures/" + d.failures()[0].Key.String()
	var g jobs.FailureGroup
	require.Equal(t, 200, d.do("POST", at+"/known", `{"note":" the vendor is told "}`, &g))
	require.Equal(t, jobs.FailureKnown, g.Status)
	require.Equal(t, jobs.FailureMark{Status: jobs.FailureKnown, Note: "the vendor is told", By: "api", At: g.Mark.At}, *g.Mark)
	require.Len(t, list[jobs.FailureGroup](d, "failures?status=known"), 1)
	require.Empty(t, list[jobs.FailureGroup](d, "failures?status=open"))
	require.Equal(t, 200, d.do("POST", at+"/fixed?note=deployed", "", &g))
	require.Equal(t, "deployed", g.Mark.Note)
	d.die(1)
	require.True(t, d.failures()[0].CameBack())
	require.EqualValues(t, 1, d.failures()[0].Mark.DiedSince)
	require.Equal(t, 200, d.do("POST", at+"/known", "", nil))
	require.Equal(t, 200, d.do("POST", at+"/reopen", "", nil))
	require.Nil(t, d.failures()[0].Mark)

	require.Equal(t, 409, d.do("POST", at+"/reopen", "", nil))
	require.Equal(t, 404, d.do("POST", "/api/v1/failures/"+uuid.NewString()+"/known", "", nil))
	for path, body := range map[string]string{"/known": `{"reason":"x"}`, "/fixed": `{"note":7}`,
		"/known?a": `{"note":"` + strings.Repeat("x", jobs.FailureNoteMax+1) + `"}`} {
		require.Equal(t, 422, d.do("POST", at+path, body, nil), path)
	}
	require.Equal(t, 422, d.do("GET", "/api/v1/failures?status=odd", "", nil))
	require.Len(t, list[jobs.AuditEntry](d, "audit?action=failures.known"), 2)
}

func TestFailures_TheCommandLineMarksAFailure(t *testing.T) {
	d := deploy(t)
	d.start()
	d.ready()
	d.die(1)
	key := d.failures()[0].Key.String()
	out, errs, code := d.warren("failures", "known", key, "--note", "the vendor is told", "--json")
	require.Zero(t, code, errs)
	var g jobs.FailureGroup
	require.NoError(t, json.Unmarshal([]byte(out), &g))
	require.Equal(t, "the vendor is told", g.Mark.Note)
	out, _, code = d.warren("failures")
	require.Zero(t, code)
	require.Regexp(t, key+` +known +1 .*\(“the vendor is told”\)`, out)
	out, _, code = d.warren("failures", "list", "--status", "open")
	require.Zero(t, code)
	require.NotContains(t, out, key)
	for _, verb := range []string{"fixed", "reopen"} {
		out, _, code = d.warren("failures", verb, key)
		require.Zero(t, code)
		require.Contains(t, out, key)
	}
	_, errs, code = d.warren("failures", "reopen", key)
	require.Equal(t, exitRefused, code)
	require.Contains(t, errs, "This failure is open already.")
	_, errs, code = d.warren("failures", "fixed", uuid.NewString())
	require.Equal(t, exitRefused, code)
	require.Contains(t, errs, "there is no failure")
	for _, bad := range [][]string{{"failures", "known", "nope"}, {"failures", "known"}, {"failures", "--status", "odd"}} {
		_, errs, code = d.warren(bad...)
		require.Equal(t, exitUsage, code, errs)
	}
}
