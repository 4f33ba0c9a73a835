package rabbit

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"

	"github.com/warrenjobs/warren/jobs/rabbit/management"
)

// deliveryLimit is only a net under the count of crashes in PostgreSQL: every
// message that a dying worker had prefetched burns a delivery, also those never
// started (seen with limit 3: one poison job, 100 dead-lettered), so it is high.
const deliveryLimit = 100

// policy is what Warren wants for its job queues. It is a policy and not queue
// arguments, so that operators can change it. The dead-lettering is
// at-least-once, for which RabbitMQ asks for reject-publish.
func (b *Broker) policy() (name string, p management.Policy) {
	definition := map[string]any{
		"delivery-limit": deliveryLimit, "dead-letter-exchange": b.Names.Dead(),
		"dead-letter-strategy": "at-least-once", "overflow": "reject-publish",
	}
	raw, _ := json.Marshal(definition) // strings and a number
	return b.Names.Prefix + "-jobs", management.Policy{
		Pattern: "^" + regexp.QuoteMeta(b.Names.QueuePrefix()), ApplyTo: "queues", Priority: 0, Definition: raw,
	}
}

// PolicyCommand is what an administrator runs where Warren lacks the right.
func (b *Broker) PolicyCommand() string {
	name, p := b.policy()
	return fmt.Sprintf("rabbitmqctl set_policy -p '%s' --apply-to %s %s '%s' '%s'", b.VHost(), p.ApplyTo, name, p.Pattern, p.Definition)
}

// ApplyPolicy sets the policy of the job queues and checks that it is the one
// that counts. Correctness never depends on it: the error says what to do.
func (b *Broker) ApplyPolicy(ctx context.Context, m *management.Client) error {
	name, p := b.policy()
	if err := m.PutPolicy(ctx, b.VHost(), name, p); err != nil {
		return fmt.Errorf("cannot set the policy of the job queues (%w); have an administrator run: %s", err, b.PolicyCommand())
	}
	others, err := m.Policies(ctx, b.VHost())
	if err != nil {
		return fmt.Errorf("read the policies: %w", err)
	}
	for _, o := range others {
		if re, err := regexp.Compile(o.Pattern); err == nil && o.Name != name && o.Priority >= p.Priority &&
			o.ApplyTo != "exchanges" && re.MatchString(b.Names.Queue("default")) {
			return fmt.Errorf("policy %q (priority %d) wins over Warren's %q on the job queues: only one policy applies to a queue; merge %s into it", o.Name, o.Priority, name, p.Definition)
		}
	}
	return nil
}
