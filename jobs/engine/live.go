package engine

import (
	"context"
	"log/slog"

	"github.com/google/uuid"
)

// Announce tells every screen that something of a topic changed. It carries
// names, never data; it does not block and is safe for concurrent use.
type Announce func(topic string, ids ...string)

// announceJobs says in the log and to the screens that something was done to these jobs, if to any.
func announceJobs(log *slog.Logger, announce Announce, ids []uuid.UUID, what string, args ...any) {
	if len(ids) == 0 {
		return
	}
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = id.String()
	}
	log.Info(what, append(args, "jobs", len(ids))...)
	announce(TopicJobs, names...)
}

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

// ReportHealth writes down how a part of the deployment does: problem "" means well.
// It blocks for a short time and swallows its own failure, as the database that
// it would be written to may be the problem.
type ReportHealth func(ctx context.Context, component, problem string)

// Rows of health that workers write, and who looks at the broker's policies.
const (
	ComponentConsume = "consume" // the workers can take jobs
	ComponentPolicy  = "policy"  // the job queues have the policy that Warren asks for
)

// PolicyNote says why the job queues lack the policy that Warren asks for, and
// what an administrator runs to mend it. Zero when there is nothing to say.
type PolicyNote struct {
	Problem string `json:"-"`       // sentences; the row's message
	Command string `json:"command"` // one line for a shell
}
