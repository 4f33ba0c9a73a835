package messages

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits of the tails of a process.
const (
	shownMax     = 200     // messages that a tail keeps
	bytesMax     = 4 << 20 // of bodies that it keeps
	shownRate    = 20      // messages a second that it keeps
	tailsMax     = 20
	tailsEach    = 5                // of one login, user or address
	unwatchedFor = 15 * time.Second // a page that loads, or whose connection is made anew, is back within it
	reopenAfter  = 3 * time.Second
	openWithin   = 10 * time.Second
	tailTick     = 200 * time.Millisecond
)

// TopicTail begins the topic of a tail.
const TopicTail = "tail-"

// Tails holds the tails of the pages of one process. A tail lives as long as a page watches it, or has
// just asked for it. Safe for concurrent use.
type Tails struct {
	broker  Broker
	changed func(topic string)
	salt    string // so that nobody can guess the topic of another's tail

	opening sync.Mutex // held while a tail is opened
	mu      sync.Mutex
	open    map[string]*openTail // by topic
	watched map[string]int       // pages by topic
	closed  bool
	running sync.WaitGroup
}

// NewTails returns the tails of a process. changed is called with the topic of each tail that has news,
// some times a second; it must not block.
func NewTails(broker Broker, changed func(topic string)) *Tails {
	return &Tails{broker: broker, changed: changed, salt: rand.Text(), open: map[string]*openTail{}, watched: map[string]int{}}
}

// View is what a tail shows.
type View struct {
	Topic    string
	Source   Source
	Since    time.Time
	Messages []Tailed // the newest first
	Seen     int      // since then
	Hidden   int      // of those, came too fast to be kept
	Behind   bool     // and more may be missing
	Ended    error    // why nothing comes any more; nil while it goes on
}

// TooManyError says that a tail is not opened because too many are open.
type TooManyError struct{ max, what string }

// Error returns a sentence.
func (e *TooManyError) Error() string {
	return e.max + " tails are open " + e.what + ", which is the most. Close the page of one and try again in 15 seconds."
}

// Show returns the tail of an owner, and opens it if it is not open.
func (t *Tails) Show(ctx context.Context, owner string, s Source) (View, error) {
	if l := t.find(owner, s); l != nil {
		return l.view(), nil
	}
	t.opening.Lock()
	defer t.opening.Unlock()
	if l := t.find(owner, s); l != nil {
		return l.view(), nil
	}
	ctx, cancel := context.WithTimeout(ctx, openWithin)
	defer cancel()
	l, err := t.start(ctx, owner, s)
	if err != nil {
		return View{}, err
	}
	return l.view(), nil
}

// Find returns a message that a tail of the owner has kept; ok is false if it has not.
func (t *Tails) Find(owner string, s Source, seq int64) (m Tailed, ok bool) {
	l := t.find(owner, s)
	if l == nil {
		return m, false
	}
	for _, m := range l.view().Messages {
		if m.Seq == seq {
			return m, true
		}
	}
	return m, false
}

// Watch keeps the tails among the topics open until the returned function is called.
func (t *Tails) Watch(topics []string) (leave func()) {
	own := slices.DeleteFunc(slices.Clone(topics), func(topic string) bool { return !strings.HasPrefix(topic, TopicTail) })
	if len(own) == 0 {
		return func() {}
	}
	t.watch(own, 1)
	return func() { t.watch(own, -1) }
}

func (t *Tails) watch(topics []string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, topic := range topics {
		if t.watched[topic] += n; t.watched[topic] <= 0 {
			delete(t.watched, topic)
		}
		if l := t.open[topic]; l != nil {
			l.touch()
		}
	}
}

// Close ends all tails, and opens no more. Idempotent.
func (t *Tails) Close() {
	t.mu.Lock()
	t.closed = true
	for _, l := range t.open {
		l.from.Close()
	}
	t.mu.Unlock()
	t.running.Wait()
}

func (t *Tails) topic(owner string, s Source) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q", t.salt, owner, s.Exchange, s.Pattern))
	return TopicTail + hex.EncodeToString(sum[:16])
}

// find returns an open tail, and keeps it for a while. One that has ended is to be opened again, but
// not at once.
func (t *Tails) find(owner string, s Source) *openTail {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.open[t.topic(owner, s)]
	if l == nil || l.isOver() {
		return nil
	}
	l.touch()
	return l
}

// start opens a tail. It takes over what one that has ended has kept.
func (t *Tails) start(ctx context.Context, owner string, s Source) (*openTail, error) {
	if err := t.room(owner); err != nil {
		return nil, err
	}
	from, err := t.broker.Tail(ctx, s)
	if err != nil {
		return nil, err
	}
	l := &openTail{owner: owner, topic: t.topic(owner, s), source: s, from: from, since: time.Now(), touched: time.Now(),
		rate: rate.NewLimiter(shownRate, shownRate)}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		from.Close()
		return nil, context.Canceled
	}
	if before := t.open[l.topic]; before != nil {
		l.takeOver(before)
	}
	t.open[l.topic] = l
	t.running.Go(func() { t.run(l) })
	return l, nil
}

func (t *Tails) room(owner string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	all, own := 0, 0
	for _, l := range t.open {
		if l.isOver() {
			continue
		}
		if all++; l.owner == owner {
			own++
		}
	}
	switch {
	case own >= tailsEach:
		return &TooManyError{fmt.Sprint(tailsEach), "with this login or from this address"}
	case all >= tailsMax:
		return &TooManyError{fmt.Sprint(tailsMax), "in this process"}
	}
	return nil
}

// run reads a tail until nobody watches it, or another takes its place.
func (t *Tails) run(l *openTail) {
	defer l.from.Close()
	tick := time.NewTicker(tailTick)
	defer tick.Stop()
	in := l.from.C()
	for {
		select {
		case m, more := <-in:
			if more {
				l.add(m)
				continue
			}
			in = nil
			l.end(l.from.Err())
		case <-tick.C:
			if l.takeNews() {
				t.changed(l.topic)
			}
			if t.drop(l) {
				return
			}
		}
	}
}

// drop removes a tail that nobody watches, and reports whether it is to be closed.
func (t *Tails) drop(l *openTail) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open[l.topic] != l || t.closed {
		return true
	}
	if t.watched[l.topic] > 0 || !l.untouched() {
		return false
	}
	delete(t.open, l.topic)
	return true
}

// openTail is a tail with what it has kept.
type openTail struct {
	owner, topic string
	source       Source
	from         Tail
	rate         *rate.Limiter

	mu           sync.Mutex
	since        time.Time
	touched      time.Time // last asked for
	kept         []Tailed  // the oldest first
	bytes        int       // of their bodies
	seen, hidden int
	behind       bool
	seq          int64
	news         bool
	ended        time.Time // zero while it goes on
	why          error
}

// takeOver continues a tail that has ended.
func (l *openTail) takeOver(before *openTail) {
	before.mu.Lock()
	defer before.mu.Unlock()
	l.since, l.kept, l.bytes, l.seq = before.since, before.kept, before.bytes, before.seq
	l.seen, l.hidden, l.behind = before.seen, before.hidden, true
}

func (l *openTail) touch() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.touched = time.Now()
}

func (l *openTail) untouched() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.touched) > unwatchedFor
}

func (l *openTail) isOver() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.ended.IsZero() && time.Since(l.ended) > reopenAfter
}

func (l *openTail) end(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended, l.why, l.news = time.Now(), why, true
}

// add keeps a message, unless they come too fast.
func (l *openTail) add(m Tailed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.news = true
	if l.seen++; !l.rate.Allow() {
		l.hidden++
		return
	}
	l.seq = max(l.seq+1, time.Now().UnixMicro())
	m.Seq = l.seq
	l.kept, l.bytes = append(l.kept, m), l.bytes+len(m.Body)
	for len(l.kept) > shownMax || l.bytes > bytesMax {
		l.bytes -= len(l.kept[0].Body)
		l.kept = l.kept[1:]
	}
}

func (l *openTail) takeNews() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	news := l.news
	l.news = false
	return news
}

func (l *openTail) view() View {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := View{Topic: l.topic, Source: l.source, Since: l.since, Seen: l.seen, Hidden: l.hidden, Behind: l.behind || l.from.Behind(),
		Messages: make([]Tailed, len(l.kept))}
	for i, m := range l.kept {
		v.Messages[len(l.kept)-1-i] = m
	}
	if !l.ended.IsZero() {
		v.Ended = l.why
	}
	return v
}
