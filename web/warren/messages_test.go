package main

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
)

// tails returns the names of the queues of tails that the broker has.
func (d *deployment) tails() (names []string) {
	d.t.Helper()
	queues, err := d.vhost.Management.Queues(d.ctx)
	require.NoError(d.t, err)
	for _, q := range queues {
		if q.VHost == d.vhost.Name && strings.HasPrefix(q.Name, "warren.tail.") {
			names = append(names, q.Name)
		}
	}
	return names
}

// publish publishes by the command line, and returns what it answered.
func (d *deployment) publish(args ...string) string {
	d.t.Helper()
	out, errs, code := d.warren(append([]string{"publish"}, args...)...)
	require.Zero(d.t, code, "%s%s", out, errs)
	return out
}

const tailPage = "/tail?exchange=amq.topic&pattern=order.%23"

func TestTail_APageShowsWhatIsPublishedAndItsQueueGoesWithThePage(t *testing.T) {
	d := deploy(t)
	warren := d.start()
	d.ready()
	b := d.open()
	b.live(tailPage)
	require.Len(t, d.tails(), 1)
	d.publish("amq.topic", "order.packaged", `{"order":7}`, "--type", "packaged", "--header", "copies=2")
	b.until(`document.querySelector("#tail-messages tbody tr")?.innerText.includes("order.packaged")`)
	b.do(chromedp.Click(chromedp.CSS("#tail-messages tbody a")))
	b.until(whole + ` && document.querySelector("#message-body")?.innerText.includes('"order": 7')`)
	require.True(t, value[bool](b, `document.querySelector("#message-headers").innerText.includes('"copies": 2')`))
	require.Len(t, d.tails(), 1, "a page that is loaded again has the same tail")
	again := value[string](b, `[...document.querySelectorAll("main a")].find((a) => a.innerText.startsWith("Publish again")).pathname`+
		` + [...document.querySelectorAll("main a")].find((a) => a.innerText.startsWith("Publish again")).search`)
	b.goTo(again)
	require.Equal(t, `amq.topic order.packaged {"order":7} copies=2 packaged`,
		value[string](b, `["exchange", "routing_key", "body", "headers", "type"].`+
			`map((n) => document.querySelector("main [name=" + n + "]").value).join(" ")`))
	d.until("the tail is gone some seconds after its page", func() bool { return len(d.tails()) == 0 })

	b.live(tailPage)
	require.Len(t, d.tails(), 1)
	warren.kill()
	d.until("the tail is gone with its process", func() bool { return len(d.tails()) == 0 })
}

func TestTail_WithoutJavaScriptThePageHasTheNewestMessagesAndSaysWhatIsWrong(t *testing.T) {
	d := deploy(t)
	d.start()
	d.ready()
	require.Contains(t, d.page(tailPage), "No messages yet")
	d.publish("amq.topic", "order.paid", "<b>hello</b>")
	d.publish("amq.topic", "order.sent", "other")
	d.until("both are shown", func() bool {
		page := d.page(tailPage)
		return strings.Contains(page, "order.paid") && strings.Contains(page, "order.sent")
	})
	require.Contains(t, string(d.get(tailPage)), "&lt;b&gt;hello")
	require.Contains(t, d.page(tailPage), `http-equiv="refresh"`)
	filtered := d.page(tailPage + "&q=HELLO")
	require.Contains(t, filtered, "order.paid")
	require.NotContains(t, filtered, "order.sent")
	require.Contains(t, d.page("/tail?exchange=nowhere&pattern=%23"), `there is no "nowhere"`)
	require.Contains(t, d.page("/tail?exchange=&pattern=%23"), "default exchange cannot be tailed")
	require.Contains(t, d.page("/tail?exchange=amq.direct&pattern=%23"), "direct exchange")
}

// sendForm sends the form of a message, with a file if there is one.
func (d *deployment) sendForm(fields map[string]string, file []byte) (status int, page string) {
	d.t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for name, value := range fields {
		require.NoError(d.t, form.WriteField(name, value))
	}
	if file != nil {
		w, err := form.CreateFormFile("file", "body.bin")
		require.NoError(d.t, err)
		_, err = w.Write(file)
		require.NoError(d.t, err)
	}
	require.NoError(d.t, form.Close())
	resp, err := http.Post(d.base+"/publish", form.FormDataContentType(), &body)
	require.NoError(d.t, err)
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(d.t, err)
	return resp.StatusCode, string(raw)
}

func TestPublish_TheFormSaysWhereAMessageWentAndLosesNothing(t *testing.T) {
	d := deploy(t)
	d.start()
	d.ready()
	fields := map[string]string{"exchange": "amq.topic", "routing_key": "order.paid", "body": "typed", "headers": "n=1", "priority": "3"}
	status, page := d.sendForm(fields, nil)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, page, "No queue took it: it was returned.")

	fields["exchange"], fields["priority"] = "nowhere", "999"
	status, page = d.sendForm(fields, nil)
	require.Equal(t, http.StatusUnprocessableEntity, status)
	for _, kept := range []string{`value="nowhere"`, `value="order.paid"`, ">\ntyped<", ">\nn=1<", `value="999"`, "from 0 to 255"} {
		require.Contains(t, page, kept)
	}
	fields["priority"] = ""
	_, page = d.sendForm(fields, []byte("of the file"))
	require.Contains(t, page, "there is no &#34;nowhere&#34;")
	require.Contains(t, page, ">\nof the file<", "the text of a file is not lost either")

	fields["check"], fields["body"] = "json", "{\n\"a\":}"
	_, page = d.sendForm(fields, nil)
	require.Contains(t, page, "in line 2")
	delete(fields, "check")

	d.inState(d.submit("dots", `{"text":"x"}`), jobs.Completed) // then its queue is there
	own := map[string]string{"exchange": "warren.jobs", "routing_key": "default", "type": "dots", "body": `{"text":"x"}`,
		"message_id": "by-hand"}
	status, page = d.sendForm(own, nil)
	require.Equal(t, http.StatusUnprocessableEntity, status)
	require.Contains(t, page, "adopted")
	own["confirm"] = "true"
	status, page = d.sendForm(own, nil)
	require.Equal(t, http.StatusOK, status, page)
	require.Contains(t, page, "Routed to 1 queue: warren.jobs.default.")
	d.until("it was adopted as a job", func() bool { return len(list[jobs.Job](d, "jobs?kind=dots&state=completed")) == 2 })

	entries := list[jobs.AuditEntry](d, "audit?action=message.publish")
	require.Len(t, entries, 2)
	require.Equal(t, "exchange:warren.jobs", entries[0].Target)
	require.JSONEq(t, `{"key":"default","type":"dots","size":12,"routed":true,"queues":["warren.jobs.default"]}`,
		string(entries[0].Details))
	require.Contains(t, d.page("/audit"), "published a message to")
}

func TestPublish_TheAPIAnswersWhereAMessageWentAndAReadOnlyDashboardRefuses(t *testing.T) {
	d := deploy(t)
	d.start()
	d.ready()
	require.Contains(t, d.page(tailPage), "No messages yet") // it is a queue that takes the message
	status, raw := d.raw("POST", "/api/v1/messages",
		`{"exchange":"amq.topic","routing_key":"order.x","body_base64":"AAE=","headers":{"n":1}}`)
	require.Equal(t, http.StatusOK, status, "%s", raw)
	require.Contains(t, string(raw), `{"routed":true,"queues":["warren.tail.`)
	status, raw = d.raw("POST", "/api/v1/messages", `{"exchange":"nowhere","headers":{"n":[]},"colour":1}`)
	require.Equal(t, http.StatusUnprocessableEntity, status)
	require.Contains(t, string(raw), `"colour"`)
	require.Contains(t, string(raw), `"headers"`)
	status, raw = d.raw("POST", "/api/v1/messages", `{"routing_key":"warren.jobs.default"}`)
	require.Equal(t, http.StatusUnprocessableEntity, status)
	require.Contains(t, string(raw), `"confirm"`)

	d.base = "http://" + freePort(t)
	d.env = append(d.env, "WARREN_LISTEN="+strings.TrimPrefix(d.base, "http://"), "WARREN_READ_ONLY=1")
	d.start("web")
	d.ready()
	status, _ = d.raw("POST", "/api/v1/messages", `{"exchange":"amq.topic"}`)
	require.Equal(t, http.StatusForbidden, status)
	require.NotContains(t, d.page("/publish"), "Publish message")
}

// Settings come from .env, as CloudAMQP's customers have them.
func TestTail_TheCommandPrintsWhatIsPublishedThroughTheBrokerOfCLOUDAMQP_URL(t *testing.T) {
	d := deploy(t)
	_, errs, code := d.warren("migrate")
	require.Zero(t, code, errs)
	d.env = slices.DeleteFunc(d.env, func(v string) bool {
		return strings.HasPrefix(v, "AMQP_URL=") || strings.HasPrefix(v, "RABBITMQ_URL=") || strings.HasPrefix(v, "CLOUDAMQP_URL=")
	})
	require.NoError(t, os.WriteFile(filepath.Join(d.dir, ".env"), []byte("CLOUDAMQP_URL="+d.vhost.URL+"\n"), 0o600))
	tail := d.start("tail", "amq.topic", "#", "--json", "--count", "2") // with the first message its queue would go while it is named
	d.until("the tail is open", func() bool { return strings.Contains(tail.log.String(), "tailing amq.topic") })
	require.Contains(t, d.publish("amq.topic", "ping", "1", "--app-id", "publisher", "--header", "n=1"), "Routed to 1 queue: warren.tail.")
	d.publish("amq.topic", "ping", "2")
	<-tail.done
	require.Contains(t, tail.log.String(), `"routing_key":"ping"`)
	require.Contains(t, tail.log.String(), `"app_id":"publisher","headers":{"n":1},"redelivered":false,"size":1,"body":"1"`)
	require.Empty(t, d.tails())

	out, _, code := d.warren("publish", "amq.topic", "ping", "1")
	require.Equal(t, exitRefused, code)
	require.Equal(t, "No queue took it: it was returned.\n", out)
	_, errs, code = d.warren("tail", "nowhere", "#")
	require.Equal(t, exitRefused, code)
	require.Contains(t, errs, `there is no "nowhere"`)
	_, errs, code = d.warren("publish", "amq.topic", "ping", "1", "--header", "n")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "name=value")
	_, errs, code = d.warren("publish", "warren.jobs", "default", "{}")
	require.Equal(t, exitRefused, code)
	require.Contains(t, errs, "--confirm")
}
