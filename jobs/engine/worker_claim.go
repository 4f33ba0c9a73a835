package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs/tracing"
)

// claim decides about a batch; each delivery holds a slot, which either its run takes over or is given back.
func (w *Worker) claim(ctx, back context.Context, batch []Delivery) {
	ours := batch[:0]
	taken := map[DispatchKey]bool{}
	for _, in := range batch {
		lease, joined := w.join(in)
		switch {
		case in.Foreign(), in.AppID != w.Deployment:
			w.releaseAndGo(func() { w.receiveForeign(ctx, in) })
		case joined:
			w.releaseAndGo(func() { w.recordSameRun(back, in, lease) })
		case taken[in.Key()]: // the same message twice: it joins the run of the first
			w.releaseAndGo(func() { w.decide(ctx, back, in, 0) })
		default:
			taken[in.Key()] = true
			ours = append(ours, in)
		}
	}
	if len(ours) == 0 {
		return
	}
	w.claiming.Lock()
	defer w.claiming.Unlock()
	claims, err := w.claimQueued(back, ours)
	if err != nil {
		w.Log.Warn("worker: claim", "error", err)
		for _, in := range ours {
			in.ClaimUnknown = true
			w.releaseAndGo(func() { w.decide(ctx, back, in, storeRetry) })
		}
		return
	}
	var ids []string
	for _, in := range ours {
		if c, ok := claims[in.Key()]; ok {
			ids = append(ids, in.JobID.String())
			w.reached(in)
			w.start(back, in, c)
			continue
		}
		w.releaseAndGo(func() { w.decide(ctx, back, in, 0) })
	}
	if len(ids) > 0 {
		w.Announce(TopicJobs, ids...)
	}
}

func (w *Worker) claimQueued(back context.Context, in []Delivery) (map[DispatchKey]Claim, error) {
	holder, err := w.lease()
	if err != nil {
		return nil, err
	}
	claims, err := w.Store.Claim(back, holder, in)
	w.claimFailed(err)
	return claims, err
}

// aside gives the slot back and does what may wait without holding up the others.
func (w *Worker) releaseAndGo(do func()) {
	w.slots <- struct{}{}
	w.deciding.Go(do)
}

// settle decides about one delivery with its row locked, and looks again while
// the holder lives (one that was killed is known to be gone after SessionSilent),
// for at most one lease period. After that PostgreSQL recovers the job. When ctx ends the delivery goes back to the broker.
func (w *Worker) decide(ctx, back context.Context, in Delivery, wait time.Duration) {
	since := time.Now()
	for sleep(ctx, wait) {
		wait = min(max(wait*2, 20*time.Millisecond), storeRetry)
		if !acquire(ctx, w.slots) { // a claim needs a slot
			break
		}
		verdict, err := w.claimOne(back, in)
		if err == nil && (verdict == DecisionClaim || verdict == DecisionTakeOver) {
			return
		}
		w.slots <- struct{}{}
		switch {
		case err != nil:
			w.Log.Warn("worker: claim", "job", in.JobID, "error", err)
			in.ClaimUnknown = true
		case verdict == DecisionWait && time.Since(since) < SessionTTL:
		case verdict == DecisionUnknown:
			w.keepForeign(ctx, in, unknownJob(in))
			return
		default: // stale, ended, or the wait is over
			w.Announce(TopicJobs, in.JobID.String())
			w.logAck(in.Ack())
			return
		}
	}
	w.logAck(in.Return())
}

// claimOne claims a single delivery and starts its run. The lock keeps two
// deliveries of one job apart: without it the second could take a claim whose
// run has not started yet for one that this process lost.
func (w *Worker) claimOne(back context.Context, in Delivery) (ClaimDecision, error) {
	w.claiming.Lock()
	defer w.claiming.Unlock()
	if lease, joined := w.join(in); joined {
		w.slots <- struct{}{}
		w.recordSameRun(back, in, lease)
		return DecisionClaim, nil
	}
	holder, err := w.lease()
	if err != nil {
		return DecisionWait, err
	}
	c, err := w.Store.ClaimOne(back, holder, in)
	w.claimFailed(err)
	if err == nil && (c.Decision == DecisionClaim || c.Decision == DecisionTakeOver) {
		w.start(back, in, c)
		w.Announce(TopicJobs, in.JobID.String())
	}
	return c.Decision, err
}

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

// receiveForeign adopts a message that no Warren wrote, or keeps it as a dead job.
func (w *Worker) receiveForeign(ctx context.Context, in Delivery) {
	if !in.Foreign() {
		w.keepForeign(ctx, in, fmt.Sprintf("the message is of another deployment (app_id %q): it is not run here", in.AppID))
		return
	}
	if w.Registry.Lookup(in.Type) == nil {
		w.keepForeign(ctx, in, fmt.Sprintf("a message with the type %q, which is no kind of job here", in.Type))
		return
	}
	if bad := w.Registry.Check(in.Type, in.Body); bad != nil {
		w.keepForeign(ctx, in, "a message whose body does not fit its kind: "+bad.Error())
		return
	}
	id, err := w.Store.AdoptForeign(tracing.Continue(ctx, in.Trace), in)
	w.received(ctx, in, id, err)
}

// keep makes a dead job of a message that cannot be run here. It is not
// rejected: where Warren may set no policy, the broker would drop it.
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
		w.Log.Info("worker: received a message that is no job of ours", "job", id, "type", in.Type, "message_id", in.MessageID)
		w.Announce(TopicJobs, id.String())
	}
	w.logAck(in.Ack())
}

// join answers another delivery of a dispatch that this process runs, with the
// lease of that run: it is acknowledged with it.
func (w *Worker) join(in Delivery) (lease int, joined bool) {
	w.mu.Lock()
	active := w.running[in.Key()]
	w.mu.Unlock()
	if active == nil {
		return 0, false
	}
	active.mu.Lock()
	defer active.mu.Unlock()
	active.acks = append(active.acks, in)
	if active.acked {
		w.logAck(in.Ack())
	}
	return active.lease, true
}

func (w *Worker) recordSameRun(back context.Context, in Delivery, lease int) {
	if err := w.Store.RecordSameRun(back, w.holder().Holder(), in, lease); err != nil {
		w.Log.Warn("worker: record a redelivery", "job", in.JobID, "error", err)
	}
}
