package rabbit

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// acks sends the acknowledgements of one channel. A quorum queue writes each ack to its log, so as
// few as possible are sent: one with multiple=true for all deliveries up to the first gap, and
// single ones for those after a gap, once they have waited a little for the gap to close. It is
// safe for concurrent use.
type acks struct {
	link *link
	wake chan struct{}

	sending sync.Mutex // held while writing to the channel, so that add never waits for the network
	mu      sync.Mutex
	pending []uint64 // acknowledged here, not yet sent to the broker
	acked   acked
}

// gapWait is how long an ack after a gap waits for the gap to close.
const gapWait = 10 * time.Millisecond

func newAcks(l *link) *acks {
	return &acks{link: l, wake: make(chan struct{}, 1), acked: acked{low: 1}}
}

// add acknowledges a delivery. It does not block: the ack is sent within some milliseconds.
func (a *acks) add(tag uint64) {
	a.mu.Lock()
	a.pending = append(a.pending, tag)
	a.acked.add(tag)
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// giveBack returns a delivery to its queue. No ack of several deliveries may overtake the nack and
// include this one.
func (a *acks) giveBack(tag uint64) error {
	a.sending.Lock()
	defer a.sending.Unlock()
	err := a.link.ch.Nack(tag, false, true)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.acked.add(tag)
	return gone(err)
}

// run sends acknowledgements until done is closed.
func (a *acks) run(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-a.wake:
		}
		if !a.flush(false) {
			continue
		}
		select {
		case <-done:
			return
		case <-time.After(gapWait):
			a.flush(true)
		}
	}
}

// flush sends the pending acks up to the first gap, or all of them, and reports whether any are
// left. Errors of the channel are ignored: the broker redelivers what was not acknowledged.
func (a *acks) flush(all bool) (waits bool) {
	a.sending.Lock()
	defer a.sending.Unlock()
	whole, single, waits := a.take(all)
	_ = a.link.wire.together(func() error {
		if whole > 0 {
			if err := a.link.ch.Ack(whole, true); err != nil {
				return err
			}
		}
		for _, tag := range single {
			if err := a.link.ch.Ack(tag, false); err != nil {
				return err
			}
		}
		return nil
	})
	return waits
}

// take removes pending tags: whole is the newest one without a gap before it, or 0; single are
// those after a gap, if all are wanted. waits reports whether any are left.
func (a *acks) take(all bool) (whole uint64, single []uint64, waits bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	slices.Sort(a.pending)
	n, _ := slices.BinarySearch(a.pending, a.acked.low)
	if n > 0 {
		whole = a.pending[n-1]
	}
	rest := a.pending[n:]
	if all {
		single, rest = slices.Clone(rest), nil
	}
	a.pending = append(a.pending[:0], rest...)
	return whole, single, len(rest) > 0
}

// gone returns nil if the channel is closed: the broker then redelivers the message anyway.
func gone(err error) error {
	if err == nil || errors.Is(err, amqp.ErrClosed) {
		return nil
	}
	return fmt.Errorf("give a delivery back: %w", err)
}
