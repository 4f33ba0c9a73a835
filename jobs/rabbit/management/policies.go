package management

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// Policy applies a definition to all queues or exchanges whose name matches the pattern. If several
// policies match, only the one with the highest priority applies.
type Policy struct {
	VHost      string          `json:"-"`
	Name       string          `json:"-"`
	Pattern    string          `json:"pattern"`
	ApplyTo    string          `json:"apply-to,omitempty"` // all, queues, exchanges; since 3.12 also quorum_queues etc.
	Priority   int64           `json:"priority"`
	Definition json.RawMessage `json:"definition"`
}

type wirePolicy struct {
	VHost      text      `json:"vhost"`
	Name       text      `json:"name"`
	Pattern    text      `json:"pattern"`
	ApplyTo    text      `json:"apply-to"`
	Priority   int64     `json:"priority"`
	Definition rawObject `json:"definition"`
}

func (w wirePolicy) public() Policy {
	return Policy{VHost: string(w.VHost), Name: string(w.Name), Pattern: string(w.Pattern), ApplyTo: string(w.ApplyTo),
		Priority: w.Priority, Definition: w.Definition.raw()}
}

// Policies returns the policies of a vhost.
func (c *Client) Policies(ctx context.Context, vhost string) ([]Policy, error) {
	var w []wirePolicy
	err := c.get(ctx, path("policies", vhost), nil, &w)
	return public(w), err
}

// OperatorPolicies returns the operator policies of a vhost. The broker merges an operator policy into
// the policy that applies: the smaller of two numbers wins, and the operator's value of anything else.
func (c *Client) OperatorPolicies(ctx context.Context, vhost string) ([]Policy, error) {
	var w []wirePolicy
	err := c.get(ctx, path("operator-policies", vhost), nil, &w)
	return public(w), err
}

// QueuePolicy is what policies make of a queue.
type QueuePolicy struct {
	Queue     string
	Policy    string // "" without one
	Operator  string // the operator policy; "" without one
	Effective json.RawMessage
}

type wireQueuePolicy struct {
	Name      text      `json:"name"`
	Policy    told      `json:"policy"`
	Operator  text      `json:"operator_policy"`
	Effective rawObject `json:"effective_policy_definition"`
}

// QueuePolicies returns the policies in effect for the queues of a vhost whose names begin with
// prefix, of at most 100 queues, as they were some seconds ago. It leaves out queues of which the
// broker does not tell: those that it has just declared or started.
func (c *Client) QueuePolicies(ctx context.Context, vhost, prefix string) ([]QueuePolicy, error) {
	columns := []string{"name", "policy", "operator_policy", "effective_policy_definition"}
	query := url.Values{"page": {"1"}, "page_size": {"100"}, "use_regex": {"true"}, "name": {"^" + regexp.QuoteMeta(prefix)},
		"columns": {strings.Join(columns, ",")}}
	var page struct {
		Items []wireQueuePolicy `json:"items"`
	}
	err := c.get(ctx, path("queues", vhost)+"?"+query.Encode(), nil, &page)
	var told []QueuePolicy
	for _, q := range page.Items {
		if q.Policy.told {
			told = append(told, QueuePolicy{Queue: string(q.Name), Policy: string(q.Policy.text), Operator: string(q.Operator),
				Effective: q.Effective.raw()})
		}
	}
	return told, err
}

// PutOperatorPolicy creates or replaces an operator policy. It is idempotent and needs the tag administrator.
func (c *Client) PutOperatorPolicy(ctx context.Context, vhost, name string, p Policy) error {
	return c.do(ctx, http.MethodPut, path("operator-policies", vhost, name), p, nil)
}

// PutUser creates an account, or changes its password and tags. It is idempotent and needs the tag administrator.
func (c *Client) PutUser(ctx context.Context, name, password, tags string) error {
	return c.do(ctx, http.MethodPut, path("users", name), map[string]string{"password": password, "tags": tags}, nil)
}

// DeleteUser deletes an account. It is idempotent and needs the tag administrator.
func (c *Client) DeleteUser(ctx context.Context, name string) error {
	err := c.do(ctx, http.MethodDelete, path("users", name), nil, nil)
	if IsNotFound(err) {
		return nil
	}
	return err
}

// PutPolicy creates or replaces a policy. It is idempotent and needs the tag policymaker.
func (c *Client) PutPolicy(ctx context.Context, vhost, name string, p Policy) error {
	return c.do(ctx, http.MethodPut, path("policies", vhost, name), p, nil)
}

// PutVHost creates a vhost. It is idempotent and needs the tag administrator.
func (c *Client) PutVHost(ctx context.Context, vhost string) error {
	return c.do(ctx, http.MethodPut, path("vhosts", vhost), struct{}{}, nil)
}

// DeleteVHost deletes a vhost with everything in it. It is idempotent and needs the tag administrator.
func (c *Client) DeleteVHost(ctx context.Context, vhost string) error {
	err := c.do(ctx, http.MethodDelete, path("vhosts", vhost), nil, nil)
	if IsNotFound(err) {
		return nil
	}
	return err
}

// PutPermissions sets the permissions of user in vhost to the three patterns (".*" allows everything,
// "" nothing but reading the management API). It is idempotent and needs the tag administrator.
func (c *Client) PutPermissions(ctx context.Context, vhost, user, configure, write, read string) error {
	body := map[string]string{"configure": configure, "write": write, "read": read}
	return c.do(ctx, http.MethodPut, path("permissions", vhost, user), body, nil)
}
