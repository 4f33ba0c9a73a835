// Package rules holds the SQL that the store and package outbox have in common,
// so that each rule stands once.
package rules

import (
	"strings"

	"github.com/warrenjobs/warren/jobs"
)

// From is the condition that the table of transitions puts on the state in which
// an action finds a job: "= 'queued'", or "IN (…)" of several.
func From(action jobs.Action) string {
	states := make([]string, len(action.AllowedFrom()))
	for i, state := range action.AllowedFrom() {
		states[i] = "'" + string(state) + "'"
	}
	if len(states) == 1 {
		return "= " + states[0]
	}
	return "IN (" + strings.Join(states, ", ") + ")"
}

// Open is the condition of the partial unique index: a key is taken while its job is open.
const Open = `state IN ('scheduled', 'queued', 'running', 'retrying')`

// Dispatched moves the rows of the CTE "moved" into the outbox. Every statement
// that sets queued raises dispatch and ends with it, so that neither can be forgotten.
const Dispatched = `INSERT INTO warren.outbox (job_id, dispatch, routing_key, type, headers, body)
	SELECT id, dispatch, queue, kind, trace, convert_to(args::text, 'UTF8') FROM moved WHERE state = 'queued'
	RETURNING job_id`

// WakeChannel is notified when a job was enqueued and no relay is busy.
const WakeChannel = "warren_wake"

// IdleInTransaction is as long as a lease lives, in ms: who asks nothing of an open
// transaction for so long is taken for gone, and PostgreSQL ends it.
const IdleInTransaction = "15000"
