package engine

import (
	"context"
	"math/rand/v2"
	"time"
)

// consume keeps one subscription after the other open until ctx ends, and stops the last one in
// good order. While the worker is quiet there is none.
func (w *Worker) consume(ctx, back context.Context) {
	c := &consuming{Worker: w, wait: consumeRetry, prefetch: w.Prefetch}
	for ctx.Err() == nil {
		taking, end := w.gate.pass(ctx)
		stopped := c.once(ctx, back, taking, end)
		end()
		if stopped {
			return
		}
	}
	w.stop(back, nil)
}

const consumeRetry = 100 * time.Millisecond // before a second try to subscribe

// consuming is the state that one subscription passes on to the next.
type consuming struct {
	*Worker
	wait     time.Duration // before the next try, if it fails
	warned   bool
	prefetch int
	full     bool // leave the messages to other workers until a slot is free
}

// once keeps one subscription open until it, taking or ctx ends. It reports whether ctx ended; then
// the worker has stopped, too.
func (c *consuming) once(ctx, back, taking context.Context, end context.CancelFunc) (stopped bool) {
	if c.full && c.slots.acquire(taking) {
		c.slots.release(1)
	}
	if err := c.bindSubscribers(taking); err != nil {
		c.retryLater(ctx, taking, err)
		return false
	}
	prefetches := c.prefetches(c.prefetch)
	sub, err := c.Consumer.Consume(taking, prefetches)
	if err != nil {
		c.retryLater(ctx, taking, err)
		return false
	}
	c.wait, c.warned = consumeRetry, false
	c.reportHealth(ctx, "")
	c.Log.Info("worker: consuming", "queues", c.Queues, "concurrency", c.Concurrency, "prefetch", c.prefetch)
	fewer := make(chan int, 1)
	sub = c.arrange(c.receiving(taking, sub, total(prefetches)), c.prefetch, func(started int) {
		fewer <- min(c.Concurrency+started, c.prefetch-1)
		end()
	})
	from := c.watch(sub)
	if c.full = c.take(taking, back, sub, from); c.full {
		end()
	}
	switch {
	case ctx.Err() != nil:
		end()
		c.stop(back, sub)
		return true
	case taking.Err() != nil:
		select {
		case c.prefetch = <-fewer:
			c.full = true
			c.Log.Info("worker: messages wait too long for a slot, holds fewer of them", "prefetch", c.prefetch)
		default:
			c.Log.Info("worker: takes no new jobs", "full", c.full)
		}
		c.retire(back, sub)
	default:
		c.Log.Warn("worker: the broker ended the subscription", "error", sub.Err())
		c.channelBroke(from)
		c.prefetch = c.Prefetch
		_ = sub.Close()
	}
	return false
}

func (c *consuming) retryLater(ctx, taking context.Context, err error) {
	if !c.warned && taking.Err() == nil {
		c.Log.Warn("worker: cannot consume, goes on trying", "queues", c.Queues, "error", err)
		c.warned = true
	}
	if taking.Err() == nil {
		c.reportHealth(ctx, err.Error())
	}
	sleep(taking, c.wait+rand.N(c.wait))
	c.wait = min(c.wait*2, reconnectMax)
}

func (w *Worker) reportHealth(ctx context.Context, problem string) {
	if w.ReportHealth != nil {
		w.ReportHealth(ctx, ComponentConsume, problem)
	}
}

// take passes deliveries on to claim until the subscription or ctx ends. It takes only as many as
// there are free slots: deliveries that wait are not ours yet. It waits for a delivery first and
// then for a slot, as decide would lack a slot that is held while no delivery comes. It returns
// full if a delivery has waited too long for a slot.
func (w *Worker) take(ctx, back context.Context, sub Subscription, from *channel) (full bool) {
	pace := w.newPace()
	for {
		in, ok := w.next(ctx, sub, from)
		if !ok {
			return false
		}
		if !w.acquireSoon(ctx) {
			w.logAck(in.Return())
			return ctx.Err() == nil
		}
		pace.wait(ctx)
		batch := append([]Delivery{in}, w.more(sub, from)...)
		w.claim(ctx, back, batch)
	}
}

func (w *Worker) next(ctx context.Context, sub Subscription, from *channel) (Delivery, bool) {
	select {
	case <-ctx.Done():
		return Delivery{}, false
	case in := <-w.again:
		return in, true
	case in, ok := <-sub.C():
		in.channel = from
		return in, ok
	}
}

// acquireSoon waits for a slot for at most StartWithin.
func (w *Worker) acquireSoon(ctx context.Context) bool {
	if w.slots.tryAcquire() {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, w.StartWithin)
	defer cancel()
	return w.slots.acquire(ctx)
}

// more takes the deliveries that are there already, with a slot for each.
func (w *Worker) more(sub Subscription, from *channel) []Delivery {
	var batch []Delivery
	for w.slots.tryAcquire() {
		select {
		case in, ok := <-sub.C():
			if ok {
				in.channel = from
				batch = append(batch, in)
				continue
			}
		default:
		}
		w.slots.release(1)
		break
	}
	return batch
}

// watch notices when the channel of the subscription breaks, even while nothing is taken from it
// because all slots are busy or it was retired.
func (w *Worker) watch(sub Subscription) *channel {
	c := &channel{}
	go func() {
		<-sub.Lost()
		w.channelBroke(c)
	}()
	return c
}

// channelBroke records that a channel has ended: the broker redelivers what it held.
func (w *Worker) channelBroke(c *channel) {
	c.broke.Store(true)
	w.giveUpExposed()
}

// retire gives back the deliveries that have not started, and keeps the subscription open beside
// its successors until the running ones are acknowledged.
func (w *Worker) retire(back context.Context, sub Subscription) {
	w.giveBack(sub)
	left := w.runs.all()
	w.retired.Go(func() {
		defer func() { _ = sub.Close() }()
		for _, active := range left {
			select {
			case <-active.done:
			case <-back.Done():
				return
			}
		}
	})
}

// giveBack returns the deliveries that have not started to the broker, so that others get them at
// once. It ends when the subscription has ended, at the latest.
func (w *Worker) giveBack(sub Subscription) {
	w.logAck(sub.Cancel())
	w.deciding.Wait() // each decision gives back its own delivery
	for in := range sub.C() {
		w.logAck(in.Return())
	}
	for {
		select {
		case in := <-w.again:
			w.logAck(in.Return())
		default:
			return
		}
	}
}
