// Package rabbit is RabbitMQ over AMQP 0-9-1: connections, topology, publisher
// and subscriptions. Each has a connection and a channel of its own and ends
// with them; nothing is carried over to the next one (delivery tags start anew).
package rabbit

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenjobs/warren/jobs"
)

// Names of the topology for a prefix (design.md §4).
type Names struct{ Prefix string }

// JobsExchange routes a job by the name of its queue.
func (n Names) JobsExchange() string { return n.Prefix + ".jobs" }

// QueuePrefix comes before the name of a job queue.
func (n Names) QueuePrefix() string { return n.Prefix + ".jobs." }

// Queue is the broker's name of a job queue.
func (n Names) Queue(queue string) string { return n.QueuePrefix() + queue }

// Dead is the dead-letter exchange, and the queue bound to it.
func (n Names) Dead() string { return n.Prefix + ".dead" }

// JobQueue is the reverse of Queue; ok is false for a queue that is not one of ours.
func (n Names) JobQueue(name string) (queue string, ok bool) {
	return strings.CutPrefix(name, n.QueuePrefix())
}

const (
	heartbeat   = 10 * time.Second
	dialTimeout = 5 * time.Second
)

// Broker opens subscriptions and publishers. Safe for concurrent use.
type Broker struct {
	URL        string      // of a node, or of several, separated by commas
	TLS        *tls.Config // for amqps; nil: the machine's authorities
	Names      Names
	Deployment string // app_id of what we publish
	Process    string // shown as the connection's name, with what it is for
	Log        *slog.Logger

	version atomic.Value // string: of the broker, as it said when it was connected to last
}

// VHost is the virtual host of the URL.
func (b *Broker) VHost() string {
	list, err := nodes(b.URL)
	if err != nil {
		return "/"
	}
	return list[0].Vhost
}

// link is a connection with one channel.
type link struct {
	conn *amqp.Connection
	ch   *amqp.Channel
	wire *wire
}

// close ends it within a second: one that the broker has blocked would hang.
func (l *link) close() error { return l.conn.CloseDeadline(time.Now().Add(time.Second)) }

// answerMax is how long the broker may take nothing of what is sent, or not
// answer: one that blocks the connection just stops reading, and its word why may
// come too late. The rows of a relay's batch are held for not much longer.
const answerMax = 10 * time.Second

// bounded ends the connection unless it is stopped in time.
func (l *link) bounded() *time.Timer {
	return time.AfterFunc(answerMax, func() { _ = l.wire.Close() })
}

// dial connects to one node and opens a channel.
func (b *Broker) dial(ctx context.Context, n node, purpose string) (*link, error) {
	l := &link{}
	props := amqp.NewConnectionProperties()
	props.SetClientConnectionName(b.Process + " " + purpose)
	dialer := net.Dialer{Timeout: dialTimeout, KeepAlive: heartbeat}
	var err error
	l.conn, err = amqp.DialConfig(n.url, amqp.Config{
		Heartbeat:       heartbeat,
		Properties:      props,
		TLSClientConfig: b.tlsFor(n),
		Dial: func(network, addr string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			l.wire = newWire(c)
			// The handshake must end too; the heartbeater moves the deadline later.
			return l.wire, c.SetDeadline(time.Now().Add(dialTimeout))
		},
	})
	if err != nil {
		return nil, b.connectError(n.URI, err)
	}
	if version, ok := l.conn.Properties["version"].(string); ok {
		b.version.Store(version)
	}
	if l.ch, err = l.conn.Channel(); err != nil {
		_ = l.close()
		return nil, fmt.Errorf("open a channel: %w: %w", jobs.ErrUnavailable, err)
	}
	return l, nil
}

// away marks an error of the connection, as told from what the broker refuses
// (a shutdown apart) and what the library cannot write.
func away(err error) error {
	var e *amqp.Error
	var network net.Error
	isAMQP := errors.As(err, &e)
	if isAMQP && e.Server && e.Code != amqp.ConnectionForced || !isAMQP && !errors.As(err, &network) {
		return err
	}
	return fmt.Errorf("%w: %w", jobs.ErrUnavailable, err)
}

// declareBase makes the dead-letter exchange and queue, then the jobs exchange:
// in this order, so that no job queue ever exists without the net under it.
func (b *Broker) declareBase(ch *amqp.Channel) error {
	dead := b.Names.Dead()
	if err := ch.ExchangeDeclare(dead, amqp.ExchangeFanout, true, false, false, false, nil); err != nil {
		return b.declareError("exchange", dead, err)
	}
	if err := b.declareQuorum(ch, dead); err != nil {
		return err
	}
	if err := ch.QueueBind(dead, "", dead, false, nil); err != nil {
		return b.declareError("binding of queue", dead, err)
	}
	if err := ch.ExchangeDeclare(b.Names.JobsExchange(), amqp.ExchangeDirect, true, false, false, false, nil); err != nil {
		return b.declareError("exchange", b.Names.JobsExchange(), err)
	}
	return nil
}

// declareJobQueue makes the queue of jobs and binds it. Idempotent.
func (b *Broker) declareJobQueue(ch *amqp.Channel, queue string) error {
	name := b.Names.Queue(queue)
	if err := b.declareQuorum(ch, name); err != nil {
		return err
	}
	if err := ch.QueueBind(name, queue, b.Names.JobsExchange(), false, nil); err != nil {
		return b.declareError("binding of queue", name, err)
	}
	return nil
}

func (b *Broker) declareQuorum(ch *amqp.Channel, name string) error {
	_, err := ch.QueueDeclare(name, true, false, false, false, amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum})
	if err != nil {
		return b.declareError("queue", name, err)
	}
	return nil
}

// declareError explains a declaration that the broker refused because the
// account lacks the right, or the thing exists with another shape.
func (b *Broker) declareError(what, name string, err error) error {
	if refused := b.refusedRight(err); refused != nil {
		return refused
	}
	var e *amqp.Error
	if errors.As(err, &e) && e.Code == amqp.PreconditionFailed {
		if !strings.HasPrefix(name, b.Names.Prefix+".") {
			return fmt.Errorf("%s %q exists with another shape: delete it, as events need a topic exchange of that name (%w)", what, name,
				err)
		}
		return fmt.Errorf("%s %q exists with another shape: delete it, or set another WARREN_PREFIX (%w)", what, name, err)
	}
	return fmt.Errorf("declare %s %q: %w", what, name, away(err))
}

// Probe tells whether the broker takes connections, by one that it keeps. For one goroutine.
type Probe struct {
	broker *Broker
	link   *link
}

// NewProbe returns a probe that connects when it is first asked.
func (b *Broker) NewProbe() *Probe { return &Probe{broker: b} }

// Check connects unless it is connected. It blocks as long as it takes to ask all nodes, each up to 5 s.
func (p *Probe) Check(ctx context.Context) error {
	if p.link != nil && !p.link.conn.IsClosed() {
		return nil
	}
	var err error
	p.link, err = p.broker.connect(ctx, "monitor")
	return err
}

// Close drops the connection. Idempotent.
func (p *Probe) Close() {
	if p.link != nil {
		_ = p.link.close()
		p.link = nil
	}
}
