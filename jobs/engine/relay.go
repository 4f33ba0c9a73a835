package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warrenjobs/warren/jobs"
)

// Outbox is what the relay needs from the database.
type Outbox interface {
	ClaimOutbox(ctx context.Context, pick OutboxPick, limit int, after int64) (OutboxClaim, error)
	RemoveSent(ctx context.Context, ids []int64) error
	// Overlooked returns the id of the first due row below the given id that is not locked; 0 for none.
	Overlooked(ctx context.Context, pick OutboxPick, below int64) (int64, error)
	// RelayBusy records for how long no relay needs to be notified, and up to which row this one
	// has claimed; it returns the furthest row that any relay has claimed.
	RelayBusy(ctx context.Context, d time.Duration, claimed int64) (int64, error)
}

// OutboxPick selects the rows of a claim.
type OutboxPick struct {
	Rows    OutboxFilter
	Queue   string   // if set, only the jobs of this queue
	Without []string // queues whose jobs wait
}

// OutboxClaim is a locked batch of outbox rows; it ends with Settle or Release.
type OutboxClaim interface {
	Messages() []Message
	// Next is the id after which the next claim continues: every row up to it has been scanned.
	Next() int64
	Settle(ctx context.Context, sent []int64, unheard []string, failed []OutboxBackoff) error
	Release(ctx context.Context)
}

// OutboxBackoff keeps a row in the outbox: the error, and how long to wait.
type OutboxBackoff struct {
	OutboxID int64
	Error    string
	Wait     time.Duration
}

// Publisher is what the relay needs from the broker. It connects when needed.
type Publisher interface {
	// Publish sends the messages in order, persistent and mandatory, without waiting for confirms:
	// the function that it returns does that. After an error nothing is known of any message:
	// ErrUnavailable means that the broker could not be reached, any other error that the channel
	// ended while they were sent, and that one of them may be the reason. late is called, from
	// another goroutine, with the outbox ids of messages whose receipt was Pending and that were
	// confirmed, and not returned, afterwards.
	Publish(ctx context.Context, msgs []Message, wait time.Duration, late func(ids []int64)) (Receive, error)
	// Blocked is the broker's reason to take no messages now, or "".
	Blocked() string
	Close() error
}

// Receive waits until the broker has answered for each message of one Publish, or until their wait
// is over. Receipts come in the order of the messages; errors are as Publish's.
type Receive func() ([]Receipt, error)

// Receipt is the broker's answer for one message.
type Receipt struct {
	Status ReceiptStatus
	Detail string
	Took   time.Duration // from the publish to the answer; 0 if there was none
}

// ReceiptStatus is the kind of a receipt.
type ReceiptStatus int

// The outcomes of publishing a message.
const (
	Confirmed  ReceiptStatus = iota
	Unroutable               // confirmed, and returned: no queue is bound for it
	Nacked                   // refused: a full queue, or a broker in trouble
	Pending                  // no answer within the wait; it may still come
	NotSent                  // its queue or exchange cannot be used
)

// Tuning of the relay, measured in docs/performance.md.
const (
	relayBatch      = 1000
	relayFlying     = 4                      // batches in flight at once
	relayConfirm    = 2 * time.Second        // then the transaction ends, whatever the broker does
	relayBusyFor    = 3 * time.Second        // a busy relay is not notified …
	relayBusyPoll   = 3 * time.Millisecond   // … so it polls
	relayLoad       = 300                    // rows per second, over …
	relayCount      = 200 * time.Millisecond // … this long, make a relay busy
	relayApart      = 4 * time.Millisecond   // between batches that are not full
	relayIdlePoll   = 100 * time.Millisecond
	relayBackoffMax = time.Minute
)

// Relay takes outbox rows to the broker and removes a row only when the broker has confirmed it.
// Any number may run side by side.
type Relay struct {
	Outbox    Outbox
	Publisher Publisher
	// Wake ends an idle wait early.
	Wake         <-chan struct{}
	Announce     Announce
	ReportHealth ReportHealth
	Log          *slog.Logger

	all     lane
	crowded bool // more rows wait than fit in a batch: jobs and events take turns
	jobs    lane
	events  lane
	scan    scan
	// Ids for the rescan: it scans rows up to passed; overlooked is the row that it found. 0 for none.
	passed, overlooked atomic.Int64
	// Rows sent since countedAt, whether the load is high, and until when the database has this
	// relay as busy.
	counted   int
	countedAt time.Time
	loaded    bool
	busyUntil time.Time
	problem   string
	reported  time.Time
	measured  measured

	flying sync.WaitGroup
	free   slots // a token per batch that may be in flight

	mu     sync.Mutex // guards what batches in flight report
	late   []int64
	failed error
	paused map[string]*pause // queues that refused a message
}

// lane is one kind of rows. When many wait, the kinds take turns: a job does not wait behind a
// hundred thousand events, nor an event behind jobs.
type lane struct {
	rows  OutboxFilter
	after int64 // cursor: rows up to here were claimed by some relay, or wait for their backoff
	back  int64 // the cursor was moved back, and goes on to here without skipping any rows

	mu    sync.Mutex
	batch int  // halved while a message breaks the channel, so that it ends up alone, or the broker is slow
	again bool // rows were given back: the next claim starts from the beginning
}

// Run relays until ctx ends and returns nil. It survives failures of database and broker.
func (r *Relay) Run(ctx context.Context) error {
	r.start()
	var looking sync.WaitGroup
	looking.Go(func() { r.rescan(ctx) })
	defer func() {
		looking.Wait()
		r.flying.Wait()
		_ = r.Publisher.Close()
	}()
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
		case n > 0 && n < relayBatch: // so that rows that come meanwhile go together
			sleep(ctx, relayApart)
		case n == 0 && time.Now().Before(r.busyUntil):
			r.idle(ctx, relayBusyPoll)
		case n == 0:
			r.idle(ctx, relayIdlePoll)
		}
		failures = 0
	}
	return nil
}

func (r *Relay) start() {
	r.all = lane{rows: OutboxAll, batch: relayBatch}
	r.jobs, r.events = lane{rows: OutboxJobs, batch: relayBatch}, lane{rows: OutboxEvents, batch: relayBatch}
	r.paused = map[string]*pause{}
	r.free = newSlots(relayFlying)
}

func (r *Relay) idle(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-r.Wake:
		r.scan.soon() // its row may have been committed after later ones
	}
}

// runOnce sends one batch of each lane and returns how many rows are in flight.
func (r *Relay) runOnce(ctx context.Context) (int, error) {
	if err := r.flushLate(ctx); err != nil {
		return 0, err
	}
	if why := r.Publisher.Blocked(); why != "" {
		return 0, fmt.Errorf("the broker takes no messages: %s", why)
	}
	if err := r.ask(ctx); err != nil {
		return 0, err
	}
	from := r.from(time.Now())
	sent, full := 0, false
	var errs []error
	for _, l := range r.lanes() {
		n, err := r.relay(ctx, l, from)
		sent, full = sent+n, full || n == relayBatch
		errs = append(errs, err)
		if errors.Is(err, jobs.ErrUnavailable) || ctx.Err() != nil {
			return sent, err
		}
	}
	r.crowd(full)
	if sent > 0 {
		errs = append(errs, r.keepBusy(ctx, sent))
	}
	return sent, errors.Join(errs...)
}

// lanes returns the lanes whose turn it is.
func (r *Relay) lanes() []*lane {
	if r.crowded {
		return []*lane{&r.jobs, &r.events}
	}
	return []*lane{&r.all}
}

// crowd makes jobs and events take turns while batches are full, and share batches otherwise.
func (r *Relay) crowd(full bool) {
	switch {
	case full && !r.crowded:
		r.jobs.after, r.jobs.back = r.all.after, r.all.back
		r.events.after, r.events.back = r.all.after, r.all.back
	case !full && r.crowded:
		r.all.after = min(r.jobs.after, r.events.after)
	}
	r.crowded = full
}

// reached returns the furthest id that this relay's claims have reached.
func (r *Relay) reached() int64 { return max(r.all.after, r.jobs.after, r.events.after) }

// flushLate removes the rows that were confirmed late, and returns the error of a batch that failed
// in flight.
func (r *Relay) flushLate(ctx context.Context) error {
	r.mu.Lock()
	late, failed := r.late, r.failed
	r.late, r.failed = nil, nil
	r.mu.Unlock()
	if failed != nil {
		r.flying.Wait() // the others of that connection have failed too
		r.collectLate(late)
		return failed
	}
	if len(late) == 0 {
		return nil
	}
	if err := r.Outbox.RemoveSent(ctx, late); err != nil {
		r.collectLate(late)
		return err
	}
	return nil
}

// relay sends one batch of a lane. The claim starts at from at the latest.
func (r *Relay) relay(ctx context.Context, l *lane, from int64) (int, error) {
	if l.after >= l.back {
		l.after = max(l.after, r.scan.near)
	}
	return r.send(ctx, l, OutboxPick{Rows: l.rows, Without: r.waiting()}, from)
}

// next returns how many rows the next claim takes. If rows were given back, it moves the cursor to
// the beginning.
func (l *lane) next() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.again {
		l.goTo(0)
		l.again = false
	}
	return l.batch
}

// claimed moves the cursor behind a claim. A full claim moves it to the claim's last row, even
// back: more rows may follow there, and one rescan per second would be too slow for them. A claim
// that was not full has all rows of its kind up to where any lane had come before it.
func (l *lane) claimed(reached, next int64, full bool) {
	if full {
		l.goTo(next)
		return
	}
	l.after, l.back = max(l.after, reached), 0
}

func (l *lane) goTo(next int64) {
	l.back, l.after = max(l.back, l.after), next
}

// giveBack makes the next claim start from the beginning, and take at most batch rows (0: as many as now).
func (l *lane) giveBack(batch int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.again = true
	if batch > 0 {
		l.batch = min(l.batch, batch)
	}
}

// went makes the next batches larger, or smaller if the broker is slow.
func (l *lane) went(receipts []Receipt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.ContainsFunc(receipts, func(rc Receipt) bool { return rc.Status == Pending }) {
		l.batch = max(len(receipts)/2, 1)
		return
	}
	l.batch = min(l.batch*2, relayBatch)
}

// send claims rows and sends them. Their receipts are handled in another goroutine while the next
// batch is sent, unless batches are being halved to find a message that breaks the channel.
func (r *Relay) send(ctx context.Context, l *lane, pick OutboxPick, from int64) (int, error) {
	limit := l.next()
	if limit < relayBatch {
		r.flying.Wait()
	}
	if !r.free.acquire(ctx) {
		return 0, nil
	}
	began, reached := time.Now(), r.reached()
	claim, err := r.Outbox.ClaimOutbox(ctx, pick, limit, min(l.after, from))
	if err != nil {
		r.free.release(1)
		return 0, err
	}
	r.scan.took(from, time.Since(began))
	msgs := claim.Messages()
	l.claimed(max(claim.Next(), reached), claim.Next(), len(msgs) == limit)
	if len(msgs) == 0 {
		claim.Release(ctx)
		r.free.release(1)
		return 0, nil
	}
	CrashAt(CrashRelayClaimed)
	began = time.Now()
	receive, err := r.Publisher.Publish(ctx, msgs, relayConfirm, r.collectLate)
	if err != nil {
		r.free.release(1)
		return 0, r.unknown(ctx, l, claim, err)
	}
	r.flying.Go(func() {
		defer func() { r.free.release(1) }()
		if err := r.finish(ctx, l, claim, receive, began); err != nil {
			r.mu.Lock()
			r.failed = err
			r.mu.Unlock()
		}
	})
	return len(msgs), nil
}

// finish waits for the receipts and writes them, even while the process stops.
func (r *Relay) finish(ctx context.Context, l *lane, claim OutboxClaim, receive Receive, began time.Time) error {
	ctx = context.WithoutCancel(ctx)
	receipts, err := receive()
	if err != nil {
		return r.unknown(ctx, l, claim, err)
	}
	msgs := claim.Messages()
	tracePublished(ctx, msgs, receipts, began)
	sent, unheard, failed, moved := r.sort(msgs, receipts)
	l.went(receipts)
	CrashAt(CrashRelayConfirmed)
	if err := claim.Settle(ctx, sent, unheard, failed); err != nil {
		l.giveBack(0)
		return err
	}
	r.recordPauses(msgs, receipts)
	r.measured.count(receipts, len(sent), time.Now())
	r.Announce(TopicJobs, moved...)
	r.Announce(TopicOutbox)
	return nil
}

// unknown gives the rows back when nothing is known of them. Sending twice is harmless: the second
// message finds its dispatch claimed. A message that ends the channel is found by halving the
// batch, and backed off alone.
func (r *Relay) unknown(ctx context.Context, l *lane, claim OutboxClaim, err error) error {
	msgs := claim.Messages()
	switch {
	case errors.Is(err, jobs.ErrUnavailable):
		claim.Release(ctx)
		l.giveBack(0)
		return err
	case len(msgs) > 1:
		claim.Release(ctx)
		l.giveBack(len(msgs) / 2)
		r.Log.Warn("relay: fewer at once, as one of them may be the reason", "rows", len(msgs), "error", err)
		return nil // the search is not a failure: the neighbours must not wait for it
	}
	if serr := claim.Settle(ctx, nil, nil, []OutboxBackoff{{msgs[0].OutboxID, err.Error(), backoffOf(msgs[0])}}); serr != nil {
		return serr
	}
	return err
}

func (r *Relay) sort(msgs []Message, receipts []Receipt) (sent []int64, unheard []string, failed []OutboxBackoff, moved []string) {
	for i, m := range msgs {
		switch rc := receipts[i]; {
		case rc.Status == Confirmed:
			sent = append(sent, m.OutboxID)
		case rc.Status == Unroutable && !m.IsJob() && !m.Required:
			sent, unheard = append(sent, m.OutboxID), append(unheard, m.MessageID)
		case rc.Status == Unroutable:
			failed = append(failed, OutboxBackoff{m.OutboxID, OutboxUnroutable + ": " + rc.Detail, backoffOf(m)})
		case rc.Status == Nacked:
			failed = append(failed, OutboxBackoff{m.OutboxID, OutboxRefused + ": " + rc.Detail, backoffOf(m)})
		case rc.Status == NotSent:
			failed = append(failed, OutboxBackoff{m.OutboxID, rc.Detail, backoffOf(m)})
		default:
			failed = append(failed, OutboxBackoff{m.OutboxID, OutboxUnconfirmed, backoffOf(m)})
		}
		if m.IsJob() {
			moved = append(moved, m.JobID.String())
		}
	}
	return sent, unheard, failed, moved
}

// backoffOf returns a backoff that doubles from half a second to a minute.
func backoffOf(m Message) time.Duration {
	return min(500*time.Millisecond<<min(m.Tries, 10), relayBackoffMax)
}

// keepBusy marks this relay busy while the load is high, so that callers of Enqueue need not notify
// it, and learns how far all relays are. Under a light load each job notifies the relay: that is
// faster than frequent polling, and costs nothing while the outbox is empty.
func (r *Relay) keepBusy(ctx context.Context, sent int) error {
	now := time.Now()
	r.counted += sent
	if since := now.Sub(r.countedAt); since > relayCount {
		r.loaded = r.crowded || float64(r.counted)/since.Seconds() > relayLoad
		r.counted, r.countedAt = 0, now
	}
	if !r.loaded || r.busyUntil.Sub(now) > relayBusyFor/2 {
		return nil
	}
	claimed, err := r.Outbox.RelayBusy(ctx, relayBusyFor, r.reached())
	if err != nil {
		return err
	}
	r.busyUntil = now.Add(relayBusyFor)
	r.scan.reached(now, claimed)
	return nil
}

func (r *Relay) collectLate(ids []int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.late = append(r.late, ids...)
}

// Stats returns what this relay measured. Safe for concurrent use.
func (r *Relay) Stats() RelayStats { return r.measured.stats(time.Now()) }

// report writes the health row: at once when it changes, otherwise every 2 s.
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
		r.measured.setProblem(problem, time.Now())
		r.Announce(TopicOutbox)
	}
	r.problem, r.reported = problem, time.Now()
	r.ReportHealth(ctx, "relay", problem)
}
