package management

import (
	"context"
)

// Channel is an open channel. Unacked is the number of messages that all its consumers hold together.
type Channel struct {
	VHost          string
	Name           string
	Number         int64
	Connection     string
	User           string
	Prefetch       *int64 // of each new consumer; 0 means no limit
	GlobalPrefetch *int64 // of the channel; 0 means no limit
	Unacked        *int64
	Consumers      *int64
	Counters       Counters
}

var channelColumns = []string{
	"vhost", "name", "number", "user", "connection_details.name", "prefetch_count", "global_prefetch_count",
	"messages_unacknowledged", "consumer_count", "message_stats.publish", "message_stats.deliver_get", "message_stats.ack",
	"message_stats.redeliver",
}

type wireChannel struct {
	VHost      text  `json:"vhost"`
	Name       text  `json:"name"`
	Number     count `json:"number"`
	User       text  `json:"user"`
	Connection object[struct {
		Name text `json:"name"`
	}] `json:"connection_details"`
	Prefetch       count                `json:"prefetch_count"`
	GlobalPrefetch count                `json:"global_prefetch_count"`
	Unacked        count                `json:"messages_unacknowledged"`
	Consumers      count                `json:"consumer_count"`
	Counters       object[wireCounters] `json:"message_stats"`
}

func (w wireChannel) public() Channel {
	ch := Channel{
		VHost: string(w.VHost), Name: string(w.Name), User: string(w.User), Connection: string(w.Connection.v.Name),
		Prefetch: w.Prefetch.n, GlobalPrefetch: w.GlobalPrefetch.n, Unacked: w.Unacked.n, Consumers: w.Consumers.n,
		Counters: w.Counters.v.public(),
	}
	if w.Number.n != nil {
		ch.Number = *w.Number.n
	}
	return ch
}

// Channels returns the open channels of a vhost: all if the account has the tag monitoring, else only its own.
func (c *Client) Channels(ctx context.Context, vhost string) ([]Channel, error) {
	var w []wireChannel
	err := c.get(ctx, path("vhosts", vhost, "channels"), channelColumns, &w)
	return public(w), err
}

// Consumer is a subscription of a channel to a queue. The broker does not report what a consumer
// holds, only what its channel holds.
type Consumer struct {
	VHost      string
	Queue      string
	Tag        string
	Channel    string
	Connection string
	Prefetch   *int64 // 0 means no limit
	AckNeeded  bool
}

var consumerColumns = []string{
	"queue.vhost", "queue.name", "consumer_tag", "prefetch_count", "ack_required", "channel_details.name",
	"channel_details.connection_name",
}

type wireConsumer struct {
	Queue object[struct {
		VHost text `json:"vhost"`
		Name  text `json:"name"`
	}] `json:"queue"`
	Tag     text `json:"consumer_tag"`
	Channel object[struct {
		Name       text `json:"name"`
		Connection text `json:"connection_name"`
	}] `json:"channel_details"`
	Prefetch  count `json:"prefetch_count"`
	AckNeeded flag  `json:"ack_required"`
}

func (w wireConsumer) public() Consumer {
	return Consumer{
		VHost: string(w.Queue.v.VHost), Queue: string(w.Queue.v.Name), Tag: string(w.Tag), Channel: string(w.Channel.v.Name),
		Connection: string(w.Channel.v.Connection), Prefetch: w.Prefetch.n, AckNeeded: bool(w.AckNeeded),
	}
}

// Consumers returns the subscriptions in a vhost: all if the account has the tag monitoring, else only its own.
func (c *Client) Consumers(ctx context.Context, vhost string) ([]Consumer, error) {
	var w []wireConsumer
	err := c.get(ctx, path("consumers", vhost), consumerColumns, &w)
	return public(w), err
}

// Connection is an open connection. Client is its client-provided name, "" if none.
type Connection struct {
	VHost  string
	Name   string
	User   string
	Client string
}

var connectionColumns = []string{"vhost", "name", "user", "user_provided_name", "client_properties.connection_name"}

type wireConnection struct {
	VHost      text `json:"vhost"`
	Name       text `json:"name"`
	User       text `json:"user"`
	Client     text `json:"user_provided_name"`
	Properties object[struct {
		Name text `json:"connection_name"`
	}] `json:"client_properties"`
}

func (w wireConnection) public() Connection {
	client := w.Client
	if client == "" {
		client = w.Properties.v.Name
	}
	return Connection{VHost: string(w.VHost), Name: string(w.Name), User: string(w.User), Client: string(client)}
}

// Connections returns the open connections: all if the account has the tag monitoring, else only its own.
func (c *Client) Connections(ctx context.Context) ([]Connection, error) {
	var w []wireConnection
	err := c.get(ctx, path("connections"), connectionColumns, &w)
	return public(w), err
}
