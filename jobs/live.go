package jobs

import "context"

// Announce tells every screen that something of a topic changed. It carries
// names, never data; it does not block and is safe for concurrent use.
type Announce func(topic string, ids ...string)

// Topics of the live view.
const (
	TopicJobs    = "jobs"
	TopicQueues  = "queues"
	TopicHealth  = "health"
	TopicTasks   = "tasks"
	TopicAudit   = "audit" // told by the write itself
	TopicOutbox  = "outbox"
	TopicWorkers = "workers"
)

// Health writes down how a part of the deployment does: problem "" means well.
// It blocks for a short time and swallows its own failure, as the database that
// it would be written to may be the problem.
type Health func(ctx context.Context, component, problem string)
