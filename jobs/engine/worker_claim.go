package engine

import (
	"context"
	"time"
)

// claim decides about a batch. Each delivery holds a slot, which is either taken over by its run or
// released.
func (w *Worker) claim(ctx, back context.Context, batch []Delivery) {
	ours := batch[:0]
	taken := map[DispatchKey]bool{}
	for _, in := range batch {
		lease, joined := w.join(in)
		switch {
		case in.Event && w.Events != nil: // again, as it could not be received before
			w.releaseAndGo(func() { w.receiveEvent(ctx, in) })
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
			w.reached.add(in)
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
	holder, err := w.lease.holder()
	if err != nil {
		return nil, err
	}
	claims, err := w.Store.Claim(back, holder, in)
	w.lease.claimed(err)
	return claims, err
}

// releaseAndGo releases the slot and runs do in a goroutine, so that it holds up no other delivery.
func (w *Worker) releaseAndGo(do func()) {
	w.slots.release(1)
	w.deciding.Go(do)
}

// decide decides about one delivery with its row locked. While the holder is alive it tries again,
// for at most one lease period (one that was killed is known to be gone after SessionSilent); after
// that PostgreSQL recovers the job. When ctx ends the delivery goes back to the broker.
func (w *Worker) decide(ctx, back context.Context, in Delivery, wait time.Duration) {
	since := time.Now()
	for sleep(ctx, wait) {
		wait = min(max(wait*2, 20*time.Millisecond), storeRetry)
		if !w.slots.acquire(ctx) { // a claim needs a slot
			break
		}
		decision, err := w.claimOne(back, in)
		if err == nil && (decision == DecisionClaim || decision == DecisionTakeOver) {
			return
		}
		w.slots.release(1)
		switch {
		case err != nil:
			w.Log.Warn("worker: claim", "job", in.JobID, "error", err)
			in.ClaimUnknown = true
		case decision == DecisionWait && time.Since(since) < SessionTTL:
		case decision == DecisionUnknown:
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

// claimOne claims a single delivery and starts its run. The lock keeps two deliveries of one job
// apart: without it, the second could mistake a claim whose run has not started yet for one that
// this process lost.
func (w *Worker) claimOne(back context.Context, in Delivery) (ClaimDecision, error) {
	w.claiming.Lock()
	defer w.claiming.Unlock()
	if lease, joined := w.join(in); joined {
		w.slots.release(1)
		w.recordSameRun(back, in, lease)
		return DecisionClaim, nil
	}
	holder, err := w.lease.holder()
	if err != nil {
		return DecisionWait, err
	}
	c, err := w.Store.ClaimOne(back, holder, in)
	w.lease.claimed(err)
	if err == nil && (c.Decision == DecisionClaim || c.Decision == DecisionTakeOver) {
		w.start(back, in, c)
		w.Announce(TopicJobs, in.JobID.String())
	}
	return c.Decision, err
}

// join adds the delivery to the run of its dispatch, if this process has one, and returns the lease
// of that run. The delivery is acknowledged with the run.
func (w *Worker) join(in Delivery) (lease int, joined bool) {
	active := w.runs.of(in.Key())
	if active == nil {
		return 0, false
	}
	w.logAck(active.join(in))
	return active.lease, true
}

func (w *Worker) recordSameRun(back context.Context, in Delivery, lease int) {
	if err := w.Store.RecordSameRun(back, w.lease.current().Holder(), in, lease); err != nil {
		w.Log.Warn("worker: record a redelivery", "job", in.JobID, "error", err)
	}
}
