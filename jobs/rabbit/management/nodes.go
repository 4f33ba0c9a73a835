package management

import "context"

// Node is a node of the broker's cluster.
type Node struct {
	Name    string
	Running bool
}

// Nodes returns the nodes of the cluster, including those that are down. It requires the tag
// monitoring; otherwise the error is an *Error.
func (c *Client) Nodes(ctx context.Context) ([]Node, error) {
	var w []struct {
		Name    text `json:"name"`
		Running flag `json:"running"`
	}
	if err := c.get(ctx, path("nodes"), []string{"name", "running"}, &w); err != nil {
		return nil, err
	}
	list := make([]Node, len(w))
	for i, n := range w {
		list[i] = Node{Name: string(n.Name), Running: bool(n.Running)}
	}
	return list, nil
}

// QuorumQueue is a queue with members on several nodes.
type QuorumQueue struct {
	Name    string
	Members []string // names of nodes
	// Counted reports whether the queue's leader reports the number of its messages.
	Counted bool
}

// QuorumQueues returns the quorum queues of the vhost, except those that are too new for their
// members to be known.
func (c *Client) QuorumQueues(ctx context.Context, vhost string) ([]QuorumQueue, error) {
	var w []struct {
		Name     text     `json:"name"`
		Type     text     `json:"type"`
		Members  []string `json:"members"`
		Messages count    `json:"messages"`
	}
	if err := c.get(ctx, path("queues", vhost), []string{"name", "type", "members", "messages"}, &w); err != nil {
		return nil, err
	}
	var list []QuorumQueue
	for _, q := range w {
		if q.Type == "quorum" && len(q.Members) > 0 {
			list = append(list, QuorumQueue{Name: string(q.Name), Members: q.Members, Counted: q.Messages.n != nil})
		}
	}
	return list, nil
}
