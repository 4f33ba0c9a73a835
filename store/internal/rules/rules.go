// Package rules holds the SQL that packages store and outbox share, so that each rule is written
// once.
package rules

import (
	"strings"

	"github.com/warrenjobs/warren/jobs"
)

// From returns the condition that the table of transitions puts on the state in which an action
// finds a job: "= 'queued'", or "IN (…)" for several states.
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

// IdleInTransaction is the lifetime of a lease, in ms: PostgreSQL ends a transaction that has been
// idle for so long, because its client counts as gone.
const IdleInTransaction = "15000"
