package management

import "context"

// Node is a member of the broker's cluster.
type Node struct {
	Name    string
	Running bool
}

// Nodes lists the nodes of the cluster, also those that are down. An account
// without the tag monitoring is refused.
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

// QuorumMembers lists, by name, on which nodes each quorum queue of the vhost
// has a member.
func (c *Client) QuorumMembers(ctx context.Context, vhost string) (map[string][]string, error) {
	var w []struct {
		Name    text     `json:"name"`
		Type    text     `json:"type"`
		Members []string `json:"members"`
	}
	if err := c.get(ctx, path("queues", vhost), []string{"name", "type", "members"}, &w); err != nil {
		return nil, err
	}
	members := map[string][]string{}
	for _, q := range w {
		if q.Type == "quorum" && len(q.Members) > 0 { // a new queue has nothing but its name
			members[string(q.Name)] = q.Members
		}
	}
	return members, nil
}
