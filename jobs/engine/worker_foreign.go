package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs/tracing"
)

func (w *Worker) lookAgain(ctx context.Context, in Delivery, d time.Duration) {
	if sleep(ctx, d) {
		select {
		case w.again <- in:
			return
		case <-ctx.Done():
		}
	}
	w.logAck(in.Return())
}

// receiveForeign adopts a message that this deployment did not send, or keeps it as a dead job.
func (w *Worker) receiveForeign(ctx context.Context, in Delivery) {
	if !in.Foreign() {
		w.keepForeign(ctx, in, fmt.Sprintf("the message is of another deployment (app_id %q): it is not run here", in.AppID))
		return
	}
	if w.Registry.Lookup(in.Type) == nil {
		w.keepForeign(ctx, in, fmt.Sprintf("unknown job kind %q: no worker here handles it", in.Type))
		return
	}
	if bad := w.Registry.Check(in.Type, in.Body); bad != nil {
		w.keepForeign(ctx, in, "a message whose body does not fit its kind: "+bad.Error())
		return
	}
	id, err := w.Store.AdoptForeign(tracing.Continue(ctx, in.Trace), in)
	w.received(ctx, in, id, err)
}

// keepForeign makes a dead job of a message that cannot be run here. The message is not rejected:
// where Warren may set no policy, the broker would drop it.
func (w *Worker) keepForeign(ctx context.Context, in Delivery, why string) {
	id, err := w.Store.RefuseForeign(ctx, in, why)
	w.received(ctx, in, id, err)
}

// received acknowledges a message that is now a job, or that was one already.
func (w *Worker) received(ctx context.Context, in Delivery, id uuid.UUID, err error) {
	if err != nil {
		w.Log.Warn("worker: receive a message", "type", in.Type, "error", err)
		w.lookAgain(ctx, in, storeRetry)
		return
	}
	if id != uuid.Nil {
		w.Log.Info("worker: received a foreign message", "job", id, "type", in.Type, "message_id", in.MessageID)
		w.Announce(TopicJobs, id.String())
	}
	w.logAck(in.Ack())
}
