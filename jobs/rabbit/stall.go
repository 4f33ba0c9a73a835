package rabbit

import (
	"fmt"
	"time"
)

// stallDetector finds a consumer that the broker has forgotten: messages wait, it may have
// more, and none comes.
type stallDetector struct {
	heard     int64
	suspected bool
}

// stallCheckEvery is how often a consumer that hears nothing asks for what waits. The
// broker may need some seconds to begin, so one has to find that twice.
const stallCheckEvery = 15 * time.Second

// silent says whether to ask what waits: nothing was heard since the last time,
// and the broker may send more.
func (e *stallDetector) silent(heard int64, full bool) bool {
	silent := heard == e.heard && !full
	e.heard = heard
	e.suspected = e.suspected && silent
	return silent
}

// stalled learns how many messages wait for a consumer that is silent.
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

// waiting is how many messages are ready; 0 if nobody knows. It has a channel of
// its own, which a queue that is gone ends, and waits as long as the subscription lives.
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
