package engine

import (
	"math"
	"sync"
	"time"
)

// RelayStats holds what one relay measured in the last minute; nil means unknown.
type RelayStats struct {
	Sent       int64      `json:"sent_last_minute"`
	ConfirmP50 *float64   `json:"confirm_p50_ms"` // from publish to confirm
	ConfirmP95 *float64   `json:"confirm_p95_ms"`
	Problem    string     `json:"problem"` // why it cannot send now, or ""
	Since      *time.Time `json:"problem_since"`
}

// Latencies fall into buckets that grow by a tenth, from 0.1 ms to about 10 s:
// any number of them costs the same, and a quantile is right within 5 %.
const (
	bucketCount = 120
	bucketFirst = 100 * time.Microsecond
	bucketGrow  = 1.1
	slotLength  = 5 * time.Second
	slotCount   = 12 // one minute
)

// minute holds a T for each five seconds of the last minute.
type minute[T any] struct {
	slots [slotCount]struct {
		number int64 // which five seconds; a slot of an earlier minute counts as empty
		held   T
	}
}

// at returns the T of the five seconds of now.
func (m *minute[T]) at(now time.Time) *T {
	number := now.UnixNano() / int64(slotLength)
	s := &m.slots[number%slotCount]
	if s.number != number {
		var empty T
		s.number, s.held = number, empty
	}
	return &s.held
}

// each calls do with every T of the minute before now.
func (m *minute[T]) each(now time.Time, do func(*T)) {
	oldest := now.UnixNano()/int64(slotLength) - slotCount
	for i := range m.slots {
		if s := &m.slots[i]; s.number > oldest {
			do(&s.held)
		}
	}
}

// counter counts what happened in the last minute. Safe for concurrent use.
type counter struct {
	mu    sync.Mutex
	slots minute[int64]
}

func (c *counter) add(n int, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*c.slots.at(now) += int64(n)
}

func (c *counter) sum(now time.Time) (total int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slots.each(now, func(n *int64) { total += *n })
	return total
}

// tally counts the receipts of five seconds.
type tally struct {
	sent    int64
	buckets [bucketCount]int64
}

// measured holds the last minute of a relay. Safe for concurrent use.
type measured struct {
	mu      sync.Mutex
	slots   minute[tally]
	problem string
	since   time.Time
}

// count adds one batch; sent is how many of its messages were sent, events without a subscriber included.
func (m *measured) count(list []Receipt, sent int, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.slots.at(now)
	s.sent += int64(sent)
	for _, r := range list {
		if r.Took > 0 {
			s.buckets[bucketOf(r.Took)]++
		}
	}
}

func (m *measured) setProblem(problem string, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.problem == "" || problem == "" {
		m.since = now
	}
	m.problem = problem
}

func (m *measured) stats(now time.Time) RelayStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	st := RelayStats{Problem: m.problem}
	if m.problem != "" {
		since := m.since.UTC()
		st.Since = &since
	}
	var sum [bucketCount]int64
	var all int64
	m.slots.each(now, func(s *tally) {
		st.Sent += s.sent
		for b := range s.buckets {
			sum[b] += s.buckets[b]
			all += s.buckets[b]
		}
	})
	if all > 0 {
		st.ConfirmP50, st.ConfirmP95 = quantile(&sum, all, 0.5), quantile(&sum, all, 0.95)
	}
	return st
}

func bucketOf(d time.Duration) int {
	i := math.Log(float64(d)/float64(bucketFirst)) / math.Log(bucketGrow)
	return min(max(int(i), 0), bucketCount-1)
}

// quantile returns the middle, in milliseconds, of the bucket in which the share q of all is reached.
func quantile(sum *[bucketCount]int64, all int64, q float64) *float64 {
	var seen int64
	for i, n := range sum {
		if seen += n; n > 0 && float64(seen) >= q*float64(all) {
			ms := float64(bucketFirst) / float64(time.Millisecond) * math.Pow(bucketGrow, float64(i)+0.5)
			return &ms
		}
	}
	return nil
}
