package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/tracing"
)

// tracePublished makes a span for each message that was sent, from the publish to the broker's
// answer, in the trace that the message carries.
func tracePublished(ctx context.Context, msgs []Message, receipts []Receipt, began time.Time) {
	tracer := tracing.Tracer(ctx)
	if tracer == nil {
		return
	}
	for i, m := range msgs {
		var headers propagation.MapCarrier
		if m.Headers == nil || json.Unmarshal(m.Headers, &headers) != nil {
			continue
		}
		parent := tracing.Parse(headers)
		if !parent.IsValid() {
			continue
		}
		destination, attrs := m.Exchange, []attribute.KeyValue(nil)
		if m.IsJob() {
			destination, attrs = m.RoutingKey, tracing.JobAttributes(m.JobID, m.Type, m.Dispatch)
		}
		attrs = append(attrs, tracing.Messaging("publish", "send", destination)...)
		attrs = append(attrs, attribute.String("messaging.message.id", m.MessageID),
			attribute.String("messaging.rabbitmq.destination.routing_key", m.RoutingKey))
		_, span := tracer.Start(tracing.Continue(ctx, parent), "publish "+destination, trace.WithSpanKind(trace.SpanKindClient),
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
func traceDelivery(ctx context.Context, in Delivery, c Claim) (context.Context, trace.Span) {
	ctx = tracing.Continue(ctx, in.Trace)
	tracer := tracing.Tracer(ctx)
	if tracer == nil {
		return ctx, noop.Span{}
	}
	attrs := append(tracing.Messaging("deliver", "process", in.Queue), tracing.JobAttributes(in.JobID, c.Kind, in.Dispatch)...)
	attrs = append(attrs, attribute.String("messaging.message.id", in.MessageID), attribute.Int("warren.attempt", c.Attempt),
		attribute.Bool("warren.redelivered", in.Redelivered))
	return tracer.Start(ctx, "deliver "+in.Queue, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(attrs...))
}

// endDelivery ends the span of a delivery once the result is written and the message acknowledged.
func endDelivery(span trace.Span, r Result) {
	if span.IsRecording() {
		span.SetAttributes(attribute.String("warren.outcome", r.Outcome), attribute.String("warren.job.state", string(r.State)))
		if r.Outcome != jobs.AttemptCompleted {
			span.SetStatus(codes.Error, r.Failure.Error)
		}
	}
	span.End()
}

// traceHandle starts the span of the handler, which the handler's context carries.
func traceHandle(ctx context.Context, run *jobs.Run) (context.Context, trace.Span) {
	tracer := tracing.Tracer(ctx)
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
