package management

import (
	"context"
	"encoding/json"
	"net/http"
)

// Policy sets a definition on all queues or exchanges whose name the pattern
// matches. Of several that match, the one with the highest priority counts.
type Policy struct {
	VHost      string          `json:"-"`
	Name       string          `json:"-"`
	Pattern    string          `json:"pattern"`
	ApplyTo    string          `json:"apply-to,omitempty"` // all, queues, exchanges; since 3.12 also quorum_queues and the like
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

// Policies lists the policies of a vhost.
func (c *Client) Policies(ctx context.Context, vhost string) ([]Policy, error) {
	var w []wirePolicy
	err := c.get(ctx, path("policies", vhost), nil, &w)
	return public(w), err
}

// OperatorPolicies lists those of a vhost. One is merged into the policy that
// counts: of a number in both the smaller wins, of anything else the operator's.
func (c *Client) OperatorPolicies(ctx context.Context, vhost string) ([]Policy, error) {
	var w []wirePolicy
	err := c.get(ctx, path("operator-policies", vhost), nil, &w)
	return public(w), err
}

// PutOperatorPolicy writes an operator policy of that name. Idempotent; needs the tag administrator.
func (c *Client) PutOperatorPolicy(ctx context.Context, vhost, name string, p Policy) error {
	return c.do(ctx, http.MethodPut, path("operator-policies", vhost, name), p, nil)
}

// PutUser makes an account, or changes its password and tags. Idempotent; needs the tag administrator.
func (c *Client) PutUser(ctx context.Context, name, password, tags string) error {
	return c.do(ctx, http.MethodPut, path("users", name), map[string]string{"password": password, "tags": tags}, nil)
}

// DeleteUser removes an account. Idempotent; needs the tag administrator.
func (c *Client) DeleteUser(ctx context.Context, name string) error {
	err := c.do(ctx, http.MethodDelete, path("users", name), nil, nil)
	if IsNotFound(err) {
		return nil
	}
	return err
}

// PutPolicy writes a policy of that name. Idempotent; needs the tag policymaker.
func (c *Client) PutPolicy(ctx context.Context, vhost, name string, p Policy) error {
	return c.do(ctx, http.MethodPut, path("policies", vhost, name), p, nil)
}

// PutVHost makes a vhost. Idempotent; needs the tag administrator.
func (c *Client) PutVHost(ctx context.Context, vhost string) error {
	return c.do(ctx, http.MethodPut, path("vhosts", vhost), struct{}{}, nil)
}

// DeleteVHost removes a vhost with everything in it. Idempotent; needs the tag administrator.
func (c *Client) DeleteVHost(ctx context.Context, vhost string) error {
	err := c.do(ctx, http.MethodDelete, path("vhosts", vhost), nil, nil)
	if IsNotFound(err) {
		return nil
	}
	return err
}

// PutPermissions lets user do in vhost what the three patterns match (".*" all,
// "" nothing but look). Idempotent; needs the tag administrator.
func (c *Client) PutPermissions(ctx context.Context, vhost, user, configure, write, read string) error {
	body := map[string]string{"configure": configure, "write": write, "read": read}
	return c.do(ctx, http.MethodPut, path("permissions", vhost, user), body, nil)
}
