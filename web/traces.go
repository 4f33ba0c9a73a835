package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	"golang.org/x/time/rate"

	"github.com/warrenjobs/warren/jobs/tracing"
)

// flushTraces is how long a stopping process waits for the collector to take the last spans.
const flushTraces = 3 * time.Second

// startTracing returns a context under which spans are sent to where the standard OTEL_ variables
// point, and nowhere without them. flush sends the spans that wait.
func startTracing(ctx context.Context, log *slog.Logger) (_ context.Context, flush func(), err error) {
	if !tracesWanted(os.Getenv) {
		return ctx, func() {}, nil
	}
	exporter, err := newExporter(ctx, os.Getenv)
	if err != nil {
		return ctx, nil, err
	}
	about, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithHost(), resource.WithProcessPID(),
		resource.WithAttributes(attribute.String("service.name", "warren"), attribute.String("service.version", Version)),
		resource.WithFromEnv()) // last: OTEL_SERVICE_NAME wins
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return ctx, nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	now := rate.Sometimes{First: 1, Interval: time.Minute} // each batch fails while the collector is away
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		now.Do(func() { log.Warn("traces: cannot send spans", "error", err) })
	}))
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter), trace.WithResource(about))
	flush = func() {
		ctx, cancel := context.WithTimeout(context.Background(), flushTraces)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			log.Warn("traces: the last spans were not sent", "error", err)
		}
	}
	return tracing.With(ctx, provider), flush, nil
}

// tracesWanted reports whether an exporter or an endpoint is set.
func tracesWanted(env func(string) string) bool {
	switch {
	case strings.EqualFold(env("OTEL_SDK_DISABLED"), "true"), env("OTEL_TRACES_EXPORTER") == "none":
		return false
	}
	return env("OTEL_TRACES_EXPORTER") != "" || env("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}

// newExporter returns an exporter without connecting; the exporters read the other
// OTEL_EXPORTER_OTLP_ variables themselves.
func newExporter(ctx context.Context, env func(string) string) (*otlptrace.Exporter, error) {
	if name := env("OTEL_TRACES_EXPORTER"); name != "" && name != "otlp" {
		return nil, fmt.Errorf("OTEL_TRACES_EXPORTER is %q: it must be otlp or none", name)
	}
	name, protocol := "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", env("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
	if protocol == "" {
		name, protocol = "OTEL_EXPORTER_OTLP_PROTOCOL", env("OTEL_EXPORTER_OTLP_PROTOCOL")
	}
	switch protocol {
	case "", "http/protobuf":
		return otlptracehttp.New(ctx)
	case "grpc":
		return otlptracegrpc.New(ctx)
	}
	return nil, fmt.Errorf("%s is %q: it must be http/protobuf or grpc", name, protocol)
}
