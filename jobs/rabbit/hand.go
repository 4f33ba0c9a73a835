package rabbit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/messages"
	"github.com/warrenjobs/warren/jobs/rabbit/management"
)

// ByHand implements messages.Broker. Each tail and each message has a connection of its own.
type ByHand struct {
	broker *Broker
	manage *management.Client // nil without a management API

	mu    sync.Mutex
	known []messages.Exchange
	asked time.Time
	err   error
}

// ByHand returns what tails and publishes by hand; manage may be nil.
func (b *Broker) ByHand(manage *management.Client) *ByHand { return &ByHand{broker: b, manage: manage} }

const (
	exchangesFor = time.Minute     // that a list of exchanges is shown, so that no view of a page asks the broker
	askWithin    = 3 * time.Second // the management API
)

// Exchanges implements messages.Broker. Those that are only for the broker's own use are left out.
func (h *ByHand) Exchanges(ctx context.Context) ([]messages.Exchange, error) {
	if h.manage == nil {
		return nil, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.asked) < exchangesFor {
		return h.known, h.err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askWithin)
	defer cancel()
	list, err := h.manage.Exchanges(ctx, h.broker.VHost())
	h.asked, h.known, h.err = time.Now(), nil, err
	for _, e := range list {
		if e.Name != "" {
			h.known = append(h.known, messages.Exchange{Name: e.Name, Kind: e.Type})
		}
	}
	slices.SortFunc(h.known, func(a, b messages.Exchange) int { return strings.Compare(a.Name, b.Name) })
	return h.known, h.err
}

// Own implements messages.Broker.
func (h *ByHand) Own(exchange, key string) string {
	names := h.broker.Names
	switch {
	case exchange == names.JobsExchange(), exchange == "" && strings.HasPrefix(key, names.QueuePrefix()):
		return "Workers take a message here for a job: with a known kind as its type it is adopted as one, without it becomes a dead job."
	case exchange == names.Dead(), exchange == "" && key == names.Dead():
		return "Warren takes a message here for a dead letter."
	case strings.HasPrefix(exchange, names.Prefix+"."), exchange == "" && strings.HasPrefix(key, names.Prefix+"."):
		return "Warren uses this for itself."
	}
	return ""
}

// place is what is known of an exchange before it is used by hand.
type exchangePlace struct {
	kind      string
	alternate string // the exchange that gets what no queue takes; "" without one
}

// look asks for the kind of an exchange. Without a management API only the kinds of the exchanges that
// every broker has, and of Warren's own, are known.
func (h *ByHand) look(ctx context.Context, exchange string) (p exchangePlace, err error) {
	if h.manage == nil {
		if p.kind = h.usualKind(exchange); p.kind == "" {
			return p, jobs.FieldErrors{{Field: "exchange", Message: fmt.Sprintf("cannot be tailed without the broker's management API, "+
				"which tells the kind of %s: set RABBITMQ_MANAGEMENT_URL", exchange)}}
		}
		return p, nil
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	e, err := h.manage.Exchange(ctx, h.broker.VHost(), exchange)
	if management.IsNotFound(err) {
		return p, h.noExchange(exchange)
	}
	if err != nil {
		h.broker.Log.Warn("ask for the kind of an exchange", "exchange", exchange, "error", err)
		return p, fmt.Errorf("can't reach RabbitMQ's management API, which tells the kind of %s: %w", exchange, jobs.ErrUnavailable)
	}
	p.kind = e.Type
	p.alternate, err = h.alternate(ctx, e)
	return p, err
}

func (h *ByHand) usualKind(exchange string) string {
	names := h.broker.Names
	return map[string]string{"amq.topic": "topic", "amq.direct": "direct", "amq.fanout": "fanout", "amq.headers": "headers",
		"amq.match": "headers", "amq.rabbitmq.trace": "topic", "amq.rabbitmq.log": "topic", names.JobsExchange(): "direct",
		names.Dead(): "fanout", "tasks": "topic"}[exchange]
}

// alternate returns the alternate exchange that its arguments or a policy give to an exchange.
func (h *ByHand) alternate(ctx context.Context, e management.Exchange) (string, error) {
	const name = "alternate-exchange"
	if to := textIn(e.Arguments, name); to != "" || e.Policy == "" {
		return to, nil
	}
	policies, err := h.manage.Policies(ctx, h.broker.VHost())
	if err != nil {
		return "", fmt.Errorf("ask for the policy of exchange %q: %w: %w", e.Name, jobs.ErrUnavailable, err)
	}
	i := slices.IndexFunc(policies, func(p management.Policy) bool { return p.Name == e.Policy })
	if i < 0 {
		return "", nil
	}
	return textIn(policies[i].Definition, name), nil
}

func textIn(object json.RawMessage, name string) string {
	var fields map[string]any
	_ = json.Unmarshal(object, &fields)
	return text(fields[name])
}

func (h *ByHand) noExchange(exchange string) error {
	return jobs.FieldErrors{{Field: "exchange", Message: fmt.Sprintf("does not exist: there is no %q in the virtual host %q", exchange,
		h.broker.VHost())}}
}

// passive reports, as an error, that an exchange does not exist. It declares nothing.
func (h *ByHand) passive(ch *amqp.Channel, exchange string) error {
	err := ch.ExchangeDeclarePassive(exchange, amqp.ExchangeTopic, false, false, false, false, nil)
	if isNotFound(err) {
		return h.noExchange(exchange)
	}
	if err != nil {
		return h.refusal("exchange", err)
	}
	return nil
}

// refusal says what the broker said when it refused something, which concerns the field.
func (h *ByHand) refusal(field string, err error) error {
	var e *amqp.Error
	if !errors.As(err, &e) || !e.Server {
		return away(err)
	}
	switch e.Code {
	case amqp.AccessRefused, amqp.PreconditionFailed, amqp.NotFound, amqp.NotImplemented, amqp.ResourceLocked:
		return jobs.FieldErrors{{Field: field, Message: "is refused by the broker: " + reasonOf(e)}}
	}
	return away(err)
}

// reasonOf returns the broker's reason without the name of its code.
func reasonOf(e *amqp.Error) string {
	_, reason, found := strings.Cut(e.Reason, " - ")
	if !found {
		return e.Reason
	}
	return reason
}
