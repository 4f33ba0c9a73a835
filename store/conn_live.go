package store

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store/internal/rules"
)

// Channels of NOTIFY. Payloads carry names and ids only.
const (
	liveChannel   = "warren_live"
	cancelChannel = "warren_cancel"
)

// Change is what a live notification says: something of Topic changed, to these
// ids if they are few enough to name.
type Change struct {
	Topic string   `json:"t"`
	IDs   []string `json:"i,omitempty"`
}

// notify tells all processes, when tx commits, what it has changed.
func notify(ctx context.Context, tx pgx.Tx, changes ...Change) error {
	payloads := make([]string, len(changes))
	for i, ch := range changes {
		raw, err := json.Marshal(ch)
		if err != nil {
			return fmt.Errorf("notify of a change: %w", err)
		}
		payloads[i] = string(raw)
	}
	if _, err := tx.Exec(ctx, `SELECT pg_notify($1, p) FROM unnest($2::text[]) p`, liveChannel, payloads); err != nil {
		return fmt.Errorf("notify of a change: %w", err)
	}
	return nil
}

// notifyEvery debounces: one NOTIFY for all that changed since the last.
const (
	notifyEvery  = 150 * time.Millisecond
	notifyIDsMax = 100 // a payload has less than 8,000 bytes
)

// Announcer collects what changed and tells all processes of it, outside of the
// transactions that made the changes.
type Announcer struct {
	store *Store
	mu    sync.Mutex
	topic map[string]changed
	wake  chan struct{}
}

// changed are the ids of a topic that changed; many means too many to name.
type changed struct {
	ids  []string
	many bool
}

// NewAnnouncer returns one; it speaks while Run runs.
func (s *Store) NewAnnouncer() *Announcer {
	return &Announcer{store: s, topic: map[string]changed{}, wake: make(chan struct{}, 1)}
}

// Announce is a engine.Announce. Without ids it says that many changed.
func (a *Announcer) Announce(topic string, ids ...string) {
	a.mu.Lock()
	have := a.topic[topic]
	have.many = have.many || len(ids) == 0 || len(have.ids)+len(ids) > 10*notifyIDsMax
	if !have.many {
		have.ids = append(have.ids, ids...)
	}
	a.topic[topic] = have
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Run sends until ctx ends, then once more. A failure is left to the next change: a screen that missed one polls.
func (a *Announcer) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			a.last(ctx)
			return nil
		case <-a.wake:
		}
		a.flush(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(notifyEvery):
		}
	}
}

func (a *Announcer) last(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	a.flush(ctx)
}

func (a *Announcer) flush(ctx context.Context) {
	a.mu.Lock()
	topics := a.topic
	a.topic = map[string]changed{}
	a.mu.Unlock()
	for topic, what := range topics {
		slices.Sort(what.ids)
		ids := slices.Compact(what.ids)
		if what.many || len(ids) > notifyIDsMax {
			ids = nil
		}
		payload, err := json.Marshal(Change{Topic: topic, IDs: ids})
		if err != nil {
			continue
		}
		_, _ = a.store.pool.Exec(ctx, `SELECT pg_notify($1, $2)`, liveChannel, string(payload))
	}
}

// listenCheck is after how long of silence a listener asks whether its server is still the one to hear.
const listenCheck = 5 * time.Second

// Listeners are called, from one goroutine, with what other processes notify. Any may be nil.
type Listeners struct {
	Change func(Change)
	Cancel func(jobID string)
	// Process is called with the id of a process of which somebody wants something.
	Process func(id string)
	Wake    func()
	// Reconnected is called after each gap in which notifications may have been missed.
	Reconnected func()
}

// Listen hears notifications until ctx ends, on a connection of its own, and
// comes back after losing it.
func (s *Store) Listen(ctx context.Context, log *slog.Logger, l Listeners) error {
	for ctx.Err() == nil {
		if err := s.listen(ctx, l); err != nil && ctx.Err() == nil {
			log.Debug("listen for notifications: connection lost", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
	return nil
}

func (s *Store) listen(ctx context.Context, l Listeners) error {
	conn, err := pgx.ConnectConfig(ctx, s.pool.Config().ConnConfig)
	if err != nil {
		return fmt.Errorf("connect to listen: %w", redact(err))
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, `LISTEN `+liveChannel+`; LISTEN `+cancelChannel+`; LISTEN `+rules.WakeChannel+`; LISTEN `+
		processChannel); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if l.Reconnected != nil {
		l.Reconnected()
	}
	for {
		if err := hearNext(ctx, conn, l); err != nil {
			return fmt.Errorf("wait for a notification: %w", err)
		}
	}
}

// hearNext waits for a notification, or makes sure that one could still come.
func hearNext(ctx context.Context, conn *pgx.Conn, l Listeners) error {
	waiting, cancel := context.WithTimeout(ctx, listenCheck)
	defer cancel()
	n, err := conn.WaitForNotification(waiting)
	switch {
	case err == nil:
		l.hear(n.Channel, n.Payload)
		return nil
	case waiting.Err() == nil || ctx.Err() != nil || conn.IsClosed():
		return err
	}
	asking, cancel := context.WithTimeout(ctx, listenCheck)
	defer cancel()
	return takesWrites(asking, conn)
}

func (l Listeners) hear(channel, payload string) {
	switch {
	case channel == rules.WakeChannel:
		if l.Wake != nil {
			l.Wake()
		}
		if l.Change != nil { // a job was enqueued
			l.Change(Change{Topic: engine.TopicJobs})
		}
	case channel == cancelChannel && l.Cancel != nil:
		l.Cancel(payload)
	case channel == processChannel && l.Process != nil:
		l.Process(payload)
	case channel == liveChannel && l.Change != nil:
		var c Change
		if json.Unmarshal([]byte(payload), &c) == nil {
			l.Change(c)
		}
	}
}
