package sim_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// outside runs functions on a goroutine outside of the bubble, where time is
// real and sockets can be waited for. The bubble's clock stands still meanwhile,
// as a wait for a channel from outside is not durable.
type outside struct {
	ask  chan func()
	done chan struct{}
}

func newOutside() *outside {
	o := &outside{ask: make(chan func()), done: make(chan struct{})}
	go func() {
		for f := range o.ask {
			f()
			o.done <- struct{}{}
		}
	}()
	return o
}

func (o *outside) do(f func()) {
	o.ask <- f
	<-o.done
}

func (o *outside) stop() { close(o.ask) }

// backend is a connection to the real PostgreSQL. It is used outside of the bubble only.
type backend struct {
	net.Conn
	pid    uint32
	params map[string]string
	status byte // of the last ReadyForQuery: I idle, T in a transaction, E in a failed one
	buf    [16 << 10]byte
	part   []byte
	wanted int // ReadyForQuery messages that are still to come
}

// postgres is the real server as the simulator uses it: a pool of backends, and a connection of its
// own that sets the clock.
type postgres struct {
	url     string
	control *pgx.Conn
	idle    []*backend
	clock   time.Time // as the database has it
}

func newPostgres(ctx context.Context, url string) (*postgres, error) {
	control, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	return &postgres{url: url, control: control}, nil
}

// fakeClock makes clock_timestamp() and now() of the simulator's database read a
// sequence, which no snapshot holds back: the schema comes before pg_catalog in
// the search path of every connection, so that the engine's statements stay as they are.
const fakeClock = `
	CREATE SCHEMA sim;
	CREATE SEQUENCE sim.clock MINVALUE 0;
	CREATE FUNCTION sim.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
		$$SELECT pg_catalog.to_timestamp(last_value / 1000000.0) FROM sim.clock$$;
	CREATE FUNCTION sim.now() RETURNS timestamptz LANGUAGE sql STABLE AS
		$$SELECT pg_catalog.to_timestamp(last_value / 1000000.0) FROM sim.clock$$`

// setClock moves the database's clock.
func (p *postgres) setClock(now time.Time) error {
	if now.Equal(p.clock) {
		return nil
	}
	_, err := p.control.Exec(context.Background(), `SELECT setval('sim.clock', $1)`, now.UnixMicro())
	p.clock = now
	return err
}

func (p *postgres) take() (*backend, error) {
	if n := len(p.idle); n > 0 {
		b := p.idle[n-1]
		p.idle = p.idle[:n-1]
		return b, nil
	}
	cfg, err := pgconn.ParseConfig(p.url)
	if err != nil {
		return nil, err
	}
	conn, err := pgconn.ConnectConfig(context.Background(), cfg)
	if err != nil {
		return nil, err
	}
	if err := conn.SyncConn(context.Background()); err != nil { // a slow write makes pgconn read in the background
		return nil, err
	}
	h, err := conn.Hijack()
	if err != nil {
		return nil, err
	}
	return &backend{Conn: h.Conn, pid: h.PID, params: h.ParameterStatuses, status: 'I'}, nil
}

// giveBack ends what a client had (its transaction, locks and statements) and returns the backend
// to the pool. A backend that waits for a lock is terminated, and has ended when giveBack returns.
func (p *postgres) giveBack(b *backend) error {
	if b.wanted > 0 {
		_, err := p.control.Exec(context.Background(), `SELECT pg_terminate_backend($1, 5000)`, b.pid)
		return errors.Join(err, b.Close())
	}
	for _, sql := range []string{"ROLLBACK", "DISCARD ALL"} {
		if answer, waits, err := p.request(b, query(sql)); err != nil || waits {
			return fmt.Errorf("%s on a backend that is given back: waits %v: %w (%q)", sql, waits, err, answer)
		}
	}
	p.idle = append(p.idle, b)
	return nil
}

func query(sql string) []byte {
	m := binary.BigEndian.AppendUint32([]byte{'Q'}, uint32(len(sql)+5))
	return append(append(m, sql...), 0)
}

// request sends what a client wrote and waits for the whole answer, or until the backend waits for
// a lock: then call more.
func (p *postgres) request(b *backend, req []byte) (answer []byte, waits bool, err error) {
	for rest := req; len(rest) >= 5; rest = rest[1+binary.BigEndian.Uint32(rest[1:]):] {
		if rest[0] == 'S' || rest[0] == 'Q' {
			b.wanted++
		}
	}
	if _, err := b.Write(req); err != nil {
		return nil, false, err
	}
	return p.more(b)
}

func (p *postgres) more(b *backend) (answer []byte, waits bool, err error) {
	for asked := time.Now(); b.wanted > 0; {
		if time.Since(asked) > answerMost {
			return answer, false, p.hangs(b)
		}
		if err := b.SetReadDeadline(time.Now().Add(2 * time.Millisecond)); err != nil {
			return nil, false, err
		}
		n, err := b.Read(b.buf[:])
		b.part = append(b.part, b.buf[:n]...)
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			if waits, err := p.waitsForLock(b); err != nil || waits {
				return append(answer, b.frames()...), waits, err
			}
		case err != nil:
			return append(answer, b.frames()...), false, err
		}
		answer = append(answer, b.frames()...)
	}
	return answer, false, nil
}

// answerMost is longer than PostgreSQL takes for any statement here, on whatever machine.
const answerMost = 3 * time.Minute

// hangs returns what PostgreSQL knows of a backend that neither answers nor waits for a lock.
func (p *postgres) hangs(b *backend) error {
	var row string
	err := p.control.QueryRow(context.Background(), `SELECT a::text FROM pg_stat_activity a WHERE pid = $1`, b.pid).Scan(&row)
	return errors.Join(fmt.Errorf("no answer: %d wanted, %d bytes of the next message: %s", b.wanted, len(b.part), row), err)
}

// frames takes the complete messages that have arrived.
func (b *backend) frames() []byte {
	n := 0
	for len(b.part)-n >= 5 {
		size := 1 + int(binary.BigEndian.Uint32(b.part[n+1:]))
		if len(b.part)-n < size {
			break
		}
		if b.part[n] == 'Z' {
			b.wanted--
			b.status = b.part[n+5]
		}
		n += size
	}
	whole := append([]byte(nil), b.part[:n]...)
	b.part = append(b.part[:0], b.part[n:]...)
	return whole
}

func (p *postgres) waitsForLock(b *backend) (waits bool, err error) {
	err = p.control.QueryRow(context.Background(),
		`SELECT coalesce((SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1), false)`, b.pid).Scan(&waits)
	return waits, err
}

// startup returns PostgreSQL's answer to a client that connects: the real handshake was done when
// the backend was made.
func (b *backend) startup() []byte {
	m := []byte{'R', 0, 0, 0, 8, 0, 0, 0, 0}
	for name, value := range b.params {
		m = append(binary.BigEndian.AppendUint32(append(m, 'S'), uint32(4+len(name)+len(value)+2)), name...)
		m = append(append(append(m, 0), value...), 0)
	}
	m = append(m, 'K', 0, 0, 0, 12)
	m = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(m, b.pid), 0)
	return append(m, 'Z', 0, 0, 0, 5, 'I')
}

// statements returns the labels of the statements that a client sends by Parse, Bind or Query.
func statements(prepared map[string]string, req []byte) (list []string) {
	for rest := req; len(rest) >= 5; {
		size := 1 + int(binary.BigEndian.Uint32(rest[1:]))
		body := string(rest[5:size])
		switch rest[0] {
		case 'P':
			name, sql, _ := strings.Cut(body, "\x00")
			sql, _, _ = strings.Cut(sql, "\x00")
			prepared[name] = sql
			list = append(list, "prepare "+labelOf(sql))
		case 'B':
			_, name, _ := strings.Cut(body, "\x00")
			name, _, _ = strings.Cut(name, "\x00")
			list = append(list, labelOf(prepared[name]))
		case 'Q':
			list = append(list, labelOf(strings.TrimSuffix(body, "\x00")))
		}
		rest = rest[size:]
	}
	return list
}

// labels name the engine's statements by a part of their text. The first match counts.
var labels = [][2]string{
	{"AS d(id, dispatch, sent_at", "claim"}, {"AS d(id, lease, state", "complete"}, {"AS d(id, lease, wait, output", "snooze"},
	{"'released'", "release"}, {"SELECT state, dispatch, lease, attempt", "lock job"}, {"UPDATE warren.sessions SET renewed_at", "renew"},
	{"INSERT INTO warren.sessions", "open session"}, {"pg_try_advisory_lock(", "session lock"}, {"DELETE FROM warren.sessions",
		"close session"},
	{"INSERT INTO warren.deliveries", "record delivery"}, {"'crashed'", "record crash"}, {"crashes = crashes + 1", "count crash"},
	{"SET state = 'running', lease", "take"}, {"max_attempts, attempt, priority", "due"}, {"WITH picked AS MATERIALIZED", "dispatch"},
	{"INSERT INTO warren.jobs", "enqueue"}, {"DELETE FROM warren.outbox", "remove sent"}, {"UPDATE warren.outbox", "back off"},
	{"FROM warren.outbox", "read outbox"},
	{"relay_busy", "relay busy"}, {"set_config('enable_", "indexes only"}, {"UPDATE warren.jobs SET state = 'completed'", "CompleteTx"},
}

func labelOf(sql string) string {
	for _, l := range labels {
		if strings.Contains(sql, l[0]) {
			return l[1]
		}
	}
	sql = strings.Join(strings.Fields(sql), " ")
	return sql[:min(len(sql), 40)]
}
