package jobs

import (
	"encoding/json"
	"time"
)

// AuditEntry is one row of the audit log: an action, its actor and its target. Entries
// are immutable and are deleted only when their retention period is over.
type AuditEntry struct {
	ID      int64           `json:"id"`
	At      time.Time       `json:"at"`
	Actor   string          `json:"actor"`
	From    string          `json:"from"`   // address of the browser or client, or the host of the command line
	Action  string          `json:"action"` // resource and verb, such as job.retry
	Target  string          `json:"target"` // kind and name: job:0198c5f2-…
	Reason  string          `json:"reason"`
	Details json.RawMessage `json:"details"` // such as the previous state; null for none
}

// AuditFilter selects audit entries. The zero AuditFilter selects all.
type AuditFilter struct {
	Actor  string
	Action string
	// Target is an exact target or the name part of one; any other text is searched for
	// in the targets and reasons of the newest SearchWindow entries.
	Target string
	// Within is how old the entries may be; 0 selects those of any age. It looks at the newest SearchWindow entries.
	Within time.Duration
}
