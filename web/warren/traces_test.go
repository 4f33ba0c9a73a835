package main

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
)

// collector receives spans over OTLP and keeps the bytes, in which names and ids appear as they
// are.
func (d *deployment) collector() (spans *lockedBuffer) {
	spans = &lockedBuffer{}
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err == nil && r.URL.Path == "/v1/traces" {
			_, _ = spans.Write(body)
		}
	}))
	d.t.Cleanup(s.Close)
	d.env = append(d.env, "OTEL_EXPORTER_OTLP_ENDPOINT="+s.URL, "OTEL_BSP_SCHEDULE_DELAY=100")
	return spans
}

func TestTraces_TheTraceOfARequestGoesOnInItsJobAndReachesTheCollector(t *testing.T) {
	d := deploy(t)
	spans := d.collector()
	d.start()
	d.ready()
	const id = "0af7651916cd43dd8448eb211c80319c"
	req, err := http.NewRequestWithContext(d.ctx, http.MethodPost, d.base+"/api/v1/jobs",
		strings.NewReader(`{"kind":"dots","args":{"text":"x"}}`))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Traceparent", "00-"+id+"-b7ad6b7169203331-01")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusCreated, resp.StatusCode)
	job := strings.TrimPrefix(resp.Header.Get("Location"), "/api/v1/jobs/")

	require.Equal(t, id, *d.inState(job, jobs.Completed).TraceID)
	_, page := d.raw(http.MethodGet, "/jobs/"+job, "")
	require.Contains(t, string(page), id)
	trace, err := hex.DecodeString(id)
	require.NoError(t, err)
	d.until("the spans of the whole way", func() bool {
		got := spans.String()
		for _, name := range []string{"enqueue default", "publish default", "deliver default", "handle dots"} {
			if !strings.Contains(got, name) {
				return false
			}
		}
		return strings.Count(got, string(trace)) >= 4
	})
}

func TestTraces_AWrongTracesVariableIsNamed(t *testing.T) {
	d := deploy(t)
	for variable, says := range map[string]string{
		"OTEL_TRACES_EXPORTER=zipkin":           `OTEL_TRACES_EXPORTER is "zipkin": it must be otlp or none`,
		"OTEL_EXPORTER_OTLP_PROTOCOL=http/json": `OTEL_EXPORTER_OTLP_PROTOCOL is "http/json": it must be http/protobuf or grpc`,
		// OpenTelemetry's own parser would log it.
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://u:hunter2%zz@h:4318": "OTEL_EXPORTER_OTLP_ENDPOINT is not a URL",
		"OTEL_EXPORTER_OTLP_HEADERS=Bearer hunter2":              "HEADERS must look like",
	} {
		one := *d
		one.env = append(append([]string{}, d.env...), "OTEL_TRACES_EXPORTER=otlp", variable)
		_, errs, code := one.warren("web")
		require.Equal(t, 1, code)
		require.Contains(t, errs, says)
		require.NotContains(t, errs, "hunter2")
	}
}
