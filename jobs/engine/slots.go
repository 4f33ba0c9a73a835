package engine

import "context"

// slots is a counting semaphore: it holds a token for each free slot.
type slots chan struct{}

func newSlots(n int) slots {
	s := make(slots, n)
	s.release(n)
	return s
}

// acquire waits for a free slot. It reports false if ctx ended first.
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
