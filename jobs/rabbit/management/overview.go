package management

import (
	"context"
	"slices"
)

// Overview is the broker's version, settings and totals. The totals cover what the account may see.
type Overview struct {
	Version   string
	Cluster   string
	RatesMode string // "none", "basic" or "detailed"
	// StatsDisabled reports whether the node collects no statistics: no rates, channels or consumers.
	StatsDisabled bool
	Ready         *int64
	Unacked       *int64
	Queues        *int64
	Connections   *int64
	Channels      *int64
	Consumers     *int64
}

// Overview reads the broker's version, settings and totals. The account needs any tag.
func (c *Client) Overview(ctx context.Context) (Overview, error) {
	var w struct {
		Version text `json:"rabbitmq_version"`
		Product text `json:"product_version"`
		Cluster text `json:"cluster_name"`
		Rates   text `json:"rates_mode"`
		NoStats flag `json:"disable_stats"`
		Totals  object[struct {
			Ready   count `json:"messages_ready"`
			Unacked count `json:"messages_unacknowledged"`
		}] `json:"queue_totals"`
		Objects object[struct {
			Queues      count `json:"queues"`
			Connections count `json:"connections"`
			Channels    count `json:"channels"`
			Consumers   count `json:"consumers"`
		}] `json:"object_totals"`
	}
	if err := c.get(ctx, path("overview"), nil, &w); err != nil {
		return Overview{}, err
	}
	if w.Version == "" {
		w.Version = w.Product
	}
	return Overview{
		Version: string(w.Version), Cluster: string(w.Cluster), RatesMode: string(w.Rates), StatsDisabled: bool(w.NoStats),
		Ready: w.Totals.v.Ready.n, Unacked: w.Totals.v.Unacked.n,
		Queues: w.Objects.v.Queues.n, Connections: w.Objects.v.Connections.n, Channels: w.Objects.v.Channels.n,
		Consumers: w.Objects.v.Consumers.n,
	}, nil
}

// Account is the client's account in the broker.
type Account struct {
	Name string
	Tags []string
}

// SeesAll reports whether the account may see the channels and connections of other accounts.
func (a Account) SeesAll() bool {
	return slices.Contains(a.Tags, "monitoring") || slices.Contains(a.Tags, "administrator")
}

// MaySetPolicies reports whether the account may write policies.
func (a Account) MaySetPolicies() bool {
	return slices.Contains(a.Tags, "policymaker") || slices.Contains(a.Tags, "administrator")
}

// Whoami returns the client's own account.
func (c *Client) Whoami(ctx context.Context) (Account, error) {
	var w struct {
		Name text `json:"name"`
		Tags tags `json:"tags"`
	}
	err := c.get(ctx, path("whoami"), nil, &w)
	return Account{Name: string(w.Name), Tags: w.Tags}, err
}
