package messages

import "cmp"

// AuditAction is the action of the audit log for a message that was published by hand.
const AuditAction = "message.publish"

// DefaultExchange is how the exchange without a name is called.
const DefaultExchange = "(default)"

// AuditTarget returns the target of AuditAction.
func (m Message) AuditTarget() string { return "exchange:" + cmp.Or(m.Exchange, DefaultExchange) }

// AuditDetails returns what the audit log keeps of a message: never its body.
func (m Message) AuditDetails(a Answer) any {
	return map[string]any{"key": m.Key, "type": m.Type, "size": len(m.Body), "routed": a.Routed, "queues": a.Queues}
}
