package rabbit

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// acks are the acknowledgements of one channel. A quorum queue writes each ack
// to its log, so they are sent as few: all up to a delivery by one, as soon as
// none before it is missing, and those behind a gap one by one, after they
// waited a little for the gap to close. Safe for concurrent use.
type acks struct {
	link *link
	wake chan struct{}

	sending sync.Mutex // held while the channel is written to: add never waits for the network
	mu      sync.Mutex
	pending []uint64 // acknowledged here, not at the broker yet
	acked   acked
}

// gapWait is how long an ack waits for those before it.
const gapWait = 10 * time.Millisecond

func newAcks(l *link) *acks {
	return &acks{link: l, wake: make(chan struct{}, 1), acked: acked{low: 1}}
}

// add acknowledges a delivery, at the broker within some milliseconds. It does not block.
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

// giveBack returns a delivery to its queue. No ack may pass it on the way.
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

// flush sends what is without a gap, or all, and says whether something waits.
// An error of the channel is no concern: the broker delivers again what it did not hear of.
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

// take takes the newest pending delivery without a gap before it, 0 if there is
// none, and those behind a gap if all are wanted.
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

// gone: on a subscription that has ended there is nothing to settle; the message comes again.
func gone(err error) error {
	if err == nil || errors.Is(err, amqp.ErrClosed) {
		return nil
	}
	return fmt.Errorf("give a delivery back: %w", err)
}
