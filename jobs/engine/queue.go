package engine

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
)

// PausedQueue is a job queue whose messages stay in the outbox.
type PausedQueue struct {
	Queue   string     `json:"queue"`
	Since   time.Time  `json:"since"`
	By      string     `json:"by"`
	Waiting jobs.Count `json:"waiting"` // outbox rows for it among the oldest 10,000 of all
}

// ReportWithin is how long workers of other programs have for a report, unless their queue says
// otherwise. reportSoonest is the least that can be set, and reportLatest the most.
const (
	ReportWithin  = time.Hour
	reportSoonest = time.Second
	reportLatest  = 30 * 24 * time.Hour
)

// ExternalQueue says whether workers of other programs work a queue, and within what time they must
// report; 0 means that they need not.
type ExternalQueue struct {
	External     bool          `json:"external"`
	ReportWithin jobs.Duration `json:"report_within"`
}

// ParseReportWithin parses a time such as "30m", "off" for none, or "" for the default. The error is
// a jobs.FieldErrors.
func ParseReportWithin(s string) (jobs.Duration, error) {
	switch s {
	case "":
		return jobs.Duration(ReportWithin), nil
	case "off":
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < reportSoonest || d > reportLatest {
		return 0, jobs.FieldErrors{{Field: "report_within", Message: fmt.Sprintf(
			"%.40q is not a valid time. Use 30m or 2h, from 1s to 720h, or off", s)}}
	}
	return jobs.Duration(d), nil
}

// DurationText returns "1h" for an hour, where time.Duration's String says "1h0m0s".
func DurationText(d time.Duration) string {
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}

// Purge is the record of a purge of a queue.
type Purge struct {
	Operation uuid.UUID `json:"operation"` // id that the cancelled jobs carry until they are retried
	Queue     string    `json:"queue"`
	At        time.Time `json:"at"`
	By        string    `json:"by"`
	Cancelled int       `json:"cancelled"` // jobs
	Messages  int       `json:"messages"`  // that the broker dropped
}

// PurgeStore is what a purge needs from the database.
type PurgeStore interface {
	// CancelQueued cancels the jobs that are queued on the queue now, and writes the audit log.
	CancelQueued(ctx context.Context, purge *Purge, by jobs.Actor) error
	// HoldQueue makes the relays leave the queue's jobs in the outbox for at most d, and waits for
	// the rows that they are sending.
	HoldQueue(ctx context.Context, queue string, d time.Duration) error
	// DispatchPurged dispatches again the queue's jobs that are queued without an outbox row, at
	// most limit.
	DispatchPurged(ctx context.Context, queue string, limit int) ([]uuid.UUID, error)
	// EndPurge lets the relays go on, and records what was done.
	EndPurge(ctx context.Context, purge Purge) error
}

// Purger empties job queues.
type Purger struct {
	Store PurgeStore
	// Empty drops the messages that are ready in the broker's queue, and returns how many there were.
	Empty    func(ctx context.Context, queue string) (int, error)
	Announce Announce
}

const (
	purgeHold  = 30 * time.Second // then relays go on by themselves, in case the purger has died
	purgeBatch = 1000
)

// Purge cancels the jobs that are queued on the queue and drops its messages in the broker; it
// blocks until that is done. Jobs that are queued meanwhile stay, and are dispatched again if their
// messages were dropped with the others. After an error the queue still works; the jobs cancelled
// until then carry the operation, and can be retried.
func (p *Purger) Purge(ctx context.Context, queue string, by jobs.Actor) (Purge, error) {
	purge := Purge{Operation: uuid.Must(uuid.NewV7()), Queue: queue, By: by.Name}
	err := p.purge(ctx, &purge, by)
	p.Announce(TopicJobs)
	p.Announce(TopicOutbox)
	if err != nil {
		return purge, fmt.Errorf("purge queue %s: %w", queue, err)
	}
	return purge, nil
}

func (p *Purger) purge(ctx context.Context, purge *Purge, by jobs.Actor) (err error) {
	if err := p.Store.CancelQueued(ctx, purge, by); err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if end := p.Store.EndPurge(ctx, *purge); err == nil {
			err = end
		}
	}()
	if err := p.Store.HoldQueue(ctx, purge.Queue, purgeHold); err != nil {
		return err
	}
	if purge.Messages, err = p.Empty(ctx, purge.Queue); err != nil {
		return err
	}
	for {
		ids, err := p.Store.DispatchPurged(ctx, purge.Queue, purgeBatch)
		if err != nil || len(ids) < purgeBatch {
			return err
		}
	}
}
