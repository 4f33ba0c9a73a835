package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// Outbox is what the relay needs from the database.
type Outbox interface {
	ClaimOutbox(ctx context.Context, rows OutboxFilter, limit int, after int64) (OutboxClaim, error)
	RemoveSent(ctx context.Context, ids []int64) error
	RelayBusy(ctx context.Context, d time.Duration) error
}

// OutboxClaim is a locked batch of outbox rows; it ends with Settle or Release.
type OutboxClaim interface {
	Messages() []Message
	// Next is where the next claim goes on: up to there every row was looked at.
	Next() int64
	Settle(ctx context.Context, sent []int64, unheard []string, failed []OutboxFailure) error
	Release(ctx context.Context)
}

// OutboxFailure keeps a row in the outbox: what went wrong and how long to wait.
type OutboxFailure struct {
	OutboxID int64
	Error    string
	Wait     time.Duration
}

// Publisher is what the relay needs from the broker. It connects when needed.
type Publisher interface {
	// Publish sends the messages in order, persistent and mandatory, and waits
	// until each is settled or wait is over. Receipts come in the order of the
	// messages. late is called, from another goroutine, with the outbox ids of
	// pending messages that are confirmed, and not returned, afterwards. An error
	// means that nothing is known of any message: ErrUnavailable that the broker
	// could not be reached, any other that the channel ended while they were
	// sent, and that one of them may be the reason.
	Publish(ctx context.Context, msgs []Message, wait time.Duration, late func(ids []int64)) ([]Receipt, error)
	// Blocked is the broker's reason to take no messages now, or "".
	Blocked() string
	Close() error
}

// Receipt is what the broker said of one message.
type Receipt struct {
	Status ReceiptStatus
	Detail string
	Took   time.Duration // from the publish to the broker's word; 0 if there was none
}

// ReceiptStatus tells the receipts apart.
type ReceiptStatus int

// What can become of a message.
const (
	Confirmed  ReceiptStatus = iota
	Unroutable               // confirmed, and returned: no queue wanted it
	Nacked                   // refused: a full queue, or a broker in trouble
	Pending                  // no word within the wait; it may still come
	NotSent                  // its queue or exchange cannot be had
)

// Numbers of the relay.
const (
	relayBatch      = 500
	relayConfirm    = 2 * time.Second        // then the transaction ends, whatever the broker does
	relayBusyFor    = 600 * time.Millisecond // nobody wakes a relay that was busy a moment ago …
	relayBusyPoll   = 5 * time.Millisecond   // … so it looks by itself
	relayIdlePoll   = 100 * time.Millisecond
	relayFullScan   = time.Second
	relayBackoffMax = time.Minute
)

// Relay takes outbox rows to the broker and removes a row only when the broker
// has confirmed it. Any number may run side by side.
type Relay struct {
	Outbox    Outbox
	Publisher Publisher
	// Wake ends an idle wait early.
	Wake     <-chan struct{}
	Announce Announce
	Health   Health
	Log      *slog.Logger

	jobs     lane
	events   lane
	scanned  time.Time
	busy     time.Time // when rows were last moved
	marked   time.Time // when that was last written down
	problem  string
	reported time.Time
	lateMu   sync.Mutex
	late     []int64
	measured measured
}

// lane is one sort of rows. Each has its turn: a job does not wait behind a
// hundred thousand events, nor they behind jobs.
type lane struct {
	rows  OutboxFilter
	batch int   // halved while a message breaks the channel, so that it ends up alone
	after int64 // rows up to here were claimed by somebody, or wait for their backoff
}

// Run relays until ctx ends. It outlives failures of both sides and returns nil.
func (r *Relay) Run(ctx context.Context) error {
	defer func() { _ = r.Publisher.Close() }()
	r.jobs, r.events = lane{rows: OutboxJobs, batch: relayBatch}, lane{rows: OutboxEvents, batch: relayBatch}
	failures := 0
	for ctx.Err() == nil {
		n, err := r.runOnce(ctx)
		r.report(ctx, err)
		switch {
		case err != nil:
			wait := min(relayIdlePoll<<min(failures, 5), 2*time.Second)
			r.idle(ctx, wait/2+rand.N(wait)) // relays that lost the same broker come back one by one
			failures++
			continue
		case n == 0 && time.Since(r.busy) < relayBusyFor:
			r.idle(ctx, relayBusyPoll)
		case n == 0:
			r.idle(ctx, relayIdlePoll)
		}
		failures = 0
	}
	return nil
}

func (r *Relay) idle(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-r.Wake:
	}
}

// runOnce relays one batch of each lane and says how many rows left the outbox.
func (r *Relay) runOnce(ctx context.Context) (int, error) {
	if err := r.removeLate(ctx); err != nil {
		return 0, err
	}
	if why := r.Publisher.Blocked(); why != "" {
		return 0, fmt.Errorf("the broker takes no messages: %s", why)
	}
	if time.Since(r.scanned) > relayFullScan { // late commits and ended backoffs lie below the cursors
		r.jobs.after, r.events.after, r.scanned = 0, 0, time.Now()
	}
	n, err := r.relay(ctx, &r.jobs)
	if errors.Is(err, ErrUnavailable) || ctx.Err() != nil {
		return n, err
	}
	more, merr := r.relay(ctx, &r.events)
	return n + more, errors.Join(err, merr)
}

// relay relays one batch of a lane.
func (r *Relay) relay(ctx context.Context, l *lane) (int, error) {
	claim, err := r.Outbox.ClaimOutbox(ctx, l.rows, l.batch, l.after)
	if err != nil {
		return 0, err
	}
	msgs := claim.Messages()
	if len(msgs) == 0 {
		claim.Release(ctx)
		l.after = claim.Next()
		return 0, nil
	}
	CrashAt(CrashRelayClaimed)
	receipts, err := r.Publisher.Publish(ctx, msgs, relayConfirm, r.collectLate)
	// What is known must be written even while the process stops.
	ctx = context.WithoutCancel(ctx)
	if err != nil {
		return 0, r.unknown(ctx, l, claim, err)
	}
	l.batch = min(l.batch*2, relayBatch)
	sent, unheard, failed, moved := r.sort(msgs, receipts)
	CrashAt(CrashRelayConfirmed)
	if err := claim.Settle(ctx, sent, unheard, failed); err != nil {
		return 0, err
	}
	l.after = claim.Next()
	r.measured.count(receipts, len(sent), time.Now())
	r.Announce(TopicJobs, moved...)
	r.Announce(TopicOutbox)
	return len(sent), r.keepBusy(ctx)
}

// unknown gives the rows back when nothing is known of them. Sending twice is
// harmless: the second message finds its dispatch claimed. A message that ends
// the channel is found by halving the batch, and backed off alone.
func (r *Relay) unknown(ctx context.Context, l *lane, claim OutboxClaim, err error) error {
	msgs := claim.Messages()
	switch {
	case errors.Is(err, ErrUnavailable):
		claim.Release(ctx)
		return err
	case len(msgs) > 1:
		claim.Release(ctx)
		l.batch = len(msgs) / 2
		r.Log.Warn("relay: fewer at once, as one of them may be the reason", "rows", len(msgs), "error", err)
		return nil // the search is no failure: the neighbours must not wait for it
	}
	l.after = msgs[0].OutboxID
	if serr := claim.Settle(ctx, nil, nil, []OutboxFailure{{msgs[0].OutboxID, err.Error(), backoffOf(msgs[0])}}); serr != nil {
		return serr
	}
	return err
}

func (r *Relay) sort(msgs []Message, receipts []Receipt) (sent []int64, unheard []string, failed []OutboxFailure, moved []string) {
	for i, m := range msgs {
		switch rc := receipts[i]; {
		case rc.Status == Confirmed:
			sent = append(sent, m.OutboxID)
		case rc.Status == Unroutable && !m.IsJob() && !m.Required:
			sent, unheard = append(sent, m.OutboxID), append(unheard, m.MessageID)
		case rc.Status == Unroutable:
			failed = append(failed, OutboxFailure{m.OutboxID, OutboxUnroutable + ": " + rc.Detail, backoffOf(m)})
		case rc.Status == Nacked:
			failed = append(failed, OutboxFailure{m.OutboxID, OutboxRefused + ": " + rc.Detail, backoffOf(m)})
		case rc.Status == NotSent:
			failed = append(failed, OutboxFailure{m.OutboxID, rc.Detail, backoffOf(m)})
		default:
			failed = append(failed, OutboxFailure{m.OutboxID, OutboxUnconfirmed, backoffOf(m)})
		}
		if m.IsJob() {
			moved = append(moved, m.JobID.String())
		}
	}
	return sent, unheard, failed, moved
}

// backoffOf doubles from half a second to a minute.
func backoffOf(m Message) time.Duration {
	return min(500*time.Millisecond<<min(m.Tries, 10), relayBackoffMax)
}

// keepBusy renews the word that nobody needs to wake this relay.
func (r *Relay) keepBusy(ctx context.Context) error {
	if time.Since(r.marked) > relayBusyFor/2 {
		r.marked = time.Now()
		if err := r.Outbox.RelayBusy(ctx, relayBusyFor); err != nil {
			return err
		}
	}
	r.busy = time.Now()
	return nil
}

func (r *Relay) collectLate(ids []int64) {
	r.lateMu.Lock()
	defer r.lateMu.Unlock()
	r.late = append(r.late, ids...)
}

func (r *Relay) removeLate(ctx context.Context) error {
	r.lateMu.Lock()
	ids := r.late
	r.late = nil
	r.lateMu.Unlock()
	if len(ids) == 0 {
		return nil
	}
	if err := r.Outbox.RemoveSent(ctx, ids); err != nil {
		r.collectLate(ids)
		return err
	}
	return nil
}

// Stats says how this relay does. Safe for concurrent use.
func (r *Relay) Stats() RelayStats { return r.measured.stats(time.Now()) }

// report writes the health row: at once when it changes, else every 2 s.
func (r *Relay) report(ctx context.Context, err error) {
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	if problem == r.problem && time.Since(r.reported) < 2*time.Second || ctx.Err() != nil {
		return
	}
	if problem != r.problem {
		if problem != "" {
			r.Log.Warn("relay: cannot send", "error", problem)
		} else {
			r.Log.Info("relay: sends again")
		}
		r.measured.say(problem, time.Now())
		r.Announce(TopicOutbox)
	}
	r.problem, r.reported = problem, time.Now()
	r.Health(ctx, "relay", problem)
}
