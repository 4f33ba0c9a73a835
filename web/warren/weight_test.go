package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
)

var assetOf = regexp.MustCompile(`(?:href|src)="(/static/[^"]+)"`)

func TestWeight_PagesGoCompressedOverTheWireAndTheFirstLoadIsLight(t *testing.T) {
	d := deploy(t)
	d.start()
	d.ready()
	get := func(path string) (wire int, body []byte) {
		res := d.zipped(path)
		defer func() { _ = res.Body.Close() }()
		zipped, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.Equal(t, "gzip", res.Header.Get("Content-Encoding"), path)
		require.Contains(t, res.Header.Values("Vary"), "Accept-Encoding", path)
		z, err := gzip.NewReader(bytes.NewReader(zipped))
		require.NoError(t, err)
		body, err = io.ReadAll(z)
		require.NoError(t, err)
		return len(zipped), body
	}
	d.subscriber("search", "tasks", "#")
	require.Equal(t, http.StatusCreated, d.do("POST", "/api/v1/tasks", `{"description":"Water the plants","done":true}`, nil))
	received := d.received("search", jobs.Completed)
	for _, path := range []string{"/", "/events", "/events/" + received, "/events/subscribers", "/events/subscribers/search/replay"} {
		total, page := get(path)
		require.Contains(t, string(page), "</html>", path)
		for _, asset := range assetOf.FindAllSubmatch(page, -1) {
			wire, _ := get(string(asset[1]))
			total += wire
		}
		require.Less(t, total, 64<<10-2<<10, "%s: with a page full of rows it is some 2 kB more", path)
	}
	status, problem := d.raw("GET", "/jobs?state=nope", "")
	require.Equal(t, http.StatusUnprocessableEntity, status)
	require.Contains(t, string(problem), "is not a valid state", "an error is readable, compressed or not")

	live := d.zipped("/live?topics=jobs")
	defer func() { _ = live.Body.Close() }()
	require.Empty(t, live.Header.Get("Content-Encoding"), "a stream is not held back")
}

// zipped requests a page with gzip, as a browser does, and does not decompress the response.
func (d *deployment) zipped(path string) *http.Response {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.ctx, http.MethodGet, d.base+path, nil)
	require.NoError(d.t, err)
	req.Header.Set("Accept-Encoding", "gzip")
	res, err := http.DefaultClient.Do(req)
	require.NoError(d.t, err)
	return res
}
