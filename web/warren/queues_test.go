package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
)

func TestQueues_IsPausedResumedAndPurgedByCommandAPIAndPage(t *testing.T) {
	d := deploy(t)
	d.start("web")
	d.ready()
	queue := "/queues/" + d.vhost.Name + "/warren.jobs.mail"
	_, errs, code := d.warren("queues", "pause", "mail")
	require.Equal(t, 1, code)
	require.Contains(t, errs, `There is no queue "mail"`)
	id := d.submit("dots", `{"text":"x"}`, "--queue", "mail")
	_, errs, code = d.warren("queues", "pause", "mail", "--reason", "a test")
	require.Zero(t, code, errs)
	d.start("relay")
	other := d.submit("dots", `{"text":"x"}`, "--queue", "other")
	d.until("the other job is sent", func() bool {
		var page struct{ Items []engine.OutboxRow }
		d.do(http.MethodGet, "/api/v1/outbox", "", &page)
		return len(page.Items) == 1 && page.Items[0].JobID.String() == id
	})
	d.until("the outbox's page says why", func() bool { // the relay may send before its process is listed
		_, body := d.raw(http.MethodGet, "/outbox", "")
		return strings.Contains(string(body), "held up: mail is paused")
	})
	_, body := d.raw(http.MethodGet, "/jobs/"+id, "")
	require.Contains(t, string(body), "was paused")
	_, body = d.raw(http.MethodGet, "/", "")
	require.Contains(t, string(body), "mail is paused")
	require.Equal(t, http.StatusConflict, d.do(http.MethodPost, "/api/v1"+queue+"/pause", "", nil), "it is paused already")
	require.Equal(t, http.StatusNoContent, d.do(http.MethodPost, "/api/v1"+queue+"/resume", "", nil))
	d.until("the job is sent", func() bool {
		return len(list[engine.OutboxRow](d, "outbox")) == 0
	})

	require.Equal(t, http.StatusUnprocessableEntity, d.do(http.MethodPost, "/api/v1"+queue+"/purge", "", nil), "the name must be typed")
	require.Equal(t, http.StatusConflict, d.do(http.MethodPost, "/api/v1/queues/"+d.vhost.Name+"/foreign/purge?confirm=foreign", "", nil))
	var purge engine.Purge
	require.Equal(t, http.StatusOK, d.do(http.MethodPost, "/api/v1"+queue+"/purge?confirm=mail", "", &purge))
	require.Equal(t, 1, purge.Cancelled)
	require.GreaterOrEqual(t, purge.Messages, 1, "a message whose confirm comes late is there twice")
	require.Equal(t, jobs.Cancelled, d.job(id).State)
	require.Equal(t, jobs.Queued, d.job(other).State)
	var undone jobs.BulkResult
	require.Equal(t, http.StatusOK, d.do(http.MethodPost, "/api/v1"+queue+"/purges/"+purge.Operation.String()+"/undo", "", &undone))
	require.Equal(t, 1, undone.Done)
	require.Equal(t, jobs.Queued, d.job(id).State)

	_, _, code = d.warren("queues", "purge", "mail")
	require.Equal(t, 2, code)
	out, errs, code := d.warren("queues", "purge", "mail", "--confirm", "mail")
	require.Zero(t, code, errs)
	require.Contains(t, out, "CANCELLED")
	d.start("worker", "--queue", "other")
	d.inState(other, jobs.Completed)
}
