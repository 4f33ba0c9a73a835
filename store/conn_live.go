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

// Change is the payload of a live notification: the topic that changed, and the changed ids if they
// are few enough to list.
type Change struct {
	Topic string   `json:"t"`
	IDs   []string `json:"i,omitempty"`
}

// notify sends the changes to all processes when tx commits.
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

// notifyEvery debounces: one NOTIFY per topic for all changes since the last.
const (
	notifyEvery  = 150 * time.Millisecond
	notifyIDsMax = 100 // a payload must stay below 8,000 bytes
)

// Announcer collects changes and notifies all processes of them, outside of the transactions that
// made them.
type Announcer struct {
	store *Store
	mu    sync.Mutex
	topic map[string]changed
	wake  chan struct{}
}

// changed holds the changed ids of a topic; many means too many to list.
type changed struct {
	ids  []string
	many bool
}

// NewAnnouncer returns an Announcer, which sends only while Run runs.
func (s *Store) NewAnnouncer() *Announcer {
	return &Announcer{store: s, topic: map[string]changed{}, wake: make(chan struct{}, 1)}
}

// Announce is an engine.Announce. Without ids it announces that many rows changed.
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

// Run sends changes until ctx ends, then once more. A failed notification is not repeated: a page
// that missed a change polls.
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

// listenCheck is the silence after which a listener checks that its server still takes writes.
const listenCheck = 5 * time.Second

// Listeners are the callbacks for notifications from other processes, called from one goroutine.
// Any may be nil.
type Listeners struct {
	Change func(Change)
	Cancel func(jobID string)
	// Process is called with the id of a process for which a command was recorded.
	Process func(id string)
	Wake    func()
	// Reconnected is called after each gap in which notifications may have been missed.
	Reconnected func()
}

// Listen receives notifications until ctx ends, on a dedicated connection, and reconnects when it
// is lost.
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

// hearNext waits for a notification; after listenCheck it checks instead that one could still come.
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
