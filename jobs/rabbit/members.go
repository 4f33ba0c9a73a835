package rabbit

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/rabbit/management"
)

// membersWanted is the number of members with which a quorum queue survives the loss of one node.
// RabbitMQ gives a queue that many when it is declared, if the cluster has that many nodes by then.
const membersWanted = 3

// CheckMembers reports which of our queues have too few members to survive the loss of a node,
// though the cluster has enough nodes: those declared before the other nodes joined. It reports
// nothing if the account may not see the nodes. The error is the management API's.
func (b *Broker) CheckMembers(ctx context.Context, m *management.Client) (engine.PolicyNote, error) {
	cluster, err := m.Nodes(ctx)
	var refused *management.Error
	if errors.As(err, &refused) {
		return engine.PolicyNote{}, nil
	}
	if err != nil || len(cluster) < membersWanted {
		return engine.PolicyNote{}, err
	}
	queues, err := m.QuorumQueues(ctx, b.VHost())
	if err != nil {
		return engine.PolicyNote{}, err
	}
	var few, poorest []string
	for _, q := range queues {
		if !strings.HasPrefix(q.Name, b.Names.Prefix+".") || len(q.Members) >= membersWanted {
			continue
		}
		few = append(few, q.Name)
		if poorest == nil || len(q.Members) < len(poorest) {
			poorest = q.Members
		}
	}
	if len(few) == 0 {
		return engine.PolicyNote{}, nil
	}
	slices.Sort(few)
	return engine.PolicyNote{
		Problem: fmt.Sprintf("The cluster has %d nodes, but %s members on only %d: jobs there wait while a node is away.",
			len(cluster), queuesHave(few), len(poorest)),
		Command: b.growCommand(cluster, poorest),
	}, nil
}

// Leaderless returns the job queues, by Warren's name, that have no leader though all nodes with
// their members are running; while one of its nodes is down, a queue waits for that node. It
// returns none if the account may not see the nodes. The error is the management API's.
func (b *Broker) Leaderless(ctx context.Context, m *management.Client) ([]string, error) {
	if !b.has(leavesLeaderless) {
		return nil, nil
	}
	queues, err := m.QuorumQueues(ctx, b.VHost())
	if err != nil {
		return nil, err
	}
	var suspects []management.QuorumQueue
	for _, q := range queues {
		if _, ours := b.Names.JobQueue(q.Name); ours && !q.Counted {
			suspects = append(suspects, q)
		}
	}
	counted := slices.ContainsFunc(queues, func(q management.QuorumQueue) bool { return q.Counted })
	if len(suspects) == 0 || !counted { // if the broker reports no counts at all, a missing one is no evidence
		return nil, nil
	}
	cluster, err := m.Nodes(ctx)
	var refused *management.Error
	if errors.As(err, &refused) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, q := range suspects {
		if allRun(cluster, q.Members) {
			name, _ := b.Names.JobQueue(q.Name)
			names = append(names, name)
		}
	}
	return names, nil
}

func allRun(cluster []management.Node, members []string) bool {
	for _, member := range members {
		if !slices.Contains(cluster, management.Node{Name: member, Running: true}) {
			return false
		}
	}
	return true
}

func queuesHave(names []string) string {
	if len(names) == 1 {
		return fmt.Sprintf("queue %s has", names[0])
	}
	return fmt.Sprintf("%d queues, such as %s, have", len(names), names[0])
}

// growCommand returns the command that adds the missing members to our queues, on running nodes.
func (b *Broker) growCommand(cluster []management.Node, members []string) string {
	var commands []string
	for _, n := range cluster {
		if n.Running && !slices.Contains(members, n.Name) && len(commands) < membersWanted-len(members) {
			commands = append(commands, fmt.Sprintf("rabbitmq-queues grow %s all --vhost-pattern %s --queue-pattern %s",
				n.Name, quote("^"+regexp.QuoteMeta(b.VHost())+"$"), quote("^"+regexp.QuoteMeta(b.Names.Prefix)+`\.`)))
		}
	}
	return strings.Join(commands, " && ")
}
