package rabbit

import (
	"fmt"
	"time"
)

// stallDetector detects a consumer that the broker has forgotten: messages are ready and its
// prefetch is not used up, but none is delivered.
type stallDetector struct {
	heard     int64
	suspected bool
}

// stallCheckEvery is how often a consumer without deliveries is checked. The broker may need some
// seconds to start delivering, so a stall has to be seen in two checks in a row.
const stallCheckEvery = 15 * time.Second

// silent reports whether to count the ready messages: there was no delivery since the last check,
// although the prefetch is not used up.
func (e *stallDetector) silent(heard int64, full bool) bool {
	silent := heard == e.heard && !full
	e.heard = heard
	e.suspected = e.suspected && silent
	return silent
}

// stalled reports whether a silent consumer is stalled, given the number of ready messages.
func (e *stallDetector) stalled(waiting int) bool {
	stalled := e.suspected && waiting > 0
	e.suspected = waiting > 0
	return stalled
}

// watchForStalls ends the subscription when the broker has forgotten one of its consumers.
func (s *subscription) watchForStalls() {
	ticks := time.NewTicker(stallCheckEvery)
	defer ticks.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-ticks.C:
		}
		for _, f := range s.consumers() {
			if f.stall.silent(f.heard.Load(), f.open.Load() >= int64(f.prefetch)) && f.stall.stalled(s.waiting(f.queue)) {
				s.fail(fmt.Errorf("messages wait in queue %q and the broker delivers none of them to this consumer", f.queue))
				_ = s.Close()
				return
			}
		}
	}
}

// waiting returns how many messages are ready; 0 if unknown. It uses a separate channel, because a
// missing queue closes it, and may block until the subscription is closed.
func (s *subscription) waiting(queue string) int {
	ch, err := s.conn.Channel()
	if err != nil {
		return 0
	}
	defer func() { _ = ch.Close() }()
	q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	if err != nil {
		return 0
	}
	return q.Messages
}
