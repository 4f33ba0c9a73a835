package rabbit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"strconv"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenjobs/warren/jobs"
)

// node is one address of AMQP_URL.
type node struct {
	amqp.URI
	url string
}

// at returns the node's host and port, for display.
func (n node) at() string { return net.JoinHostPort(n.Host, strconv.Itoa(n.Port)) }

// nodes parses one or more AMQP URLs, separated by commas, of the nodes of one cluster. It returns
// at least one node. The error is a sentence without a password.
func nodes(raw string) ([]node, error) {
	parts := strings.Split(raw, ",")
	list := make([]node, len(parts))
	for i, part := range parts {
		part = strings.TrimSpace(part)
		uri, err := parseNode(part)
		if err != nil {
			return nil, fmt.Errorf("%s %w", ordinal(i, len(parts)), err)
		}
		list[i] = node{uri, part}
		if first := list[0]; uri.Vhost != first.Vhost || uri.Username != first.Username {
			return nil,
				fmt.Errorf("%s has another user or virtual host than the first: all must be nodes of one cluster, with the same account",
					ordinal(i, len(parts)))
		}
	}
	return list, nil
}

// parseNode parses one AMQP URL. The error's text goes on after the name of the address, and has no
// password in it.
func parseNode(address string) (amqp.URI, error) {
	if err := checkParams(address); err != nil {
		return amqp.URI{}, err
	}
	uri, err := amqp.ParseURI(address)
	if err != nil {
		return uri, notAMQP(withoutPassword(err))
	}
	return uri, nil
}

func notAMQP(err error) error {
	return fmt.Errorf("is not an AMQP URL (amqp://user:password@host:5672/vhost): %w", err)
}

// ordinal names the i-th of the addresses in AMQP_URL for an error.
func ordinal(i, of int) string {
	if of == 1 {
		return "AMQP_URL"
	}
	return fmt.Sprintf("address %d of the %d in AMQP_URL", i+1, of)
}

var errEncode = errors.New("special characters in user and password must be percent-encoded, such as %2F for /, %3F for ? and %2C for a " +
	"comma")

// withoutPassword replaces errors in which the parser quotes its input: it may have taken a part of
// the password for a port.
func withoutPassword(err error) error {
	var bad *url.Error
	var port *strconv.NumError
	if errors.As(err, &bad) || errors.As(err, &port) {
		return errEncode
	}
	return err
}

// CheckURL validates AMQP_URL. The error is a sentence that names the wrong address if there are
// several, and never contains a password.
func CheckURL(raw string) error {
	_, err := nodes(raw)
	return err
}

// CheckPrefix validates the name prefix of exchanges and queues.
func CheckPrefix(prefix string) error {
	if prefix == "" || strings.ContainsAny(prefix, "* #\t\n") || len(prefix) > 50 {
		return errors.New("it must be 1 to 50 characters without spaces, * and #")
	}
	return nil
}

// connect dials a node and opens a channel; purpose is shown in the broker's own UI. With several
// nodes it starts with a random one, so that a deployment spreads over them, and tries the next if
// one fails. It blocks up to 5 s per node, longer if a name has many addresses.
func (b *Broker) connect(ctx context.Context, purpose string) (*link, error) {
	list, err := nodes(b.URL)
	if err != nil {
		return nil, err
	}
	first := rand.IntN(len(list))
	var failed []error
	for i := range list {
		n := list[(first+i)%len(list)]
		l, err := b.dial(ctx, n, purpose)
		if err == nil {
			if len(list) > 1 {
				b.Log.Info("connected to RabbitMQ", "node", n.at(), "for", purpose)
			}
			return l, nil
		}
		failed = append(failed, err)
	}
	return nil, noNode(failed)
}

// noNode returns the error of a connection that every node refused. An error that an administrator
// can fix takes precedence over a node that is just unavailable.
func noNode(failed []error) error {
	if len(failed) == 1 {
		return failed[0]
	}
	why := make([]string, len(failed))
	for i, err := range failed {
		var mend unready
		if errors.As(err, &mend) && mend.mend {
			return err
		}
		why[i] = err.Error()
	}
	return fmt.Errorf("%w: none of its %d nodes takes a connection: %s", jobs.ErrUnavailable, len(failed), strings.Join(why, "; "))
}
