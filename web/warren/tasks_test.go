package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/jackc/pgx/v5"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/tasks"
)

// badEach: one line in so many is not a valid task.
const badEach = 100

// tasksCSV returns a file of n lines after the first.
func tasksCSV(n int) []byte {
	var b bytes.Buffer
	b.WriteString("description,priority,due_at\n")
	for i := 1; i <= n; i++ {
		priority := "low"
		if i%badEach == 0 {
			priority = "urgent"
		}
		fmt.Fprintf(&b, "\"Call customer %d, about the invoice\",%s,2026-12-24\n", i, priority)
	}
	return b.Bytes()
}

// upload sends a file by the form of the import page and returns the job's id.
func (d *deployment) upload(csv []byte) string {
	d.t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	file, err := form.CreateFormFile("file", "tasks.csv")
	require.NoError(d.t, err)
	_, err = file.Write(csv)
	require.NoError(d.t, err)
	require.NoError(d.t, form.Close())
	status, location, page := d.form("/tasks/import", form.FormDataContentType(), &body)
	require.Equal(d.t, http.StatusSeeOther, status, page)
	return strings.TrimPrefix(location, "/tasks/import/")
}

// holdImports blocks all imports until release is called.
func (d *deployment) holdImports() (release func()) {
	d.t.Helper()
	conn, err := pgx.Connect(d.ctx, d.database)
	require.NoError(d.t, err)
	_, err = conn.Exec(d.ctx, `BEGIN; LOCK TABLE warren.task_imports IN SHARE MODE`)
	require.NoError(d.t, err)
	return func() { _ = conn.Close(d.ctx) }
}

// form posts as a browser without JavaScript does, and does not follow redirects.
func (d *deployment) form(path, contentType string, body io.Reader) (status int, location, page string) {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.ctx, http.MethodPost, d.base+path, body)
	require.NoError(d.t, err)
	req.Header.Set("Content-Type", contentType)
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(d.t, err)
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(d.t, err)
	return resp.StatusCode, resp.Header.Get("Location"), string(raw)
}

func TestTasks_AnImportWhoseWorkerIsKilledTwiceAddsEachLineOnce(t *testing.T) {
	d := deploy(t)
	workers := d.roles()
	const lines = 20_000
	id := d.upload(tasksCSV(lines))
	for kill := range 2 {
		d.until("the import has come further", func() bool {
			release := d.holdImports()
			defer release()
			j := d.job(id)
			require.NotEqual(t, jobs.Completed, j.State, "too fast to be killed")
			if j.State != jobs.Running || j.Progress == nil || j.Progress.Done < 0.1+0.25*float64(kill) {
				return false
			}
			workers[*j.Worker].kill()
			return true
		})
		w := d.start("worker", "--concurrency", "1", "--prefetch", "1")
		workers[w.name()] = w
	}
	j := d.inState(id, jobs.Completed)
	require.Equal(t, 2, j.Crashes)

	var out struct {
		Tasks, Refused int
		Errors         []tasks.LineError
		Download       string
	}
	require.NoError(t, json.Unmarshal(j.Output, &out))
	require.Equal(t, []int{lines - lines/badEach, lines / badEach, lines / badEach}, []int{out.Tasks, out.Refused, len(out.Errors)})
	require.Equal(t, badEach+1, out.Errors[0].Line, "the first line names the columns")
	status, refused := d.raw("GET", out.Download, "")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, lines/badEach+1, strings.Count(string(refused), "\n"))

	// Each line once: an export has them all.
	csv := d.export()
	require.Equal(t, lines-lines/badEach+1, strings.Count(csv, "\n"))
	for i := 1; i <= lines; i++ {
		if i%badEach != 0 {
			require.Equal(t, 1, strings.Count(csv, fmt.Sprintf("customer %d,", i)), "line %d", i)
			i += 37 // counting each would take minutes
		}
	}
}

// export runs an export of all tasks and downloads its file.
func (d *deployment) export() string {
	d.t.Helper()
	status, location, page := d.form("/tasks/export", "application/x-www-form-urlencoded", strings.NewReader("view=all"))
	require.Equal(d.t, http.StatusSeeOther, status, page)
	j := d.inState(strings.TrimPrefix(location, "/jobs/"), jobs.Completed)
	var out struct{ Download string }
	require.NoError(d.t, json.Unmarshal(j.Output, &out))
	status, csv := d.raw("GET", out.Download, "")
	require.Equal(d.t, http.StatusOK, status)
	return string(csv)
}

func TestTasks_EditedInTwoTabsShowsTheSecondBothVersions(t *testing.T) {
	d := deploy(t)
	d.start("web")
	d.ready()
	var task tasks.Task
	require.Equal(t, http.StatusCreated, d.do("POST", "/api/v1/tasks", `{"description":"As it was"}`, &task))
	edit := "/tasks/" + task.ID.String() + "/edit"
	save := func(version, description string) (int, string, string) {
		return d.form(edit, "application/x-www-form-urlencoded", strings.NewReader(url.Values{"version": {version},
			"description": {description}, "priority": {"none"}}.Encode()))
	}
	status, _, page := save("1", "The first tab's")
	require.Equal(t, http.StatusSeeOther, status, page)
	status, _, page = save("1", "The second tab's")
	require.Equal(t, http.StatusConflict, status)
	require.Contains(t, page, "Someone else saved version 2.")
	require.Contains(t, page, "The first tab&#39;s")
	require.Contains(t, page, "The second tab&#39;s</textarea>", "what was typed is not lost")
	require.Contains(t, page, `name="version" value="2"`)
	status, location, _ := save("2", "The second tab's")
	require.Equal(t, http.StatusSeeOther, status)
	require.Equal(t, "/tasks/"+task.ID.String(), location)

	var conflict struct {
		Detail  string
		Current tasks.Task
	}
	require.Equal(t, http.StatusConflict, d.do("PUT", "/api/v1/tasks/"+task.ID.String(), `{"description":"Late","version":1}`, &conflict))
	require.Equal(t, 3, conflict.Current.Version)
}

func TestTasks_EveryChangeMadeWhileNothingWasSentReachesASubscriberWithItsVersion(t *testing.T) {
	d := deploy(t)
	d.start("web")
	d.ready()
	conn, err := amqp.Dial(d.vhost.URL)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	require.NoError(t, err)
	require.NoError(t, ch.ExchangeDeclare("tasks", "topic", true, false, false, false, nil))
	q, err := ch.QueueDeclare("index", true, false, false, false, nil)
	require.NoError(t, err)
	require.NoError(t, ch.QueueBind(q.Name, "tasks.event.*", "tasks", false, nil))

	want := map[string]bool{}
	for n := range 20 {
		var task tasks.Task
		require.Equal(t, http.StatusCreated, d.do("POST", "/api/v1/tasks", fmt.Sprintf(`{"description":"Task %d"}`, n), &task))
		path := "/api/v1/tasks/" + task.ID.String()
		require.Equal(t, http.StatusOK, d.do("PUT", path, `{"description":"Changed","version":1}`, nil))
		require.Equal(t, http.StatusOK, d.do("POST", path+"/done", "", nil))
		require.Equal(t, http.StatusNoContent, d.do("DELETE", path, "", nil))
		for version, word := range []string{"created", "updated", "updated", "deleted"} {
			want[fmt.Sprintf("%s %s %d", task.ID, word, version+1)] = true
		}
	}
	d.start("relay")
	deliveries, err := ch.ConsumeWithContext(d.ctx, q.Name, "", true, false, false, false, nil)
	require.NoError(t, err)
	for len(want) > 0 {
		select {
		case m := <-deliveries:
			var body struct {
				ID      string
				Version int
			}
			require.NoError(t, json.Unmarshal(m.Body, &body))
			require.NotEmpty(t, m.MessageId)
			require.Equal(t, m.RoutingKey, m.Type)
			delete(want, fmt.Sprintf("%s %s %d", body.ID, strings.TrimPrefix(m.RoutingKey, "tasks.event."), body.Version))
		case <-time.After(30 * time.Second):
			t.Fatalf("%d events never came, such as %v", len(want), want)
		}
	}
}

func TestTasks_TheCommandLineAddsListsAndFinishesTasks(t *testing.T) {
	d := deploy(t)
	_, errs, code := d.warren("migrate")
	require.Zero(t, code, errs)
	out, errs, code := d.warren("tasks", "add", "Water the plants", "--priority", "high", "--due", "+24h", "--json")
	require.Zero(t, code, errs)
	var task tasks.Task
	require.NoError(t, json.Unmarshal([]byte(out), &task))
	out, _, code = d.warren("tasks", "list", "--priority", "high")
	require.Zero(t, code)
	require.Contains(t, out, "Water the plants")
	_, errs, code = d.warren("tasks", "done", task.ID.String())
	require.Zero(t, code, errs)
	out, _, _ = d.warren("tasks", "list", "--json")
	require.JSONEq(t, `{"items":[],"next":null}`, out)
	_, errs, code = d.warren("tasks", "add", "x", "--kind", "dots", "--rule", "sometimes")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "job.rule")
	_, _, code = d.warren("tasks", "list", "--view", "some")
	require.Equal(t, 2, code)
}

func TestTasks_AnUploadInTheBrowserShowsItsProgressWhileItRuns(t *testing.T) {
	d := deploy(t)
	d.start()
	d.ready()
	file := filepath.Join(t.TempDir(), "tasks.csv")
	const lines = 120_000
	require.NoError(t, os.WriteFile(file, tasksCSV(lines), 0o600))
	b := d.open()
	b.goTo("/tasks/import")
	release := d.holdImports()
	b.do(chromedp.SetUploadFiles(chromedp.CSS(`input[type="file"]`), []string{file}),
		chromedp.Click(chromedp.CSS(`main form button[type="submit"]`)))
	b.until(whole + ` && location.pathname.startsWith("/tasks/import/") && document.querySelector("#live")?._htmx?.sse?.reader`)
	release()
	require.Greater(t, b.rising(), 1, "the bar moves without a reload")
	b.until(`document.querySelector("#job-state").textContent.includes("completed")`)
	require.Equal(t, fmt.Sprintf("%d tasks added, %d lines refused.", lines-lines/badEach, lines/badEach),
		value[string](b, `document.querySelector("#import b").innerText`))
	require.Equal(t, "101", value[string](b, `document.querySelector("#import tbody td").innerText`))
	require.Contains(t, value[string](b, `document.querySelector("#import a[download]").href`), "/refused.csv")
}

// rising counts the different values that the progress bar of an import has, until its job has ended.
func (b *tab) rising() int {
	b.t.Helper()
	return value[int](b, `new Promise(done => {
		const seen = new Set();
		const look = () => {
			const bar = document.querySelector("#import progress");
			if (bar) seen.add(bar.value);
			if (document.querySelector("#job-state").textContent.includes("completed")) done(seen.size); else setTimeout(look, 50);
		};
		look();
	})`)
}

func TestTasks_ACardThatIsDroppedOnAnotherColumnHasItsPriority(t *testing.T) {
	d := deploy(t)
	d.start("web")
	d.ready()
	var task tasks.Task
	require.Equal(t, http.StatusCreated, d.do("POST", "/api/v1/tasks", `{"description":"Move me","priority":"low"}`, &task))
	b := d.open()
	b.goTo("/tasks/board")
	b.do(chromedp.Evaluate[chromedp.Void](`{
		const data = new DataTransfer();
		const drag = (on, type) => document.querySelector(on).dispatchEvent(
			new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer: data }));
		drag(".board-card", "dragstart");
		drag("[data-column=high]", "dragover");
		drag("[data-column=high]", "drop");
	}`))
	b.until(`document.querySelector("[data-column=high] .board-card")?.textContent.includes("Move me")`)
	d.do("GET", "/api/v1/tasks/"+task.ID.String(), "", &task)
	require.Equal(t, tasks.PriorityHigh, task.Priority)
}

func TestTasks_TheSecondOfTwoTabsSeesTheConflictAtOnce(t *testing.T) {
	d := deploy(t)
	d.start("web")
	d.ready()
	var task tasks.Task
	require.Equal(t, http.StatusCreated, d.do("POST", "/api/v1/tasks",
		`{"description":"As it was","job":{"kind":"http","args":{"url":"https://example.com"},"runs":"now"}}`, &task))
	first, second := d.open(), d.open()
	save := func(b *tab, more string) {
		b.do(chromedp.SendKeys(chromedp.CSS(`[name="description"]`), more), chromedp.Click(chromedp.CSS(`main form button.btn-primary`)))
	}
	for _, b := range []*tab{first, second} {
		b.goTo("/tasks/" + task.ID.String() + "/edit")
	}
	save(first, "one")
	first.until(`document.querySelector("#flash")?.textContent.includes("Saved as version 2")`)
	save(second, "two")
	second.until(`document.querySelector("#conflict")`)
	second.until(`(box => box.top >= 0 && box.bottom <= innerHeight)(document.querySelector("main .flash").getBoundingClientRect())`)
	require.Contains(t, value[string](second, `document.querySelector("[name=description]").value`), "two", "what was typed is not lost")
}
