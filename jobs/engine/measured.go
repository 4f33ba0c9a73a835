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

// slot counts the receipts of five seconds.
type slot struct {
	number  int64 // which five seconds; a slot of an earlier minute counts as empty
	sent    int64
	buckets [bucketCount]int64
}

// measured holds the last minute of a relay. Safe for concurrent use.
type measured struct {
	mu      sync.Mutex
	slots   [slotCount]slot
	problem string
	since   time.Time
}

// count adds one batch; sent is how many of its messages were sent, events without a subscriber included.
func (m *measured) count(receipts []Receipt, sent int, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	number := now.UnixNano() / int64(slotLength)
	s := &m.slots[number%slotCount]
	if s.number != number {
		*s = slot{number: number}
	}
	s.sent += int64(sent)
	for _, r := range receipts {
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
	oldest := now.UnixNano()/int64(slotLength) - slotCount
	for i := range m.slots {
		s := &m.slots[i]
		if s.number <= oldest {
			continue
		}
		st.Sent += s.sent
		for b := range s.buckets {
			sum[b] += s.buckets[b]
			all += s.buckets[b]
		}
	}
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
