package management

import (
	"context"
	"encoding/json"
)

// Counters are totals since the broker started counting for the queue or channel. Nil means that the
// broker does not report the counter: nothing has happened yet, or its statistics were lost.
type Counters struct {
	Publish   *int64
	Deliver   *int64 // all deliveries: by basic.consume and basic.get, with and without ack
	Ack       *int64
	Redeliver *int64 // part of Deliver
}

type wireCounters struct {
	Publish   count `json:"publish"`
	Deliver   count `json:"deliver_get"`
	Ack       count `json:"ack"`
	Redeliver count `json:"redeliver"`
}

func (w wireCounters) public() Counters {
	return Counters{Publish: w.Publish.n, Deliver: w.Deliver.n, Ack: w.Ack.n, Redeliver: w.Redeliver.n}
}

// Queue is a queue as the broker reports it. A new queue has only a name, as does any queue for some
// seconds after the broker has started.
type Queue struct {
	VHost     string
	Name      string
	Type      string // classic, quorum, stream
	State     string // running, idle, flow, down, minority, …
	Policy    string // the policy in effect
	Leader    string
	Ready     *int64
	Unacked   *int64
	Consumers *int64
	Counters  Counters
	// Arguments and EffectivePolicy are JSON objects.
	Arguments       json.RawMessage
	EffectivePolicy json.RawMessage
}

var queueColumns = []string{
	"vhost", "name", "type", "state", "policy", "leader", "consumers", "messages_ready", "messages_unacknowledged",
	"message_stats.publish", "message_stats.deliver_get", "message_stats.ack", "message_stats.redeliver",
	"arguments", "effective_policy_definition",
}

type wireQueue struct {
	VHost     text                 `json:"vhost"`
	Name      text                 `json:"name"`
	Type      text                 `json:"type"`
	State     text                 `json:"state"`
	Policy    text                 `json:"policy"`
	Leader    text                 `json:"leader"`
	Ready     count                `json:"messages_ready"`
	Unacked   count                `json:"messages_unacknowledged"`
	Consumers count                `json:"consumers"`
	Counters  object[wireCounters] `json:"message_stats"`
	Arguments rawObject            `json:"arguments"`
	Effective rawObject            `json:"effective_policy_definition"`
}

func (w wireQueue) public() Queue {
	return Queue{
		VHost: string(w.VHost), Name: string(w.Name), Type: string(w.Type), State: string(w.State), Policy: string(w.Policy),
		Leader: string(w.Leader),
		Ready:  w.Ready.n, Unacked: w.Unacked.n, Consumers: w.Consumers.n, Counters: w.Counters.v.public(),
		Arguments: w.Arguments.raw(), EffectivePolicy: w.Effective.raw(),
	}
}

// Queues returns the queues of all vhosts in which the account has permissions (empty ones suffice), in
// no particular order. It is one unsorted and unpaged call, because any sort= makes 3.10 slow.
func (c *Client) Queues(ctx context.Context) ([]Queue, error) {
	var w []wireQueue
	err := c.get(ctx, path("queues"), queueColumns, &w)
	return public(w), err
}

// Look returns an *Error if the account may not access the vhost. Lists of all vhosts silently omit
// such a vhost.
func (c *Client) Look(ctx context.Context, vhost string) error {
	return c.get(ctx, path("queues", vhost)+"?page=1&page_size=1&columns=name", nil, nil)
}

// Queue returns one queue. For the error of a missing queue, see IsNotFound.
func (c *Client) Queue(ctx context.Context, vhost, name string) (Queue, error) {
	var w wireQueue
	err := c.get(ctx, path("queues", vhost, name), queueColumns, &w)
	return w.public(), err
}

// public converts decoded values to their exported types.
func public[P any, W interface{ public() P }](wire []W) []P {
	list := make([]P, len(wire))
	for i, w := range wire {
		list[i] = w.public()
	}
	return list
}
