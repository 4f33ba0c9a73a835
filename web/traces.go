package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
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
	var refused refusals
	otel.SetLogger(logr.FromSlogHandler(&refused))
	exporter, err := newExporter(ctx, os.Getenv)
	if err == nil {
		err = refused.err()
	}
	if err != nil {
		return ctx, nil, err
	}
	otel.SetLogger(logr.FromSlogHandler(log.Handler()))
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
	if err := checkEndpoints(env); err != nil {
		return nil, err
	}
	switch protocol {
	case "", "http/protobuf":
		return otlptracehttp.New(ctx)
	case "grpc":
		return otlptracegrpc.New(ctx)
	}
	return nil, fmt.Errorf("%s is %q: it must be http/protobuf or grpc", name, protocol)
}

// checkEndpoints checks the URLs before the exporters do, which log one that they cannot parse, and
// leave out its account.
func checkEndpoints(env func(string) string) error {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"} {
		endpoint := strings.TrimSpace(env(name))
		u, err := url.Parse(endpoint)
		switch {
		case endpoint == "":
		case err != nil || u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "unix" || u.Host == "" && u.Scheme != "unix":
			return fmt.Errorf("%s is not a URL: it must look like http://collector:4318", name)
		case u.User != nil:
			return fmt.Errorf("%s has a user or a password, which are not sent: put them into OTEL_EXPORTER_OTLP_HEADERS, as "+
				"authorization=Basic%%20… in base64", name)
		}
	}
	return nil
}

// refusals is a slog.Handler that collects what the exporters refuse of their variables. They would
// go on without it, and log it with its value, which may be a secret.
type refusals struct{ what []string }

func (r *refusals) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }

func (r *refusals) Handle(_ context.Context, record slog.Record) error {
	r.what = append(r.what, record.Message)
	return nil
}

func (r *refusals) WithAttrs([]slog.Attr) slog.Handler { return r }
func (r *refusals) WithGroup(string) slog.Handler      { return r }

func (r *refusals) err() error {
	if len(r.what) == 0 {
		return nil
	}
	return fmt.Errorf("a variable OTEL_EXPORTER_OTLP_… cannot be used (%s): HEADERS must look like "+
		"authorization=Bearer%%20TOKEN,team=shop, TIMEOUT is in milliseconds, and CERTIFICATE, CLIENT_CERTIFICATE and CLIENT_KEY are "+
		"PEM files",
		strings.Join(r.what, ", "))
}
