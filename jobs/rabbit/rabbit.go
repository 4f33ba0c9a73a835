// Package rabbit connects to RabbitMQ over AMQP 0-9-1: connections, topology, publishers and
// subscriptions. Each publisher and subscription has its own connection and channel and ends with
// them; no state, such as delivery tags, is carried over to the next one.
package rabbit

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenjobs/warren/jobs"
)

// Names returns the names of exchanges and queues for a prefix (design.md §4).
type Names struct{ Prefix string }

// JobsExchange returns the exchange that routes jobs by the name of their queue.
func (n Names) JobsExchange() string { return n.Prefix + ".jobs" }

// QueuePrefix returns the prefix of the names of job queues in the broker.
func (n Names) QueuePrefix() string { return n.Prefix + ".jobs." }

// Queue returns the name of a job queue in the broker.
func (n Names) Queue(queue string) string { return n.QueuePrefix() + queue }

// fromOutside reports whether a message came through an exchange that is not Warren's own nor the
// default one, which route to a queue by its name.
func (n Names) fromOutside(exchange string) bool {
	return exchange != "" && exchange != n.JobsExchange() && exchange != n.Dead()
}

// Dead returns the name of the dead-letter exchange, and of the queue bound to it.
func (n Names) Dead() string { return n.Prefix + ".dead" }

// Results returns the name of the queue to which workers of other programs report.
func (n Names) Results() string { return n.Prefix + ".results" }

// JobQueue is the inverse of Queue; ok is false if name is not that of a job queue.
func (n Names) JobQueue(name string) (queue string, ok bool) {
	return strings.CutPrefix(name, n.QueuePrefix())
}

const (
	heartbeat   = 10 * time.Second
	dialTimeout = 5 * time.Second
)

// Broker opens subscriptions and publishers. It is safe for concurrent use.
type Broker struct {
	URL         string      // of one node, or of several, separated by commas
	TLS         *tls.Config // for amqps; nil: the system's certificate authorities
	Names       Names
	Deployment  string // app_id of published messages
	Process     string // shown as the connection name, with its purpose
	Log         *slog.Logger
	Subscribers []string // names of the queues whose foreign messages are events

	version atomic.Value // string: the broker's version, from the last connection
}

func (b *Broker) subscribes(queue string) bool { return slices.Contains(b.Subscribers, queue) }

// VHost returns the virtual host of the URL.
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

// close closes the connection within a second: without a deadline it would hang if the broker has
// blocked the connection.
func (l *link) close() error { return l.conn.CloseDeadline(time.Now().Add(time.Second)) }

// answerMax is how long the broker may neither read nor answer: a broker that blocks the connection
// just stops reading, and its connection.blocked may come too late. The rows of a relay's batch are
// held for not much longer.
const answerMax = 10 * time.Second

// bounded closes the connection after answerMax, unless the returned timer is stopped before.
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
			// The handshake needs a deadline too; the heartbeater extends it later.
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

// away marks an error of the connection as jobs.ErrUnavailable. Refusals by the broker, other than
// a shutdown, and messages that the library cannot encode are returned unchanged.
func away(err error) error {
	var e *amqp.Error
	var network net.Error
	isAMQP := errors.As(err, &e)
	if isAMQP && e.Server && e.Code != amqp.ConnectionForced || !isAMQP && !errors.As(err, &network) {
		return err
	}
	return fmt.Errorf("%w: %w", jobs.ErrUnavailable, err)
}

// declareBase declares the dead-letter exchange and queue and the queue of reports, then the jobs
// exchange: in this order, so that no job queue ever exists without them.
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
	if err := b.declareQuorum(ch, b.Names.Results()); err != nil {
		return err
	}
	if err := ch.ExchangeDeclare(b.Names.JobsExchange(), amqp.ExchangeDirect, true, false, false, false, nil); err != nil {
		return b.declareError("exchange", b.Names.JobsExchange(), err)
	}
	return nil
}

// declareJobQueue declares a job queue and binds it. It is idempotent.
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

// declareError explains why the broker refused a declaration: the account lacks the right, or the
// queue or exchange exists with other properties.
func (b *Broker) declareError(what, name string, err error) error {
	if refused := b.refusedRight(err); refused != nil {
		return refused
	}
	var e *amqp.Error
	if errors.As(err, &e) && e.Code == amqp.PreconditionFailed {
		if !strings.HasPrefix(name, b.Names.Prefix+".") {
			return fmt.Errorf("%s %q exists with another shape: events need a topic exchange of that name, so delete it or use "+
				"another name (%w)", what, name, err)
		}
		return fmt.Errorf("%s %q exists with another shape: delete it, or set another WARREN_PREFIX (%w)", what, name, err)
	}
	return fmt.Errorf("declare %s %q: %w", what, name, away(err))
}

// Probe checks whether the broker accepts connections, by keeping one open. It is not safe for
// concurrent use.
type Probe struct {
	broker *Broker
	link   *link
}

// NewProbe returns a probe that connects at the first Check.
func (b *Broker) NewProbe() *Probe { return &Probe{broker: b} }

// Check connects unless the connection is open. It may try all nodes and blocks up to 5 s for each.
func (p *Probe) Check(ctx context.Context) error {
	if p.link != nil && !p.link.conn.IsClosed() {
		return nil
	}
	var err error
	p.link, err = p.broker.connect(ctx, "monitor")
	return err
}

// Close closes the connection. It is idempotent.
func (p *Probe) Close() {
	if p.link != nil {
		_ = p.link.close()
		p.link = nil
	}
}
