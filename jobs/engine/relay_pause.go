package engine

import (
	"context"
	"maps"
	"slices"
	"time"
)

// pause is the state of a queue that refused a message because it is full or in trouble. Its rows
// wait in the outbox, untouched, and one of them is sent now and then as a probe.
type pause struct {
	until time.Time
	wait  time.Duration // before the next probe; it doubles
	asked bool
}

const (
	pauseFirst = 500 * time.Millisecond
	pauseMax   = 10 * time.Second
)

// waiting lists the paused queues.
func (r *Relay) waiting() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Keys(r.paused))
}

// ask sends one row of each queue whose pause is over, as a probe. If the queue takes it, or no row
// waits, the others follow.
func (r *Relay) ask(ctx context.Context) error {
	for _, queue := range r.pauseOver(time.Now()) {
		l := lane{batch: 1}
		n, err := r.send(ctx, &l, OutboxPick{Rows: OutboxJobs, Queue: queue}, 0)
		if err != nil {
			return err
		}
		if n == 0 {
			r.mu.Lock()
			delete(r.paused, queue)
			r.mu.Unlock()
		}
	}
	return nil
}

func (r *Relay) pauseOver(now time.Time) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var over []string
	for queue, p := range r.paused {
		if p.until.Before(now) {
			p.asked, p.until = true, now.Add(p.wait)
			over = append(over, queue)
		}
	}
	return over
}

// recordPauses pauses the queues that refused a message, and ends the pauses of those that took
// their probe.
func (r *Relay) recordPauses(msgs []Message, receipts []Receipt) {
	took, refused := map[string]bool{}, map[string]bool{}
	for i, m := range msgs {
		switch {
		case !m.IsJob():
		case receipts[i].Status == Nacked:
			refused[m.RoutingKey] = true
		case receipts[i].Status == Confirmed:
			took[m.RoutingKey] = true
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for queue := range refused {
		p := r.paused[queue]
		switch {
		case p == nil:
			r.paused[queue] = &pause{until: time.Now().Add(pauseFirst), wait: pauseFirst}
		case p.asked:
			p.wait = min(p.wait*2, pauseMax)
			p.asked, p.until = false, time.Now().Add(p.wait)
		}
	}
	for queue := range took {
		if p := r.paused[queue]; p != nil && p.asked && !refused[queue] {
			delete(r.paused, queue)
		}
	}
}
