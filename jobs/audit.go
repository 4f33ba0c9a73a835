package jobs

import (
	"encoding/json"
	"strconv"
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

// AuditCursor is a place in the list, newest first: the page after (older than)
// or before (newer than) the entry with that id.
type AuditCursor struct {
	ID    int64
	Newer bool
}

// String is the form for URLs; the zero AuditCursor is "".
func (c AuditCursor) String() string {
	switch {
	case c.ID == 0:
		return ""
	case c.Newer:
		return "n" + strconv.FormatInt(c.ID, 10)
	}
	return "o" + strconv.FormatInt(c.ID, 10)
}

// ParseAuditCursor reads String's form. The error is a FieldError.
func ParseAuditCursor(s string) (AuditCursor, error) {
	if s == "" {
		return AuditCursor{}, nil
	}
	id, err := strconv.ParseInt(s[1:], 10, 64)
	if err != nil || id < 1 || s[0] != 'o' && s[0] != 'n' {
		return AuditCursor{}, FieldErrors{{"cursor", "is no cursor of this list: take it from \"next\""}}
	}
	return AuditCursor{ID: id, Newer: s[0] == 'n'}, nil
}

// AuditPage is one page of the list, newest first.
type AuditPage struct {
	Entries []AuditEntry
	Older   AuditCursor // zero on the last page
	Newer   AuditCursor // zero on the first
}
