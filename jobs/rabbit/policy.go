package rabbit

import (
	"cmp"
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
	policies, err := m.Policies(ctx, b.VHost())
	if err != nil {
		return b.unseen(err)
	}
	operator, err := m.OperatorPolicies(ctx, b.VHost())
	var refused *management.Error
	if err != nil && !errors.As(err, &refused) {
		return engine.PolicyNote{}, err
	} // if the account may not see them, only the policies are checked
	own := slices.IndexFunc(policies, func(p management.Policy) bool { return p.Name == b.policyName() })
	if own >= 0 {
		return b.judge(policies, operator), nil
	}
	account, err := m.Whoami(ctx)
	if err != nil {
		return engine.PolicyNote{}, err
	}
	if !account.MaySetPolicies() {
		return b.missing(account.Name, policies, operator), nil
	}
	if err := m.PutPolicy(ctx, b.VHost(), b.policyName(), b.policy()); err != nil {
		return engine.PolicyNote{}, err
	}
	return b.judge(append(policies, b.policy()), operator), nil
}

// unseen returns the note for an account that may not read policies.
func (b *Broker) unseen(err error) (engine.PolicyNote, error) {
	var refused *management.Error
	if !errors.As(err, &refused) || !refused.LacksRight() {
		return engine.PolicyNote{}, err
	}
	return engine.PolicyNote{Problem: "It is not known whether the job queues have the policy that Warren asks for. " + refused.Error(),
		Command: b.setCommand(0, b.wanted())}, nil
}

// missing returns the note for an account that may read policies but not set them.
func (b *Broker) missing(account string, policies, operator []management.Policy) engine.PolicyNote {
	note := b.judge(policies, operator)
	if note.Problem == "" { // another policy asks for the same
		return note
	}
	note.Problem += fmt.Sprintf(" The broker account %q may not set policies.", account)
	return note
}

// judge compares the policies in effect for the job queues with what Warren asks for.
func (b *Broker) judge(policies, operator []management.Policy) engine.PolicyNote {
	wins, has := b.winner(policies)
	effective := definition{}
	if has {
		effective = parse(wins)
	}
	want := b.wanted()
	if lacks := want.lacking(effective); len(lacks) > 0 {
		note := engine.PolicyNote{Problem: "The job queues have no policy; Warren asks for one.", Command: b.setCommand(0, want)}
		if has {
			note.Problem = fmt.Sprintf("Policy %q (priority %d) counts for the job queues, as only the one of the highest priority "+
				"does: %s.",
				wins.Name, wins.Priority, strings.Join(lacks, ", "))
			priority := wins.Priority
			if wins.Name != b.policyName() {
				priority++
			}
			note.Command = b.setCommand(priority, merge(effective, want))
		}
		return note
	}
	if op, limits := b.winner(operator); limits {
		forced := parse(op)
		if lacks := want.lacking(override(effective, forced)); len(lacks) > 0 {
			mended := maps.Clone(forced)
			for key := range forced {
				if v, ours := want[key]; ours {
					mended[key] = v
				}
			}
			return engine.PolicyNote{
				Problem: fmt.Sprintf("The operator policy %q (priority %d) overrides the policy of the job queues: %s.", op.Name,
					op.Priority, strings.Join(lacks, ", ")),
				Command: b.command("set_operator_policy", op.Priority+1, mended),
			}
		}
	}
	return engine.PolicyNote{}
}

// winner returns the policy with the highest priority that matches the job queues, if any.
func (b *Broker) winner(policies []management.Policy) (management.Policy, bool) {
	matching := slices.DeleteFunc(slices.Clone(policies), func(p management.Policy) bool {
		re, err := regexp.Compile(p.Pattern)
		applies := p.ApplyTo == "" || p.ApplyTo == "all" || p.ApplyTo == "queues" || p.ApplyTo == "quorum_queues"
		return err != nil || !applies || !re.MatchString(b.Names.Queue("default"))
	})
	if len(matching) == 0 {
		return management.Policy{}, false
	}
	return slices.MaxFunc(matching, func(a, z management.Policy) int {
		// Which of two policies with equal priority wins is up to the broker: assume the worse.
		return cmp.Or(cmp.Compare(a.Priority, z.Priority), cmp.Compare(len(b.wanted().lacking(parse(a))),
			len(b.wanted().lacking(parse(z)))))
	}), true
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

func parse(p management.Policy) definition {
	d := definition{}
	_ = json.Unmarshal(p.Definition, &d) // an empty definition may be sent as []
	return d
}

// merge returns base with the keys of over added or replaced.
func merge(base, over definition) definition {
	d := maps.Clone(base)
	maps.Copy(d, over)
	return d
}

// override merges an operator policy into base as the broker does.
func override(base, operator definition) definition {
	d := merge(base, operator)
	for key, v := range operator {
		n, isNumber := v.(float64)
		if had, ok := base[key].(float64); ok && isNumber {
			d[key] = min(n, had)
		}
	}
	return d
}

// PolicyCommand returns the command that sets the policy, for an administrator to run if Warren
// lacks the right or has no management API.
func (b *Broker) PolicyCommand() string { return b.setCommand(0, b.wanted()) }

func (b *Broker) setCommand(priority int64, d definition) string {
	return b.command("set_policy", priority, d)
}

func (b *Broker) command(verb string, priority int64, d definition) string {
	p := b.policy()
	return fmt.Sprintf("rabbitmqctl %s -p %s --priority %d --apply-to %s %s %s %s",
		verb, quote(b.VHost()), priority, p.ApplyTo, quote(p.Name), quote(p.Pattern), quote(string(d.raw())))
}
