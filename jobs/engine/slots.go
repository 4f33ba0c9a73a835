package engine

import "context"

// slots are the places of what runs at once: a token for each that is free.
type slots chan struct{}

func newSlots(n int) slots {
	s := make(slots, n)
	s.release(n)
	return s
}

// acquire waits for a free slot, and is false when ctx ended first.
func (s slots) acquire(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-s:
		return true
	}
}

func (s slots) tryAcquire() bool {
	select {
	case <-s:
		return true
	default:
		return false
	}
}

func (s slots) release(n int) {
	for range n {
		s <- struct{}{}
	}
}
