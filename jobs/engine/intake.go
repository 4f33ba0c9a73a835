package engine

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// QueueConfig says how a queue takes part in the slots of a worker that works several.
type QueueConfig struct {
	// Weight: when all queues have jobs waiting, they start in proportion to their weights. 0 means 1.
	Weight int
	// Limit bounds the queue's jobs that this worker runs at once. 0 means none but the slots.
	Limit int
}

// intake stands between a subscription and the slots. It picks what starts next by
// the weights of the queues, holds back a queue that is at its limit, and says
// when messages wait too long for a slot: others could run them.
type intake struct {
	Subscription
	out       chan Delivery
	done      chan struct{} // closed by Close
	freed     chan struct{} // a run of a limited queue has ended
	once      sync.Once
	returning atomic.Bool // what waits goes back to the broker

	patience time.Duration // 0: without end
	late     func(started int)

	lines   []*line     // by name
	started []time.Time // of the last patience, oldest first
}

// line is a queue's deliveries that wait.
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

// newIntake takes from sub until that ends or is closed. buffer many are
// offered ahead, which makes their order final. late is called once, if at all.
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

// C is Deliveries'.
func (i *intake) C() <-chan Delivery { return i.out }

// Cancel is Deliveries'. C then ends after all that waits, whatever its queue.
func (i *intake) Cancel() error {
	i.returning.Store(true)
	return i.Subscription.Cancel()
}

// Close is Deliveries'.
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
			return // the broker delivers again what waits here
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

// add lines the delivery up. Whoever settles it, by whatever way, frees its place.
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

// next is the line whose turn it is, nil if none may start one.
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

// gone counts the delivery that was taken of l.
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

// untilLate is the time until the oldest that waits has waited too long.
func (i *intake) untilLate() time.Duration {
	left := time.Hour
	for _, l := range i.lines {
		if i.patience > 0 && len(l.waiting) > 0 {
			left = min(left, i.patience-time.Since(l.waiting[0].since))
		}
	}
	return left
}

// arrange puts an intake before the slots where there is something to arrange.
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

// prefetches says how many messages of each queue the worker holds: of a limited
// one no more than may run, as others could run them.
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
