// Package tracing has the OpenTelemetry spans of a job that others than the engine begin, and
// how they travel in contexts, job rows and messages.
package tracing

import (
	"context"
	"encoding/json"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// A job's spans follow OpenTelemetry's conventions for messaging. Enqueue makes
// the producer span whose context the job keeps and each of its messages
// carries. Under it come, for each dispatch, publish (a relay, until the broker
// has confirmed) and deliver (a worker, until the message is acknowledged), and
// under deliver the handler. Without a span in the caller's context nothing is
// made and nothing is kept.

const tracerName = "github.com/warrenjobs/warren/jobs"

// origin stands for a span in the context of a process that traces: none yet,
// or the one that a message or request came from.
type origin struct {
	noop.Span
	provider trace.TracerProvider
	parent   trace.SpanContext
}

func (o origin) TracerProvider() trace.TracerProvider { return o.provider }
func (o origin) SpanContext() trace.SpanContext       { return o.parent }

// With has everything that runs under the context make its spans with
// the provider, also where no trace has begun. An application does not need it:
// Enqueue uses the provider of the caller's span.
func With(ctx context.Context, provider trace.TracerProvider) context.Context {
	return trace.ContextWithSpan(ctx, origin{provider: provider})
}

// Tracer is nil where nothing is traced.
func Tracer(ctx context.Context) trace.Tracer {
	span := trace.SpanFromContext(ctx)
	if _, ours := span.(origin); !ours && !span.SpanContext().IsValid() {
		return nil
	}
	return span.TracerProvider().Tracer(tracerName)
}

// Continue returns a context in the trace that came from elsewhere; ctx itself if none did.
func Continue(ctx context.Context, from trace.SpanContext) context.Context {
	if !from.IsValid() {
		return ctx
	}
	if o, ours := trace.SpanFromContext(ctx).(origin); ours {
		o.parent = from.WithRemote(true)
		return trace.ContextWithSpan(ctx, o)
	}
	return trace.ContextWithRemoteSpanContext(ctx, from)
}

// Parse reads W3C headers; what is not one of them gives an invalid one, which is no trace.
func Parse(headers propagation.TextMapCarrier) trace.SpanContext {
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), headers))
}

// Enqueue starts the span of adding a job, or n at once, of which this is
// the first. They keep Headers of the context that it returns. The caller
// ends the span.
func Enqueue(ctx context.Context, id uuid.UUID, kind, queue string, n int) (context.Context, trace.Span) {
	tracer := Tracer(ctx)
	if tracer == nil {
		return ctx, noop.Span{}
	}
	attrs := append(Messaging("enqueue", "create", queue), attribute.String("warren.job.kind", kind))
	if n == 1 {
		attrs = append(attrs, attribute.String("warren.job.id", id.String()))
	} else {
		attrs = append(attrs, attribute.Int("messaging.batch.message_count", n))
	}
	return tracer.Start(ctx, "enqueue "+queue, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(attrs...))
}

// Headers are the W3C headers of the context's span as a JSON object; nil without one.
func Headers(ctx context.Context) json.RawMessage {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return nil
	}
	headers := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, headers)
	raw, err := json.Marshal(headers)
	if err != nil { // a map of text: cannot happen
		return nil
	}
	return raw
}

// Messaging are the attributes of every span of a message. operation is
// "create", "send" or "process".
func Messaging(name, operation, destination string) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("messaging.system", "rabbitmq"),
		attribute.String("messaging.operation.name", name),
		attribute.String("messaging.operation.type", operation),
		attribute.String("messaging.destination.name", destination),
	}
}

// JobAttributes are the attributes of every span of one job.
func JobAttributes(id uuid.UUID, kind string, dispatch int) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("warren.job.id", id.String()),
		attribute.String("warren.job.kind", kind),
		attribute.Int("warren.dispatch", dispatch),
	}
}
