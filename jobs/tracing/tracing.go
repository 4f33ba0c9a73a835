// Package tracing starts the OpenTelemetry spans of a job that are not started by the engine, and
// propagates their context through Go contexts, job rows and messages.
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

// A job's spans follow OpenTelemetry's conventions for messaging. Enqueue starts the producer
// span; its context is stored with the job and sent in each of its messages. Each dispatch adds
// two child spans: publish (by the relay, until the broker has confirmed) and deliver (by the
// worker, until the message is acknowledged); the handler's span is a child of deliver. Without
// a span in the caller's context no span is started and no context is stored.

const tracerName = "github.com/warrenjobs/warren/jobs"

// origin takes the place of a span in the context of a process that traces: there is no span
// yet, or only that of the message or request that the context came from.
type origin struct {
	noop.Span
	provider trace.TracerProvider
	parent   trace.SpanContext
}

func (o origin) TracerProvider() trace.TracerProvider { return o.provider }
func (o origin) SpanContext() trace.SpanContext       { return o.parent }

// With returns a context in which spans are started with the provider, even if there is no
// trace yet. Applications do not need it: Enqueue uses the provider of the caller's span.
func With(ctx context.Context, provider trace.TracerProvider) context.Context {
	return trace.ContextWithSpan(ctx, origin{provider: provider})
}

// Tracer returns the tracer of the context, or nil if the context is not traced.
func Tracer(ctx context.Context) trace.Tracer {
	span := trace.SpanFromContext(ctx)
	if _, ours := span.(origin); !ours && !span.SpanContext().IsValid() {
		return nil
	}
	return span.TracerProvider().Tracer(tracerName)
}

// Continue returns a context that continues the remote trace; ctx itself if from is not valid.
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

// Parse returns the span context in W3C headers, or an invalid one if they contain none.
func Parse(headers propagation.TextMapCarrier) trace.SpanContext {
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), headers))
}

// Enqueue starts the span of enqueueing n jobs, of which this is the first. The jobs store
// Headers of the returned context. The caller must end the span.
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

// Values returns the W3C headers of the context's span; none if there is no span.
func Values(ctx context.Context) map[string]string {
	headers := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, headers)
	return headers
}

// Headers returns Values as a JSON object, or nil if there is no span.
func Headers(ctx context.Context) json.RawMessage {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return nil
	}
	raw, err := json.Marshal(Values(ctx))
	if err != nil { // cannot happen for a map of strings
		return nil
	}
	return raw
}

// Messaging returns the attributes that all spans of a message have. operation is "create",
// "send" or "process".
func Messaging(name, operation, destination string) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("messaging.system", "rabbitmq"),
		attribute.String("messaging.operation.name", name),
		attribute.String("messaging.operation.type", operation),
		attribute.String("messaging.destination.name", destination),
	}
}

// JobAttributes returns the attributes that all spans of a job have.
func JobAttributes(id uuid.UUID, kind string, dispatch int) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("warren.job.id", id.String()),
		attribute.String("warren.job.kind", kind),
		attribute.Int("warren.dispatch", dispatch),
	}
}
