package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
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

// WithTracing has everything that runs under the context make its spans with
// the provider, also where no trace has begun. An application does not need it:
// Enqueue uses the provider of the caller's span.
func WithTracing(ctx context.Context, provider trace.TracerProvider) context.Context {
	return trace.ContextWithSpan(ctx, origin{provider: provider})
}

// tracerOf is nil where nothing is traced.
func tracerOf(ctx context.Context) trace.Tracer {
	span := trace.SpanFromContext(ctx)
	if _, ours := span.(origin); !ours && !span.SpanContext().IsValid() {
		return nil
	}
	return span.TracerProvider().Tracer(tracerName)
}

// ContinueTrace returns a context in the trace that came from elsewhere; ctx itself if none did.
func ContinueTrace(ctx context.Context, from trace.SpanContext) context.Context {
	if !from.IsValid() {
		return ctx
	}
	if o, ours := trace.SpanFromContext(ctx).(origin); ours {
		o.parent = from.WithRemote(true)
		return trace.ContextWithSpan(ctx, o)
	}
	return trace.ContextWithRemoteSpanContext(ctx, from)
}

// ParseTrace reads W3C headers; what is not one of them gives an invalid one, which is no trace.
func ParseTrace(headers propagation.TextMapCarrier) trace.SpanContext {
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), headers))
}

// TraceEnqueue starts the span of adding a job, or n at once, of which this is
// the first. They keep TraceHeaders of the context that it returns. The caller
// ends the span.
func TraceEnqueue(ctx context.Context, id uuid.UUID, kind, queue string, n int) (context.Context, trace.Span) {
	tracer := tracerOf(ctx)
	if tracer == nil {
		return ctx, noop.Span{}
	}
	attrs := append(messaging("enqueue", "create", queue), attribute.String("warren.job.kind", kind))
	if n == 1 {
		attrs = append(attrs, attribute.String("warren.job.id", id.String()))
	} else {
		attrs = append(attrs, attribute.Int("messaging.batch.message_count", n))
	}
	return tracer.Start(ctx, "enqueue "+queue, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(attrs...))
}

// TraceHeaders are the W3C headers of the context's span as a JSON object; nil without one.
func TraceHeaders(ctx context.Context) json.RawMessage {
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

// messaging are the attributes of every span of a message. operation is
// "create", "send" or "process".
func messaging(name, operation, destination string) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("messaging.system", "rabbitmq"),
		attribute.String("messaging.operation.name", name),
		attribute.String("messaging.operation.type", operation),
		attribute.String("messaging.destination.name", destination),
	}
}

func jobAttributes(id uuid.UUID, kind string, dispatch int) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("warren.job.id", id.String()),
		attribute.String("warren.job.kind", kind),
		attribute.Int("warren.dispatch", dispatch),
	}
}

// tracePublished makes the spans of messages that were sent, in the trace that
// each of them carries: from the publish to the broker's word.
func tracePublished(ctx context.Context, msgs []Message, receipts []Receipt, began time.Time) {
	tracer := tracerOf(ctx)
	if tracer == nil {
		return
	}
	for i, m := range msgs {
		var headers propagation.MapCarrier
		if m.Headers == nil || json.Unmarshal(m.Headers, &headers) != nil {
			continue
		}
		parent := ParseTrace(headers)
		if !parent.IsValid() {
			continue
		}
		destination, attrs := m.Exchange, []attribute.KeyValue(nil)
		if m.IsJob() {
			destination, attrs = m.RoutingKey, jobAttributes(m.JobID, m.Type, m.Dispatch)
		}
		attrs = append(attrs, messaging("publish", "send", destination)...)
		attrs = append(attrs, attribute.String("messaging.message.id", m.MessageID), attribute.String("messaging.rabbitmq.destination.routing_key", m.RoutingKey))
		_, span := tracer.Start(ContinueTrace(ctx, parent), "publish "+destination, trace.WithSpanKind(trace.SpanKindClient),
			trace.WithTimestamp(began), trace.WithAttributes(attrs...))
		end := time.Now()
		rc := receipts[i]
		if rc.Took > 0 {
			end = began.Add(rc.Took)
		}
		if unheard := rc.Status == Unroutable && !m.IsJob() && !m.Required; rc.Status != Confirmed && !unheard {
			span.SetStatus(codes.Error, cmp.Or(rc.Detail, OutboxUnconfirmed))
		}
		span.End(trace.WithTimestamp(end))
	}
}

// traceDelivery starts the span of a delivery that is run, in the trace that the message carries.
func traceDelivery(ctx context.Context, in Incoming, c Claim) (context.Context, trace.Span) {
	ctx = ContinueTrace(ctx, in.Trace)
	tracer := tracerOf(ctx)
	if tracer == nil {
		return ctx, noop.Span{}
	}
	attrs := append(messaging("deliver", "process", in.Queue), jobAttributes(in.JobID, c.Kind, in.Dispatch)...)
	attrs = append(attrs, attribute.String("messaging.message.id", in.MessageID), attribute.Int("warren.attempt", c.Attempt), attribute.Bool("warren.redelivered", in.Redelivered))
	return tracer.Start(ctx, "deliver "+in.Queue, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(attrs...))
}

// endDelivery is for when the result is written and the message acknowledged.
func endDelivery(span trace.Span, r Result) {
	if span.IsRecording() {
		span.SetAttributes(attribute.String("warren.outcome", r.Outcome), attribute.String("warren.job.state", string(r.State)))
		if r.Outcome != AttemptCompleted {
			span.SetStatus(codes.Error, r.Failure.Error)
		}
	}
	span.End()
}

// traceHandle starts the span of the handler, which the handler's context carries.
func traceHandle(ctx context.Context, run *Run) (context.Context, trace.Span) {
	tracer := tracerOf(ctx)
	if tracer == nil {
		return ctx, noop.Span{}
	}
	return tracer.Start(ctx, "handle "+run.Kind, trace.WithAttributes(attribute.String("warren.job.id", run.ID.String()),
		attribute.String("warren.job.kind", run.Kind), attribute.Int("warren.attempt", run.Attempt)))
}

func endHandle(span trace.Span, err error) {
	if err != nil && span.IsRecording() {
		f := newFailure(err)
		span.SetAttributes(attribute.String("error.type", f.Class))
		span.SetStatus(codes.Error, f.Error)
	}
	span.End()
}
