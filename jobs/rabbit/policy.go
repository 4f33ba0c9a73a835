package rabbit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/rabbit/management"
)

// deliveryLimit is only a safety net behind the crash count in PostgreSQL. It is high because a
// dying worker costs every message that it had prefetched a delivery, even those never started
// (seen with limit 3: one poison job, 100 messages dead-lettered).
const deliveryLimit = 100

// definition is the definition of a policy, by key.
type definition map[string]any

// wanted returns the policy definition that Warren asks for on its job queues. It is a policy, not
// queue arguments, so that operators can change it. Dead-lettering is at-least-once, for which
// RabbitMQ requires overflow reject-publish.
func (b *Broker) wanted() definition {
	return definition{
		"delivery-limit": float64(deliveryLimit), "dead-letter-exchange": b.Names.Dead(),
		"dead-letter-strategy": "at-least-once", "overflow": "reject-publish",
	}
}

func (b *Broker) policyName() string { return b.Names.Prefix + "-jobs" }

func (b *Broker) policy() management.Policy {
	return management.Policy{Name: b.policyName(), Pattern: "^" + regexp.QuoteMeta(b.Names.QueuePrefix()), ApplyTo: "queues",
		Definition: b.wanted().raw()}
}

func (d definition) raw() json.RawMessage {
	raw, _ := json.Marshal(d) // cannot fail: d came from JSON, or is strings and a number
	return raw
}

// ApplyPolicy sets the policy of the job queues if there is none of that name and the account may,
// and reports why the policy in effect differs from it. An existing policy of that name is never
// changed; the correctness of jobs does not depend on it. The error is the management API's.
func (b *Broker) ApplyPolicy(ctx context.Context, m *management.Client) (engine.PolicyNote, error) {
	var all policies
	var err error
	if all.normal, err = m.Policies(ctx, b.VHost()); err != nil {
		return b.unseen(err)
	}
	var refused *management.Error
	if all.operator, err = m.OperatorPolicies(ctx, b.VHost()); err != nil && !errors.As(err, &refused) {
		return engine.PolicyNote{}, err
	} // an account that may not read them still sees their effect
	lacksRight := ""
	if _, has := named(all.normal, b.policyName()); !has {
		account, err := m.Whoami(ctx)
		if err != nil {
			return engine.PolicyNote{}, err
		}
		if account.MaySetPolicies() { // its effect can be seen some seconds later
			return engine.PolicyNote{}, m.PutPolicy(ctx, b.VHost(), b.policyName(), b.policy())
		}
		lacksRight = fmt.Sprintf(" The broker account %q may not set policies.", account.Name)
	}
	queues, err := m.QueuePolicies(ctx, b.VHost(), b.Names.QueuePrefix())
	if err != nil {
		return b.unseen(err)
	}
	note := b.judge(all, queues)
	if note.Problem != "" {
		note.Problem += lacksRight
	}
	return note, nil
}

// policies are those of the virtual host.
type policies struct{ normal, operator []management.Policy }

func named(list []management.Policy, name string) (management.Policy, bool) {
	i := slices.IndexFunc(list, func(p management.Policy) bool { return p.Name == name })
	if i < 0 {
		return management.Policy{Name: name, Definition: json.RawMessage(`{}`)}, false
	}
	return list[i], true
}

// unseen returns the note for an account that may not read policies.
func (b *Broker) unseen(err error) (engine.PolicyNote, error) {
	var refused *management.Error
	if !errors.As(err, &refused) || !refused.LacksRight() {
		return engine.PolicyNote{}, err
	}
	return engine.PolicyNote{Problem: "It is not known whether the job queues have the policy that Warren asks for. " + refused.Error(),
		Command: b.PolicyCommand()}, nil
}

// judge compares what is in effect for each job queue with what Warren asks for, and returns the
// first difference. Which policy matches a queue is the broker's to say: its patterns are not Go's.
// While it tells of no queue, only the lack of Warren's own policy is seen.
func (b *Broker) judge(all policies, queues []management.QueuePolicy) engine.PolicyNote {
	if _, has := named(all.normal, b.policyName()); len(queues) == 0 && !has {
		queues = []management.QueuePolicy{{}}
	}
	for _, q := range queues {
		target := b.allQueues()
		if slices.ContainsFunc(queues, func(o management.QueuePolicy) bool { return o.Policy != q.Policy || o.Operator != q.Operator }) {
			target = b.oneQueue(q.Queue)
		}
		if note := b.judgeQueue(all, q, target); note.Problem != "" {
			return note
		}
	}
	return engine.PolicyNote{}
}

// target is what a note is about: all job queues, or one whose policies differ from those of others.
type target struct {
	what   string
	bare   string            // says that it has no policy
	policy management.Policy // that would mend it
}

func (b *Broker) allQueues() target {
	return target{"the job queues", "The job queues have no policy; Warren asks for one.", b.policy()}
}

func (b *Broker) oneQueue(name string) target {
	p := b.policy()
	p.Name, p.Pattern = name, "^"+regexp.QuoteMeta(name)+"$"
	return target{"the queue " + name, "The queue " + name + " has no policy; Warren asks for one.", p}
}

func (b *Broker) judgeQueue(all policies, q management.QueuePolicy, t target) engine.PolicyNote {
	want := b.wanted()
	policy, _ := named(all.normal, q.Policy)
	lacks := want.lacking(parse(policy.Definition))
	switch {
	case len(lacks) > 0 && q.Policy == "":
		return engine.PolicyNote{Problem: t.bare, Command: b.setCommand(t, 0, want)}
	case len(lacks) > 0:
		priority := policy.Priority
		if policy.Name != t.policy.Name {
			priority++
		}
		return engine.PolicyNote{
			Problem: fmt.Sprintf("Policy %q (priority %d) counts for %s, as only the one of the highest priority does: %s.",
				policy.Name, policy.Priority, t.what, strings.Join(lacks, ", ")),
			Command: b.setCommand(t, priority, merge(parse(policy.Definition), want)),
		}
	}
	if lacks = want.lacking(parse(q.Effective)); len(lacks) == 0 || q.Operator == "" {
		return engine.PolicyNote{}
	}
	operator, _ := named(all.operator, q.Operator)
	return engine.PolicyNote{
		Problem: fmt.Sprintf("The operator policy %q (priority %d) overrides the policy of %s: %s.",
			operator.Name, operator.Priority, t.what, strings.Join(lacks, ", ")),
		Command: b.command("set_operator_policy", t, operator.Priority+1, mended(parse(operator.Definition), want)),
	}
}

// mended returns an operator policy whose keys agree with what Warren asks for.
func mended(forced, want definition) definition {
	d := maps.Clone(forced)
	for key := range forced {
		if v, ours := want[key]; ours {
			d[key] = v
		}
	}
	return d
}

// lacking describes the keys of d that effective does not satisfy. A higher limit satisfies.
func (d definition) lacking(effective definition) []string {
	var list []string
	for _, key := range slices.Sorted(maps.Keys(d)) {
		has, ok := effective[key]
		n, isNumber := has.(float64)
		limit, _ := d[key].(float64)
		switch {
		case !ok:
			list = append(list, fmt.Sprintf("%s is not set (Warren asks for %v)", key, d[key]))
		case has != d[key] && (!isNumber || n < limit):
			list = append(list, fmt.Sprintf("%s is %v (Warren asks for %v)", key, has, d[key]))
		}
	}
	return list
}

func parse(raw json.RawMessage) definition {
	d := definition{}
	_ = json.Unmarshal(raw, &d) // an empty definition may be sent as []
	return d
}

// merge returns base with the keys of over added or replaced.
func merge(base, over definition) definition {
	d := maps.Clone(base)
	maps.Copy(d, over)
	return d
}

// PolicyCommand returns the command that sets the policy, for an administrator to run if Warren
// lacks the right or has no management API.
func (b *Broker) PolicyCommand() string { return b.setCommand(b.allQueues(), 0, b.wanted()) }

func (b *Broker) setCommand(t target, priority int64, d definition) string {
	return b.command("set_policy", t, priority, d)
}

func (b *Broker) command(verb string, t target, priority int64, d definition) string {
	return fmt.Sprintf("rabbitmqctl %s -p %s --priority %d --apply-to %s %s %s %s",
		verb, quote(b.VHost()), priority, t.policy.ApplyTo, quote(t.policy.Name), quote(t.policy.Pattern), quote(string(d.raw())))
}
