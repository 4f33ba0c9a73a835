package sim_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
)

// rabbit is a broker in memory that keeps RabbitMQ's rules: quorum queues with a
// delivery limit, prefetch, redelivery at the end of a channel, confirms and
// returns. Nothing happens in it by itself: the schedule does each step.
type rabbit struct {
	w *world

	mu       sync.Mutex
	queues   map[string]*queue
	sessions []*subscription
	senders  []*sender
	full     map[string]bool             // queues that refuse messages
	slow     bool                        // no confirms come
	taken    map[engine.DispatchKey]bool // confirmed, or about to be
	handed   map[handed]int
	sent     map[engine.DispatchKey]time.Time // when the last message of the dispatch was sent
	places   int                              // given to messages so far
}

// handed names one delivery of a message: the one with that delivery count.
type handed struct {
	key   engine.DispatchKey
	count int
}

const (
	deadQueue       = "dead"
	deliveryLimit   = 50
	consumerTimeout = 30 * time.Minute
	heartbeatLost   = 29 * time.Second // a process that is frozen or mute: seen with a heartbeat of 10 s
)

// queue holds the messages that are ready, in order.
type queue struct {
	name  string
	ready []*message
}

type message struct {
	body       engine.Message
	app        string
	sent       time.Time
	deliveries int
	place      int // in the queue: a requeued message goes back to where it was
	from       string
}

// subscription is a consuming channel: engine.Subscription.
type subscription struct {
	r        *rabbit
	p        *process
	prefetch map[string]int // by queue
	c        chan engine.Delivery

	// Guarded by r.mu.
	open      bool // at the broker
	cancelled bool
	ended     bool  // the client has noticed the end
	err       error // why it ended
	lost      chan struct{}
	unacked   []*unacked
	answers   []answer // not read by the broker yet
}

type unacked struct {
	*message
	queue string
	at    time.Time
}

type answer struct {
	u       *unacked
	requeue bool
}

func newRabbit(w *world) *rabbit {
	return &rabbit{w: w, queues: map[string]*queue{}, full: map[string]bool{}, taken: map[engine.DispatchKey]bool{},
		handed: map[handed]int{},
		sent:   map[engine.DispatchKey]time.Time{}}
}

// queue declares the queue. The caller holds mu.
func (r *rabbit) queue(name string) *queue {
	q := r.queues[name]
	if q == nil {
		q = &queue{name: name}
		r.queues[name] = q
	}
	return q
}

// --- consumers

// client is the broker as one process reaches it.
type client struct {
	*rabbit
	p *process
}

var errAway = fmt.Errorf("connect to RabbitMQ: %w", jobs.ErrUnavailable)

func (c client) Consume(ctx context.Context, prefetch map[string]int) (engine.Subscription, error) {
	return c.consume(prefetch)
}

func (c client) ConsumeDead(context.Context) (engine.Subscription, error) {
	return c.consume(map[string]int{deadQueue: 10})
}

func (c client) consume(prefetch map[string]int) (engine.Subscription, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.p.unreachable() {
		return nil, errAway
	}
	size := 0
	for q, n := range prefetch {
		c.queue(q)
		size += n
	}
	s := &subscription{r: c.rabbit, p: c.p, prefetch: prefetch, c: make(chan engine.Delivery, size+1), open: true,
		lost: make(chan struct{})}
	c.sessions = append(c.sessions, s)
	c.p.subscriptions = append(c.p.subscriptions, s)
	return s, nil
}

func (c client) Inspect(_ context.Context, name string) (engine.Inspection, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.p.unreachable() {
		return engine.Inspection{}, errAway
	}
	q := c.queues[name]
	if q == nil {
		return engine.Inspection{}, nil
	}
	return engine.Inspection{Exists: true, Ready: len(q.ready)}, nil
}

func (s *subscription) C() <-chan engine.Delivery { return s.c }

func (s *subscription) Err() error {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	return s.err
}

func (s *subscription) Lost() <-chan struct{} { return s.lost }

func (s *subscription) Cancel() error {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.cancelled = true
	s.end(nil)
	if !s.open {
		return errors.New("the channel is closed")
	}
	return nil
}

// Close requeues what was not acknowledged. Acks that were sent before Close arrive first.
func (s *subscription) Close() error {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.end(nil)
	if s.open && !s.p.unreachable() {
		s.read(len(s.answers))
		s.close()
	}
	s.lose()
	return nil
}

// end makes the client see the end. The caller holds mu.
func (s *subscription) end(err error) {
	if s.ended {
		return
	}
	s.ended = true
	if s.err == nil {
		s.err = err
	}
	close(s.c)
}

// close ends the channel at the broker. The caller holds mu.
func (s *subscription) close() {
	if !s.open {
		return
	}
	s.open, s.answers = false, nil
	for _, u := range s.unacked {
		s.r.requeue(u)
	}
	s.unacked = nil
	s.r.sessions = slices.DeleteFunc(s.r.sessions, func(o *subscription) bool { return o == s })
}

// requeue puts a message back in its place, or among the dead letters if it was delivered too
// often. A queue that was deleted takes its messages with it. The caller holds mu.
func (r *rabbit) requeue(u *unacked) {
	q := r.queues[u.queue]
	if q == nil {
		return
	}
	if u.deliveries > deliveryLimit && u.queue != deadQueue {
		u.from, u.deliveries = u.queue, 0
		r.queue(deadQueue).ready = append(r.queue(deadQueue).ready, u.message)
		return
	}
	i, _ := slices.BinarySearchFunc(q.ready, u.message, func(a, b *message) int { return a.place - b.place })
	q.ready = slices.Insert(q.ready, i, u.message)
}

// read makes the broker read the first n answers of the channel. The caller holds mu.
func (s *subscription) read(n int) {
	for _, a := range s.answers[:n] {
		i := slices.Index(s.unacked, a.u)
		if i < 0 {
			continue
		}
		s.unacked = slices.Delete(s.unacked, i, i+1)
		if a.requeue {
			s.r.requeue(a.u)
		}
	}
	s.answers = s.answers[n:]
}

func (s *subscription) answer(u *unacked, requeue bool) error {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	if !s.open || s.p.dead {
		return errors.New("the channel is closed")
	}
	s.answers = append(s.answers, answer{u, requeue})
	return nil
}

// giveBack implements engine.Delivery's Return: the subscription takes no more.
func (s *subscription) giveBack(u *unacked) error {
	_ = s.Cancel()
	return s.answer(u, true)
}

// room returns how many messages of the queue can be delivered to the channel now. The caller holds mu.
func (s *subscription) room(name string) int {
	q := s.r.queues[name]
	if q == nil || !s.open || s.cancelled || s.ended {
		return 0
	}
	n := s.prefetch[name]
	for _, u := range s.unacked {
		if u.queue == name {
			n--
		}
	}
	return min(n, len(q.ready), cap(s.c)-len(s.c))
}

// deliver sends the first n messages of the queue to the channel. The caller holds mu.
func (s *subscription) deliver(name string, n int) {
	q := s.r.queues[name]
	for range n {
		m := q.ready[0]
		q.ready = q.ready[1:]
		u := &unacked{message: m, queue: name, at: time.Now()}
		s.unacked = append(s.unacked, u)
		s.r.handed[handed{engine.DispatchKey{JobID: m.body.JobID, Dispatch: m.body.Dispatch}, m.deliveries}]++
		s.c <- s.incoming(u)
		m.deliveries++
	}
}

func (s *subscription) incoming(u *unacked) engine.Delivery {
	m := u.message
	from := u.queue
	if from == deadQueue {
		from = m.from
	}
	return engine.Delivery{
		Queue: from, RoutingKey: from, Redelivered: m.deliveries > 0, DeliveryCount: m.deliveries, AppID: m.app,
		MessageID: m.body.MessageID,
		Type:      m.body.Type, Body: m.body.Body, JobID: m.body.JobID, Dispatch: m.body.Dispatch, SentAt: m.sent,
		Properties: func() json.RawMessage { return json.RawMessage(`{}`) },
		Ack:        func() error { return s.answer(u, false) },
		Return:     func() error { return s.giveBack(u) },
	}
}

// --- publishers

// sender is one connection of a publisher, with the messages that the broker has not taken or not
// confirmed.
type sender struct {
	p      *process
	open   bool
	flying []*flight
}

// flight is one message in flight.
type flight struct {
	*batch
	i       int
	sent    time.Time
	taken   bool
	refused bool // its queue was full
}

// batch is what one Publish sent.
type batch struct {
	msgs     []engine.Message
	receipts []engine.Receipt
	left     int
	late     func([]int64)
	over     bool // its wait has ended
	done     chan struct{}
	err      error
}

type publisher struct {
	client
	s *sender
}

func (c client) publisher() *publisher { return &publisher{client: c} }

func (pub *publisher) Blocked() string { return "" }

func (pub *publisher) Close() error {
	pub.mu.Lock()
	defer pub.mu.Unlock()
	if pub.s != nil {
		pub.breakOff(pub.s)
	}
	return nil
}

func (pub *publisher) Publish(ctx context.Context, msgs []engine.Message, wait time.Duration, late func([]int64)) (engine.Receive, error) {
	pub.mu.Lock()
	defer pub.mu.Unlock()
	if pub.p.unreachable() {
		return nil, errAway
	}
	if pub.s == nil || !pub.s.open {
		pub.s = &sender{p: pub.p, open: true}
		pub.senders = append(pub.senders, pub.s)
	}
	b := &batch{msgs: msgs, receipts: make([]engine.Receipt, len(msgs)), left: len(msgs), late: late, done: make(chan struct{})}
	for i := range msgs {
		b.receipts[i].Status = engine.Pending
		pub.s.flying = append(pub.s.flying, &flight{batch: b, i: i, sent: pub.sentAt(msgs[i])})
	}
	return func() ([]engine.Receipt, error) { return pub.await(ctx, b, wait) }, nil
}

func (pub *publisher) await(_ context.Context, b *batch, wait time.Duration) ([]engine.Receipt, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-b.done:
	case <-timer.C:
	}
	pub.mu.Lock()
	defer pub.mu.Unlock()
	b.over = true
	return slices.Clone(b.receipts), b.err
}

// breakOff ends the connection: nothing more is known of unconfirmed messages. The caller holds mu.
func (r *rabbit) breakOff(s *sender) {
	if !s.open {
		return
	}
	s.open = false
	for _, f := range s.flying {
		if f.err == nil {
			f.err = errors.New("the connection ended while sending")
			if f.left > 0 {
				close(f.done)
			}
		}
	}
	s.flying = nil
	r.senders = slices.DeleteFunc(r.senders, func(o *sender) bool { return o == s })
}

// takeIn puts the first n messages of a sender that are not taken yet into their queues. The caller
// holds mu.
func (r *rabbit) takeIn(s *sender, n int) {
	for _, f := range s.flying {
		if n == 0 {
			return
		}
		if f.taken {
			continue
		}
		f.taken = true
		n--
		m := f.msgs[f.i]
		if f.refused = r.full[m.RoutingKey]; f.refused {
			continue
		}
		r.places++
		r.taken[engine.DispatchKey{JobID: m.JobID, Dispatch: m.Dispatch}] = true
		q := r.queue(m.RoutingKey)
		q.ready = append(q.ready, &message{body: m, app: r.w.deployment, sent: f.sent, place: r.places})
	}
}

// sentAt returns the time of sending that a message carries. No two messages of one dispatch are
// sent within a millisecond: a relay has waited or died between them. The caller holds mu.
func (r *rabbit) sentAt(m engine.Message) time.Time {
	key := engine.DispatchKey{JobID: m.JobID, Dispatch: m.Dispatch}
	at := time.Now().Truncate(time.Millisecond)
	if last := r.sent[key].Add(time.Millisecond); at.Before(last) {
		at = last
	}
	r.sent[key] = at
	return at
}

// confirm confirms, or refuses, up to n of the messages that were taken. The caller holds mu.
func (r *rabbit) confirm(s *sender, n int) {
	for len(s.flying) > 0 && s.flying[0].taken && n > 0 {
		f := s.flying[0]
		s.flying = s.flying[1:]
		n--
		status := engine.Confirmed
		if f.refused {
			status = engine.Nacked
		}
		r.w.met("relay: " + [...]string{"confirmed", "unroutable", "refused", "pending", "not sent"}[status])
		if f.over && status == engine.Confirmed {
			r.w.met("relay: confirmed late")
			f.late([]int64{f.msgs[f.i].OutboxID})
			continue
		}
		f.receipts[f.i] = engine.Receipt{Status: status, Took: time.Millisecond}
		if f.left--; f.left == 0 {
			close(f.done)
		}
	}
}

// took reports whether a message of that dispatch has been in a queue.
func (r *rabbit) took(key engine.DispatchKey) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.taken[key]
}

// --- faults

// restart closes every channel. Confirmed messages are kept; unconfirmed ones may be there all the same.
func (r *rabbit) restart() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range slices.Clone(r.sessions) {
		s.close()
		s.broke()
	}
	for _, s := range slices.Clone(r.senders) {
		r.breakOff(s)
	}
}

// broke makes the client see that the broker ended the channel. A frozen client sees it when it
// goes on. The caller holds r.mu.
func (s *subscription) broke() {
	if !s.p.frozen {
		s.end(errors.New("the connection broke"))
		s.lose()
	}
}

// lose makes the client know that the channel has ended. The caller holds r.mu.
func (s *subscription) lose() {
	select {
	case <-s.lost:
	default:
		close(s.lost)
	}
}

// leave closes the connections of a process at the broker, which notices that the process has gone away.
func (r *rabbit) leave(p *process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range slices.Clone(r.sessions) {
		if s.p == p {
			s.close()
			s.broke()
		}
	}
	for _, s := range slices.Clone(r.senders) {
		if s.p == p {
			r.breakOff(s)
		}
	}
}

func (r *rabbit) purge(name string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.queue(name)
	n := len(q.ready)
	q.ready = nil
	return n
}

// deleteQueue deletes the queue with its ready and unacked messages, and ends its consumers.
func (r *rabbit) deleteQueue(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.queues, name)
	for _, s := range slices.Clone(r.sessions) {
		if _, consumes := s.prefetch[name]; consumes {
			s.unacked = slices.DeleteFunc(s.unacked, func(u *unacked) bool { return u.queue == name })
			s.cancelled = true
			s.end(errors.New("the broker cancelled the consumer"))
		}
	}
}

// expire closes channels whose client has been silent for too long, or holds a message for too long.
func (r *rabbit) expire(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range slices.Clone(r.sessions) {
		old := slices.ContainsFunc(s.unacked, func(u *unacked) bool { return now.Sub(u.at) > consumerTimeout })
		if old || s.p.silentFor(now) > heartbeatLost {
			r.w.event("RabbitMQ closes a channel of %s", s.p.name)
			s.close()
			s.broke()
		}
	}
	for _, s := range slices.Clone(r.senders) {
		if s.p.silentFor(now) > heartbeatLost {
			r.breakOff(s)
		}
	}
}

// left counts the messages that the broker still has, ready and unacked.
func (r *rabbit) left() (ready, unacked int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.queues {
		ready += len(q.ready)
	}
	for _, s := range r.sessions {
		unacked += len(s.unacked)
	}
	return ready, unacked
}

// foreign puts a message that no relay sent into the queue.
func (r *rabbit) foreign(name string, m engine.Message, app string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.places++
	q := r.queue(name)
	if m.MessageID == "" {
		m.MessageID = uuid.NewString()
	}
	q.ready = append(q.ready, &message{body: m, app: app, sent: r.sentAt(m), place: r.places})
}
