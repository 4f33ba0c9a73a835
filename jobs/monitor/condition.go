package monitor

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Condition is what the store adds to a queue when it reads it; polls leave it empty.
type Condition struct {
	// JobQueue is Warren's name of the queue, nil if it does not hold the deployment's jobs.
	JobQueue *string    `json:"job_queue"`
	PausedAt *time.Time `json:"paused_at"`
	PausedBy *string    `json:"paused_by"`
	External bool       `json:"external"` // workers of other programs work it
	// Drifted counts the jobs that were sent again in the last hour because the broker or a worker had lost them.
	Drifted int `json:"drifted"`
	// OldestAt is when the job that has waited longest was queued, in the outbox or in the broker;
	// nil if no job waits.
	OldestAt *time.Time `json:"oldest_at"`
	Trend    Trend      `json:"trend"`
	Trouble  Trouble    `json:"trouble"`
}

// Word returns the word for a sign of the queue: a broken one has the broker's.
func (q Queue) Word(t Trouble) string {
	if t == BrokenQueue {
		return q.State
	}
	return t.String()
}

// Signs are the reasons to look at the queue, the worst first: Trouble, and what may be beside it.
func (c Condition) Signs() []Trouble {
	var list []Trouble
	for _, t := range []struct {
		Trouble
		there bool
	}{{c.Trouble, c.Trouble > GrowingQueue}, {GrowingQueue, c.Trend == Growing}, {Drifted, c.Drifted > 0}, {Paused, c.PausedAt != nil}} {
		if t.there {
			list = append(list, t.Trouble)
		}
	}
	return list
}

// Trend is how the number of ready messages changed over the last five minutes.
type Trend string

// The trends. A queue with nothing ready has none.
const (
	NoTrend   Trend = ""
	Growing   Trend = "growing"
	Shrinking Trend = "shrinking"
	Steady    Trend = "steady"
)

// MarshalJSON writes null for NoTrend.
func (t Trend) MarshalJSON() ([]byte, error) { return wordOrNull(string(t)) }

func wordOrNull(word string) ([]byte, error) {
	if word == "" {
		return []byte("null"), nil
	}
	return json.Marshal(word)
}

// Trouble is the worst reason to look at a queue. Greater is worse.
type Trouble int

// The reasons.
const (
	NoTrouble Trouble = iota
	Paused
	Drifted // between database and broker, and mended
	GrowingQueue
	StuckUnacked
	DeadLetters
	NoConsumers
	BrokenQueue // the broker reports the queue as down, crashed or without a majority
)

var troubleWords = [...]string{"", "paused", "drift", "growing", "unacked stuck", "dead letters wait", "no consumers", "down"}

// String returns the words for the reason, "" for none.
func (t Trouble) String() string { return troubleWords[t] }

// MarshalJSON writes the words for the reason, null for NoTrouble.
func (t Trouble) MarshalJSON() ([]byte, error) { return wordOrNull(t.String()) }

// UnmarshalJSON reads what MarshalJSON writes.
func (t *Trouble) UnmarshalJSON(raw []byte) error {
	var word string
	if err := json.Unmarshal(raw, &word); err != nil {
		return err
	}
	i := slices.Index(troubleWords[:], word)
	if i < 0 {
		return fmt.Errorf("%q is not a valid trouble of a queue", word)
	}
	*t = Trouble(i)
	return nil
}

// Totals are sums over queues; a sum is nil if no queue has a value.
type Totals struct {
	Queues    int
	Ready     *int64
	Unacked   *int64
	Consumers *int64
	Rates     Rates
}
