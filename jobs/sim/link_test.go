package sim_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// link is the network between one process and PostgreSQL. Bytes that the process writes wait until
// the schedule forwards them.
type link struct {
	w    *world
	name string

	mu    sync.Mutex
	conns []*conn
	next  int
	dead  bool   // the process was killed: nothing passes any more
	cut   bool   // both ends notice
	mute  bool   // neither notices: sent bytes do not arrive
	lose  string // the answer to the next request with this statement is lost, and the connection with it
}

// conn is a connection as pgx sees it. The process calls only Read, Write, Close and the deadlines;
// the rest is for the schedule.
type conn struct {
	link *link
	id   int

	mu       sync.Mutex
	out, in  []byte
	err      error // of the next Read, once in is empty
	closed   bool  // by the process
	deadline time.Time
	changed  chan struct{}

	b        *backend
	prepared map[string]string
	list     []string  // the statements in flight
	touched  bool      // the open transaction has changed rows
	waits    bool      // the backend waits for a lock
	since    time.Time // since when the backend has waited for the client, or for a lock
}

func (l *link) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead || l.cut {
		return nil, errors.New("connection refused")
	}
	c := &conn{link: l, id: l.next, changed: make(chan struct{}, 1), prepared: map[string]string{}}
	l.next++
	l.conns = append(l.conns, c)
	return c, nil
}

func (c *conn) wake() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

func (c *conn) Read(p []byte) (int, error) {
	for {
		c.mu.Lock()
		var late <-chan time.Time
		var timer *time.Timer
		switch {
		case c.closed:
			c.mu.Unlock()
			return 0, net.ErrClosed
		case !c.deadline.IsZero() && !time.Now().Before(c.deadline):
			c.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case len(c.in) > 0:
			n := copy(p, c.in)
			c.in = c.in[n:]
			c.mu.Unlock()
			return n, nil
		case c.err != nil:
			c.mu.Unlock()
			return 0, c.err
		case !c.deadline.IsZero():
			timer = time.NewTimer(time.Until(c.deadline))
			late = timer.C
		}
		c.mu.Unlock()
		select {
		case <-c.changed:
		case <-late:
		}
		if timer != nil {
			timer.Stop()
		}
	}
}

func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case c.err != nil:
		return 0, c.err
	case !c.deadline.IsZero() && !time.Now().Before(c.deadline):
		return 0, os.ErrDeadlineExceeded
	}
	c.out = append(c.out, p...)
	return len(p), nil
}

func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.wake()
	return nil
}

func (c *conn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	c.wake()
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error { return c.SetDeadline(t) }
func (c *conn) SetWriteDeadline(time.Time) error  { return nil }
func (c *conn) LocalAddr() net.Addr               { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (c *conn) RemoteAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5432} }

var errCut = errors.New("read: connection reset by peer")

// sever ends the connection at both ends, the server's and the process's.
func (c *conn) sever() {
	c.mu.Lock()
	c.err, c.out = errCut, nil
	c.wake()
	c.mu.Unlock()
	c.dropBackend()
}

// dropBackend makes the server notice that its client has gone away.
func (c *conn) dropBackend() {
	b := c.b
	c.b, c.waits = nil, false
	if b == nil {
		return
	}
	c.link.w.outside(func(p *postgres) error { return p.giveBack(b) })
}

// reap removes connections that have ended, and drops their backends.
func (l *link) reap() {
	l.mu.Lock()
	conns := slices.Clone(l.conns)
	l.mu.Unlock()
	for _, c := range conns {
		c.mu.Lock()
		over, silent := c.closed || c.err != nil, l.mute
		c.mu.Unlock()
		if !over || silent && c.b != nil {
			continue // a server behind a silent link does not notice
		}
		c.dropBackend()
		l.mu.Lock()
		l.conns = slices.DeleteFunc(l.conns, func(o *conn) bool { return o == c })
		l.mu.Unlock()
	}
}

// severAll ends all connections.
func (l *link) severAll() {
	l.mu.Lock()
	conns := slices.Clone(l.conns)
	l.mu.Unlock()
	for _, c := range conns {
		c.sever()
	}
	l.reap()
}

// ready lists the connections with a request that could be forwarded.
func (l *link) ready() (list []*conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mute {
		return nil
	}
	for _, c := range l.conns {
		c.mu.Lock()
		if len(c.out) > 0 && !c.closed && c.err == nil && !c.waits {
			list = append(list, c)
		}
		c.mu.Unlock()
	}
	return list
}

// waiting lists the connections whose backend waits for a lock.
func (l *link) waiting() (list []*conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		if c.waits {
			list = append(list, c)
		}
	}
	return list
}

// forward sends PostgreSQL what the process wrote, and brings back the answer.
func (c *conn) forward() {
	c.mu.Lock()
	req := c.out
	c.out = nil
	c.mu.Unlock()
	w := c.link.w
	if c.b == nil {
		c.start(req)
		return
	}
	if len(req) >= 5 && bytes.Equal(req[len(req)-5:], []byte{'X', 0, 0, 0, 4}) { // Terminate
		c.sever()
		return
	}
	list := statements(c.prepared, req)
	if list = slices.DeleteFunc(list, func(s string) bool { return s == "indexes only" || s == "begin" || s == "BEGIN" }); len(list) > 0 {
		w.event("%s → %s", c.link.name, strings.Join(list, "; "))
	}
	c.list = list
	lose := slices.Contains(list, c.link.lose)
	if lose {
		c.link.lose = ""
		w.event("%s: that answer is lost", c.link.name)
	}
	var answer []byte
	w.outside(func(p *postgres) (err error) {
		answer, c.waits, err = p.request(c.b, shorterLockWait(req))
		return err
	})
	c.since = time.Now()
	c.answered(answer, lose)
}

// shorterLockWait makes PostgreSQL wait for 5 ms of real time where the engine asks for 100.
func shorterLockWait(req []byte) []byte {
	return []byte(strings.ReplaceAll(string(req), "lock_timeout = '100ms'", "lock_timeout = '005ms'"))
}

func (c *conn) answered(answer []byte, lose bool) {
	if !c.waits || len(answer) > 0 {
		c.since = time.Now()
	}
	c.touched = c.touched || changes(c.list, answer)
	if c.touched && !c.waits && c.b.status == 'I' {
		c.touched = false
		c.link.w.dirty, c.link.w.freed = true, true
	}
	if lose {
		c.sever()
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in = append(c.in, answer...)
	c.wake()
}

// askAgain checks whether the backend still waits for a lock, and brings back its answer.
func (c *conn) askAgain() {
	var answer []byte
	c.link.w.outside(func(p *postgres) (err error) {
		answer, c.waits, err = p.more(c.b)
		return err
	})
	c.answered(answer, false)
}

// start answers the first message of a connection.
func (c *conn) start(req []byte) {
	const cancelRequest = 80877102
	if binary.BigEndian.Uint32(req[4:]) == cancelRequest {
		c.mu.Lock()
		c.err = io.EOF
		c.wake()
		c.mu.Unlock()
		return
	}
	c.link.w.outside(func(p *postgres) (err error) {
		c.b, err = p.take()
		return err
	})
	c.answered(c.b.startup(), false)
}

// idleInTransaction is how long PostgreSQL keeps an idle transaction, as store sets it.
const idleInTransaction = 15 * time.Second

// lockWaitMost is how long a statement of the engine may wait for a locked row: the rest of its
// batch waits with it. A handler's own transaction holds up its own job alone.
const lockWaitMost = 3 * time.Second

// expire ends transactions that were idle for too long, by the simulator's time. Lock waits of a
// process that is frozen or cut off do not count, as they hold up no other.
func (l *link) expire(now time.Time, frozen bool) {
	l.mu.Lock()
	conns, idle := slices.Clone(l.conns), frozen || l.cut || l.mute
	l.mu.Unlock()
	for _, c := range conns {
		if c.waits && idle {
			c.since = now
		}
		if c.waits && now.Sub(c.since) > lockWaitMost && l.name != "app" && !slices.Contains(c.list, "CompleteTx") {
			l.w.broken(noHoldUp, "%s waits for a lock with %v", l.name, c.list)
		}
		if c.b != nil && !c.waits && c.b.status != 'I' && now.Sub(c.since) > idleInTransaction {
			l.w.event("PostgreSQL ends a transaction of %s that asked nothing", l.name)
			c.sever()
		}
	}
}

func (c *conn) String() string { return fmt.Sprintf("%s/%d", c.link.name, c.id) }

// unseen lists statements that do not change jobs.
var unseen = []string{"renew", "relay busy", "session lock", "open session", "close session", "read outbox"}

// changes reports whether the answer shows that rows were changed.
func changes(list []string, answer []byte) bool {
	if len(list) == 0 || slices.Contains(unseen, list[0]) {
		return false
	}
	for rest := answer; len(rest) >= 5; {
		size := 1 + int(binary.BigEndian.Uint32(rest[1:]))
		if rest[0] == 'C' && bytes.ContainsAny(rest[5:size], "123456789") {
			return true
		}
		rest = rest[size:]
	}
	return false
}
