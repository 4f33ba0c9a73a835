package management

import (
	"context"
	"encoding/json"
)

// Exchange is an exchange as the broker reports it. The default exchange has no name.
type Exchange struct {
	Name      string
	Type      string // topic, direct, fanout, headers, or that of a plugin
	Policy    string // the policy in effect
	Arguments json.RawMessage
}

var exchangeColumns = []string{"name", "type", "policy", "arguments"}

type wireExchange struct {
	Name      text      `json:"name"`
	Type      text      `json:"type"`
	Policy    text      `json:"policy"`
	Arguments rawObject `json:"arguments"`
}

func (w wireExchange) public() Exchange {
	return Exchange{Name: string(w.Name), Type: string(w.Type), Policy: string(w.Policy), Arguments: w.Arguments.raw()}
}

// Exchanges returns the exchanges of a vhost.
func (c *Client) Exchanges(ctx context.Context, vhost string) ([]Exchange, error) {
	var w []wireExchange
	err := c.get(ctx, path("exchanges", vhost), exchangeColumns, &w)
	return public(w), err
}

// Exchange returns one exchange. For the error of a missing one, see IsNotFound.
func (c *Client) Exchange(ctx context.Context, vhost, name string) (Exchange, error) {
	var w wireExchange
	err := c.get(ctx, path("exchanges", vhost, name), exchangeColumns, &w)
	return w.public(), err
}

// Binding leads from an exchange to a queue or to another exchange.
type Binding struct {
	Destination string
	ToExchange  bool
	Key         string
}

type wireBinding struct {
	Destination text `json:"destination"`
	Kind        text `json:"destination_type"`
	Key         text `json:"routing_key"`
}

func (w wireBinding) public() Binding {
	return Binding{Destination: string(w.Destination), ToExchange: w.Kind == "exchange", Key: string(w.Key)}
}

// BindingsFrom returns the bindings that lead away from an exchange, in no particular order.
func (c *Client) BindingsFrom(ctx context.Context, vhost, exchange string) ([]Binding, error) {
	var w []wireBinding
	err := c.get(ctx, path("exchanges", vhost, exchange, "bindings", "source"), []string{"destination", "destination_type", "routing_key"},
		&w)
	return public(w), err
}
