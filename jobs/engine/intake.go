package engine

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// QueueConfig sets a queue's share in the slots of a worker that works several queues.
type QueueConfig struct {
	// Weight: when all queues have jobs waiting, they start in proportion to their weights. 0 means 1.
	Weight int
	// Limit bounds how many of the queue's jobs this worker runs at once. 0 means no limit but the slots.
	Limit int
}

// intake stands between a subscription and the slots. It picks the next delivery to start by the
// weights of the queues, holds back a queue that is at its limit, and calls late when messages wait
// too long for a slot, as other workers could run them.
type intake struct {
	Subscription
	out       chan Delivery
	done      chan struct{} // closed by Close
	freed     chan struct{} // a run of a limited queue has ended
	once      sync.Once
	returning atomic.Bool // waiting deliveries go back to the broker

	patience time.Duration // 0: unlimited
	late     func(started int)

	lines   []*line     // by name
	started []time.Time // starts within the last patience, oldest first
}

// line holds the waiting deliveries of a queue.
type line struct {
	name    string
	config  QueueConfig
	current int // smooth weighted round robin
	taken   atomic.Int64
	waiting []waiting
}

type waiting struct {
	in    Delivery
	since time.Time
}

// newIntake reads from sub until sub ends or the intake is closed. Up to buffer deliveries are
// queued ahead, in their final order. late is called at most once.
func newIntake(sub Subscription, configs map[string]QueueConfig, buffer int, patience time.Duration, late func(started int)) *intake {
	i := &intake{Subscription: sub, out: make(chan Delivery, buffer), done: make(chan struct{}), freed: make(chan struct{}, 1),
		patience: patience, late: late}
	for name, config := range configs {
		config.Weight = max(config.Weight, 1)
		i.lines = append(i.lines, &line{name: name, config: config})
	}
	slices.SortFunc(i.lines, func(a, b *line) int { return strings.Compare(a.name, b.name) })
	go i.run()
	return i
}

// C implements Subscription.
func (i *intake) C() <-chan Delivery { return i.out }

// Cancel implements Subscription. C still yields all waiting deliveries, whatever the limits of
// their queues, and is then closed.
func (i *intake) Cancel() error {
	i.returning.Store(true)
	return i.Subscription.Cancel()
}

// Close implements Subscription.
func (i *intake) Close() error {
	i.once.Do(func() { close(i.done) })
	return i.Subscription.Close()
}

func (i *intake) run() {
	defer close(i.out)
	source := i.Subscription.C()
	tooLong := time.NewTimer(time.Hour)
	defer tooLong.Stop()
	for {
		next := i.next()
		if source == nil && (next == nil || !i.returning.Load()) {
			return // the broker redelivers what waits here
		}
		var out chan<- Delivery
		var in Delivery
		if next != nil {
			out, in = i.out, next.waiting[0].in
		}
		tooLong.Reset(i.untilLate())
		select {
		case d, ok := <-source:
			if !ok {
				source = nil
				continue
			}
			i.add(d)
		case out <- in:
			i.gone(next)
		case <-i.freed:
		case <-tooLong.C:
			if i.untilLate() <= 0 {
				i.patience = 0
				i.late(len(i.started))
			}
		case <-i.done:
			return
		}
	}
}

// add appends the delivery to its line. Ack, Return and release free its place in the limit of the queue.
func (i *intake) add(in Delivery) {
	n := slices.IndexFunc(i.lines, func(l *line) bool { return l.name == in.Queue })
	l := i.lines[max(n, 0)]
	ack, giveBack := in.Ack, in.Return
	in.ackOnly = ack
	in.release = sync.OnceFunc(func() { i.free(l) })
	in.Ack = func() error { in.release(); return ack() }
	in.Return = func() error {
		in.release()
		i.returning.Store(true)
		return giveBack()
	}
	l.waiting = append(l.waiting, waiting{in, time.Now()})
}

func (i *intake) free(l *line) {
	l.taken.Add(-1)
	select {
	case i.freed <- struct{}{}:
	default:
	}
}

// next returns the line whose turn it is, or nil if no delivery may start.
func (i *intake) next() *line {
	var best *line
	for _, l := range i.lines {
		if i.ready(l) && (best == nil || l.current+l.config.Weight > best.current+best.config.Weight) {
			best = l
		}
	}
	return best
}

func (i *intake) ready(l *line) bool {
	return len(l.waiting) > 0 && (l.config.Limit == 0 || i.returning.Load() || l.taken.Load() < int64(l.config.Limit))
}

// gone removes the first delivery of l after it was handed out, and counts it.
func (i *intake) gone(l *line) {
	for _, other := range i.lines {
		if i.ready(other) {
			other.current += other.config.Weight
			l.current -= other.config.Weight
		}
	}
	l.waiting[0] = waiting{}
	l.waiting = l.waiting[1:]
	l.taken.Add(1)
	if i.patience > 0 {
		now := time.Now()
		for i.started = append(i.started, now); now.Sub(i.started[0]) > i.patience; {
			i.started = i.started[1:]
		}
	}
}

// untilLate returns the time until the oldest waiting delivery has waited too long.
func (i *intake) untilLate() time.Duration {
	left := time.Hour
	for _, l := range i.lines {
		if i.patience > 0 && len(l.waiting) > 0 {
			left = min(left, i.patience-time.Since(l.waiting[0].since))
		}
	}
	return left
}

// arrange puts an intake in front of the slots if queues have configs or if more messages are held
// than run at once; otherwise it returns sub.
func (w *Worker) arrange(sub Subscription, prefetch int, late func(started int)) Subscription {
	patience, buffer := time.Duration(0), 0
	if prefetch > w.Concurrency {
		patience = w.StartWithin
	}
	if len(w.QueueConfigs) == 0 {
		if patience == 0 {
			return sub
		}
		buffer = w.Concurrency
	}
	configs := make(map[string]QueueConfig, len(w.Queues))
	for _, q := range w.Queues {
		configs[q] = w.QueueConfigs[q]
	}
	return newIntake(sub, configs, buffer, patience, late)
}

// prefetches returns how many messages of each queue the worker holds: of a limited queue no more
// than may run, as other workers could run the rest.
func (w *Worker) prefetches(prefetch int) map[string]int {
	all := make(map[string]int, len(w.Queues))
	for _, q := range w.Queues {
		all[q] = prefetch
		if limit := w.QueueConfigs[q].Limit; limit > 0 {
			all[q] = min(prefetch, limit)
		}
	}
	return all
}

// total returns how many messages all queues together hold.
func total(prefetches map[string]int) (n int) {
	for _, p := range prefetches {
		n += p
	}
	return n
}
