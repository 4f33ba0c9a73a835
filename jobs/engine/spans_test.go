package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/tracing"
)

// traced makes everything that this bundle runs from now on write spans.
func (b *bundle) traced() *traces {
	t := &traces{bundle: b, exported: tracetest.NewInMemoryExporter()}
	t.provider = sdk.NewTracerProvider(sdk.WithSyncer(t.exported))
	b.ctx = tracing.With(b.ctx, t.provider)
	return t
}

type traces struct {
	*bundle
	exported *tracetest.InMemoryExporter
	provider *sdk.TracerProvider
}

// named waits for n ended spans of that name and returns them, oldest first. Publishes that the
// broker refused do not count: a quorum queue may refuse a message in its first moments, and gets
// it again.
func (t *traces) named(name string, n int) (found tracetest.SpanStubs) {
	t.t.Helper()
	t.until(text(name), func() bool {
		found = nil
		for _, s := range t.exported.GetSpans() {
			if s.Name == name && !strings.HasPrefix(s.Status.Description, "negative confirm") {
				found = append(found, s)
			}
		}
		return len(found) >= n
	})
	require.Len(t.t, found, n, name)
	return found
}

func value(s tracetest.SpanStub, key attribute.Key) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.String()
		}
	}
	return ""
}

func TestTraces_OneTraceHasEnqueuePublishDeliverAndHandleAcrossARetry(t *testing.T) {
	b := setup(t)
	var next jobs.Job
	b.work = func(ctx context.Context, run *jobs.Run) error {
		if run.Attempt == 1 {
			return errors.New("not yet")
		}
		if run.Queue == "default" && run.Attempt == 2 {
			added, err := b.store.Enqueue(ctx, jobs.NewJob{Kind: "dots", Args: []byte(`{"text":""}`), Queue: "later"})
			next.ID = added[0].ID
			return err
		}
		return nil
	}
	spans := b.traced()
	b.relay()
	b.worker("w")
	ctx, request := spans.provider.Tracer("the application").Start(b.ctx, "POST /orders")
	added, err := b.store.Enqueue(ctx, jobs.New(step{}))
	require.NoError(t, err)
	request.End()
	id := added[0].ID
	b.eventually(id, "retrying", in(jobs.Retrying))
	require.NoError(t, b.store.RunNow(b.ctx, id, jobs.Actor{Name: "test"}))
	job := b.ended(id, jobs.Completed)

	enqueue := spans.named("enqueue default", 1)[0]
	require.Equal(t, request.SpanContext().SpanID(), enqueue.Parent.SpanID())
	require.Equal(t, trace.SpanKindProducer, enqueue.SpanKind)
	require.Equal(t, request.SpanContext().TraceID().String(), *job.TraceID, "the job's page names the trace")
	publish, deliver, handle := spans.named("publish default", 2), spans.named("deliver default", 2), spans.named("handle step", 2)
	for try := range 2 {
		for _, s := range []tracetest.SpanStub{publish[try], deliver[try]} {
			require.Equal(t, enqueue.SpanContext.SpanID(), s.Parent.SpanID(), s.Name)
			require.Equal(t, []string{"rabbitmq", "default", id.String(), "step", []string{"1", "2"}[try]}, []string{
				value(s, "messaging.system"), value(s, "messaging.destination.name"), value(s, "warren.job.id"),
				value(s, "warren.job.kind"), value(s, "warren.dispatch")})
		}
		require.Equal(t, trace.SpanKindConsumer, deliver[try].SpanKind)
		require.Equal(t, value(publish[try], "messaging.message.id"), value(deliver[try], "messaging.message.id"))
		require.Equal(t, deliver[try].SpanContext.SpanID(), handle[try].Parent.SpanID())
		require.False(t, handle[try].StartTime.Before(deliver[try].StartTime) || handle[try].EndTime.After(deliver[try].EndTime),
			"the handler runs within the delivery")
	}
	require.Equal(t, codes.Error, handle[0].Status.Code)
	require.Equal(t, "not yet", handle[0].Status.Description)
	require.Equal(t, codes.Unset, handle[1].Status.Code)
	require.Equal(t, "retrying", value(deliver[0], "warren.job.state"))

	child := spans.named("enqueue later", 1)[0]
	require.Equal(t, handle[1].SpanContext.SpanID(), child.Parent.SpanID(), "a handler's own jobs are in the trace")
	require.Equal(t, job.TraceID, b.job(next.ID).TraceID)
	for _, s := range spans.exported.GetSpans() {
		require.Equal(t, *job.TraceID, s.SpanContext.TraceID().String(), s.Name)
	}
}

const (
	foreignTrace = "0af7651916cd43dd8448eb211c80319c"
	sampled      = "00-" + foreignTrace + "-b7ad6b7169203331-01"
	unsampled    = "00-" + foreignTrace + "-b7ad6b7169203331-00"
)

// publishForeign publishes a message with that header and waits for its job.
func (b *bundle) publishForeign(traceparent string) jobs.Detail {
	b.topology()
	b.publish("warren.jobs", "default", amqp.Publishing{Type: "step", ContentType: "application/json", Body: []byte(`{}`),
		MessageId: b.t.Name(),
		Headers:   amqp.Table{"traceparent": traceparent, "tracestate": "vendor=1"}})
	b.until(text("adopted and run"), func() bool {
		return b.number(`SELECT count(*) FROM warren.jobs WHERE state = 'completed'`) == 1
	})
	list, err := b.store.Jobs(b.ctx, jobs.Filter{}, jobs.Cursor{}, 1)
	require.NoError(b.t, err)
	return b.job(list.Items[0].ID)
}

func TestTraces_TheTraceOfAForeignMessageIsContinued(t *testing.T) {
	b := setup(t)
	b.work = func(context.Context, *jobs.Run) error { return nil }
	spans := b.traced()
	b.relay()
	b.worker("w")
	require.Equal(t, foreignTrace, *b.publishForeign(sampled).TraceID)
	for _, name := range []string{"enqueue default", "publish default", "deliver default", "handle step"} {
		s := spans.named(name, 1)[0]
		require.Equal(t, foreignTrace, s.SpanContext.TraceID().String(), name)
		require.Equal(t, "vendor=1", s.SpanContext.TraceState().String(), name)
	}
}

func TestTraces_ATraceThatItsCallerDoesNotSampleIsCarriedAndNotWritten(t *testing.T) {
	b := setup(t)
	seen := make(chan trace.SpanContext, 1)
	b.work = func(ctx context.Context, _ *jobs.Run) error { seen <- trace.SpanContextFromContext(ctx); return nil }
	spans := b.traced()
	b.relay()
	b.worker("w")
	b.publishForeign(unsampled)
	got := await(b, "the handler's context", seen)
	require.Equal(t, foreignTrace, got.TraceID().String())
	require.False(t, got.IsSampled())
	require.Empty(t, spans.exported.GetSpans())
}

func TestTraces_AWorkerThatWritesNoSpansPassesTheTraceOn(t *testing.T) {
	b := setup(t)
	seen := make(chan trace.SpanContext, 1)
	b.work = func(ctx context.Context, _ *jobs.Run) error { seen <- trace.SpanContextFromContext(ctx); return nil }
	b.relay()
	b.worker("w")
	b.publishForeign(sampled)
	got := await(b, "the handler's context", seen)
	require.Equal(t, foreignTrace, got.TraceID().String())
	require.True(t, got.IsSampled())
}

func TestTraces_AJobWithoutATraceKeepsNone(t *testing.T) {
	b := setup(t)
	b.work = func(context.Context, *jobs.Run) error { return nil }
	b.relay()
	b.worker("w")
	require.Empty(t, b.ended(b.step(), jobs.Completed).TraceID)
	require.Equal(t, 1, b.number(`SELECT count(*) FROM warren.jobs WHERE trace IS NULL`))
}

func TestTraces_ThatAreOffAllocateNothing(t *testing.T) { // not parallel: it counts allocations
	require.Zero(t, testing.AllocsPerRun(100, func() {
		ctx, span := tracing.Enqueue(t.Context(), uuid.Nil, "step", "default", 1)
		_ = tracing.Headers(ctx)
		span.End()
	}))
}
