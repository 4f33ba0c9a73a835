package jobs

import (
	"encoding/json"
	"time"
)

// AuditEntry says who did what to what. It is never changed, and
// removed only when its retention is over.
type AuditEntry struct {
	ID      int64           `json:"id"`
	At      time.Time       `json:"at"`
	Actor   string          `json:"actor"`
	From    string          `json:"from"`   // address of the browser or client, or the host of the command line
	Action  string          `json:"action"` // what it was done to and how: job.retry
	Target  string          `json:"target"` // kind and name: job:0198c5f2-…
	Reason  string          `json:"reason"`
	Details json.RawMessage `json:"details"` // such as the state before; null for none
}

// AuditFilter picks entries. The zero AuditFilter picks all.
type AuditFilter struct {
	Actor  string
	Action string
	// Target is a whole target or the name in it; what is neither is looked for
	// within the targets and reasons of the newest SearchWindow entries.
	Target string
}
